"""The doors of the native module, one by one: the codec, the journal, the bridge, and a whole request.

The figures are this machine's; they say which door is dear, and what a change of one does when both are run after each
other (`--benchmark-save`, `--benchmark-compare`).
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import ottla
from benches.link import VERSIONS, frame
from ottla import _core
from ottla.messages import (
    HeartbeatRequest,
    HeartbeatResponse,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.protocol.registry import api_table

HEARTBEAT, OFFSET_COMMIT = 12, 8
WAIT_S = 30
BEAT = HeartbeatRequest(group_id="group", generation_id=1, member_id="member-0123456789")
ALIVE = HeartbeatResponse()
# Of pytest-benchmark, which has no types.
Benchmark = Any


def commit(topics: int, partitions: int) -> OffsetCommitRequest:
    places = [
        OffsetCommitRequestPartition(partition_index=index, committed_offset=7, committed_metadata="")
        for index in range(partitions)
    ]
    return OffsetCommitRequest(
        group_id="group",
        generation_id_or_member_epoch=1,
        member_id="member-0123456789",
        topics=[OffsetCommitRequestTopic(name=f"topic-{number}", partitions=places) for number in range(topics)],
    )


@pytest.mark.parametrize(
    "key, request_", [(HEARTBEAT, BEAT), (OFFSET_COMMIT, commit(1, 1)), (OFFSET_COMMIT, commit(10, 10))],
    ids=["heartbeat", "offset-commit-1", "offset-commit-100"],
)  # fmt: skip
def test_decode_a_request(benchmark: Benchmark, key: int, request_: Any) -> None:
    codec, version = _core.Codec(), VERSIONS[key]
    body = codec.encode_request(key, version, request_)
    assert benchmark(codec.decode_request, key, version, body) == request_


def test_encode_a_response(benchmark: Benchmark) -> None:
    codec = _core.Codec()
    assert benchmark(codec.encode_response, HEARTBEAT, VERSIONS[HEARTBEAT], ALIVE)


@pytest.fixture
def journal() -> Iterator[_core.Journal]:
    """Of a partition in memory."""
    engine = _core.Engine(None, bridge=_core.Bridge(_core.Codec()), node_id=1, cluster_id=None, settings={})
    engine.publish(
        offset=1,
        controller_id=1,
        brokers=[],
        topics=[("t", b"1" * 16, False, {"ottla.durability": "os"}, [(0, 1, 0, 0, [1], [1])])],
        deleted=[],
    )
    yield engine.journal("t", 0)
    engine.close()


@pytest.mark.parametrize("count", [1, 100])
def test_append_to_a_journal(benchmark: Benchmark, journal: _core.Journal, count: int) -> None:
    records = [(b"key-of-a-group-and-partition", b"offset-and-metadata")] * count
    assert benchmark(journal.append, records, 1) >= count - 1


class Waiting:
    """A server without a control plane, and clients with one heartbeat each that waits for it."""

    def __init__(self, count: int) -> None:
        self.bridge = _core.Bridge(_core.Codec())
        self.engine = _core.Engine(None, bridge=self.bridge, node_id=1, cluster_id=None, settings={})
        self.server = _core.Server(
            self.engine, self.bridge, listeners=[("PLAINTEXT", "127.0.0.1", 0)], api_table=api_table(), limits={}
        )
        [(_, host, port)] = self.server.start()
        self.clients = [socket.create_connection((host, port), WAIT_S) for _ in range(count)]
        self.asked = False

    def ask(self) -> None:
        """The answers of the round before come first."""
        for client in self.clients:
            if self.asked:
                read_answer(client)
        self.asked = True
        before = self.server.status()["requests"]
        for client in self.clients:
            client.sendall(frame(HEARTBEAT, BEAT))
        while self.server.status()["requests"] < before + len(self.clients):
            pass
        assert select.select([self.bridge.fileno()], [], [], WAIT_S)[0]

    def serve(self) -> int:
        """What the control plane does besides deciding."""
        items: list[tuple[Any, ...]] = []
        while len(items) < len(self.clients):
            items += self.bridge.drain(256)
        self.bridge.answer([(item[1], ALIVE) for item in items])
        return len(items)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.server.stop(0)
        self.engine.close()


def read_answer(client: socket.socket) -> bytes:
    (length,) = struct.unpack(">i", client.recv(4, socket.MSG_WAITALL))
    return client.recv(length, socket.MSG_WAITALL)


@pytest.mark.parametrize("count", [1, 16, 128])
def test_drain_and_answer(benchmark: Benchmark, count: int) -> None:
    """One wake-up for all that waits: the cost of a request falls with their number."""
    with ExitStack() as stack:
        waiting = Waiting(count)
        stack.callback(waiting.close)
        assert benchmark.pedantic(waiting.serve, setup=waiting.ask, rounds=200, iterations=1) == count
        benchmark.extra_info["us_each"] = benchmark.stats["median"] * 1e6 / count


def test_a_request_there_and_back(benchmark: Benchmark) -> None:
    """Over a socket to the control plane of an embedded broker, in the same process, and back."""
    with ottla.Broker() as broker:
        host, port = broker.bootstrap_servers.split(":")
        with socket.create_connection((host, int(port)), WAIT_S) as client:
            asked = frame(HEARTBEAT, BEAT)

            def ask() -> bytes:
                client.sendall(asked)
                return read_answer(client)

            assert benchmark(ask)
