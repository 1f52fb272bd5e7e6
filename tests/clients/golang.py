"""Go and franz-go: the program of go/ is built once per change, into target/ (ignored by git).

franz-go's go.mod asks for a recent Go. A Go from 1.21 on fetches that one by itself, as a module; an older one
cannot even read the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

FOLDER = Path(__file__).with_name("go")
TARGET = Path(__file__).resolve().parents[2] / "target" / "clients"
FETCHES_ITSELF = (1, 21)
_one_at_a_time = threading.Lock()


def missing() -> str | None:
    """Why programs with franz-go cannot be built here, or None."""
    if shutil.which("go") is None:
        return "go not found: needed to build the tests with franz-go (Go 1.21 or later)"
    # Asked outside of the module, whose go.mod an old one refuses to read.
    said = subprocess.run(["go", "version"], cwd=os.sep, capture_output=True, text=True, check=True).stdout
    version = re.search(r"\bgo(\d+)\.(\d+)", said)
    if version is not None and (int(version[1]), int(version[2])) < FETCHES_ITSELF:
        return f"{version[0]} is too old for franz-go: Go 1.21 or later is needed, and fetches what go.mod asks for"
    return None


def build(*before: str) -> Path:
    """The program, built without optimization, as the compiler's time is what counts here. `before` may be `nice`."""
    with _one_at_a_time:
        digest = hashlib.sha256()
        for path in sorted(FOLDER.iterdir()):
            digest.update(path.name.encode() + path.read_bytes())
        program = TARGET / f"franz-{digest.hexdigest()[:12]}"
        if not program.exists():
            TARGET.mkdir(parents=True, exist_ok=True)
            partial = program.with_suffix(f".{os.getpid()}")
            flags = ["-trimpath", "-gcflags=all=-N -l", "-ldflags=-s -w"]
            command = [*before, "go", "build", *flags, "-o", str(partial), "."]
            done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == 0, f"go build: {done.stdout}{done.stderr}"
            for old in TARGET.glob("franz-*"):
                if old.suffix == "":
                    old.unlink()
            partial.replace(program)  # whole or not at all, also with two test runs at once
        return program


def build_in_background() -> None:
    """Starts the build beside tests that mostly wait; `build` waits for it, and tells what went wrong."""
    if missing() is None:
        nice = ("nice",) if shutil.which("nice") else ()
        threading.Thread(target=_try, args=nice, name="build franz-go", daemon=True).start()


def _try(*before: str) -> None:
    with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
        build(*before)
