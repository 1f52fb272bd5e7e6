"""Produce and InitProducerId: what is taken, and the error of everything that is not."""

from __future__ import annotations

import time
from typing import Any

from tests.wire import batches
from tests.wire.batches import Batch, Record
from tests.wire.cases.metadata import UNKNOWN_ID
from tests.wire.differential import Talk, case

HOUR_MS = 3_600_000


class Producer:
    """Asks Produce in one version, by name or (from 13) by id."""

    def __init__(self, talk: Talk, version: int) -> None:
        self.talk, self.version = talk, version
        self.ids: dict[str, str] = {}

    def create(self, suffix: str = "", partitions: int = 1, **configs: str) -> None:
        named = {key.replace("_", "."): value for key, value in configs.items()}
        self.ids[suffix] = self.talk.create(suffix, partitions, named)

    def ask(
        self, label: str, *data: bytes | Batch, suffix: str = "", partition: int = 0, acks: int = -1, **more: Any
    ) -> Any:
        encoded = [each.encode() if isinstance(each, Batch) else each for each in data]
        partitions = [{"index": partition, "records": b"".join(encoded)}]
        where = {"name": self.talk.topic(suffix), "topic_id": self.ids.get(suffix, UNKNOWN_ID)}
        topics = [{**where, "partition_data": partitions}]
        return self.talk.ask(
            label, "produce", self.version, acks=acks, timeout=5000, topic_data=topics, transactional_id=None, **more
        )

    def log(self, label: str, suffix: str = "") -> None:
        """What the partition then holds."""
        partitions = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]
        topics = [{"topic": self.talk.topic(suffix), "partitions": partitions}]
        self.talk.ask(
            label,
            "fetch",
            12,
            max_wait=0,
            min_bytes=0,
            max_bytes=1 << 20,
            replica_id=-1,
            session_epoch=-1,
            topics=topics,
        )


@case(range(3, 14))
def produce_accepts(talk: Talk, version: int) -> None:
    """Acks, codecs, several partitions, and the offsets they get."""
    to = Producer(talk, version)
    to.create(partitions=3)
    for acks in (1, -1):
        to.ask(f"acks {acks}", Batch([Record(b"a"), Record(b"b", b"k", [("h", b"1"), ("h", None)])]), acks=acks)
    for codec in (batches.GZIP, batches.SNAPPY, batches.LZ4, batches.ZSTD):
        to.ask(f"codec {codec}", Batch([Record(b"x" * 100), Record(None, b"k")], attributes=codec))
    to.ask("no such codec", Batch(attributes=5, body=b"?"))
    to.ask("no such codec 7", Batch(attributes=7, body=b"?"))
    to.ask("base offset and epoch of its own", Batch(base_offset=77, leader_epoch=9))
    where = {"name": talk.topic(), "topic_id": to.ids[""]}
    data = [{"index": index, "records": Batch().encode()} for index in (2, 9, 1)]
    topics = [{**where, "partition_data": data}]
    talk.ask("several partitions", "produce", version, acks=1, timeout=5000, topic_data=topics)
    talk.ask("no topics", "produce", version, acks=1, timeout=5000, topic_data=[])
    to.log("the log")


@case(range(3, 14))
def produce_refuses(talk: Talk, version: int) -> None:
    """The error table: one fault each. Nothing of it is appended, the connection stays or closes as Kafka's does."""
    to = Producer(talk, version)
    to.create(partitions=1)
    good = Batch([Record(b"one"), Record(b"two")])
    to.ask("unknown topic", good, suffix="-none")
    to.ask("unknown partition", good, partition=5)
    to.ask("negative partition", good, partition=-1)
    to.ask("acks 2", good, acks=2)
    to.ask("acks -2", good, acks=-2)
    # Null records are in test_bad_input.py: Kafka 4.3.1 never answers them.
    to.ask("empty records", b"")
    to.ask("wrong crc", Batch(crc=1))
    to.ask("flipped byte", flip(good.encode(), 65))
    to.ask("count too high", Batch([Record(b"one"), Record(b"two")], count=3, last_offset_delta=2))
    to.ask("count too low", Batch([Record(b"one"), Record(b"two")], count=1, last_offset_delta=0))
    to.ask("count and last offset disagree", Batch([Record(b"one"), Record(b"two")], last_offset_delta=5))
    to.ask("count zero", Batch([], count=0, last_offset_delta=0))
    to.ask("count negative", Batch([Record(b"one")], count=-1))
    # Offsets that skip inside a batch are in test_bad_input.py: Kafka takes them from producers that do not compress.
    to.ask("length too long", Batch(length=1000))
    to.ask("length too short", Batch(length=10))
    to.ask("length negative", Batch(length=-5))
    to.ask("length cuts the batch", Batch(length=len(good.encode()) - 12 - 3))
    to.ask("cut in the header", good.encode()[:40])
    to.ask("cut in the body", good.encode()[:-1])
    to.ask("a byte too many", good.encode() + b"\0")
    for magic in (0, 1, 3, -1):
        to.ask(f"magic {magic}", Batch(magic=magic))
    to.ask("two batches", good, good)
    to.ask("control batch", Batch(attributes=batches.CONTROL))
    to.ask("record with a trailing byte", Batch(body=good.records[0].encode(0, good.records[0].timestamp) + b"\0"))
    to.ask("key length beyond the record", Batch(body=b"\x10\x00\x00\x00\x7f\x02v\x00"))
    to.ask("garbage that claims gzip", Batch(attributes=batches.GZIP, body=b"garbage"))
    to.ask("garbage that claims zstd", Batch(attributes=batches.ZSTD, body=b"garbage"))
    to.ask("garbage that claims lz4", Batch(attributes=batches.LZ4, body=b"garbage"))
    to.ask("garbage that claims snappy", Batch(attributes=batches.SNAPPY, body=b"garbage"))
    to.ask("a day ahead", Batch([Record(b"f", timestamp=int(time.time() * 1000) + 24 * HOUR_MS)]))
    to.ask("long ago", Batch([Record(b"p", timestamp=1)]))
    to.ask("no timestamp", Batch([Record(b"p", timestamp=-1)]))
    to.ask("max timestamp lies", Batch([Record(b"p")], max_timestamp=1))
    to.log("the log")


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@case([3, 7, 9, 13])
def produce_by_topic_config(talk: Talk, version: int) -> None:
    """max.message.bytes, compacted topics without keys, LogAppendTime, compression.type, timestamp bounds."""
    to = Producer(talk, version)
    to.create("-small", max_message_bytes="300")
    to.ask("too large", Batch([Record(b"x" * 400)]), suffix="-small")
    to.ask("just right", Batch([Record(b"x" * (300 - 61 - 8 - 1))]), suffix="-small")
    to.ask("large, but compressed", Batch([Record(b"x" * 400)], attributes=batches.GZIP), suffix="-small")
    to.log("small", "-small")
    to.create("-compact", cleanup_policy="compact")
    to.ask("no key", Batch([Record(b"v", b"k"), Record(b"v")]), suffix="-compact")
    to.ask("key", Batch([Record(b"v", b"k")]), suffix="-compact")
    to.create("-append", message_timestamp_type="LogAppendTime")
    answer = to.ask("append time", Batch([Record(b"v"), Record(b"w", timestamp=5)]), suffix="-append")
    appended = answer["responses"][0]["partition_responses"][0]["log_append_time"]
    talk.note("a time is told", appended is not None)
    partitions = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]
    topics = [{"topic": talk.topic("-append"), "partitions": partitions}]
    found = talk.quietly(
        "fetch", 12, max_wait=0, min_bytes=0, max_bytes=1 << 20, replica_id=-1, session_epoch=-1, topics=topics
    )
    (batch,) = batches.summaries(found["responses"][0]["partitions"][0]["records"]) or []
    talk.note("attributes and crc", [batch["attributes"], batch["crc_ok"], batch["max_timestamp"] == appended])
    to.create("-bounded", message_timestamp_before_max_ms="1000", message_timestamp_after_max_ms="1000")
    now = int(time.time() * 1000)
    to.ask("too old", Batch([Record(b"v", timestamp=now), Record(b"v", timestamp=now - HOUR_MS)]), suffix="-bounded")
    to.ask("too new", Batch([Record(b"v", timestamp=now + HOUR_MS)]), suffix="-bounded")
    to.create("-replicated", min_insync_replicas="2")
    for acks in (-1, 1):
        to.ask(f"too few replicas, acks {acks}", Batch(), suffix="-replicated", acks=acks)
    if version >= 7:
        to.create("-zstd", compression_type="zstd")
        to.ask("recompressed", Batch([Record(b"v" * 50), Record(b"w")]), suffix="-zstd")
        to.ask("recompressed from gzip", Batch([Record(b"v" * 50)], attributes=batches.GZIP), suffix="-zstd")
        to.create("-plain", compression_type="uncompressed")
        to.ask("uncompressed", Batch([Record(b"v" * 50), Record(b"w")], attributes=batches.LZ4), suffix="-plain")
        to.log("plain", "-plain")


@case([3, 9, 11, 13])
def produce_idempotent(talk: Talk, version: int) -> None:
    """Sequences and epochs: in order, repeated, out of order, an old epoch, a new one."""
    to = Producer(talk, version)
    to.create()
    talk.wait_for_producer_ids()
    answer = talk.quietly("init_producer_id", 4, transactional_id=None, transaction_timeout=1000)
    first = answer["producer_id"]

    def ask(label: str, sequence: int, count: int = 1, epoch: int = 0, producer: int = first) -> None:
        records = [Record(str(number).encode()) for number in range(count)]
        to.ask(label, Batch(records, producer_id=producer, producer_epoch=epoch, base_sequence=sequence))

    ask("first", 0, 3)
    ask("second", 3, 2)
    ask("second repeated", 3, 2)
    ask("first repeated", 0, 3)
    ask("part of the first", 1, 1)
    ask("gap", 9)
    for number in range(5):
        ask(f"one more {number}", 5 + number)
    ask("repeated beyond the last five", 0, 3)
    ask("repeated within the last five", 6)
    ask("new epoch not from zero", 4, epoch=1)
    ask("new epoch", 0, epoch=1)
    ask("old epoch", 10, epoch=0)
    ask("negative epoch", 11, epoch=-1)
    ask("negative sequence", -1, epoch=1)
    ask("unknown producer from zero", 0, producer=first + 700_000)
    ask("unknown producer in the middle", 40, producer=first + 700_001)
    talk.note("log end", end_offset(talk))


def end_offset(talk: Talk) -> Any:
    partitions = [{"partition_index": 0, "timestamp": -1}]
    topics = [{"name": talk.topic(), "partitions": partitions}]
    return talk.quietly("list_offsets", 5, topics=topics, replica_id=-1, isolation_level=0)["topics"]


@case([9])
def produce_wraps_sequences(talk: Talk, version: int) -> None:
    """After sequence 2147483647 comes 0."""
    to = Producer(talk, version)
    to.create()
    talk.wait_for_producer_ids()
    first = talk.quietly("init_producer_id", 4, transactional_id=None, transaction_timeout=1000)["producer_id"]
    top = 2**31 - 1

    def ask(label: str, sequence: int, count: int) -> None:
        records = [Record(str(number).encode()) for number in range(count)]
        to.ask(label, Batch(records, producer_id=first, producer_epoch=0, base_sequence=sequence))

    ask("up to the top", top - 1, 1)
    ask("across the top", top, 3)
    ask("behind it", 2, 1)
    ask("across the top again", top, 3)


@case(range(6))
def init_producer_id(talk: Talk, version: int) -> None:
    """Without a transactional id: a fresh id, epoch 0, whatever else is asked."""
    talk.wait_for_producer_ids()
    timeout = {"transaction_timeout": 60_000}
    first = talk.ask("fresh", "init_producer_id", version, transactional_id=None, **timeout)
    second = talk.ask("fresh again", "init_producer_id", version, transactional_id=None, **timeout)
    talk.note("ids never repeat", first["producer_id"] != second["producer_id"])
    talk.ask("no timeout", "init_producer_id", version, transactional_id=None, transaction_timeout=0)
    talk.ask("empty transactional id", "init_producer_id", version, transactional_id="", **timeout)
    if version >= 3:
        known = {"producer_id": first["producer_id"], "producer_epoch": 0}
        talk.ask("with an id", "init_producer_id", version, transactional_id=None, **timeout, **known)
        half = {"producer_id": first["producer_id"], "producer_epoch": -1}
        talk.ask("with an id but no epoch", "init_producer_id", version, transactional_id=None, **timeout, **half)
