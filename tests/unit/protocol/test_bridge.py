"""The native bridge by itself: a server whose control plane is the test."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack
from typing import Any

from ottla import _core
from ottla.messages import JoinGroupRequest, JoinGroupRequestProtocol
from ottla.protocol.registry import api_table

JOIN_GROUP, VERSION = 11, 5
WAIT_S = 30


def test_one_drain_is_bounded_by_what_it_decodes() -> None:
    """Bodies of 300 KB: a drain stops behind the one that fills 1 MiB, and the descriptor says that more are left."""
    codec = _core.Codec()
    request = JoinGroupRequest("g", protocols=[JoinGroupRequestProtocol("range", bytes(300_000))])
    payload = codec.encode_request_header(JOIN_GROUP, VERSION, 1, "test")
    payload += codec.encode_request(JOIN_GROUP, VERSION, request)
    bridge = _core.Bridge(codec)
    engine = _core.Engine(None, bridge=bridge, node_id=1, cluster_id=None, settings={})
    server = _core.Server(
        engine,
        bridge,
        listeners=[("PLAINTEXT", "127.0.0.1", 0)],
        api_table=api_table(),
        limits={"queued.max.requests": 6, "queued.max.request.bytes": -1},
    )
    [(_, host, port)] = server.start()
    try:
        with ExitStack() as clients:
            for _ in range(7):
                client = clients.enter_context(socket.create_connection((host, port), WAIT_S))
                client.sendall(len(payload).to_bytes(4, "big") + payload)
            while server.status()["requests"] < 7:
                pass
            drained: list[list[tuple[Any, ...]]] = []
            while sum(map(len, drained)) < 7:
                assert select.select([bridge.fileno()], [], [], WAIT_S)[0], "what is left is announced"
                drained.append(bridge.drain(256))
            assert max(map(len, drained)) <= 4
            assert {item[0] for items in drained for item in items} == {"request"}
    finally:
        server.stop(0)
        engine.close()
