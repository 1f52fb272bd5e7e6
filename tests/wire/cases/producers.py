"""DescribeProducers and WriteTxnMarkers: what a partition remembers of who writes to it."""

from __future__ import annotations

import time

from tests.wire.batches import Batch, Record
from tests.wire.client import Plain
from tests.wire.differential import Talk, case

HOUR_MS = 3_600_000
# Ids that no broker of a test hands out.
IDS = 1_000_000_000


def describe(talk: Talk, label: str, *topics: Plain) -> None:
    """Who writes where; clock readings are a word."""
    answer = talk.quietly("describe_producers", 0, topics=topics)
    for topic in answer["topics"]:
        topic["partitions"].sort(key=lambda each: each["partition_index"])
        for partition in topic["partitions"]:
            partition["active_producers"].sort(key=lambda each: each["producer_id"])
            for producer in partition["active_producers"]:
                if abs(producer["last_timestamp"] - time.time() * 1000) < HOUR_MS:
                    producer["last_timestamp"] = "now"
    talk.note(label, answer)


def produce(talk: Talk, label: str, topic: str, sequence: int, *, producer_id: int, epoch: int = 0) -> None:
    """One batch of two records of an idempotent producer."""
    batch = Batch([Record(b"a"), Record(b"b")], producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
    data = [{"name": topic, "partition_data": [{"index": 0, "records": batch.encode()}]}]
    talk.ask(label, "produce", 9, transactional_id=None, acks=-1, timeout=10_000, topic_data=data)


@case([0])
def describe_producers(talk: Talk, _version: int) -> None:
    """Idempotent producers, several in a partition, and everything that is not there."""
    talk.create(partitions=2)
    here = {"name": talk.topic(), "partition_indexes": [0, 1]}
    describe(talk, "nobody", here)
    talk.produce(talk.topic(), Batch())
    describe(talk, "nobody who has an id", here)
    produce(talk, "first", talk.topic(), 0, producer_id=IDS)
    describe(talk, "one", here)
    produce(talk, "second", talk.topic(), 2, producer_id=IDS)
    produce(talk, "another", talk.topic(), 5, producer_id=IDS + 1)
    describe(talk, "two", here)
    produce(talk, "a new epoch", talk.topic(), 0, producer_id=IDS, epoch=3)
    produce(talk, "refused", talk.topic(), 9, producer_id=IDS, epoch=3)
    describe(talk, "two, one in a new epoch", here)
    describe(talk, "unknown partition", {"name": talk.topic(), "partition_indexes": [0, 7, -1]})
    describe(talk, "unknown topic", {"name": talk.topic("-none"), "partition_indexes": [0]})
    describe(talk, "ill-named topics", *({"name": name, "partition_indexes": [0]} for name in ("", "a b", "..")))
    describe(talk, "topic twice", here, {"name": talk.topic(), "partition_indexes": [0, 0]})
    describe(talk, "no partitions", {"name": talk.topic(), "partition_indexes": []})
    describe(talk, "nothing")


@case([1, 2])
def write_txn_markers(talk: Talk, version: int) -> None:
    """Markers of transactions nobody began: epochs are compared all the same, and they are written."""
    talk.create(partitions=2)
    here = {"name": talk.topic(), "partition_indexes": [0, 1]}

    def marker(
        producer_id: int,
        epoch: int,
        *topics: Plain,
        committed: bool = False,
        coordinator_epoch: int = 0,
        transaction_version: int = 0,
    ) -> Plain:
        return {
            "producer_id": producer_id,
            "producer_epoch": epoch,
            "transaction_result": committed,
            "topics": topics or (here,),
            "coordinator_epoch": coordinator_epoch,
            "transaction_version": transaction_version,
        }

    def write(label: str, *markers: Plain) -> None:
        answer = talk.quietly("write_txn_markers", version, markers=markers)
        # Kafka's are in the order of hash maps.
        answer["markers"].sort(key=lambda each: each["producer_id"])
        for each in answer["markers"]:
            each["topics"].sort(key=lambda topic: topic["name"])
            for topic in each["topics"]:
                topic["partitions"].sort(key=lambda partition: partition["partition_index"])
        talk.note(label, answer)

    def ends(label: str) -> None:
        places = [{"partition_index": index, "timestamp": -1} for index in (0, 1)]
        asked = [{"name": talk.topic(), "partitions": places}]
        for isolation in (0, 1):
            answer = talk.quietly("list_offsets", 5, topics=asked, replica_id=-1, isolation_level=isolation)
            answer["topics"][0]["partitions"].sort(key=lambda each: each["partition_index"])
            talk.note(f"{label}, isolation {isolation}", answer)

    write("of nobody", marker(IDS, 0))
    describe(talk, "of nobody", here)
    ends("of nobody")
    produce(talk, "in its epoch", talk.topic(), 0, producer_id=IDS)
    write("again", marker(IDS, 0, committed=True))
    write("a higher epoch", marker(IDS, 5, coordinator_epoch=3))
    describe(talk, "a higher epoch", here)
    write("a lower epoch", marker(IDS, 4, coordinator_epoch=3))
    write("an older coordinator", marker(IDS, 5, coordinator_epoch=2))
    write("both", marker(IDS, 4, coordinator_epoch=2))
    produce(talk, "a zombie", talk.topic(), 0, producer_id=IDS, epoch=4)
    produce(talk, "not in order", talk.topic(), 3, producer_id=IDS, epoch=5)
    produce(talk, "in the new epoch", talk.topic(), 0, producer_id=IDS, epoch=5)
    describe(talk, "in the new epoch", here)
    if version >= 2:
        write("the same epoch, transactions v2", marker(IDS, 5, coordinator_epoch=3, transaction_version=2))
        write("a lower epoch, transactions v2", marker(IDS, 4, coordinator_epoch=3, transaction_version=2))
        write("a higher epoch, transactions v2", marker(IDS, 6, coordinator_epoch=3, transaction_version=2))
        write("the last epoch", marker(IDS, 2**15 - 1, coordinator_epoch=3, transaction_version=2))
        write("the last epoch again", marker(IDS, 2**15 - 1, coordinator_epoch=3, transaction_version=2))
    none = {"name": talk.topic("-none"), "partition_indexes": [0]}
    unknown = {"name": talk.topic(), "partition_indexes": [0, 9, -1]}
    write("what is not there", marker(IDS + 1, 0, unknown, none))
    write("nothing but what is not there", marker(IDS + 1, 0, none), marker(IDS + 2, 0, none))
    write("two producers", marker(IDS + 1, 0), marker(IDS + 2, 0))
    write("a producer twice", marker(IDS + 1, 0, coordinator_epoch=7), marker(IDS + 1, 0, here, coordinator_epoch=6))
    # A topic twice in one marker: Kafka counts it twice and waits for the second answer for ever.
    ends("in the end")
    describe(talk, "in the end", here)
    talk.coordinate("a group")
    offsets = {"name": "__consumer_offsets", "partition_indexes": [0, 999]}
    write("offsets of groups", marker(IDS + 3, 2, offsets, coordinator_epoch=1))
    write("a lower epoch for groups", marker(IDS + 3, 1, offsets, coordinator_epoch=1))
    write("an older coordinator for groups", marker(IDS + 3, 2, offsets, coordinator_epoch=0))
    write("no partitions", marker(IDS, 0, {"name": talk.topic(), "partition_indexes": []}))
    write("nothing")
