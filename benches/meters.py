"""What a process and the whole machine used, from the kernel's own counters."""

from __future__ import annotations

import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.processes import Process

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """Time that any core was not idle and not waiting for a disk, since boot."""
    first = Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, _idle, _wait, irq, softirq, steal, *_ = map(int, first.split()[1:])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


@dataclass
class Usage:
    """CPU of the broker process, and of everything on the machine until its dirty pages were written back."""

    broker_cpu_s: float
    machine_busy_s: float


class Meter:
    """Reads the counters now; `stop` gives the difference."""

    def __init__(self, process: Process) -> None:
        self._process = process
        os.sync()  # what others left dirty is not this round's
        self._cpu = process.cpu_seconds()
        self._busy = busy_seconds()

    def stop(self) -> Usage:
        os.sync()
        return Usage(self._process.cpu_seconds() - self._cpu, busy_seconds() - self._busy)


def _free_bytes() -> int:
    return int(Path("/proc/meminfo").read_text().split("MemFree:")[1].split()[0]) << 10


class FullPageCache:
    """Keeps free memory in use between rounds: as page cache, which gives way to whoever wants memory.

    A virtual machine hands memory that nobody uses back to its host within seconds, and pays when it is touched again:
    1 GiB of plain writes to a new file was seen to take 0.25 s of CPU in memory that was in use before, and 2.8 s in
    memory that was not. Without this, a broker's CPU tells where its pages came from and little else.
    """

    STEP_BYTES = 512 << 20
    FALLING_BYTES = 64 << 20

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by __exit__
        self._buffer = bytearray(8 << 20)
        self._bytes = 0

    def fill(self) -> None:
        """Reads a file without content until that takes no more free memory away."""
        steps_without_effect = 0
        while steps_without_effect < 2:
            before = _free_bytes()
            end = self._bytes + self.STEP_BYTES
            self._file.truncate(end)
            self._file.seek(self._bytes)
            while self._file.readinto(self._buffer):
                pass
            self._bytes = end
            falls = before - _free_bytes() > self.FALLING_BYTES
            steps_without_effect = 0 if falls else steps_without_effect + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()


def machine() -> dict[str, object]:
    """The machine as far as it bears on the figures."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    memory_kib = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / (1 << 20), 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
