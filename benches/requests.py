"""How many heartbeats and commits of offsets a broker answers in a second, from sockets to sockets.

`CONNECTIONS` connections, each a member of a classic group of its own (real clients' groups are many and small), each
with `DEPTH` requests under way; one thread of ours for all of them. Requests are encoded beforehand, and an answer is
compared with the bytes it has to be, so that this process has little to do: how much of the time it computed is in the
results. A commit is of one partition, another offset each time, and is answered when the log has it: in the page cache
(un-synced), or on the disk (`fsync`).
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from msgspec import Struct

from benches.link import WAIT_S, create_topic, frame, response, wait_for_groups
from benches.meters import Meter
from benches.peers import Peer
from benches.rebalance import Group, Member
from benches.rounds import Round, interleaved, settled, summary, warm_up
from ottla.messages import (
    HeartbeatRequest,
    HeartbeatResponse,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)

CONNECTIONS = 50
DEPTH = 16
# How many different offsets are committed.
OFFSETS = 1 << 10
ROUND_S = 3.0
ROUNDS = 3
SETTLES = ("per_s",)
FIGURES = ("per_s", "broker_cpu_us", "generator_share")
TOPIC = "committed"
HEARTBEAT, OFFSET_COMMIT = 12, 8
KINDS = ("Heartbeat", "OffsetCommit")


class Stream:
    """The requests of one member, over and over, as many under way as it is told."""

    def __init__(self, member: Member, key: int, requests: Sequence[Struct]) -> None:
        self.socket = member.link.socket
        frames = [frame(key, request) for request in requests]
        self._size = len(frames[0])
        assert all(len(each) == self._size for each in frames), "answers are counted by their size"
        self._count = len(frames)
        # Twice, so that any stretch of them is one piece.
        self._frames = memoryview(b"".join(frames) * 2)
        self._next = 0
        self._received = b""
        # The first is asked alone, to know what the answers look like.
        answer = member.link.ask(key, requests[0])
        assert not any(codes(answer)), answer
        self._key = key
        self._answer = b""

    def send(self, count: int) -> None:
        begin = self._next * self._size
        self.socket.sendall(self._frames[begin : begin + count * self._size])
        self._next = (self._next + count) % self._count

    def take(self) -> int:
        """How many answers have come."""
        data = self._received + self.socket.recv(1 << 16)
        if not self._answer:
            size = 4 + int.from_bytes(data[:4], "big")
            if len(data) < max(4, size):
                self._received = data
                return 0
            assert not any(codes(response(self._key, data[4:size]))), data[:size]
            self._answer = data[:size]
        count = len(data) // len(self._answer)
        whole = count * len(self._answer)
        if data[:whole] != self._answer * count:
            raise RuntimeError(f"{data[:whole]!r} is not {count} times {self._answer!r}")
        self._received = data[whole:]
        return count


def codes(answer: Struct) -> list[int]:
    """The error codes of an answer, wherever they stand."""
    if isinstance(answer, OffsetCommitResponse):
        return [partition.error_code for topic in answer.topics for partition in topic.partitions]
    assert isinstance(answer, HeartbeatResponse)
    return [answer.error_code]


def heartbeats(member: Member) -> Stream:
    request = HeartbeatRequest(group_id=member.group, generation_id=member.generation, member_id=member.member_id)
    return Stream(member, HEARTBEAT, [request] * DEPTH)


def commits(member: Member, partition: int) -> Stream:
    requests = [
        OffsetCommitRequest(
            group_id=member.group,
            generation_id_or_member_epoch=member.generation,
            member_id=member.member_id,
            topics=[
                OffsetCommitRequestTopic(
                    name=TOPIC,
                    partitions=[OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)],
                )
            ],
        )
        for offset in range(OFFSETS)
    ]
    return Stream(member, OFFSET_COMMIT, requests)


def play(peer: Peer, groups: Sequence[Group], make: Callable[[Member, int], Stream]) -> Round:
    """`ROUND_S` of one kind."""
    selector = selectors.DefaultSelector()
    streams = [make(group.members[0], partition) for partition, group in enumerate(groups)]
    for stream in streams:
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    meter = Meter(peer.process)
    own_cpu_s, begun_s = time.process_time(), time.perf_counter()
    for stream in streams:
        stream.send(DEPTH)
    answered = 0
    while (took_s := time.perf_counter() - begun_s) < ROUND_S:
        ready = selector.select(WAIT_S)
        if not ready:
            raise RuntimeError(f"{peer.name} answered nothing for {WAIT_S} s")
        for key, _ in ready:
            count = key.data.take()
            answered += count
            if count:
                key.data.send(count)
    own_cpu_s = time.process_time() - own_cpu_s
    usage = meter.stop()
    left = DEPTH * len(streams)
    while left:
        for key, _ in selector.select(WAIT_S):
            left -= key.data.take()
    selector.close()
    return {
        "requests": answered,
        "per_s": answered / took_s,
        **asdict(usage),
        "broker_cpu_us": usage.broker_cpu_s * 1e6 / answered,
        "generator_share": own_cpu_s / took_s,
    }


def run(peers: Sequence[Peer], kind: str, durability: str) -> dict[str, Any]:
    """Warm-up per peer, then interleaved rounds over the same connections."""
    groups: dict[str, list[Group]] = {}
    for peer in peers:
        if kind == "OffsetCommit":
            create_topic(peer.process, TOPIC, CONNECTIONS)
        wait_for_groups(peer.process, "nobody")
        groups[peer.name] = [Group(peer, 1) for _ in range(CONNECTIONS)]

    def one_round(peer: Peer) -> Round:
        make = commits if kind == "OffsetCommit" else (lambda member, _: heartbeats(member))
        return play(peer, groups[peer.name], make)

    warm = {peer.name: warm_up(peer, one_round, SETTLES) for peer in peers}
    rounds: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for peer in interleaved(peers, ROUNDS):
        rounds[peer.name].append(one_round(peer))
    for group in (group for of_peer in groups.values() for group in of_peer):
        group.close()
    return {
        "workload": "requests",
        "kind": kind,
        "durability": durability,
        "connections": CONNECTIONS,
        "depth": DEPTH,
        "warm_up": warm,
        "settled": {name: settled(done, SETTLES) for name, done in warm.items()},
        "rounds": rounds,
        **{figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in FIGURES},
    }
