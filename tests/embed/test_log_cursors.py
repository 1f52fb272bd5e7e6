"""Cursors of a log: positions that last, moved alone or together with an append."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import ottla
from ottla.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


def test_a_cursor_stays(tmp_path: Path) -> None:
    """What was committed is there after the next opening; what was forgotten is not."""
    with ottla.Log(tmp_path / "d") as log:
        log.append_many([b"a", b"b", b"c"])
        assert log.cursor("billing") is None
        log.commit({"billing": 1, "audit": 3})
        log.commit({"billing": 2})
        assert log.cursor("billing") == 2
        assert log.forget_cursor("audit")
        assert not log.forget_cursor("audit")
    with ottla.Log(tmp_path / "d") as log:
        assert (log.cursor("billing"), log.cursor("audit")) == (2, None)
        assert log.status().cursors == {"billing": 2}


def test_a_cursor_moves_with_an_append(tmp_path: Path) -> None:
    """Read, transform, append and advance are one: the cursor stands in the log it is committed to, also unclosed."""
    path = tmp_path / "out"
    with ottla.Log(path) as log:
        log.append(b"A", cursors={"upper": 1})
        log.append_many([b"B", b"C"], atomic=True, cursors={"upper": 3, "other": 7})
        assert (log.cursor("upper"), log.cursor("other")) == (3, 7)
        # Readers do not see what carries it.
        assert [record.headers for record in log.read()] == [(), (), ()]
    with ottla.Log(path) as log:
        assert (log.cursor("upper"), log.cursor("other")) == (3, 7)


KILLED = """
import os, signal, sys
import ottla
log = ottla.Log(sys.argv[1], durability=sys.argv[2])
for number in range(100):
    log.append(b"%d" % number, cursors={"c": number + 1})
    if number == 50:
        log.commit({"plain": 17})
log.append(b"last", cursors={"plain": 23})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_killed_process_leaves_the_cursor_of_its_last_append(tmp_path: Path, durability: str) -> None:
    """Nothing was closed: the opening finds the cursors in the records."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "d"), durability]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL
    with ottla.Log(tmp_path / "d") as log:
        assert not log.status().clean_start
        assert log.end_offset == 101
        assert (log.cursor("c"), log.cursor("plain")) == (100, 23)


def test_records_that_carry_a_cursor_may_go(tmp_path: Path) -> None:
    """Deleting, cutting and compacting records takes no cursor along, nor does what follows undo a later commit."""
    small = {"internal.segment.bytes": "500", "file.delete.delay.ms": "0"}
    with ottla.Log(tmp_path / "d", compacted=True, config=small) as log:
        for number in range(50):
            log.append(b"v" * 50, key=b"k", cursors={"a": number, "b": number})
        log.compact()
        log.delete_before(45)
        log.commit({"b": 3})
        log.truncate(48)
        assert (log.cursor("a"), log.cursor("b")) == (49, 3)
    (tmp_path / "d" / ".kafka_cleanshutdown").unlink()
    with ottla.Log(tmp_path / "d") as log:
        assert (log.cursor("a"), log.cursor("b")) == (49, 3)


def test_wrong_cursors(tmp_path: Path) -> None:
    """A position beyond the end, a negative one and a name that is none are refused; nothing is appended."""
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"v")
        for wrong in ({"c": 2}, {"c": -1}, {"no name": 0}, {"": 0}, {"x" * 300: 0}):
            with pytest.raises(InvalidInput):
                log.commit(wrong)
        with pytest.raises(InvalidInput):
            log.append(b"v", cursors={"c": -1})
        with pytest.raises(InvalidInput, match="atomic"):
            log.append_many([b"v"], cursors={"c": 1})
        with pytest.raises(InvalidInput, match="commit"):
            log.append_many([], atomic=True, cursors={"c": 1})
        assert (log.end_offset, log.status().cursors) == (1, {})


def test_a_damaged_file_of_cursors_is_an_error(tmp_path: Path) -> None:
    """Positions that were committed alone stand nowhere else: losing them silently would repeat work."""
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"v")
        log.commit({"c": 1})
    path = tmp_path / "d" / ".ottla_cursors"
    path.write_text(path.read_text().replace(" c 1", " c 0"))
    with pytest.raises(ottla.StorageError, match="damaged"):
        ottla.Log(tmp_path / "d")
    path.unlink()
    with ottla.Log(tmp_path / "d") as log:
        assert log.cursor("c") is None


def test_an_opening_does_not_look_through_the_log(tmp_path: Path) -> None:
    """How far it was looked through for cursors is noted, where there are none too."""
    with ottla.Log(tmp_path / "d") as log:
        log.append_many([b"v"] * 100)
    noted = (tmp_path / "d" / ".ottla_cursors").read_text().splitlines()
    assert [line.split()[-1] for line in noted if line.startswith("log: ")] == ["100"]
    with ottla.Log(tmp_path / "d") as log:
        assert log.status().cursors == {}
