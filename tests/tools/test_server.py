"""kafka-server-start and kafka-server-stop: a broker by a server.properties, and only those are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ottla
from ottla.cli.kafka.started import running
from tests.processes import OttlaProcess, answers, free_port
from tests.tools.play import ours

pytestmark = pytest.mark.ottla


class Started:
    """A server.properties as Kafka ships it, and the notes of a user of the test's own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "server.properties"
        self.config.write_text(
            "process.roles=broker,controller\nnode.id=7\ncontroller.listener.names=CONTROLLER\n"
            f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{free_port()}\n"
            f"log.dirs={folder}/data\ncontroller.quorum.bootstrap.servers=localhost:9093\nnum.io.threads=8\n"
        )
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        monkeypatch.setenv("LOG_DIR", str(folder / "logs"))
        monkeypatch.setenv("PYTHONPATH", str(Path(ottla.__file__).parents[1]))
        monkeypatch.chdir(folder)

    def wait(self, *, up: bool) -> None:
        """Wait until the port answers, or no longer does."""
        deadline = time.monotonic() + 30
        while answers("127.0.0.1", self.port, 0.2) != up:
            assert time.monotonic() < deadline, [path.read_text() for path in (self.folder / "logs").glob("*")]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """Settings and notes of the test's own; what it leaves running is killed."""
    yield Started(tmp_path, monkeypatch)
    for note in running():
        os.kill(note.pid, signal.SIGKILL)


def test_a_daemon_is_started_found_and_stopped(started: Started) -> None:
    """-daemon comes back at once; the override counts; stop finds the broker by its note and its lock."""
    ran = ours("kafka-server-start", ["-daemon", str(started.config), "--override", "num.partitions=3"], b"")
    assert ran == (0, "", "")
    started.wait(up=True)
    server = f"127.0.0.1:{started.port}"
    assert ours("kafka-topics", ["--bootstrap-server", server, "--create", "--topic", "t"], b"").code == 0
    assert "PartitionCount: 3" in ours("kafka-topics", ["--bootstrap-server", server, "--describe"], b"").out
    for flag in ("--node-id=8", "--process-role=broker"):
        assert ours("kafka-server-stop", [flag], b"") == (1, "No kafka server to stop\n", "")
    assert answers("127.0.0.1", started.port, 5)
    assert ours("kafka-server-stop", ["--node-id=7"], b"") == (0, "", "")
    started.wait(up=False)
    deadline = time.monotonic() + 30
    while (gone := ours("kafka-server-stop", [], b"")).code == 0:
        assert time.monotonic() < deadline, "the note stays"
    assert gone.out == "No kafka server to stop\n"


def test_a_broker_that_was_started_otherwise_is_left_alone(started: Started) -> None:
    """A note of a broker that is gone names a directory that `ottla serve` has opened since: nothing is stopped."""
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = OttlaProcess(started.folder, {"node.id": "7"})
    try:
        process.start()
        notes = started.folder / "state" / "ottla" / "servers"
        notes.mkdir(parents=True)
        # Alive, and not the holder of the lock.
        for pid, name in ((bystander.pid, "alive"), (2**22 - 3, "gone")):
            (notes / f"{name}.json").write_text(
                f'{{"pid": {pid}, "data": ["{process.data_dir}"], "node.id": "7", "process.roles": "broker"}}'
            )
        assert ours("kafka-server-stop", [], b"") == (1, "No kafka server to stop\n", "")
        assert process.running
        assert bystander.poll() is None
        assert not (notes / "gone.json").exists()
    finally:
        process.stop()
        bystander.communicate(b"\n")


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*"),
        (["nope"], "nope"),
        (["server.properties", "--override", "x"], "--override x: write property=value"),
        (["server.properties", "--nosuch"], "--nosuch is not a recognized option"),
        (["server.properties", "more"], "Found non argument parameters: more"),
        (["server.properties", "--override", "num.partitions=many"], "num.partitions"),
        (["-daemon", "server.properties", "--override", "num.partitions=0"], "num.partitions"),
    ],
)
def test_what_cannot_be_started_says_why(started: Started, words: list[str], said: str) -> None:
    """One line, exit code 1 as Kafka's script, and no directory is made."""
    ran = ours("kafka-server-start", words, b"")
    assert ran.code == 1
    assert said in ran.out + ran.err
    assert len((ran.out + ran.err).splitlines()) == 1
    assert not (started.folder / "data").exists()


def test_in_the_foreground_it_stops_on_sigterm(started: Started) -> None:
    """As a service manager runs it."""
    command = [sys.executable, "-m", "ottla", "kafka-server-start", str(started.config)]
    with (started.folder / "out").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        started.wait(up=True)
        assert ours("kafka-server-stop", [], b"").code == 0
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert not list((started.folder / "state" / "ottla" / "servers").glob("*.json"))
