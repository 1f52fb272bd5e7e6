"""Consumer groups when a start finds something missing: a damaged partition, a deletion cut short by a crash."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata

import ottla
from ottla.controller.names import OFFSETS_TOPIC
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.key_partition import partition_for
from ottla.coordinator.shard import State
from tests.clients.drivers import wait_until
from tests.wire.client import Connection

PARTITIONS = 4
CONFIG = {"offsets.topic.num.partitions": PARTITIONS}
AT = TopicPartition("t", 0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Where the brokers of a test live, one after the other."""
    return tmp_path / "data"


def begin(broker: ottla.Broker) -> None:
    """A topic with a record."""
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    producer.send("t", b"1").get(30)
    producer.close()


def connect(broker: ottla.Broker) -> Connection:
    host, _, port = broker.bootstrap_servers.rpartition(":")
    return Connection(host, int(port))


def states(broker: ottla.Broker) -> list[State]:
    return [shard.state for shard in broker.status().groups.shards]


def commit(broker: ottla.Broker, group: str, offset: int) -> None:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id=group)
    consumer.assign([AT])
    consumer.commit({AT: OffsetAndMetadata(offset, "", -1)}, timeout_ms=30_000)
    consumer.close(autocommit=False)


def committed(broker: ottla.Broker, group: str) -> int | None:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id=group)
    try:
        offset: int | None = consumer.committed(AT)
        return offset
    finally:
        consumer.close(autocommit=False)


def test_a_damaged_offsets_partition_takes_its_own_groups_only(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One shard is FAILED and the log says which; groups of the others find their offsets."""
    groups = {partition_for(f"g{number}", PARTITIONS): f"g{number}" for number in range(20)}
    with ottla.Broker(data, config=CONFIG) as broker:
        begin(broker)
        for partition, group in groups.items():
            commit(broker, group, partition)
    damaged = data / f"{OFFSETS_TOPIC}-1"
    shutil.rmtree(damaged)
    damaged.write_text("not a directory")
    with ottla.Broker(data, config=CONFIG) as broker:
        wait_until(lambda: State.LOADING not in states(broker), "loaded")
        assert states(broker) == [State.ACTIVE, State.FAILED, State.ACTIVE, State.ACTIVE]
        for partition in (0, 2, 3):
            assert committed(broker, groups[partition]) == partition
    assert any("coordinator 1 cannot be loaded" in message for message in caplog.messages)


def test_offsets_of_a_deleted_topic_do_not_come_back(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker dies between the deletion and its tombstones: neither the next start nor a new topic shows them."""

    def recreate(broker: ottla.Broker) -> None:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        if broker._now().controller.image.topics.get("t"):
            admin.delete_topics(["t"])
        admin.create_topics([NewTopic("t", 1, 1)])
        admin.close()

    with monkeypatch.context() as patch:
        patch.setattr(GroupCoordinator, "on_topics_deleted", lambda *_: None)
        with ottla.Broker(data, config=CONFIG) as broker:
            begin(broker)
            commit(broker, "g", 1)
            recreate(broker)
            assert committed(broker, "g") is None
            commit(broker, "h", 5)
    with ottla.Broker(data, config=CONFIG) as broker:
        assert committed(broker, "g") is None
        assert committed(broker, "h") == 5
        commit(broker, "g", 3)
        assert committed(broker, "g") == 3


def test_a_start_finishes_a_deletion(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tombstones a crash has kept from being written are written by the next start."""
    with monkeypatch.context() as patch:
        patch.setattr(GroupCoordinator, "on_topics_deleted", lambda *_: None)
        with ottla.Broker(data, config=CONFIG) as broker:
            begin(broker)
            commit(broker, "g", 1)
            admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
            admin.delete_topics(["t"])
            admin.close()
    with ottla.Broker(data, config=CONFIG) as broker:
        wait_until(lambda: State.LOADING not in states(broker), "loaded")
        wait_until(lambda: broker.status().groups.appended_records == 1, "deleted")
    with ottla.Broker(data, config=CONFIG) as broker:
        wait_until(lambda: State.LOADING not in states(broker), "loaded")
        assert broker.status().groups.appended_records == 0


def test_a_stable_group_survives_a_killed_broker(data: Path) -> None:
    """A static member goes on under its id in its generation, comes back into it, and others are fenced.

    What a kill leaves is the directory as it is: a copy of it, taken while the broker runs, is opened.
    """
    times = {"session_timeout": 10_000, "rebalance_timeout": 10_000}
    protocols = [{"name": "range", "metadata": b"\0\0" + b"\0\0\0\1\0\1t" + b"\xff\xff\xff\xff"}]
    join = {"group_id": "g", "protocol_type": "consumer", "protocols": protocols, **times}
    config = {**CONFIG, "group.initial.rebalance.delay.ms": "0", "log.dirs": str(data)}
    killed = data.with_name("killed")
    with ottla.Broker(config=config) as broker, connect(broker) as connection:
        begin(broker)
        commit(broker, "other", 1)
        joined = connection.ask("join_group", 5, member_id="", group_instance_id="one", **join)
        assert joined["error_code"] == "none"
        member = {"group_id": "g", "generation_id": joined["generation_id"], "member_id": joined["member_id"]}
        part = [{"member_id": joined["member_id"], "assignment": b"all"}]
        synced = connection.ask("sync_group", 3, group_instance_id="one", assignments=part, **member)
        assert synced["error_code"] == "none"
        shutil.copytree(data, killed)
    with ottla.Broker(config={**config, "log.dirs": str(killed)}) as broker, connect(broker) as connection:
        assert not broker.status().clean_start
        # Until then a Heartbeat is answered for nothing.
        wait_until(lambda: State.LOADING not in states(broker), "loaded")
        assert connection.ask("heartbeat", 3, group_instance_id="one", **member)["error_code"] == "none"
        stranger = {**member, "member_id": "stranger"}
        answer = connection.ask("heartbeat", 3, group_instance_id="one", **stranger)
        assert answer["error_code"] == "fenced_instance_id"
        again = connection.ask("sync_group", 3, group_instance_id="one", assignments=[], **member)
        assert again["assignment"] == b"all"
        back = connection.ask("join_group", 9, member_id="", group_instance_id="one", reason=None, **join)
        assert (back["error_code"], back["generation_id"]) == ("none", member["generation_id"])
        assert back["skip_assignment"]
