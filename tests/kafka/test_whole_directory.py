"""A whole data directory changes hands: Apache Kafka 4.3.1 starts on what Ottla left, Ottla on what Kafka left.

Nothing is rewritten: metadata log and snapshots, partition directories, group offsets and producer state are taken as
they lie. (`test_kafka_opens_ours.py` does the same with partition directories alone.)
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clients.drivers import DRIVERS, Driver, Rec, by_place, read, read_all
from tests.conftest import TEST_SETTINGS
from tests.kafka.broker import KafkaProcess
from tests.processes import OttlaProcess, Process

COUNT = 3000


def fill(driver: Driver, topic: str) -> list[Rec]:
    """Three partitions of records and a group that has read part of them; returns what is there."""
    driver.create_topic(topic, 3, configs={"segment.bytes": str(1 << 20), "retention.ms": "-1"})
    records = [Rec(b"%d" % number * 100, b"k%d" % number, partition=number % 3) for number in range(COUNT)]
    driver.produce(topic, records, codec="zstd", idempotent=True)
    member = driver.member(topic, topic)
    try:
        read(member, COUNT)
        member.commit(topic, {0: 5, 1: COUNT // 3})
    finally:
        member.close()
    return by_place(read_all(driver, topic, COUNT, range(3)))


def check(driver: Driver, topic: str, expected: list[Rec]) -> None:
    """Topic, config, records, offsets of the group; and the log goes on."""
    assert driver.partitions(topic) == [0, 1, 2]
    assert driver.topic_configs(topic)["retention.ms"] == "-1"
    assert by_place(read_all(driver, topic, COUNT, range(3))) == expected
    member = driver.member(topic, topic)
    try:
        assert [member.committed(topic, partition) for partition in range(3)] == [5, COUNT // 3, None]
    finally:
        member.close()
    assert driver.produce(topic, [Rec(b"next")], idempotent=True) == [COUNT // 3]


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.ottla
@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("way", [(OttlaProcess, KafkaProcess), (KafkaProcess, OttlaProcess)], ids=["away", "back"])
def test_a_directory_changes_hands(
    client_name: str, tmp_path: Path, unique: str, way: tuple[type[Process], type[Process]], end: str
) -> None:
    """What one broker acknowledged the other serves, after a stop and after SIGKILL."""
    first, second = (kind(tmp_path / kind.name, TEST_SETTINGS) for kind in way)
    try:
        first.start()
        expected = fill(DRIVERS[client_name](first.bootstrap), unique)
        if end == "stop":
            first.stop()
        else:
            first.kill()
        shutil.copytree(first.data_dir, second.data_dir)
        second.start()
        check(DRIVERS[client_name](second.bootstrap), unique, expected)
    finally:
        first.kill()
        second.kill()
