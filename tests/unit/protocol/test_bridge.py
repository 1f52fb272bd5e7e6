"""The native bridge by itself: a server whose control plane is the test."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from ottla import _core
from ottla.errors import CodecError
from ottla.messages import HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupRequestProtocol
from ottla.protocol.registry import api_table

JOIN_GROUP, JOIN_GROUP_VERSION = 11, 5
HEARTBEAT, HEARTBEAT_VERSION = 12, 4
WAIT_S = 30

codec = _core.Codec()


def frame(key: int, version: int, request: Any) -> bytes:
    payload = codec.encode_request_header(key, version, 1, "test") + codec.encode_request(key, version, request)
    return len(payload).to_bytes(4, "big") + payload


@contextmanager
def served(**limits: int) -> Iterator[tuple[_core.Bridge, _core.Server, list[socket.socket], int]]:
    """A bridge, its server, and clients' sockets, as many as requests may wait."""
    bridge = _core.Bridge(codec)
    engine = _core.Engine(None, bridge=bridge, node_id=1, cluster_id=None, settings={})
    settings = {name.replace("_", "."): value for name, value in limits.items()}
    server = _core.Server(
        engine, bridge, listeners=[("PLAINTEXT", "127.0.0.1", 0)], api_table=api_table(), limits=settings
    )
    [(_, host, port)] = server.start()
    count = limits["queued_max_requests"] + 1
    try:
        with ExitStack() as clients:
            yield (
                bridge,
                server,
                [clients.enter_context(socket.create_connection((host, port), WAIT_S)) for _ in range(count)],
                count,
            )
    finally:
        server.stop(0)
        engine.close()


def drained(bridge: _core.Bridge, count: int) -> list[list[tuple[Any, ...]]]:
    """What comes up, until it is so many items."""
    found: list[list[tuple[Any, ...]]] = []
    while sum(map(len, found)) < count:
        assert select.select([bridge.fileno()], [], [], WAIT_S)[0], "what is left is announced"
        found.append(bridge.drain(256))
    return found


def test_one_drain_is_bounded_by_what_it_decodes() -> None:
    """Bodies of 300 KB: a drain stops behind the one that fills 1 MiB, and the descriptor says that more are left."""
    request = JoinGroupRequest("g", protocols=[JoinGroupRequestProtocol("range", bytes(300_000))])
    with served(queued_max_requests=6, queued_max_request_bytes=-1) as (bridge, server, clients, count):
        for client in clients:
            client.sendall(frame(JOIN_GROUP, JOIN_GROUP_VERSION, request))
        while server.status()["requests"] < count:
            pass
        found = drained(bridge, count)
        assert max(map(len, found)) <= 4
        assert {item[0] for items in found for item in items} == {"request"}


def test_an_answer_that_is_none_costs_its_own_connection_alone() -> None:
    """Answers leave together; one that does not fit its message, and one nobody waits for, take no other with them."""
    with served(queued_max_requests=2) as (bridge, _, clients, count):
        tokens = []
        # One after the other, so that it is known whose token is whose.
        for client in clients:
            client.sendall(frame(HEARTBEAT, HEARTBEAT_VERSION, HeartbeatRequest(group_id="g")))
            [[item]] = drained(bridge, 1)
            tokens.append(item[1])
        first, bad, last = tokens
        assert count == len(tokens)
        answers: list[Any] = [
            (first, HeartbeatResponse(error_code=1)),
            (bad, HeartbeatResponse(error_code="one")),  # type: ignore[arg-type]
            (1 << 40, HeartbeatResponse()),
            "no answer at all",
            (last, HeartbeatResponse(error_code=2)),
        ]
        with pytest.raises(CodecError):
            bridge.answer(answers)
        # Length, correlation id, no tags, throttle time, error code, no tags.
        assert [clients[place].recv(64)[13:15] for place in (0, 2)] == [b"\x00\x01", b"\x00\x02"]
        assert clients[1].recv(64) == b""
        assert bridge.pending() == 0
