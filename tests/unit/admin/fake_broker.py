"""A broker of any age that says what a test tells it to: version ranges, and an answer per API.

It decodes requests with the codec in exactly the version the client chose and refuses versions it does not serve as
Kafka does: by closing, but for ApiVersions.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from ottla.embed import new_codec
from ottla.messages.api_versions import ApiVersionsResponse, ApiVersionsResponseApiVersion
from ottla.messages.metadata import MetadataResponse, MetadataResponseBroker

# What Apache Kafka 2.0 serves of the APIs that the admin client asks.
KAFKA_2_0: dict[int, tuple[int, int]] = {
    2: (0, 3),
    3: (0, 6),
    8: (0, 4),
    9: (0, 4),
    10: (0, 2),
    15: (0, 2),
    16: (0, 2),
    18: (0, 2),
    19: (0, 3),
    20: (0, 2),
    21: (0, 1),
    22: (0, 1),
    32: (0, 2),
    33: (0, 1),
    35: (0, 1),
    37: (0, 1),
    42: (0, 1),
}

Answer = Callable[[Any], Struct] | Struct


class FakeBroker:
    """One listening socket. `asked` has (API key, version, request) in the order they came."""

    def __init__(self, served: Mapping[int, tuple[int, int]], answers: Mapping[int, Answer], port: int = 0) -> None:
        self.served = dict(served)
        self.answers = dict(answers)
        self.asked: list[tuple[int, int, Any]] = []
        self.connections = 0
        self._codec = new_codec()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def requests(self, api_key: int) -> list[tuple[int, Any]]:
        """Version and body of every request of one API."""
        return [(version, request) for key, version, request in self.asked if key == api_key]

    def drop_connections(self) -> None:
        """What an idle time-out does."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.drop_connections()

    def metadata(self, **fields: Any) -> MetadataResponse:
        """This broker, alone and controller, and what else is given."""
        brokers = [MetadataResponseBroker(1, "127.0.0.1", self.port)]
        return MetadataResponse(**{"brokers": brokers, "controller_id": 1, "cluster_id": "fake", **fields})

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            while True:
                (size,) = struct.unpack(">i", self._exactly(connection, 4))
                self._one(connection, self._exactly(connection, size))

    @staticmethod
    def _exactly(connection: socket.socket, size: int) -> bytes:
        data = connection.recv(size, socket.MSG_WAITALL)
        if len(data) < size:
            raise EOFError
        return data

    def _one(self, connection: socket.socket, frame: bytes) -> None:
        key, version, correlation_id, name = struct.unpack(">hhih", frame[:10])
        low, high = self.served.get(key, (0, -1))
        if not low <= version <= high:
            if key != 18:
                raise EOFError
            self._send(connection, correlation_id, 18, 0, ApiVersionsResponse(error_code=35))
            return
        body = frame[10 + max(0, name) :]
        # A flexible header ends with tagged fields: none.
        flexible = self._codec.encode_request_header(key, version, 1, "").endswith(b"\0\0\0")
        request = self._codec.decode_request(key, version, body[1:] if flexible else body)
        self.asked.append((key, version, request))
        if key == 18:
            rows = [ApiVersionsResponseApiVersion(each, *span) for each, span in self.served.items()]
            self._send(connection, correlation_id, key, version, ApiVersionsResponse(api_keys=rows))
            return
        answer = self.answers.get(key)
        if answer is None and key == 3:
            answer = self.metadata()
        if answer is None:
            raise EOFError
        self._send(connection, correlation_id, key, version, answer(request) if callable(answer) else answer)

    def _send(self, connection: socket.socket, correlation_id: int, key: int, version: int, answer: Struct) -> None:
        body = self._codec.encode_response(key, version, answer)
        # The header of a flexible answer ends with tagged fields, that of ApiVersions never does.
        header = struct.pack(">i", correlation_id)
        if key != 18 and self._codec.decode_response_header(key, version, header + b"\0")[1] == b"":
            header += b"\0"
        connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)


@contextlib.contextmanager
def fake_broker(
    served: Mapping[int, tuple[int, int]] | None = None, answers: Mapping[int, Answer] | None = None
) -> Iterator[FakeBroker]:
    """A broker for the length of a test."""
    broker = FakeBroker(KAFKA_2_0 if served is None else served, answers or {})
    try:
        yield broker
    finally:
        broker.close()
