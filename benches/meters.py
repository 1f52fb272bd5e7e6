"""What a process and the whole machine used, from the kernel's own counters."""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.processes import Process

GIB = 1 << 30
MIB = 1 << 20
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


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


def warm_memory(size_bytes: int) -> None:
    """Touches as much memory as a round will fill and lets it go again, so that the round gets just that.

    A virtual machine hands memory that nobody uses back to its host, and pays when it is touched again: 1 GiB of plain
    writes to a new file was seen to take 0.2 s of CPU in memory freed a moment before, and 2.8 s in memory that had
    lain idle. Without this, a broker's CPU tells where its pages came from and little else.
    """
    if size_bytes == 0:
        return
    with mmap.mmap(-1, size_bytes) as memory:
        for start in range(0, size_bytes, mmap.PAGESIZE):
            memory[start] = 1


def empty_page_cache(folders: Iterable[Path]) -> list[str]:
    """Takes what past rounds wrote out of the page cache, so that no round pays for finding room; what was done.

    A full page cache makes each write look for a page to give up first: the broker that writes then pays for the files
    of the one before it. Advice on the files (any user), and where the kernel allows (root) all clean pages.
    """
    os.sync()  # a dirty page cannot go
    # `os.walk` takes it that directories vanish meanwhile, and so must we: the pages of a deleted file go with it.
    found = (Path(folder, name) for top in folders for folder, _, names in os.walk(top) for name in names)
    for path in found:
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
    done = ["sync", "POSIX_FADV_DONTNEED on the data directories"]
    with contextlib.suppress(OSError):
        DROP_CACHES.write_text("1\n")
        done.append("drop_caches")
    return done


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
