"""Which brokers kafka-server-start has started: a note for each, by which kafka-server-stop finds them.

Kafka's script looks for a Java process by its name. Here a note names data directories and process; it counts while the
lock of such a directory is held and names that process. So a broker that is gone, one that `ottla serve` runs, and a
process that has been given an old number are never stopped by mistake.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOCK = ".lock"


class Note(NamedTuple):
    """A broker that was started."""

    path: Path
    pid: int
    node_id: str
    roles: str


def folder() -> Path:
    """Where this user's notes are: XDG's place for state, or a folder of the user's among the temporary files."""
    state = os.environ.get("XDG_STATE_HOME") or Path(os.environ.get("HOME") or "/nonexistent", ".local", "state")
    for place in (Path(state, "ottla", "servers"), Path(tempfile.gettempdir(), f"ottla-servers-{os.getuid()}")):
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        # Among the temporary files anybody may have made a folder of this name.
        if place.stat().st_uid == os.getuid() and os.access(place, os.W_OK):
            return place
    raise OSError(f"{state} cannot be written: set HOME or XDG_STATE_HOME to a directory that can")


def write(directories: Sequence[str], *, node_id: str, roles: str) -> Path:
    """Note this process; gives the file, to be removed at the end."""
    path = folder() / f"{os.getpid()}.json"
    told = {
        "pid": os.getpid(),
        "data": [str(Path(directory).absolute()) for directory in directories],
        "node.id": node_id,
        "process.roles": roles,
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(told))
    partial.replace(path)
    return path


def running() -> Iterator[Note]:
    """Give the brokers that run; notes of others are removed."""
    for path in sorted(folder().glob("*.json")):
        try:
            told = json.loads(path.read_text())
            pid, data = int(told["pid"]), [str(directory) for directory in told["data"]]
            note = Note(path, pid, str(told["node.id"]), str(told["process.roles"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if any(_holder(Path(directory, LOCK)) == pid for directory in data):
            yield note
        elif not _exists(pid):
            path.unlink(missing_ok=True)


def _holder(lock: Path) -> int | None:
    """Give the process that holds a lock, by what it wrote inside."""
    try:
        with lock.open("rb") as file:
            if not _is_held(file.fileno()):
                return None
            for line in file.read(4096).decode(errors="replace").splitlines():
                name, _, value = line.partition("=")
                if name == "pid" and value.isdigit():
                    return int(value)
    except OSError:
        return None
    return None


def _is_held(descriptor: int) -> bool:
    """Ask whether taking the lock would have to wait, without taking it."""
    import fcntl

    if sys.platform != "linux":
        return True
    # struct flock: type, whence, start, length, pid.
    asked = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    kind: int = struct.unpack("hhqqi4x", answer)[0]
    return kind != fcntl.F_UNLCK


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
