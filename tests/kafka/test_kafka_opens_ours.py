"""Apache Kafka 4.3.1 itself starts on a copy of the broker's partition directories and serves the same records.

Kafka gives a topic its id when it is created, and opens a partition directory only under the id in its
`partition.metadata`. So the topics are created in an empty Kafka, it is stopped, and its partition directories are
replaced by ours with that one line changed. Every other byte is as the broker wrote it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clients.drivers import DRIVERS, Driver, Rec, by_place, read_all
from tests.conftest import MakeBroker
from tests.kafka.broker import KafkaProcess

SIZES = {"one": 1, "three": 3}
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def write(driver: Driver, topic: str, partitions: int) -> int:
    """Records of every shape and codec; returns how many."""
    shapes = [
        Rec(b"v", b"k", (("h", b"1"), ("h", b"")), timestamp=1_700_000_000_000),
        Rec(None, b"only a key"),
        Rec(b"", b""),
        Rec(bytes(range(256)) * 64, b"long"),
    ]
    driver.create_topic(topic, partitions, configs={"segment.bytes": str(1 << 20)})
    records = [shape._replace(partition=number % partitions) for number in range(300) for shape in shapes]
    for codec in CODECS:
        driver.produce(topic, records, codec=codec, idempotent=codec == "lz4")
    return len(records) * len(CODECS)


def replace_partition(theirs: Path, ours: Path) -> None:
    """Our directory in the place of theirs, under their topic id."""
    their_id = next(line for line in (theirs / "partition.metadata").read_text().splitlines() if "topic_id" in line)
    shutil.rmtree(theirs)
    shutil.copytree(ours, theirs)
    lines = (theirs / "partition.metadata").read_text().splitlines()
    lines = [their_id if line.startswith("topic_id") else line for line in lines]
    (theirs / "partition.metadata").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_kafka_serves_our_partition_directories(
    client_name: str, make_broker: MakeBroker, tmp_path: Path, unique: str, end: str
) -> None:
    """Keys, values, headers, timestamps and offsets are the same, and a write of Kafka's goes behind the last of ours;
    also when the broker was killed and left no snapshot.
    """
    ours = make_broker()
    driver = DRIVERS[client_name](ours.bootstrap)
    topics = {f"{unique}-{word}": partitions for word, partitions in SIZES.items()}
    counts = {topic: write(driver, topic, partitions) for topic, partitions in topics.items()}
    before = {topic: by_place(read_all(driver, topic, counts[topic], range(topics[topic]))) for topic in topics}
    if end == "stop":
        ours.stop()
    else:
        ours.kill()

    kafka = KafkaProcess(tmp_path / "kafka")
    try:
        kafka.start()
        there = DRIVERS[client_name](kafka.bootstrap)
        for topic, partitions in topics.items():
            there.create_topic(topic, partitions, configs={"segment.bytes": str(1 << 20)})
            there.produce(topic, [Rec(b"so that the directory exists", partition=each) for each in range(partitions)])
        kafka.stop()
        for topic, partitions in topics.items():
            for index in range(partitions):
                replace_partition(kafka.data_dir / f"{topic}-{index}", ours.data_dir / f"{topic}-{index}")
        kafka.start()
        there = DRIVERS[client_name](kafka.bootstrap)
        for topic, partitions in topics.items():
            assert by_place(read_all(there, topic, counts[topic], range(partitions))) == before[topic]
            assert there.produce(topic, [Rec(b"next")]) == [counts[topic] // partitions]
    finally:
        kafka.kill()
