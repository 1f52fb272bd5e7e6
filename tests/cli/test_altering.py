"""What changes settings and records: the commands and the admin client.

Settings of topics are altered on both brokers; settings of brokers and groups, and groups of the consumer protocol, on
Apache Kafka alone, since Ottla does not have them yet.
"""

from __future__ import annotations

import json

import confluent_kafka
import pytest

from ottla.admin import (
    Admin,
    ConfigChange,
    ConfigOperation,
    ConfigSource,
    NewTopic,
    Resource,
    ResourceType,
    TopicPartition,
    required,
)
from ottla.errors import ErrorCode, RequestError
from tests.cli.conftest import Shell
from tests.processes import Process


@pytest.fixture
def kafka(reference: Process, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell for Apache Kafka."""
    return Shell(reference, capsys, monkeypatch)


def that_alter(shells: tuple[Shell, Shell], processes: tuple[Process, Process]) -> list[Shell]:
    """The shells of those brokers that serve IncrementalAlterConfigs; Apache Kafka always does."""
    found = []
    for shell, process in zip(shells, processes, strict=True):
        with Admin(process.bootstrap) as admin:
            if 44 in admin.api_versions():
                found.append(shell)
    assert shells[1] in found
    return found


@pytest.fixture
def altering(shells: tuple[Shell, Shell], broker: Process, reference: Process) -> list[Shell]:
    return that_alter(shells, (broker, reference))


def values(run: Shell, topic: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in json.loads(run.ok(f"config describe topic {topic} --json"))}


def test_settings_are_changed_one_by_one(altering: list[Shell], unique: str) -> None:
    """Set, unset, append, subtract; a dry run and a refusal change nothing; the others stay as they are."""
    for run in altering:
        run.ok(f"topic create {unique} -c segment.bytes=1048576")
        run.ok(f"config alter topic {unique} --set retention.ms=5 --dry-run")
        assert values(run, unique) == {"segment.bytes": "1048576"}
        line = f"config alter topic {unique} --append cleanup.policy=compact --set retention.ms=5 --json"
        told = json.loads(run.ok(line))
        assert [(each["name"], each["operation"]) for each in told["changes"]] == [
            ("retention.ms", "set"),
            ("cleanup.policy", "append"),
        ]
        changed = {"segment.bytes": "1048576", "retention.ms": "5", "cleanup.policy": "delete,compact"}
        assert values(run, unique) == changed
        ran = run(f"config alter topic {unique} --set retention.ms=soon --unset segment.bytes")
        assert (ran.code, ran.out) == (2, "")
        assert "retention.ms" in ran.err
        assert run(f"config alter topic {unique} --set no.such=1").code == 2
        assert run(f"config alter topic {unique}.nope --set retention.ms=5").code == 1
        assert values(run, unique) == changed
        run.ok(f"config alter topic {unique} --subtract cleanup.policy=delete --set retention.ms=6")
        assert values(run, unique) == {"segment.bytes": "1048576", "retention.ms": "6", "cleanup.policy": "compact"}
    assert all(run.transcript == altering[0].transcript for run in altering)


def test_partitions_and_settings_are_checked_before_either_is_changed(altering: list[Shell], unique: str) -> None:
    """A bad setting beside a good number of partitions: neither."""
    for run in altering:
        run.ok(f"topic create {unique}")
        assert run(f"topic alter {unique} -p 3 --set retention.ms=soon").code == 2
        assert len(json.loads(run.ok(f"topic describe {unique} --json"))[0]["partitions"]) == 1
        run.ok(f"topic alter {unique} -p 3 --set retention.ms=5 --dry-run")
        assert len(json.loads(run.ok(f"topic describe {unique} --json"))[0]["partitions"]) == 1
        out = run.ok(f"topic alter {unique} -p 3 --set retention.ms=5 --unset segment.ms")
        assert (
            out == f"{unique} has 3 partitions\n{unique} has retention.ms=5\n{unique} has the default of segment.ms\n"
        )
        found = json.loads(run.ok(f"topic describe {unique} --json"))[0]
        assert (len(found["partitions"]), found["configs"]) == (3, {"retention.ms": "5"})
    assert all(run.transcript == altering[0].transcript for run in altering)


def test_a_broker_and_a_group_have_settings_too(kafka: Shell, unique: str) -> None:
    """The words are the same; where a value comes from is said."""
    kafka.ok("config alter broker 1 --set log.cleaner.threads=2")
    told = kafka.ok("config describe broker 1 log.cleaner.threads").splitlines()[1]
    assert told.split() == ["log.cleaner.threads", "2", "broker"]
    kafka.ok("config alter broker 1 --unset log.cleaner.threads")
    kafka.ok(f"config alter group {unique} --set consumer.session.timeout.ms=50000")
    assert "50000  group" in kafka.ok(f"config describe group {unique}")
    assert kafka("config alter broker 1 --set node.id=5").code == 2


def test_the_admin_client_changes_and_deletes(kafka: Shell, reference: Process, unique: str) -> None:
    """Incremental changes, records deleted up to an offset, log directories with sizes, topics deleted by id."""
    topic, place = Resource(ResourceType.TOPIC, unique), TopicPartition(unique, 0)
    with Admin(reference.bootstrap) as admin:
        made = required(admin.create_topics([NewTopic(unique, 1, 1)])[unique])
        kafka.ok(f"produce {unique}", b"a\nb\nc\n")
        assert admin.alter_configs({topic: [ConfigChange("retention.ms", "-1")]}) == {topic: None}
        entries = required(admin.describe_configs([topic], names=["retention.ms"], documentation=True)[topic])
        assert (entries[0].value, entries[0].source) == ("-1", ConfigSource.DYNAMIC_TOPIC_CONFIG)
        assert entries[0].synonyms[0].name == "retention.ms"
        assert "retention" in (entries[0].documentation or "")
        assert admin.alter_configs({topic: [ConfigChange("retention.ms", None, ConfigOperation.DELETE)]}) == {
            topic: None
        }

        assert admin.delete_records({place: 2}) == {place: 2}
        beyond = admin.delete_records({place: 99, TopicPartition(unique, 7): 0})
        assert {key: each.code for key, each in beyond.items() if isinstance(each, RequestError)} == {
            place: ErrorCode.OFFSET_OUT_OF_RANGE,
            TopicPartition(unique, 7): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        }
        assert admin.delete_records({place: -1}) == {place: 3}

        (directory,) = admin.describe_log_dirs([1], {unique: [0]})
        assert (directory.path, directory.error) == (str(reference.data_dir), None)
        assert [(each.topic, each.partition, each.size_bytes > 0) for each in directory.replicas] == [(unique, 0, True)]
        assert len(admin.describe_log_dirs()[0].replicas) > 1

        assert made.topic_id is not None
        assert admin.delete_topics_by_id([made.topic_id]) == {made.topic_id: None}
        missing = admin.delete_topics_by_id(["AAAAAAAAAAAAAAAAAAAABw"])["AAAAAAAAAAAAAAAAAAAABw"]
        assert isinstance(missing, RequestError)
        assert missing.code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_group_of_the_consumer_protocol(kafka: Shell, reference: Process, unique: str) -> None:
    """KIP-848: described by its own API with epochs and target; no reset while it has members; listed by type."""
    kafka.ok(f"topic create {unique} -p 3")
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": reference.bootstrap, "group.id": unique, "group.protocol": "consumer", "client.id": "new"}
    )
    try:
        consumer.subscribe([unique])
        while not consumer.assignment():
            consumer.poll(0.1)
        facts = json.loads(kafka.ok(f"group describe {unique} --json"))[0]
        assert (facts["type"], facts["state"], facts["assignor"]) == ("Consumer", "Stable", "uniform")
        assert facts["members"][0]["assignment"] == [{"topic": unique, "partitions": [0, 1, 2]}]
        with Admin(reference.bootstrap) as admin:
            found = required(admin.describe_groups([unique])[unique])
            assert found.members[0].target == found.members[0].assignment
            assert (found.epoch, found.members[0].epoch) == (found.target_epoch, found.target_epoch)
        assert kafka(f"group reset {unique} --topic {unique} --to-latest").code == 1
        assert unique in kafka.ok("group list --type consumer --state stable")
        assert unique not in kafka.ok("group list --type classic")
    finally:
        consumer.close()
    kafka.ok(f"group delete {unique}")
