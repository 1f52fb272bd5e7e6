"""More clients, and more partitions, than the process may have descriptors for: the log still gets what it needs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benches import many_partitions
from benches.peers import Peer
from tests.conftest import TEST_SETTINGS
from tests.processes import OttlaProcess
from tests.wire.batches import Batch, Record
from tests.wire.differential import Talk

pytestmark = pytest.mark.ottla

LIMIT = 256
CLIENTS = 400


class Poor(OttlaProcess):
    """`ottla serve` with few descriptors, and no way to more."""

    def command(self) -> list[str]:
        return ["sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh", *super().command()]


@pytest.fixture
def poor(tmp_path: Path) -> Iterator[Poor]:
    process = Poor(tmp_path / "broker", TEST_SETTINGS)
    process.start()
    yield process
    process.stop_without_fault()


def was_closed(client: socket.socket) -> bool:
    """Whether the broker hung up; one that is served hears nothing as long as it asks nothing."""
    client.settimeout(0.0)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_clients_do_not_take_the_files_descriptors(poor: Poor, unique: str) -> None:
    """Connections past the share are closed at once; topics are made and written to meanwhile, nothing goes offline."""
    talk = Talk(poor, unique)
    talk.create("-first")
    host, port = poor.bootstrap.rsplit(":", 1)
    clients = [socket.create_connection((host, int(port)), timeout=30) for _ in range(CLIENTS)]
    try:
        # The last one was seen by the broker when this one is: they wait in one queue.
        clients[-1].settimeout(30)
        assert clients[-1].recv(1) == b""
        assert 0 < sum(was_closed(client) for client in clients) < CLIENTS
        assert "are closed at once" in poor.output()
        for number in range(20):
            talk.create(f"-{number}")
            talk.produce(talk.topic(f"-{number}"), Batch([Record(value=b"v")]))
    finally:
        for client in clients:
            client.close()
    assert "offline" not in poor.output()
    talk.close()


def test_more_partitions_than_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand partitions are made, written to, read, stopped, killed and deleted by a process that has descriptors
    for a few: every record is there, and no answer has an error."""
    monkeypatch.setattr(many_partitions, "CPU_S", 0.01)
    process = Poor(tmp_path / "broker", TEST_SETTINGS)
    try:
        done = many_partitions.Play(Peer(process, "this"), 100, 10, lambda _: None).play()
    finally:
        process.kill()
    assert 0 < done["descriptors"] < LIMIT
    assert "offline" not in process.output()
