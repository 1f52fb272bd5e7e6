"""Brokers as processes: what Ottla and Apache Kafka have in common when a test or a benchmark runs them.

A `Process` is started on a loopback port, waited for by asking it ApiVersions (never by sleeping), and stopped by the
pid it was started with. Its output goes to a file beside its data, whose tail is shown when it does not come up.
`settings` are Kafka's server.properties names for both brokers, so one dictionary configures either.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
# ApiVersions v0, correlation id 7, client id "up": the smallest request that every broker answers.
API_VERSIONS_PROBE = struct.pack(">ihhih2s", 12, 18, 0, 7, 2, b"up")


class BrokerFailed(Exception):
    """The broker process ended or did not answer; the text holds the tail of its output."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(host: str, port: int, timeout_s: float) -> bool:
    """True if the broker answers ApiVersions within the time."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(API_VERSIONS_PROBE)
            return len(connection.recv(8, socket.MSG_WAITALL)) == 8
    except OSError:
        return False


def taken_along() -> tuple[str, ...]:
    """What to put before a command so that a test run that is killed takes it along."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()


class Process:
    """One broker process. Subclasses say which command runs it."""

    name = ""
    # How it ends on SIGTERM.
    clean_codes: tuple[int, ...] = (0,)
    fault_words: tuple[str, ...] = ()

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.output_path = folder / "output.log"
        self.settings = dict(settings or {})
        # Besides what this process has itself.
        self.variables: dict[str, str] = {}
        self.host = "127.0.0.1"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def command(self) -> list[str]:
        """The command line; files it needs are written here."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    def launch(self) -> None:
        """Starts the process without waiting for an answer."""
        assert not self.running, "already running"
        command = [*taken_along(), *self.command()]
        with self.output_path.open("ab") as output:
            # Its own session: a Ctrl-C for the test run reaches the broker only through stop().
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment(),
                start_new_session=True,
            )
        (self.folder / "pid").write_text(f"{self._process.pid}\n")

    def wait_until_up(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns once ApiVersions is answered; raises BrokerFailed when the process ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not answers(self.host, self.port, timeout_s=max(0.1, deadline - time.monotonic())):
            assert self._process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=0.02)
                raise BrokerFailed(f"{self.name} ended with {code}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise BrokerFailed(f"{self.name} did not answer in {timeout_s} s:\n{self.tail()}")

    def start(self) -> None:
        try:
            self.launch()
            self.wait_until_up()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int | None:
        """SIGTERM and wait; returns the exit code. A broker that does not end in time is killed and reported."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise BrokerFailed(f"{self.name} did not stop on SIGTERM:\n{self.tail()}") from None
        code = self._process.returncode
        self._process = None
        return code

    def faults(self) -> list[str]:
        """Lines of the output that no test may provoke: they tell of a bug, not of a client's mistake."""
        return [line for line in self.output().splitlines() if any(word in line for word in self.fault_words)]

    def stop_without_fault(self) -> None:
        """Stops; fails if it did not end as it should, or if its output tells of a bug."""
        code = self.stop()
        assert code in (None, *self.clean_codes), f"{self.name} ended with {code}:\n{self.tail()}"
        found = self.faults()
        assert not found, f"{self.name} tells of a bug, see {self.output_path}:\n" + "\n".join(found[:20])

    def kill(self) -> None:
        """SIGKILL: what a crash leaves behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def wait_ended(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def output(self) -> str:
        return self.output_path.read_text(errors="replace") if self.output_path.exists() else ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def cpu_seconds(self) -> float:
        """User plus system time of the process so far, from the kernel's own account."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_resident_bytes(self) -> int:
        """The most that was resident since the process began."""
        told = Path(f"/proc/{self.pid}/status").read_text()
        return int(told.split("VmHWM:")[1].split()[0]) * 1024


def write_properties(path: Path, settings: Mapping[str, str]) -> None:
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


class OttlaProcess(Process):
    """`ottla serve` as a person runs it, with the interpreter of the test."""

    name = "ottla"
    # Settings of every broker that does not say otherwise, by an option of the test run.
    everywhere: ClassVar[dict[str, str]] = {}
    fault_words: tuple[str, ...] = (
        "Traceback",
        "panicked",
        "PanicException",
        # Of the dispatcher, the controller and the data plane: what nobody foresaw.
        "the control plane failed in",
        "a turn of the control plane failed",
        "is not shown before a restart",
        "Nothing can be changed until",
        "does not fit its message",
        "was answered twice",
        "answer to the unknown token",
        "no handler for API key",
        "handed up something this version does not know",
    )

    def command(self) -> list[str]:
        config = self.folder / "server.properties"
        write_properties(config, {**self.everywhere, **self.settings})
        return [
            *(sys.executable, "-m", "ottla", "serve"),
            *("--data-dir", str(self.data_dir), "--listen", f"{self.host}:{self.port}", "--config", str(config)),
        ]
