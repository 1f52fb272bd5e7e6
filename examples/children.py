"""Processes of an example: started with their pid known, watched, killed when the story says so, never left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
# ApiVersions v0 with correlation id 1 and no client id: the smallest question that every broker answers.
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


class Failed(Exception):
    """The story cannot go on; the text says why."""


class Broker(Protocol):
    """What the story asks of a broker. `OttlaServe` is one; tests bring others."""

    name: str

    @property
    def bootstrap(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> object: ...
    def kill(self) -> None: ...


class Child:
    """A process of ours. Its standard input is a pipe it watches: if we vanish, it ends."""

    def __init__(self, name: str, command: list[str], output: Path) -> None:
        self.name = name
        self.output = output
        self.asked_to_end = False
        with output.open("ab") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, cwd=ROOT)

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self) -> int | None:
        return self.process.poll()

    def terminate(self) -> None:
        """SIGTERM. Once only: a second one would meet an interpreter that is ending and has its handlers taken down."""
        if self.process.poll() is None and not self.asked_to_end:
            self.asked_to_end = True
            self.process.terminate()

    def stop(self) -> int:
        """SIGTERM, and SIGKILL for one that does not listen. Returns the exit code."""
        self.terminate()
        return self.wait(STOP_TIMEOUT_S)

    def wait(self, timeout_s: float) -> int:
        """The exit code of a child that was asked to end. One that does not is killed, and that is a failure."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} (pid {self.pid}) did not end when asked to\n{tail(self.output)}") from None

    def tell(self, line: str) -> None:
        """A line for a child that is told by lines."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def no_more_lines(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


class OttlaServe:
    """`ottla serve`, as a person runs it. Where the system can, it is told to end the broker should we be killed."""

    name = "ottla"

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.output = folder / "broker.log"
        self.bootstrap = f"127.0.0.1:{free_port()}"
        self.child: Child | None = None

    @property
    def pid(self) -> int:
        if self.child is None:
            raise Failed("the broker does not run")
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.ended() is None

    def start(self) -> None:
        """Returns when the broker answers."""
        where = ["--data-dir", str(self.data_dir), "--listen", self.bootstrap]
        command = [sys.executable, "-m", "ottla", "serve", *where]
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", *command]  # it becomes the command: the pid is the broker's
        self.child = Child(self.name, command, self.output)
        until = time.monotonic() + START_TIMEOUT_S
        while not answers(self.bootstrap):
            if self.child.ended() is not None or time.monotonic() > until:
                raise Failed(f"the broker did not start\n{tail(self.output)}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()


def answers(bootstrap: str) -> bool:
    """Whether a broker listens there and answers ApiVersions."""
    host, port = bootstrap.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=1.0) as connection:
            connection.sendall(API_VERSIONS)
            return len(connection.recv(8, socket.MSG_WAITALL)) == 8
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tail(path: Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


class Journal:
    """Lines of JSON that outlive the process that writes them: each is one write to the file."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, entry: dict[str, Any]) -> None:
        data = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self.file, data) :]


class Follower:
    """Reads a journal while it grows. A last line without its end (its writer was killed) never counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0

    def news(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.position)
            whole, end, _torn = file.read().rpartition(b"\n")
        self.position += len(whole) + len(end)
        for line in whole.splitlines():
            yield json.loads(line)


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone: then the pipe on standard input is at its end."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(3)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def main(work: Callable[..., int], *kinds: Callable[[str], Any], told_by_lines: bool = False) -> int:
    """Runs a child's work with the arguments of its command line.

    A child that is `told_by_lines` what to do reads them from standard input itself, and ends when they end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops us in order
    if not told_by_lines:
        end_with_parent()
    return work(*(kind(word) for kind, word in zip(kinds, sys.argv[1:], strict=True)))


def path(word: str) -> Path:
    return Path(word)


def optional_int(word: str) -> int | None:
    return int(word) if word else None
