"""Compacted topics end to end: the last value of a key stays, tombstones go after their time, also across a SIGKILL."""

from __future__ import annotations

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.clients.drivers import CK_ADMIN, QUIET, wait_until
from tests.conftest import TEST_SETTINGS, MakeBroker

SETTINGS = {**TEST_SETTINGS, "log.cleaner.backoff.ms": "50"}
# A record's own time closes segments: each batch below lies ten seconds behind the one before.
SMALL = {"cleanup.policy": "compact", "segment.ms": "5000", "min.cleanable.dirty.ratio": "0.01"}
STEP_MS = 10_000
# Before the records' times: so that the first is not refused as too far ahead.
START_MS = 1_700_000_000_000


class Table:
    """A compacted topic written one record at a time, each in a segment of its own."""

    def __init__(self, bootstrap: str, topic: str, **configs: str) -> None:
        self.bootstrap, self.topic, self.at_ms = bootstrap, topic, START_MS
        admin = AdminClient({"bootstrap.servers": bootstrap})
        made = admin.create_topics([NewTopic(topic, 1, 1, config={**SMALL, **configs})])
        made[topic].result(30)

    def put(self, *records: tuple[str, str | None]) -> None:
        producer = ck.Producer({"bootstrap.servers": self.bootstrap, **QUIET})
        for key, value in records:
            self.at_ms += STEP_MS
            producer.produce(self.topic, value, key, partition=0, timestamp=self.at_ms)
            assert producer.flush(30) == 0

    def read(self) -> list[tuple[int, str, str | None]]:
        consumer = ck.Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.topic, **QUIET})
        try:
            place = ck.TopicPartition(self.topic, 0, 0)
            _, end = consumer.get_watermark_offsets(place, 30)
            consumer.assign([place])
            found: list[tuple[int, str, str | None]] = []
            while True:
                message = consumer.poll(30)
                assert message is not None, f"nothing up to {end} after {found}"
                assert not message.error(), message.error()
                key, value, offset = message.key(), message.value(), message.offset()
                assert key is not None
                assert offset is not None
                found.append((offset, key.decode(), None if value is None else value.decode()))
                if offset == end - 1:
                    return found
        finally:
            consumer.close()

    def offsets(self) -> list[int]:
        return [offset for offset, _, _ in self.read()]


def test_the_last_value_of_each_key_stays(make_broker: MakeBroker, unique: str) -> None:
    """At its offset, in order; the record being written last is there whatever it is; and so it is after a SIGKILL."""
    broker = make_broker(SETTINGS)
    table = Table(broker.bootstrap, unique)
    table.put(*[(f"key-{number % 3}", str(number)) for number in range(12)])
    table.put(("last", "12"))
    wait_until(lambda: len(table.read()) == 4, "compacted")
    expected = [(9, "key-0", "9"), (10, "key-1", "10"), (11, "key-2", "11"), (12, "last", "12")]
    assert table.read() == expected
    broker.kill()
    broker.start()
    again = Table.__new__(Table)
    again.bootstrap, again.topic, again.at_ms = broker.bootstrap, unique, table.at_ms
    assert again.read() == expected
    again.put(("key-0", None), ("last", "14"))
    wait_until(lambda: 9 not in again.offsets(), "compacted again")
    # What the record being written last replaces is not looked for before its segment is closed.
    kept = [(10, "key-1", "10"), (11, "key-2", "11"), (12, "last", "12"), (13, "key-0", None), (14, "last", "14")]
    assert again.read() == kept


def test_tombstones_go_after_their_time(make_broker: MakeBroker, unique: str) -> None:
    """With delete.retention.ms at nothing a tombstone goes with the second pass that sees it; with a day it stays."""
    broker = make_broker(SETTINGS)
    short = Table(broker.bootstrap, unique, **{"delete.retention.ms": "0"})
    long = Table(broker.bootstrap, f"{unique}-long")
    for table in (short, long):
        table.put(("a", "1"), ("b", "2"), ("a", None), ("c", "4"))
        wait_until(lambda table=table: 0 not in table.offsets(), "what the tombstone deletes is gone")  # type: ignore[misc]
        # Something dirty, for which a pass is made.
        table.put(("c", "5"))
        table.put(("c", "6"))
    wait_until(lambda: 2 not in short.offsets(), "the tombstone is gone")
    wait_until(lambda: 3 not in long.offsets(), "the other topic is compacted too")
    assert short.read() == [(1, "b", "2"), (4, "c", "5"), (5, "c", "6")]
    assert long.read() == [(1, "b", "2"), (2, "a", None), (4, "c", "5"), (5, "c", "6")]


def test_an_altered_time_for_tombstones(make_broker: MakeBroker, unique: str) -> None:
    """delete.retention.ms holds as it is when a pass first sees the tombstone."""
    broker = make_broker(SETTINGS)
    table = Table(broker.bootstrap, unique)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    entry = CK_ADMIN.ConfigEntry("delete.retention.ms", "0", incremental_operation=CK_ADMIN.AlterConfigOpType.SET)
    resource = CK_ADMIN.ConfigResource(CK_ADMIN.ResourceType.TOPIC, unique, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)

    def shown() -> str | None:
        asked = CK_ADMIN.ConfigResource(CK_ADMIN.ResourceType.TOPIC, unique)
        value: str | None = admin.describe_configs([asked])[asked].result(30)["delete.retention.ms"].value
        return value

    wait_until(lambda: shown() == "0", "altered")
    table.put(("a", "1"), ("b", "2"), ("a", None), ("c", "4"))
    wait_until(lambda: 0 not in table.offsets(), "what the tombstone deletes is gone")
    table.put(("c", "5"))
    table.put(("c", "6"))
    # A pass that begins between the two takes the tombstone, and the next one what the last record replaces.
    left = [(1, "b", "2"), (4, "c", "5"), (5, "c", "6")]
    wait_until(lambda: table.read() == left, "the tombstone is gone")


def values(bootstrap: str, topic: str, isolation: str) -> list[tuple[str, str]]:
    """Keys and values up to where a reader gets."""
    settings = {"group.id": topic, "isolation.level": isolation, "enable.partition.eof": True, **QUIET}
    reader = ck.Consumer({"bootstrap.servers": bootstrap, **settings})
    try:
        reader.assign([ck.TopicPartition(topic, 0, 0)])
        found: list[tuple[str, str]] = []
        while True:
            message = reader.poll(30)
            assert message is not None, found
            error = message.error()
            if error is not None:
                assert error.code() == ck.KafkaError._PARTITION_EOF, error
                return found
            key, value = message.key(), message.value()
            assert key is not None
            assert value is not None
            found.append((key.decode(), value.decode()))
    finally:
        reader.close()


def test_committed_reads_of_a_compacted_topic(make_broker: MakeBroker, unique: str) -> None:
    """No record of an aborted or open transaction is shown, before, while and after it is compacted, nor after a
    SIGKILL; of what was committed the last value of each key is there.
    """
    broker = make_broker(SETTINGS)
    # Markers have the time they are written at, so the records need theirs, too.
    Table(broker.bootstrap, unique, **{"segment.ms": "1"})
    producers = [
        ck.Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"{unique}-{number}", **QUIET})
        for number in range(2)
    ]
    last: dict[str, str] = {}
    shown: list[tuple[str, str]] = []

    def send(producer: ck.Producer, said: str, *keys: str) -> None:
        for key in keys:
            producer.produce(unique, said, key, partition=0)
            assert producer.flush(30) == 0

    def look() -> list[tuple[str, str]]:
        found = values(broker.bootstrap, unique, "read_committed")
        assert not [each for each in found if not each[1].startswith("committed")]
        assert dict(found) == last
        return found

    for producer in producers:
        producer.init_transactions(30)
    for number in range(6):
        # Two transactions across each other, of which one is aborted; the keys of the aborted one are never committed.
        for producer in producers:
            producer.begin_transaction()
        send(producers[0], f"committed {number}", "a", "b")
        send(producers[1], f"aborted {number}", "a", "c")
        send(producers[0], f"committed {number}", f"own {number}")
        if number % 2:
            producers[1].abort_transaction(30)
        producers[0].commit_transaction(30)
        if not number % 2:
            producers[1].abort_transaction(30)
        last.update({"a": f"committed {number}", "b": f"committed {number}", f"own {number}": f"committed {number}"})
        # The answer to the end comes a moment before the marker.
        wait_until(lambda: dict(values(broker.bootstrap, unique, "read_committed")) == last, "committed")
    producers[0].begin_transaction()
    send(producers[0], "open", "a", "b", "d")
    everything = values(broker.bootstrap, unique, "read_uncommitted")
    assert ("d", "open") in everything

    def is_compacted() -> bool:
        shown[:] = look()
        left = values(broker.bootstrap, unique, "read_uncommitted")
        return not [each for each in left if each[1].startswith("aborted")] and len(shown) == len(last)

    wait_until(is_compacted, "compacted")
    broker.kill()
    broker.start()
    assert look() == shown


@pytest.mark.ottla
def test_offsets_of_groups_are_compacted(make_broker: MakeBroker, unique: str) -> None:
    """`__consumer_offsets` does not keep every commit ever made, and a restart still knows the last one."""
    settings = {**SETTINGS, "offsets.topic.segment.bytes": "1048576", "offsets.topic.num.partitions": "1"}
    broker = make_broker(settings)
    table = Table(broker.bootstrap, unique)
    table.put(("a", "1"))
    place = ck.TopicPartition(unique, 0, 0)
    consumer = ck.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": unique, **QUIET})
    log = broker.data_dir / "__consumer_offsets-0"

    def kept() -> int:
        return sum(path.stat().st_size for path in log.glob("*.log"))

    written = 0
    try:
        while written < 3 * 2**20:
            batch = [ck.TopicPartition(unique, 0, 1, metadata="m" * 4000)]
            consumer.commit(offsets=batch, asynchronous=False)
            written += 4000
        consumer.commit(offsets=[ck.TopicPartition(unique, 0, 1, metadata="last")], asynchronous=False)
        wait_until(lambda: kept() < 2 * 2**20, "compacted")
        broker.kill()
        broker.start()
        again = ck.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": unique, **QUIET})
        try:
            assert again.committed([place], 30)[0].metadata == "last"
        finally:
            again.close()
    finally:
        consumer.close()
