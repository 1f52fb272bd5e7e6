"""The time delays are measured by: the wall's, or what a file says, so that a test can turn it as it likes."""

from __future__ import annotations

import time
from pathlib import Path


class WallClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class FileClock:
    """Whoever writes milliseconds into the file turns the clock; until then nothing falls due."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def now_ms(self) -> int:
        return int(self.path.read_text())


def clock(file: str) -> WallClock | FileClock:
    """By the name of the file; none is the wall clock."""
    return FileClock(Path(file)) if file else WallClock()


def turn(path: Path, now_ms: int) -> None:
    """At once for every reader: the old file or the new one, never half a number."""
    new = path.with_suffix(".new")
    new.write_text(str(now_ms))
    new.replace(path)
