"""What the broker compacted is a log that Kafka's own tool finds nothing wrong with, and that Kafka serves."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

import confluent_kafka as ck
import pytest

from tests.clients.drivers import DRIVERS, QUIET, Rec, by_place, read_all, wait_until
from tests.conftest import TEST_SETTINGS, MakeBroker
from tests.kafka.broker import KafkaProcess
from tests.kafka.dump import COMPLAINTS, dump
from tests.kafka.jars import ROOT
from tests.kafka.test_kafka_opens_ours import replace_partition
from tests.kafka.tools import Tools
from tests.processes import Process

SETTINGS = {**TEST_SETTINGS, "log.cleaner.backoff.ms": "50"}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CONFIGS = {"cleanup.policy": "compact", "segment.ms": "5000", "min.cleanable.dirty.ratio": "0.01"}
START_MS = 1_700_000_000_000
ROUNDS = 20
# A partition that Kafka's cleaner has been over twice, and what Kafka answered to a read_committed consumer.
THEIRS = ROOT / "rust" / "log" / "tests" / "fixtures" / "kafka-4.3.1-compacted"

# Offset, key, value (`-`: none).
Row = tuple[int, str, str]


def write(bootstrap: str, topic: str) -> None:
    """Batches of four in every codec, idempotent and with tombstones; each closes the segment before it."""
    for codec in CODECS:
        producer = ck.Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": codec,
                "linger.ms": 50,
                **QUIET,
            }
        )
        for number in range(ROUNDS):
            at_ms = START_MS + 10_000 * (CODECS.index(codec) * ROUNDS + number)
            for record in range(4):
                key = f"key {(number * 7 + record * 5) % 23}"
                value = None if (number + record) % 3 == 0 else f"{codec} {number}"
                producer.produce(topic, value, key, partition=0, timestamp=at_ms)
            assert producer.flush(30) == 0


def compacted(broker_data: Path, topic: str) -> bool:
    """All but the segment being written, as the cleaner's checkpoint says."""
    checkpoint = broker_data / "cleaner-offset-checkpoint"
    found = re.search(rf"^{topic} 0 (\d+)$", checkpoint.read_text(), re.MULTILINE) if checkpoint.exists() else None
    return found is not None and int(found[1]) >= 4 * (len(CODECS) * ROUNDS - 1)


@pytest.mark.kafka
def test_dump_log_segments_reads_what_was_compacted(make_broker: MakeBroker, unique: str) -> None:
    """No complaint; batches that lost records, batches without any and delete horizons are all there."""
    broker = make_broker(SETTINGS)
    DRIVERS["librdkafka"](broker.bootstrap).create_topic(unique, 1, configs=CONFIGS)
    write(broker.bootstrap, unique)
    wait_until(lambda: compacted(broker.data_dir, unique), "compacted")
    broker.stop()
    (text,) = dump([broker.data_dir / f"{unique}-0"]).values()
    complaints = [line for line in text.splitlines() if COMPLAINTS.search(line) and "isvalid: true" not in line]
    assert complaints == []
    assert "deleteHorizonMs: OptionalLong[" in text
    assert re.search(r" count: 0 ", text)
    assert re.search(r" count: [123] .* compresscodec: (gzip|snappy|lz4|zstd)", text)
    offsets = [int(found) for found in re.findall(r"^\| offset: (\d+)", text, re.MULTILINE)]
    assert offsets == sorted(set(offsets))
    assert 23 <= len(offsets) < 60


@pytest.mark.long
@pytest.mark.kafka
def test_kafka_serves_what_we_compacted(make_broker: MakeBroker, tmp_path: Path, unique: str) -> None:
    """The same records at the same offsets, and a write of Kafka's goes behind the last."""
    broker = make_broker(SETTINGS)
    driver = DRIVERS["librdkafka"](broker.bootstrap)
    driver.create_topic(unique, 1, configs=CONFIGS)
    write(broker.bootstrap, unique)
    wait_until(lambda: compacted(broker.data_dir, unique), "compacted")
    (text,) = dump([broker.data_dir / f"{unique}-0"]).values()
    count = len(re.findall(r"^\| offset: \d+", text, re.MULTILINE))
    before = by_place(read_all(driver, unique, count))
    broker.stop()
    kafka = KafkaProcess(tmp_path / "kafka")
    try:
        kafka.start()
        there = DRIVERS["librdkafka"](kafka.bootstrap)
        there.create_topic(unique, 1, configs=CONFIGS)
        there.produce(unique, [Rec(b"so that the directory exists", b"key")])
        kafka.stop()
        replace_partition(kafka.data_dir / f"{unique}-0", broker.data_dir / f"{unique}-0")
        kafka.start()
        there = DRIVERS["librdkafka"](kafka.bootstrap)
        assert by_place(read_all(there, unique, count)) == before
        assert there.produce(unique, [Rec(b"next", b"key")]) == [4 * len(CODECS) * ROUNDS]
    finally:
        kafka.stop()


def write_on(bootstrap: str, topic: str) -> list[Row]:
    """Some of the keys again, with a tombstone; each time a segment is closed. The records of it."""
    at_ms = int(time.time() * 1000)
    rows: list[Row] = []

    def told(error: object, message: ck.Message) -> None:
        assert error is None, error
        offset, key, value = message.offset(), message.key(), message.value()
        assert offset is not None
        assert isinstance(key, bytes)
        assert value is None or isinstance(value, bytes)
        rows.append((offset, key.decode(), "-" if value is None else value.decode()))

    for codec, keys in (("zstd", "k0 k1 k2"), ("lz4", "k2 k4 k5"), ("none", "k7"), ("none", "k8")):
        at_ms += 10_000
        producer = ck.Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": codec, **QUIET})
        for number, key in enumerate(keys.split()):
            value = None if number == 1 else f"{codec} {key}"
            producer.produce(topic, value, key, partition=0, timestamp=at_ms, on_delivery=told)
        assert producer.flush(30) == 0
    return rows


def seen(tools: Tools, broker: Process, topic: str) -> list[Row]:
    """What the Java consumer shows of committed records."""
    shown = [word for name in ("offset", "key") for word in ("--formatter-property", f"print.{name}=true")]
    shown += ["--formatter-property", "null.literal=-"]
    where = ["--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning", "--timeout-ms", "5000"]
    said = tools.run("consume", *where, "--isolation-level", "read_committed", *shown)
    found = re.findall(r"^Offset:(\d+)\t([^\t]*)\t(.*)$", said.out, re.MULTILINE)
    return [(int(offset), key, value) for offset, key, value in found]


def last_of_each(rows: Iterable[Row]) -> dict[str, Row]:
    """Of each key the last row; none of those that were deleted."""
    last = {row[1]: row for row in sorted(rows)}
    return {key: row for key, row in last.items() if row[2] != "-"}


@pytest.mark.long
@pytest.mark.kafka
def test_what_kafka_compacted_is_compacted_further(make_broker: MakeBroker, tmp_path: Path, unique: str) -> None:
    """The same last record of each key as before, at its offset, for a Java consumer of ours, and of Kafka that opens
    our files; Kafka's tool finds nothing wrong with them.
    """
    broker = make_broker(SETTINGS)
    driver = DRIVERS["librdkafka"](broker.bootstrap)
    driver.create_topic(unique, 1, configs=CONFIGS)
    driver.produce(unique, [Rec(b"so that the directory exists", b"key")])
    broker.stop()
    replace_partition(broker.data_dir / f"{unique}-0", THEIRS / "compacted-0")
    broker.start()
    before = [line.split("\t", 2) for line in (THEIRS / "read_committed.tsv").read_text().splitlines()]
    written = [(int(offset), key, value) for offset, key, value in before]
    written += write_on(broker.bootstrap, unique)
    # The last record alone is in the segment that is being written.
    end = max(offset for offset, _, _ in written)
    cleaned = re.compile(rf"^{unique} 0 {end}$", re.MULTILINE)
    checkpoint = broker.data_dir / "cleaner-offset-checkpoint"
    wait_until(lambda: checkpoint.exists() and cleaned.search(checkpoint.read_text()) is not None, "compacted")
    tools = Tools()
    kafka = KafkaProcess(tmp_path / "kafka")
    try:
        rows = seen(tools, broker, unique)
        assert last_of_each(rows) == last_of_each(written)
        values = [row for row in rows if row[2] != "-"]
        assert sorted(values) == sorted(last_of_each(written).values()), "of each key only the last is left"
        broker.stop()
        (text,) = dump([broker.data_dir / f"{unique}-0"]).values()
        assert [line for line in text.splitlines() if COMPLAINTS.search(line) and "isvalid: true" not in line] == []
        kafka.start()
        there = DRIVERS["librdkafka"](kafka.bootstrap)
        there.create_topic(unique, 1, configs=CONFIGS)
        there.produce(unique, [Rec(b"so that the directory exists", b"key")])
        kafka.stop()
        replace_partition(kafka.data_dir / f"{unique}-0", broker.data_dir / f"{unique}-0")
        kafka.start()
        assert seen(tools, kafka, unique) == rows
    finally:
        tools.close()
        kafka.stop()
