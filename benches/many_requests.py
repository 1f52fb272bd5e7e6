"""The requests of `benches.many_partitions`: encoded beforehand, many partitions in each, every answer looked at."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct

from benches.batches import plain_batch
from benches.link import Link, frame, response
from ottla.messages import (
    CreateTopicsRequest,
    CreateTopicsRequestCreatableTopic,
    DeleteTopicsRequest,
    DeleteTopicsRequestDeleteTopicState,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    DescribeTopicPartitionsRequestTopicRequest,
    DescribeTopicPartitionsResponse,
    FetchRequest,
    FetchRequestPartition,
    FetchRequestTopic,
    ListOffsetsRequest,
    ListOffsetsRequestPartition,
    ListOffsetsRequestTopic,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    ProduceRequest,
    ProduceRequestPartitionProduceData,
    ProduceRequestTopicProduceData,
)

PRODUCE, FETCH, LIST_OFFSETS, METADATA, CREATE, DELETE, DESCRIBE = 0, 1, 2, 3, 19, 20, 75
TIMEOUT_MS = 600_000
EARLIEST, LATEST = -2, -1

T = TypeVar("T")


class Wide(Link):
    """A connection for answers of megabytes."""

    def exchange(self, data: bytes) -> bytes:
        """The answer to a whole frame, without its length."""
        self.socket.sendall(data)
        (size,) = struct.unpack(">i", self._take(4))
        return self._take(size)

    def of(self, key: int, request: Struct) -> Struct:
        return response(key, self.exchange(frame(key, request)))

    def _take(self, size: int) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self.socket.recv_into(view)
            if not count:
                raise ConnectionError("the broker closed a connection")
            view = view[count:]
        return bytes(data)


def groups(names: Sequence[T], count: int) -> Iterator[Sequence[T]]:
    """So many at a time."""
    for begin in range(0, len(names), count):
        yield names[begin : begin + count]


def created(names: Iterable[str], partitions: int) -> CreateTopicsRequest:
    topics = [
        CreateTopicsRequestCreatableTopic(name=name, num_partitions=partitions, replication_factor=1) for name in names
    ]
    return CreateTopicsRequest(topics=topics, timeout_ms=TIMEOUT_MS)


def deleted(names: Iterable[str]) -> DeleteTopicsRequest:
    return DeleteTopicsRequest(
        topics=[DeleteTopicsRequestDeleteTopicState(name=name) for name in names], timeout_ms=TIMEOUT_MS
    )


def metadata(names: Iterable[str] | None) -> bytes:
    """Of these topics, or of all."""
    topics = None if names is None else [MetadataRequestTopic(name=name) for name in names]
    return frame(METADATA, MetadataRequest(topics=topics, allow_auto_topic_creation=False))


def partitions_named(answer: bytes) -> int:
    """How many partitions a Metadata names that have a leader."""
    told = response(METADATA, answer)
    assert isinstance(told, MetadataResponse)
    return sum(not each.error_code for topic in told.topics for each in topic.partitions)


def listing(names: Iterable[str], partitions: int, timestamp: int) -> bytes:
    indexes = [ListOffsetsRequestPartition(partition_index=index, timestamp=timestamp) for index in range(partitions)]
    topics = [ListOffsetsRequestTopic(name=name, partitions=indexes) for name in names]
    return frame(LIST_OFFSETS, ListOffsetsRequest(replica_id=-1, topics=topics))


def fetching(names: Iterable[str], partitions: int, offset: int) -> bytes:
    """Without a session and without waiting."""
    wanted = [
        FetchRequestPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)
        for index in range(partitions)
    ]
    topics = [FetchRequestTopic(topic=name, partitions=wanted) for name in names]
    return frame(FETCH, FetchRequest(max_wait_ms=0, min_bytes=0, session_id=0, session_epoch=-1, topics=topics))


def producing(names: Iterable[str], partitions: int, value: bytes) -> bytes:
    """One record to each partition."""
    records = plain_batch(value, 0)
    data = [ProduceRequestPartitionProduceData(index=index, records=records) for index in range(partitions)]
    topics = [ProduceRequestTopicProduceData(name=name, partition_data=data) for name in names]
    return frame(PRODUCE, ProduceRequest(acks=-1, timeout_ms=TIMEOUT_MS, topic_data=topics))


def describe_all(link: Wide, names: Sequence[str]) -> tuple[int, int]:
    """Pages through all of these topics with DescribeTopicPartitions; how many partitions, in how many requests."""
    topics = [DescribeTopicPartitionsRequestTopicRequest(name=name) for name in sorted(names)]
    cursor: DescribeTopicPartitionsRequestCursor | None = None
    found = 0
    for asked in itertools.count(1):
        answer = link.of(DESCRIBE, DescribeTopicPartitionsRequest(topics=topics, cursor=cursor))
        assert isinstance(answer, DescribeTopicPartitionsResponse)
        found += sum(not each.error_code for topic in answer.topics for each in topic.partitions)
        if answer.next_cursor is None:
            return found, asked
        cursor = DescribeTopicPartitionsRequestCursor(
            topic_name=answer.next_cursor.topic_name, partition_index=answer.next_cursor.partition_index
        )
        # As the Java client does: what is behind the cursor is not asked again.
        topics = [topic for topic in topics if topic.name >= cursor.topic_name]
    raise AssertionError


def codes(answer: Struct) -> Iterator[int]:
    """Every error code of an answer."""
    for topic in getattr(answer, "topics", None) or getattr(answer, "responses", None) or []:
        yield getattr(topic, "error_code", 0)
        partitions = getattr(topic, "partitions", None) or getattr(topic, "partition_responses", None) or []
        yield from (each.error_code for each in partitions)
