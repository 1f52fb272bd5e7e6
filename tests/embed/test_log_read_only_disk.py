"""A log on a file system that is mounted read-only: read as ever, and whoever wants to write is told what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import ottla
from tests.embed.test_log_bad_input import lying_in
from tests.test_house import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

# In a namespace of mounts of its own, as root or as somebody who is root in a namespace of users.
NAMESPACES = (["unshare", "-m"], ["unshare", "-rm"])
FREEZE = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
LOOK = """
import sys
import ottla
try:
    ottla.Log(sys.argv[1])
except ottla.StorageError as error:
    print(error)
try:
    ottla.Log(sys.argv[1] + "/new")
except ottla.StorageError as error:
    print(error)
with ottla.Log(sys.argv[1], read_only=True) as log:
    print([record.value for record in log.read()], log.status().end_offset)
"""


def ran(words: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=place.parent
    )


def frozen(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS` where `place` is read-only. Skips where this machine lets nobody have that."""
    for namespace in NAMESPACES if shutil.which("unshare") else ():
        begin = [*namespace, "sh", "-c", FREEZE, str(place)]
        probe = ran([*begin, "touch", str(place / "probe")], place)
        if "Read-only file system" in probe.stderr:
            return ran([*begin, sys.executable, *words], place)
        (place / "probe").unlink(missing_ok=True)
    pytest.skip("nobody may mount here")


def refused(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS` where the kernel refuses to open the lock of `place`, which every writer begins with."""
    if shutil.which("strace") is None and os.environ.get("CI") != "true":
        pytest.skip("strace is not installed")
    inject = ["-P", str(place / ".lock"), "-e", "trace=openat", "-e", "inject=openat:error=EROFS"]
    strace = ["strace", "-f", "-qq", "-o", str(place.parent / "trace"), *inject]
    return ran([*strace, sys.executable, *words], place)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A log of three records with a byte too many at its end, so that there is something to be mended."""
    place = tmp_path / "orders"
    with ottla.Log(place) as log:
        log.append_many([(None, value, None, 0) for value in (b"a", b"b", b"c")])
    with (place / "orders-0" / "00000000000000000000.log").open("ab") as file:
        file.write(b"x")
    return place


def test_a_log(place: Path) -> None:
    """Opening it, and making one, say what the kernel refused, of which file, and that it can be read; so it is."""
    before = lying_in(place)
    done = frozen(place, "-c", LOOK, str(place))
    assert (done.returncode, done.stderr) == (0, "")
    opened, made, read = done.stdout.splitlines()
    advice = "Read-only file system (os error 30). Opened with read_only=True nothing need be written"
    assert opened == f"cannot lock {place}/.lock: {advice}"
    assert made == f"cannot create {place}/new: {advice}"
    assert read == "[b'a', b'b', b'c'] 3"
    assert lying_in(place) == before


@pytest.mark.parametrize(
    "words, says",
    [
        (("dump",), 'orders-0 2 1970-01-01T00:00:00.000Z null "c"'),
        (("stats", "--json"), '"next_offset": 3'),
        (("verify",), "1 found"),
        (("export",), '"value":"c"'),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_looking(place: Path, words: tuple[str, ...], says: str) -> None:
    """What only reads needs nothing else."""
    before = lying_in(place)
    done = frozen(place, "-m", "ottla", "log", *words, str(place / "orders-0"))
    assert says in done.stdout, done
    assert "Read-only" not in done.stderr
    assert lying_in(place) == before


@pytest.mark.parametrize("run", [frozen, refused])
@pytest.mark.parametrize("words", [("repair",), ("repair", "--yes")], ids=" ".join)
def test_repair(place: Path, words: tuple[str, ...], run: Run) -> None:
    """What, where, and what to do."""
    before = lying_in(place)
    done = run(place, "-m", "ottla", "log", *words, str(place / "orders-0"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"cannot lock {place}/.lock: Read-only file system" in done.stderr
    assert "`ottla log verify` only reads; to mend it, copy it to where you may write" in done.stderr
    assert lying_in(place) == before


@pytest.mark.parametrize("run", [frozen, refused])
def test_import(place: Path, run: Run) -> None:
    """Nothing is half written."""
    before = lying_in(place)
    (place.parent / "one.jsonl").write_text('{"value":"d"}\n')
    done = run(place, "-m", "ottla", "log", "import", str(place.parent / "one.jsonl"), str(place))
    assert done.returncode == 1
    assert f"cannot lock {place}/.lock: Read-only file system" in done.stderr
    assert lying_in(place) == before


def test_an_export_to_it(place: Path, tmp_path: Path) -> None:
    """The file that cannot be made is named."""
    shutil.copytree(place, tmp_path / "copy")
    with ottla.Log(tmp_path / "copy"):
        pass
    done = frozen(
        place, "-m", "ottla", "log", "export", str(tmp_path / "copy" / "orders-0"), "--to", f"{place}/a.jsonl"
    )
    assert done.returncode == 1
    assert f"{place}/a.jsonl" in done.stderr
    assert "read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
