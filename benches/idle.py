"""`python -m benches.idle`: what a connection costs the broker while nobody uses it, and a burst of new ones.

For each state a connection may rest in, as many connections as are asked for are brought into it, one after the other;
the broker's resident memory before and after makes the bytes of each. What the kernel keeps for a socket is not in
there. Every state has a broker of its own, so that no memory of an earlier one is used again.

The burst: so many connections are begun before the first is waited for, each with a request; every one is answered.
"""

from __future__ import annotations

import argparse
import os
import resource
import selectors
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.processes import API_VERSIONS_PROBE, OttlaProcess
from tests.wire.client import framed, request_bytes

EACH_KIB_MAX = 12
SETTINGS = {"node.id": "1", "offsets.topic.replication.factor": "1", "ottla.durability": "os"}
TIMEOUT_S = 60
TOPIC = "idle"

Bring = Callable[[socket.socket], None]
T = TypeVar("T")


def ask(connection: socket.socket, message: bytes) -> bytes:
    """Sends a request and takes the whole answer."""
    connection.sendall(message)
    (length,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
    return connection.recv(length, socket.MSG_WAITALL)


def request(api: str, version: int, **fields: object) -> bytes:
    return framed(request_bytes(api, version, 1, "bench", fields))


METADATA = request("metadata", 12, topics=[{"name": TOPIC}], allow_auto_topic_creation=True)
HEARTBEAT = request("heartbeat", 4, group_id="none", generation_id=1, member_id="nobody")
FETCH = request(
    "fetch",
    4,
    replica_id=-1,
    max_wait=1_800_000,
    min_bytes=1,
    max_bytes=1 << 20,
    topics=[{"topic": TOPIC, "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]}],
)


def connected(_connection: socket.socket) -> None:
    """Nothing was ever asked."""


def has_asked(connection: socket.socket) -> None:
    """ApiVersions and Metadata, as every client begins."""
    ask(connection, API_VERSIONS_PROBE)
    ask(connection, METADATA)


def has_asked_control_plane(connection: socket.socket) -> None:
    """The same, and something that goes up."""
    has_asked(connection)
    ask(connection, HEARTBEAT)


def polls(connection: socket.socket) -> None:
    """A Fetch that waits for records."""
    has_asked(connection)
    connection.sendall(FETCH)


STATES: dict[str, Bring] = {
    "connected": connected,
    "served ApiVersions, Metadata": has_asked,
    "served a Heartbeat too": has_asked_control_plane,
    "a Fetch waits": polls,
}


def address(broker: OttlaProcess) -> tuple[str, int]:
    host, port = broker.bootstrap.rsplit(":", 1)
    return host, int(port)


def measure(broker: OttlaProcess, bring: Bring, count: int) -> float:
    """Bytes of resident memory for each connection."""
    with socket.create_connection(address(broker), timeout=TIMEOUT_S) as first:
        # Makes the topic, and lets the runtime make what it makes once.
        has_asked_control_plane(first)
        ask(first, METADATA)
        before = broker.resident_bytes()
        connections = []
        try:
            for _ in range(count):
                connection = socket.create_connection(address(broker), timeout=TIMEOUT_S)
                connections.append(connection)
                bring(connection)
            # They are accepted in order: with this one answered, all of them are there.
            with socket.create_connection(address(broker), timeout=TIMEOUT_S) as last:
                ask(last, API_VERSIONS_PROBE)
            return (broker.resident_bytes() - before) / count
        finally:
            for connection in connections:
                connection.close()


def burst(broker: OttlaProcess, count: int) -> float:
    """Seconds until every one of so many connections, begun at once, was answered; an error ends the run."""
    selector = selectors.DefaultSelector()
    begun = time.monotonic()
    waiting = []
    for _ in range(count):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(address(broker))
        waiting.append(connection)
    for connection in waiting:
        selector.register(connection, selectors.EVENT_WRITE)
    left = count
    while left:
        for key, events in selector.select(TIMEOUT_S):
            connection = key.fileobj  # type: ignore[assignment]  # only sockets were registered
            failed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed))
            if events & selectors.EVENT_WRITE:
                connection.sendall(API_VERSIONS_PROBE)
                selector.modify(connection, selectors.EVENT_READ)
            elif connection.recv(4):
                selector.unregister(connection)
                left -= 1
            else:
                raise ConnectionError("the broker closed a connection")
    elapsed_s = time.monotonic() - begun
    for connection in waiting:
        connection.close()
    return elapsed_s


def with_broker(run: Callable[[OttlaProcess], T]) -> T:
    folder = Path(tempfile.mkdtemp(prefix="connections-"))
    broker = OttlaProcess(folder / "ottla", SETTINGS)
    broker.start()
    try:
        return run(broker)
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--burst", type=int, default=1000)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    is_dear = False
    for what, bring in STATES.items():
        each_kib = with_broker(lambda broker, bring=bring: measure(broker, bring, options.connections)) / 1024
        # Of a few hundred it is noise.
        is_dear |= each_kib >= EACH_KIB_MAX and options.connections >= 5000
        print(f"{options.connections} connections, {what:30} {each_kib:6.2f} KiB each", flush=True)
    elapsed_s = with_broker(lambda broker: burst(broker, options.burst))
    print(f"{options.burst} connections at once: all answered after {elapsed_s * 1000:.0f} ms")
    sys.exit(1 if is_dear else 0)


if __name__ == "__main__":
    main()
