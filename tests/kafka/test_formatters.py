"""Kafka's own formatters print what the coordinators keep in `__consumer_offsets` and `__transaction_state`.

The same history is played on the broker under test and on the reference, and ConsoleConsumer reads both with
OffsetsMessageFormatter, GroupMetadataMessageFormatter and TransactionLogMessageFormatter: each group and each
transactional id must have the same records in the same order, but for ids that a broker invents and for clocks.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count as numbers
from itertools import groupby
from typing import Any

import confluent_kafka as ck
import msgspec
import pytest

from ottla import _core
from ottla.coordinator.key_partition import partition_for
from ottla.messages import ConsumerGroupRegularExpressionValue
from tests.clients.drivers import QUIET
from tests.conftest import TEST_SETTINGS
from tests.kafka.tools import Tools
from tests.processes import Process
from tests.wire.cases.consumer_groups import Consumer, prepare
from tests.wire.cases.groups import Committer, Member
from tests.wire.cases.transactions import Producer, addition, begin, ending, here, initiation, settled
from tests.wire.differential import Talk

pytestmark = pytest.mark.kafka

WAIT_S = 30
PACKAGE = "org.apache.kafka.tools.consumer"
OFFSETS = "OffsetsMessageFormatter"
GROUPS = "GroupMetadataMessageFormatter"
TRANSACTIONS = "TransactionLogMessageFormatter"
TOPICS = {OFFSETS: "__consumer_offsets", GROUPS: "__consumer_offsets", TRANSACTIONS: "__transaction_state"}
# As many of both topics, so that one name finds the same partition of either.
PARTITIONS = int(TEST_SETTINGS["offsets.topic.num.partitions"])
assert int(TEST_SETTINGS["transaction.state.log.num.partitions"]) == PARTITIONS
UNCOMMITTED, COMMITTED = "read_uncommitted", "read_committed"
IDS = {"topicId", "producerId", "previousProducerId", "nextProducerId", "topic_id", "metadata_hash"}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BLANKS = re.compile(r"\s*")


@dataclass
class Record:
    """A key and its value, None for a tombstone."""

    key: dict[str, Any]
    value: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Whose it is."""
        return str(self.key["data"].get("group", self.key["data"].get("transactionalId")))


@dataclass
class Played:
    """What a history leaves to be looked at."""

    # Formatters and isolation levels, and the groups or transactional ids of which each prints something.
    looks: dict[tuple[str, str], list[str]]
    # The id that commits in transactions have with us, and not with Kafka.
    topic_id: str = ""
    clean: Callable[[], object] = lambda: None


History = Callable[[Talk], Played]
HISTORIES: dict[str, History] = {}


def history(function: History) -> History:
    HISTORIES[function.__name__] = function
    return function


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    """One JVM for all tools and both brokers."""
    made = Tools()
    yield made
    made.close()


def beside(talk: Talk, suffix: str) -> str:
    """A suffix like this, whose name is in the same partition as the conversation's own: one look sees all."""
    wanted = partition_for(talk.topic(), PARTITIONS)
    return next(
        f"{suffix}{number}"
        for number in numbers()
        if partition_for(talk.topic(f"{suffix}{number}"), PARTITIONS) == wanted
    )


# What is played.


def join(talk: Talk, group: str, **more: Any) -> Member:
    """The only member of a classic group, with its assignment."""
    member = Member(talk, group, 9)
    member.join("join", **more)
    if more.get("group_instance_id") is None:
        member.join("join", **more)
    assignments = [{"member_id": member.member_id, "assignment": b"all of it"}]
    talk.quietly("sync_group", 3, **{**member.fields(assignments=assignments), **more})
    return member


@history
def classic_groups(talk: Talk) -> Played:
    """A dynamic member that leaves, a static one that stays; a group that is deleted."""
    dynamic, static, deleted = (talk.topic(beside(talk, suffix)) for suffix in ("-dynamic", "-static", "-deleted"))
    for group in (dynamic, static, deleted):
        talk.coordinate(group)
    for group in (dynamic, deleted):
        member = join(talk, group)
        talk.quietly("leave_group", 3, group_id=group, members=[{"member_id": member.member_id}])
    join(talk, static, group_instance_id="instance")
    talk.quietly("delete_groups", 2, groups_names=[deleted])
    return Played({(GROUPS, UNCOMMITTED): [dynamic, static, deleted], (OFFSETS, UNCOMMITTED): []})


@history
def commits(talk: Talk) -> Played:
    """With text, with an end of its own, by name and by id; deleted alone and with the group."""
    group = talk.topic()
    talk.coordinate(group)
    topic_id = talk.create(partitions=3)
    for version in (2, 8, 10):
        by = Committer(talk, version)
        by.ids[""] = topic_id
        by.commit("offsets", ("", 0, version), ("", 1, version + 1), metadata=f"by version {version}")
    entry = {"partition_index": 2, "committed_offset": 5, "committed_metadata": None}
    topics: list[dict[str, Any]] = [{"name": group, "partitions": [entry]}]
    given = {"group_id": group, "generation_id_or_member_epoch": -1, "member_id": "", "retention_time": 3_600_000}
    talk.quietly("offset_commit", 2, topics=topics, **given)
    topics = [{"name": group, "partitions": [{"partition_index": 0}]}]
    talk.quietly("offset_delete", 0, group_id=group, topics=topics)
    talk.quietly("delete_groups", 2, groups_names=[group])
    return Played({(OFFSETS, UNCOMMITTED): [group], (GROUPS, UNCOMMITTED): [group]})


@history
def consumer_groups(talk: Talk) -> Played:
    """KIP-848: a static member that leaves for now and comes back with a pattern; its commits.

    No formatter prints the other records of such groups, and none stumbles over them.
    """
    group = talk.topic()
    topic_id = prepare(talk, partitions=2)
    one = Consumer(talk, 1, "one", talk.topic(), instance_id="i")
    one.join("joins")
    by = Committer(talk, 10)
    by.ids[""] = topic_id
    by.commit("as a member", ("", 0, 7), ("", 1, 8), member="one", generation=one.epoch)
    one.leave("leaves for now", -2)
    two = Consumer(talk, 1, "two", instance_id="i")
    two.join("is back", subscribed_topic_names=None, subscribed_topic_regex=talk.topic())
    # The pattern is matched beside the heartbeats, and makes another epoch.
    before, deadline = two.epoch, time.monotonic() + WAIT_S
    while two.epoch == before:
        assert time.monotonic() < deadline
        two.beat("until it is matched")
    two.leave("leaves")
    talk.quietly("delete_groups", 2, groups_names=[group])
    return Played({(OFFSETS, UNCOMMITTED): [group], (GROUPS, UNCOMMITTED): []})


@history
def transactions(talk: Talk) -> Played:
    """v1 and v2: committed, aborted, fenced while open, open, without any; with offsets of a group."""
    topic_id = talk.create(partitions=2)
    group = talk.topic(beside(talk, "-group"))
    talk.coordinate(group)
    names = []

    def start(suffix: str) -> tuple[str, Producer]:
        name, own = begin(talk, beside(talk, suffix))
        names.append(name)
        return name, own

    def commit(version: int, name: str, own: Producer, offset: int) -> None:
        entry = {"partition_index": 0, "committed_offset": offset, "committed_metadata": name}
        producer = {"transactional_id": name, "producer_id": own[0], "producer_epoch": own[1]}
        if version < 5:
            talk.quietly("add_offsets_to_txn", 3, group_id=group, **producer)
        fields = {"group_id": group, "generation_id": -1, "member_id": "", "group_instance_id": None}
        topics = [{"name": talk.topic(), "partitions": [entry]}]
        answer = talk.quietly("txn_offset_commit", version, topics=topics, **producer, **fields)
        assert answer["topics"][0]["partitions"][0]["error_code"] == "none", answer

    for version in (3, 5):
        name, own = start(f"-version-{version}-")
        for number, committed in enumerate((True, False)):
            if version < 5:
                talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk, 0, 1)))
            commit(version, name, own, 10 * version + number)
            answer = talk.quietly("end_txn", version, **ending(name, own, committed=committed))
            assert answer["error_code"] == "none", answer
            if version >= 5:
                own = (answer["producer_id"], answer["producer_epoch"])
            settled(talk, "ended", name)
    name, own = start("-fenced")
    commit(5, name, own, 100)
    while talk.quietly("init_producer_id", 5, **initiation(name))["error_code"] == "concurrent_transactions":
        pass
    start("-empty")
    name, own = start("-open")
    commit(5, name, own, 101)
    looks = {(OFFSETS, UNCOMMITTED): [group], (OFFSETS, COMMITTED): [group], (TRANSACTIONS, UNCOMMITTED): names}
    text = base64.urlsafe_b64encode(uuid.UUID(topic_id).bytes).decode().rstrip("=")
    return Played(looks, text, lambda: talk.quietly("end_txn", 5, **ending(name, own, committed=False)))


# What is read.


def raw(broker: Process, topic: str, partition: int, isolation: str) -> list[tuple[bytes, bytes | None]]:
    """The records a consumer gets now."""
    settings = {"group.id": "counts", "isolation.level": isolation, "enable.partition.eof": True, **QUIET}
    reader = ck.Consumer({"bootstrap.servers": broker.bootstrap, "enable.auto.commit": False, **settings})
    try:
        reader.assign([ck.TopicPartition(topic, partition, 0)])
        found: list[tuple[bytes, bytes | None]] = []
        while True:
            message = reader.poll(WAIT_S)
            assert message is not None
            error = message.error()
            if error is not None:
                assert error.code() == ck.KafkaError._PARTITION_EOF, error
                return found
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert value is None or isinstance(value, bytes)
            found.append((key, value))
    finally:
        reader.close()


def printed(tools: Tools, broker: Process, formatter: str, isolation: str, partition: int) -> list[Record]:
    """Everything the formatter prints of a partition."""
    topic = TOPICS[formatter]
    count = len(raw(broker, topic, partition, isolation))
    place = ("--topic", topic, "--partition", str(partition), "--offset", "earliest")
    end = ("--max-messages", str(count), "--timeout-ms", str(1000 * WAIT_S))
    how = ("--formatter", f"{PACKAGE}.{formatter}", "--isolation-level", isolation)
    said = tools.run("consume", "--bootstrap-server", broker.bootstrap, *place, *end, *how)
    assert said.code == 0, said.err
    return [Record(each["key"], each["value"]) for each in values(said.out)]


def values(text: str) -> Iterator[Any]:
    """JSON values, one after the other: the formatters write no newlines."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        yield value
        blanks = BLANKS.match(text, place)
        assert blanks is not None
        place = blanks.end()


def settle(records: list[Record], topic_id: str) -> list[Any]:
    """What a broker invents replaced, the same id by the same word; and the order of Kafka's hash maps undone."""
    seen: dict[Any, str] = {}

    def symbol(value: Any) -> str:
        return seen.setdefault(value, f"#{len(seen) + 1}")

    def walk(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: walk(value[key], key) for key in sorted(value) if (key, value[key]) != ("topicId", topic_id)}
        if isinstance(value, list):
            return sorted((walk(each, name) for each in value), key=str)
        if name in IDS and value != -1:
            return symbol(value)
        if "timestamp" in name.lower() and value != -1:
            return "a time"
        return UUID.sub(lambda match: symbol(match[0]), value) if isinstance(value, str) else value

    found: list[Any] = []
    for is_tombstone, run in groupby(records, key=lambda record: record.value is None):
        settled_run = [(walk(record.key), walk(record.value)) for record in run]
        found += sorted(settled_run, key=str) if is_tombstone else settled_run
    return found


@pytest.mark.parametrize("name", HISTORIES)
def test_formatters_print_the_same(tools: Tools, broker: Process, reference: Process, unique: str, name: str) -> None:
    """What the docstring of the history says, as each formatter prints it."""
    found: list[dict[tuple[str, str, str], list[Any]]] = []
    for process in (broker, reference):
        talk = Talk(process, unique)
        played = HISTORIES[name](talk)
        partition = partition_for(unique, PARTITIONS)
        of_this: dict[tuple[str, str, str], list[Any]] = {}
        for (formatter, isolation), names in played.looks.items():
            records = [
                each
                for each in printed(tools, process, formatter, isolation, partition)
                if each.name.startswith(unique) and not each.name.endswith(("-probe", "-first"))
            ]
            assert {each.name for each in records} == set(names), (process.name, formatter)
            for each in names:
                own = [record for record in records if record.name == each]
                of_this[formatter, isolation, each] = settle(own, played.topic_id)
        found.append(of_this)
        played.clean()
        talk.close()
    ours, theirs = found
    for place, said in ours.items():
        assert said == theirs[place], place


def test_consumer_groups_have_the_records_of_kafkas(broker: Process, reference: Process, unique: str) -> None:
    """KIP-848, whose own records no formatter prints: all of them, read with our codec."""
    codec = _core.Codec()
    found = []
    for process in (broker, reference):
        talk = Talk(process, unique)
        consumer_groups(talk)
        talk.close()
        records = []
        for encoded in raw(process, TOPICS[GROUPS], partition_for(unique, PARTITIONS), UNCOMMITTED):
            decoded = codec.decode_coordinator_record("group", *encoded)
            assert decoded is not None
            key, value = decoded
            said = msgspec.to_builtins(key)
            if unique in (said.get("group_id"), said.get("group")):
                said["kind"] = type(key).__name__
                meant: Any = None if value is None else msgspec.to_builtins(value)
                if isinstance(value, ConsumerGroupRegularExpressionValue):
                    # Of the cluster's metadata.
                    del meant["version"]
                records.append(Record(said, meant))
        found.append(settle(records, ""))
    ours, theirs = found
    assert len({record[0]["kind"] for record in ours}) >= 6
    assert ours == theirs
