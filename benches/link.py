"""One connection that speaks Kafka's protocol through our codec and does nothing else, alike for every broker."""

from __future__ import annotations

import socket
import struct

from msgspec import Struct

from ottla._core import Codec
from tests.processes import Process

WAIT_S = 60.0
# What a client of Kafka 4 speaks: ListOffsets, FindCoordinator, JoinGroup, Heartbeat, LeaveGroup, SyncGroup.
VERSIONS = {2: 7, 10: 6, 11: 9, 12: 4, 13: 5, 14: 5}
CODEC = Codec()


class Link:
    """One connection. One request at a time."""

    def __init__(self, process: Process, timeout_s: float = WAIT_S) -> None:
        self.socket = socket.create_connection((process.host, process.port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._asked = (0, 0)
        self._received = bytearray()

    def send(self, key: int, request: Struct) -> None:
        version = VERSIONS[key]
        message = CODEC.encode_request_header(key, version, 1, "bench") + CODEC.encode_request(key, version, request)
        self._asked = (key, version)
        self.socket.sendall(struct.pack(">i", len(message)) + message)

    def receive(self) -> Struct | None:
        """What has come; None if that is not the whole answer yet."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the broker closed a connection")
        self._received += data
        if len(self._received) < 4 or len(self._received) < 4 + int.from_bytes(self._received[:4], "big"):
            return None
        frame, self._received = bytes(self._received[4:]), bytearray()
        key, version = self._asked
        return CODEC.decode_response(key, version, CODEC.decode_response_header(key, version, frame)[1])

    def ask(self, key: int, request: Struct) -> Struct:
        self.send(key, request)
        while (answer := self.receive()) is None:
            pass
        return answer
