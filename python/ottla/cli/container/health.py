"""`ottla container health`: does the broker of this container answer?

The running broker leaves its address in a file, since only it knows where it listens after all arguments and files are
read. A health check runs every few seconds: it asks ApiVersions on a plain socket and imports nothing large.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ANY_TO_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound
_TIMEOUT_S = 3.0
_CORRELATION_ID = 7
# ApiVersions, version 0, a client id of two letters: the smallest request that every broker answers.
_PROBE = struct.pack(">ihhih2s", 12, 18, 0, _CORRELATION_ID, 2, b"up")

log = logging.getLogger("ottla.container")


def file() -> Path:
    """Give the file that holds the address."""
    return Path(tempfile.gettempdir(), "ottla-health")


def address_of(listeners: Sequence[tuple[str, str, int]]) -> tuple[str, int]:
    """Give where the first listener is reached from within the container."""
    _, host, port = listeners[0]
    return _ANY_TO_LOOPBACK.get(host, host), port


def write(listeners: Sequence[tuple[str, str, int]]) -> None:
    """Leave the address for the checks to come."""
    host, port = address_of(listeners)
    try:
        # Never through a link somebody left there.
        file().unlink(missing_ok=True)
        with os.fdopen(os.open(file(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="utf-8") as out:
            out.write(f"{host} {port}\n")
    except OSError as error:
        log.warning("%s: %s; `ottla container health` will find no broker", file(), error.strerror)


def check() -> str | None:
    """Say what is wrong, None if the broker answers."""
    try:
        host, port = file().read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return f"no broker has started: {file()} does not say where it listens"
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
            connection.sendall(_PROBE)
            answer = connection.recv(10, socket.MSG_WAITALL)
    except (OSError, ValueError) as error:
        return f"the broker at {host}:{port} does not answer: {error}"
    if len(answer) < 10 or struct.unpack(">ih", answer[4:]) != (_CORRELATION_ID, 0):
        return f"what listens at {host}:{port} does not answer as a broker does"
    return None
