"""What the broker compacted is a log that Kafka's own tool finds nothing wrong with, and that Kafka serves."""

from __future__ import annotations

import re
from pathlib import Path

import confluent_kafka as ck
import pytest

from tests.clients.drivers import DRIVERS, QUIET, Rec, by_place, read_all, wait_until
from tests.conftest import TEST_SETTINGS, MakeBroker
from tests.kafka.broker import KafkaProcess
from tests.kafka.dump import COMPLAINTS, dump
from tests.kafka.test_kafka_opens_ours import replace_partition

SETTINGS = {**TEST_SETTINGS, "log.cleaner.backoff.ms": "50"}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CONFIGS = {"cleanup.policy": "compact", "segment.ms": "5000", "min.cleanable.dirty.ratio": "0.01"}
START_MS = 1_700_000_000_000
ROUNDS = 20


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
