"""One connection that speaks Kafka's protocol through our codec and does nothing else, alike for every broker."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

from msgspec import Struct

from ottla._core import Codec
from ottla.errors import ErrorCode
from ottla.messages import (
    CreateTopicsRequest,
    CreateTopicsRequestCreatableTopic,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsRequestDeleteTopicState,
    DeleteTopicsResponse,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ListOffsetsRequest,
    ListOffsetsRequestPartition,
    ListOffsetsRequestTopic,
    ListOffsetsResponse,
)
from tests.processes import Process

WAIT_S = 60.0
ASK_EVERY_S = 0.002
# What a client of Kafka 4 speaks, by key. Topics are named by name.
VERSIONS = {
    0: 12,  # Produce
    1: 12,  # Fetch
    2: 7,  # ListOffsets
    3: 12,  # Metadata
    8: 9,  # OffsetCommit
    9: 9,  # OffsetFetch
    10: 6,  # FindCoordinator
    11: 9,  # JoinGroup
    12: 4,  # Heartbeat
    13: 5,  # LeaveGroup
    14: 5,  # SyncGroup
    19: 7,  # CreateTopics
    20: 6,  # DeleteTopics
    22: 5,  # InitProducerId
    26: 5,  # EndTxn
    65: 0,  # DescribeTransactions
    68: 1,  # ConsumerGroupHeartbeat
    75: 0,  # DescribeTopicPartitions
}
CODEC = Codec()
# Nothing that is asked here holds this number by chance.
_MARK = 0x5B3C_1A77


def frame(key: int, request: Struct) -> bytes:
    """A request as it goes over the wire."""
    version = VERSIONS[key]
    message = CODEC.encode_request_header(key, version, 1, "bench") + CODEC.encode_request(key, version, request)
    return struct.pack(">i", len(message)) + message


def response(key: int, message: bytes) -> Struct:
    """An answer, from what follows its length."""
    version = VERSIONS[key]
    return CODEC.decode_response(key, version, CODEC.decode_response_header(key, version, message)[1])


class Form:
    """A request encoded once, with one number of four bytes to be filled in: what is asked often shall cost little."""

    def __init__(self, key: int, make: Callable[[int], Struct]) -> None:
        mark = struct.pack(">i", _MARK)
        self.key = key
        self._before, self._behind = frame(key, make(_MARK)).split(mark)

    def filled(self, number: int) -> bytes:
        return b"%b%b%b" % (self._before, struct.pack(">i", number), self._behind)


class Link:
    """One connection. One request at a time."""

    def __init__(self, process: Process, timeout_s: float = WAIT_S) -> None:
        self.socket = socket.create_connection((process.host, process.port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._asked = 0
        self._received = bytearray()

    def send(self, key: int, request: Struct) -> None:
        self.send_frame(key, frame(key, request))

    def send_frame(self, key: int, data: bytes) -> None:
        self._asked = key
        self.socket.sendall(data)

    def receive(self) -> Struct | None:
        """What has come; None if that is not the whole answer yet."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the broker closed a connection")
        self._received += data
        if len(self._received) < 4 or len(self._received) < 4 + int.from_bytes(self._received[:4], "big"):
            return None
        message, self._received = bytes(self._received[4:]), bytearray()
        return response(self._asked, message)

    def ask(self, key: int, request: Struct) -> Struct:
        self.send(key, request)
        while (answer := self.receive()) is None:
            pass
        return answer

    def close(self) -> None:
        self.socket.close()


def create_topic(process: Process, topic: str, partitions: int) -> bytes:
    """Its id, once the broker leads every partition."""
    link = Link(process)
    asked = CreateTopicsRequestCreatableTopic(name=topic, num_partitions=partitions, replication_factor=1)
    answer = link.ask(19, CreateTopicsRequest(topics=[asked]))
    assert isinstance(answer, CreateTopicsResponse)
    (created,) = answer.topics
    if created.error_code:
        raise RuntimeError(f"{process.name} makes no topic: {created}")
    indexes = [ListOffsetsRequestPartition(partition_index=index, timestamp=-1) for index in range(partitions)]
    question = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsRequestTopic(name=topic, partitions=indexes)])

    def leads() -> bool:
        offsets = link.ask(2, question)
        assert isinstance(offsets, ListOffsetsResponse)
        return not any(each.error_code for each in offsets.topics[0].partitions)

    _wait(process, f"the leader of {topic}", leads)
    link.close()
    return created.topic_id


def delete_topic(process: Process, topic: str) -> None:
    link = Link(process)
    named = DeleteTopicsRequestDeleteTopicState(name=topic)
    answer = link.ask(20, DeleteTopicsRequest(topics=[named], timeout_ms=round(WAIT_S * 1000)))
    link.close()
    assert isinstance(answer, DeleteTopicsResponse)
    (deleted,) = answer.responses
    if deleted.error_code:
        raise RuntimeError(f"{process.name} deletes no topic: {deleted}")


def wait_for_groups(process: Process, group: str) -> None:
    """Until the coordinator of a group serves; the first question makes the internal topic."""
    link = Link(process)

    def serves() -> bool:
        answer = link.ask(10, FindCoordinatorRequest(key_type=0, coordinator_keys=[group]))
        assert isinstance(answer, FindCoordinatorResponse)
        if answer.coordinators[0].error_code:
            return False
        beat = link.ask(12, HeartbeatRequest(group_id=group, generation_id=1, member_id="nobody"))
        assert isinstance(beat, HeartbeatResponse)
        return beat.error_code == ErrorCode.UNKNOWN_MEMBER_ID

    _wait(process, f"the coordinator of {group}", serves)
    link.close()


def wait_for_transactions(process: Process, transactional_id: str) -> None:
    """Until the coordinator of a transactional id that nobody has used serves."""
    link = Link(process)

    def serves() -> bool:
        answer = link.ask(10, FindCoordinatorRequest(key_type=1, coordinator_keys=[transactional_id]))
        assert isinstance(answer, FindCoordinatorResponse)
        if answer.coordinators[0].error_code:
            return False
        told = link.ask(65, DescribeTransactionsRequest(transactional_ids=[transactional_id]))
        assert isinstance(told, DescribeTransactionsResponse)
        return told.transaction_states[0].error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND

    _wait(process, f"the coordinator of {transactional_id}", serves)
    link.close()


def _wait(process: Process, what: str, serves: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not serves():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{process.name}: {what} does not serve within {WAIT_S} s")
        time.sleep(ASK_EVERY_S)
