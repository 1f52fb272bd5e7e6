"""Brokers on a disk whose every sync takes 2 ms longer: both are given the same preloaded library (slow_sync.c).

The fdatasync of a virtual disk may cost 0.06 ms, that of a real one milliseconds; what a broker does about it shows
only with the latter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.kafka import jars

SOURCE = Path(__file__).with_name("slow_sync.c")


def library() -> Path:
    """The library, compiled if it is not there or older than its source."""
    made = jars.ROOT / "target" / "bench" / "slow_sync.so"
    if not made.exists() or made.stat().st_mtime < SOURCE.stat().st_mtime:
        compiler = shutil.which("cc")
        if compiler is None:
            raise RuntimeError("no C compiler: it makes the library that slows syncs down")
        made.parent.mkdir(parents=True, exist_ok=True)
        partial = made.with_suffix(f".{os.getpid()}")
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(partial), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
        partial.replace(made)
    return made


def environment(delay_ms: float) -> Mapping[str, str]:
    """What a process needs in its environment, so that its syncs take so much longer."""
    return {"LD_PRELOAD": str(library()), "SLOW_SYNC_US": str(round(delay_ms * 1000))}
