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
    from collections.abc import Callable
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
        log.truncate(48, cursors={"a": 49, "b": 3})
        assert (log.cursor("a"), log.cursor("b")) == (49, 3)
    (tmp_path / "d" / ".kafka_cleanshutdown").unlink()
    with ottla.Log(tmp_path / "d") as log:
        assert (log.cursor("a"), log.cursor("b")) == (49, 3)


def test_a_cursor_may_be_a_position_elsewhere(tmp_path: Path) -> None:
    """What is filtered out is stepped over by a commit, wherever the log with the cursor ends."""
    with ottla.Log(tmp_path / "orders") as orders, ottla.Log(tmp_path / "cups") as cups:
        orders.append_many([b"tea", b"", b"coffee", b"", b""])
        for record in orders.read(cups.cursor("orders")):
            if record.value:
                cups.append(record.value, cursors={"orders": record.offset + 1})
            else:
                cups.commit({"orders": record.offset + 1})
        assert (cups.cursor("orders"), cups.end_offset) == (5, 2)
        assert list(orders.read(cups.cursor("orders"))) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_cursor_beyond_the_end(tmp_path: Path, read_only: bool) -> None:
    """It is found by who reads from it: what, where and what to do; nothing is changed."""
    with ottla.Log(tmp_path / "d") as log:
        log.append_many([b"a", b"b"])
        log.commit({"c": 10**15})
        with ottla.Log(tmp_path / "d", read_only=True) as other:
            reader = other if read_only else log
            for use in (reader.read, reader.read_columns, reader.follow):
                with pytest.raises(ottla.OffsetOutOfRange) as refused:
                    use(reader.cursor("c"))
                text = f"offset {10**15} lies beyond the end: {tmp_path / 'd' / 'd-0'} holds 0 to below 2; what"
                assert str(refused.value).startswith(text)
                assert str(refused.value).endswith("move it by commit")
        assert ([record.value for record in log.read()], log.cursor("c")) == ([b"a", b"b"], 10**15)
        log.commit({"c": 2})
        assert list(log.read(log.cursor("c"))) == []


def test_truncation_leaves_no_cursor_behind(tmp_path: Path) -> None:
    """One beyond the cut would pass over what comes there, one that moved with a record has lost what it stands for."""
    with ottla.Log(tmp_path / "d") as log:
        for number in range(10):
            log.append(b"%d" % number, cursors={"input": number + 1} if number == 3 else None)
        log.commit({"reader": 8, "early": 2})
        for offset, kept, left in (
            (6, {}, "reader at 8"),
            (3, {"reader": 3}, "input at 4"),
            (2, {}, "input at 4, reader at 8"),
            (0, {"early": 0}, "input at 4, reader at 8"),
        ):
            with pytest.raises(InvalidInput, match=f"cursors stand beyond offset {offset}, or .*: {left}. Say where"):
                log.truncate(offset, cursors=kept)
        with pytest.raises(InvalidInput, match="cannot stand at -1"):
            log.truncate(6, cursors={"reader": -1})
        assert (log.end_offset, log.cursor("reader"), log.cursor("input")) == (10, 8, 4)
        log.truncate(8)
        log.truncate(6, cursors={"reader": 6})
        log.append_many([b"new"] * 10)
        assert [record.value for record in log.read(log.cursor("reader"))] == [b"new"] * 10
        log.truncate(3, cursors={"reader": 3, "input": 0, "new": 17})
        log.truncate(3, cursors={"early": 1})
    with ottla.Log(tmp_path / "d") as log:
        assert log.status().cursors == {"reader": 3, "input": 0, "early": 1, "new": 17}
        assert log.end_offset == 3


def test_truncation_where_compaction_has_left_nothing(tmp_path: Path) -> None:
    """The log ends lower than asked: a cursor that was to stand at its end would stand beyond it."""
    with ottla.Log(tmp_path / "d", compacted=True) as log:
        for key in (b"a", b"b", b"b", b"b", b"a", b"b"):
            log.append(b"v", key=key)
        log.compact()
        assert [record.offset for record in log.read()] == [4, 5]
        log.append(b"v", key=b"c", cursors={"c": 6})
        with pytest.raises(InvalidInput, match=r"right before offset 4: the log would end at (.*), before") as refused:
            log.truncate(4, cursors={"c": 4})
        assert (log.end_offset, log.cursor("c")) == (7, 6)
        end = int(str(refused.value).rpartition(" at ")[2].partition(";")[0])
        log.truncate(end, cursors={"c": end})
        assert log.append(b"new", key=b"k") == end < 4
        assert [record.value for record in log.read(log.cursor("c"))] == [b"new"]


def test_a_refused_truncation_disturbs_no_reader(tmp_path: Path) -> None:
    """What was not cut is read on."""
    with ottla.Log(tmp_path / "d") as log:
        log.append_many([b"v"] * 3)
        log.append(b"v", cursors={"c": 1})
        ahead = log.follow(4, timeout_ms=0)
        assert list(ahead) == []
        with pytest.raises(InvalidInput, match="c at 1"):
            log.truncate(3)
        log.append(b"next")
        assert [record.value for record in ahead] == [b"next"]


def test_more_cursors_than_the_file_holds(tmp_path: Path) -> None:
    """They are refused when they are given; what is there can be opened, and goes on."""
    many = {f"{number:06}" + "n" * 243: number for number in range(230_000)}
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"a", cursors={"c": 1})
        ways: list[Callable[[], object]] = [
            lambda: log.commit(many),
            lambda: log.append(b"b", cursors=many),
            lambda: log.append_many([b"b"], atomic=True, cursors=many),
            lambda: log.truncate(1, cursors=many),
        ]
        for give in ways:
            with pytest.raises(InvalidInput, match=r"have 67108864 bytes .* these are too many: forget those"):
                give()
        assert (log.end_offset, log.status().cursors) == (1, {"c": 1})
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"b", cursors={"c": 2})
        assert (log.end_offset, log.status().cursors) == (2, {"c": 2})


def test_wrong_cursors(tmp_path: Path) -> None:
    """A negative position and a name that is none are refused; nothing is appended."""
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"v")
        for wrong in ({"c": -1}, {"c": 1 << 63}, {"no name": 0}, {"": 0}, {"x" * 300: 0}):
            with pytest.raises(InvalidInput):
                log.commit(wrong)
            with pytest.raises(InvalidInput):
                log.append(b"v", cursors=wrong)
            with pytest.raises(InvalidInput):
                log.truncate(0, cursors=wrong)
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
