"""One socket to one broker: frames out, frames in, one at a time, each before a deadline.

A connection opens with ApiVersions, as every client's does: version 3 first, and when a broker older than 2.4 refuses
that with version 0 of the answer, version 0. What the broker serves decides the version of every later request. After
any failure the socket is closed, since an answer that comes late would be taken for the next one's.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Protocol

from ottla import __version__
from ottla.admin import apis
from ottla.errors import CodecError, ErrorCode, InvalidInput, RequestError, Unreachable
from ottla.messages.api_versions import ApiVersionsRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import Struct

    from ottla.admin.apis import Api

# The largest answer that is read: Metadata of a hundred thousand partitions is about 10 MiB.
RESPONSE_BYTES_MAX = 256 << 20
_CHUNK_BYTES = 1 << 20


class ClientCodec(Protocol):
    """The half of the codec that a client needs."""

    def encode_request(self, api_key: int, version: int, request: Struct) -> bytes:
        """Give the body of a request."""
        ...

    def decode_response(self, api_key: int, version: int, body: bytes) -> Struct:
        """Give the response a body holds."""
        ...

    def encode_request_header(
        self, api_key: int, version: int, correlation_id: int, client_id: str | None = None
    ) -> bytes:
        """Give what stands in front of a request's body."""
        ...

    def decode_response_header(self, api_key: int, version: int, frame: bytes) -> tuple[int, bytes]:
        """Give the correlation id of a response, and its body."""
        ...

    def decode_struct(self, name: str, version: int, body: bytes) -> Struct:
        """Give the message of this name."""
        ...


class Deadline:
    """A moment on the monotonic clock by which something is to be done."""

    def __init__(self, timeout_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._at = monotonic() + timeout_s
        self.timeout_s = timeout_s

    @property
    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._at - self._monotonic())

    def at_most(self, timeout_s: float) -> Deadline:
        """Give one that is not later than this one, nor than so many seconds from now."""
        return Deadline(min(timeout_s, self.left_s), self._monotonic)


class _Lost(Exception):
    """The broker has closed a connection."""


class Connection:
    """A socket over which one request at a time is answered. Not for several threads."""

    def __init__(self, host: str, port: int, *, codec: ClientCodec, client_id: str, deadline: Deadline) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.closed = False
        # Whether it has answered anything but its opening: then a close may only mean that it was idle for long.
        self.used = False
        self._codec = codec
        self._client_id = client_id
        self._correlation_id = 0
        try:
            self._socket = socket.create_connection((host, port), timeout=max(0.001, deadline.left_s))
        except TimeoutError as error:
            raise Unreachable(f"{self.address} cannot be connected to within {deadline.timeout_s:.0f} s") from error
        except UnicodeError as error:
            raise Unreachable(f"{self.address} cannot be connected to: '{host}' is no name a host can have") from error
        except OSError as error:
            said = error.strerror or str(error)
            raise Unreachable(f"{self.address} cannot be connected to: {said[:1].lower()}{said[1:]}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.served = self._open(deadline)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket. May be called any number of times."""
        self.closed = True
        self._socket.close()

    def version(self, api: Api, at_least: int = 0) -> int | None:
        """Give the version to speak, None if broker and client have none in common (from `at_least` on)."""
        served = self.served.get(api.key)
        if served is None:
            return None
        version = min(api.highest, served[1])
        return version if version >= max(api.lowest, served[0], at_least) else None

    def ask(self, api: Api, request: Struct, deadline: Deadline, *, at_least: int = 0) -> tuple[Any, int]:
        """Send a request in the newest common version; give its answer and that version.

        Raises `RequestError` (UNSUPPORTED_VERSION) if there is none from `at_least` on, `Unreachable` if no answer
        comes.
        """
        version = self.version(api, at_least)
        if version is None:
            since = apis.SINCE.get((api.key, at_least))
            needed = f" of version {at_least} or later" if at_least else ""
            raise RequestError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"{self.address} does not serve {api.name}{needed}"
                + (f"; Apache Kafka does since {since}" if since else ""),
            )
        try:
            frame = self._codec.encode_request(api.key, version, request)
        except CodecError as error:
            raise InvalidInput(f"{api.name} has no room for what is asked: {error}") from error
        try:
            answer = self._exchange(api, version, frame, deadline)
        except _Lost as lost:
            raise Unreachable(f"{self.address} closed the connection instead of answering {api.name}") from lost
        self.used = True
        return answer, version

    def _open(self, deadline: Deadline) -> dict[int, tuple[int, int]]:
        api = apis.API_VERSIONS
        answer: Any = None
        try:
            for version in (api.highest, api.lowest):
                request = ApiVersionsRequest(client_software_name="ottla", client_software_version=__version__)
                answer = self._exchange(api, version, self._codec.encode_request(api.key, version, request), deadline)
                if answer.error_code != ErrorCode.UNSUPPORTED_VERSION:
                    break
        except _Lost as lost:
            raise Unreachable(
                f"{self.address} closed the connection at once; if it is a broker, this port may want TLS or a login, "
                "which this client does not speak"
            ) from lost
        if answer.error_code != ErrorCode.NONE:
            raise error_of(answer.error_code, None)
        return {row.api_key: (row.min_version, row.max_version) for row in answer.api_keys}

    def _exchange(self, api: Api, version: int, body: bytes, deadline: Deadline) -> Any:
        self._correlation_id += 1
        header = self._codec.encode_request_header(api.key, version, self._correlation_id, self._client_id)
        try:
            frame = self._send_and_receive(header + body, deadline)
            correlation_id, rest = self._codec.decode_response_header(api.key, version, frame)
            if correlation_id != self._correlation_id:
                raise CodecError(f"the answer to request {self._correlation_id} says it is that to {correlation_id}")
            return self._codec.decode_response(api.key, self._version_of_answer(api, version, rest), rest)
        except TimeoutError as error:
            self.close()
            raise Unreachable(f"{self.address} did not answer {api.name} within {deadline.timeout_s:.0f} s") from error
        except ConnectionError as error:
            self.close()
            raise _Lost from error
        except (CodecError, OSError) as error:
            self.close()
            raise Unreachable(f"{self.address} does not answer as a Kafka broker does: {error}") from error
        except BaseException:
            # Ctrl-C between a request and its answer.
            self.close()
            raise

    @staticmethod
    def _version_of_answer(api: Api, version: int, body: bytes) -> int:
        """A broker that does not know the version of ApiVersions answers in version 0, with error 35."""
        refused = body[:2] == struct.pack(">h", ErrorCode.UNSUPPORTED_VERSION)
        return 0 if api.key == apis.API_VERSIONS.key and refused else version

    def _send_and_receive(self, message: bytes, deadline: Deadline) -> bytes:
        if deadline.left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(deadline.left_s)
        self._socket.sendall(struct.pack(">i", len(message)) + message)
        (size,) = struct.unpack(">i", self._receive(4, deadline))
        if not 4 <= size <= RESPONSE_BYTES_MAX:
            raise CodecError("what came first is not the size of a frame (TLS, or another protocol?)")
        return self._receive(size, deadline)

    def _receive(self, size: int, deadline: Deadline) -> bytes:
        # Grows with what has come, not with what was announced.
        received = bytearray()
        while len(received) < size:
            if deadline.left_s <= 0:
                raise TimeoutError
            self._socket.settimeout(deadline.left_s)
            part = self._socket.recv(min(_CHUNK_BYTES, size - len(received)))
            if not part:
                raise ConnectionResetError("closed by the broker")
            received += part
        return bytes(received)


def error_of(code: int, message: str | None) -> RequestError:
    """Give the error for a code on the wire, which may be newer than the table; the broker's own words count first."""
    try:
        known = ErrorCode(code)
    except ValueError:
        return RequestError(ErrorCode.UNKNOWN_SERVER_ERROR, message or f"the broker answered with error code {code}")
    return RequestError(known, message or None)
