"""ListOffsets and OffsetForLeaderEpoch."""

from __future__ import annotations

from typing import Any

from tests.wire.batches import LZ4, Batch, Record
from tests.wire.client import Plain
from tests.wire.differential import Talk, case

TIME = 1_700_000_000_000
SPECIAL = {"latest": -1, "earliest": -2, "max timestamp": -3, "earliest local": -4, "latest tiered": -5, "pending": -6}


def timed(*times: int, attributes: int = 0) -> Batch:
    return Batch([Record(b"v", timestamp=TIME + each) for each in times], attributes=attributes)


@case(range(1, 12))
def list_offsets(talk: Talk, version: int) -> None:
    """Times, the special times up to -6, empty logs, unknown places, leader epochs, isolation."""
    talk.create("-empty")
    talk.create("-full", partitions=2)
    full = talk.topic("-full")
    talk.produce(full, timed(0, 10, 20))
    talk.produce(full, timed(50, 30, 40, attributes=LZ4))
    talk.produce(full, timed(50, 5))

    def ask(label: str, timestamp: int, topic: str = full, partition: int = 0, epoch: int = -1, **more: Any) -> None:
        asked = {"partition_index": partition, "timestamp": timestamp, "current_leader_epoch": epoch}
        topics = [{"name": topic, "partitions": [asked]}]
        fields: Plain = {"replica_id": -1, "isolation_level": 0, "timeout": 1000, **more}
        talk.ask(label, "list_offsets", version, topics=topics, **fields)

    for name, timestamp in SPECIAL.items():
        ask(f"{name} of a full log", timestamp)
        ask(f"{name} of an empty log", timestamp, talk.topic("-empty"))
        ask(f"{name} of an unused partition", timestamp, partition=1)
    ask("committed latest", -1, isolation_level=1)
    ask("no such special time", -7)
    for delta in (-1, 0, 1, 10, 25, 30, 41, 50, 51):
        ask(f"at {delta}", TIME + delta)
    ask("committed at 30", TIME + 30, isolation_level=1)
    ask("unknown topic", -1, talk.topic("-none"))
    ask("unknown partition", -1, partition=7)
    ask("negative partition", -1, partition=-1)
    if version >= 4:
        ask("right epoch", -1, epoch=0)
        ask("epoch of the future", -1, epoch=5)
    ask("as a debugger", -1, replica_id=-2)
    many = [{"partition_index": index, "timestamp": timestamp} for index in (0, 1, 5) for timestamp in (-1,)]
    topics = [{"name": full, "partitions": many}, {"name": talk.topic("-none"), "partitions": many[:1]}]
    answer = talk.quietly("list_offsets", version, topics=topics, replica_id=-1, isolation_level=0, timeout=1000)
    for topic in answer["topics"]:
        topic["partitions"].sort(key=lambda each: each["partition_index"])
    talk.note("several", {**answer, "topics": sorted(answer["topics"], key=lambda topic: str(topic["name"]))})
    twice = [{"partition_index": 0, "timestamp": -1}, {"partition_index": 0, "timestamp": -2}]
    topics = [{"name": full, "partitions": twice}]
    talk.ask("twice", "list_offsets", version, topics=topics, replica_id=-1, isolation_level=0, timeout=1000)
    talk.ask("nothing", "list_offsets", version, topics=[], replica_id=-1, isolation_level=0, timeout=1000)


@case(range(2, 5))
def offset_for_leader_epoch(talk: Talk, version: int) -> None:
    """Where an epoch ends: known, later, earlier, unknown places."""
    talk.create(partitions=2)
    talk.produce(talk.topic(), timed(0, 1, 2))

    def ask(label: str, epoch: int, current: int = -1, topic: str | None = None, partition: int = 0) -> None:
        asked = {"partition": partition, "leader_epoch": epoch, "current_leader_epoch": current}
        topics = [{"topic": topic or talk.topic(), "partitions": [asked]}]
        talk.ask(label, "offset_for_leader_epoch", version, topics=topics, replica_id=-1)

    ask("this epoch", 0)
    ask("no epoch", -1)
    ask("a later epoch", 5)
    ask("this epoch, unused partition", 0, partition=1)
    ask("leader as known", 0, current=0)
    ask("leader of the future", 0, current=5)
    ask("unknown topic", 0, topic=talk.topic("-none"))
    ask("unknown partition", 0, partition=7)
