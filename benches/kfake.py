"""franz-go's fake broker as a peer: Go, one process, a log in a directory. Built once into target/ (Go >= 1.21)."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.clients import golang
from tests.kafka import jars
from tests.processes import Process

FOLDER = Path(__file__).with_name("kfake_process")
SYNCS = "log.flush.interval.messages"


def version() -> str:
    """The version of the Go module."""
    found = re.search(r"franz-go/pkg/kfake (\S+)", (FOLDER / "go.mod").read_text())
    assert found is not None
    return found[1]


def build() -> Path:
    """The program, optimized as Go does by default."""
    if absent := golang.missing():
        raise RuntimeError(absent)
    digest = hashlib.sha256()
    for path in sorted(FOLDER.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    program = jars.ROOT / "target" / "bench" / f"kfake-{digest.hexdigest()[:12]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        subprocess.run(["go", "build", "-trimpath", "-o", str(partial), "."], cwd=FOLDER, check=True, timeout=600)
        partial.replace(program)
    return program


class KfakeProcess(Process):
    """One kfake broker."""

    name = "kfake"

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, settings)
        self._program = build()

    def command(self) -> list[str]:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        sync = ["sync"] if self.settings.get(SYNCS) == "1" else []
        return [str(self._program), str(self.port), str(self.data_dir), *sync]
