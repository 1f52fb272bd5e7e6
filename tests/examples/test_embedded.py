"""The examples of `ottla.Log`, as their READMEs say; and that they would notice what they are to notice."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import ottla
from examples.audit.trail import Trail, verify
from examples.jobs import __main__ as jobs_run
from examples.jobs.owner import BY, CURSOR, NUMBER, Owner, job_of
from examples.outbox import __main__ as outbox_run
from examples.outbox import relay
from examples.outbox.shop import open_database, take_order
from examples.tail.follow import line, tail
from tests.examples.plays import readme_commands, run, words
from tests.test_house import ROOT

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


def plain(example: str) -> str:
    return readme_commands(example)[0]


# ---- outbox


def test_outbox(tmp_path: Path) -> None:
    """Orders and events are the same after kills of the relay."""
    output = run(plain("outbox"), tmp_path, "--orders", "300", "--kills", "4")
    assert output.count("relay killed with") == 4
    assert output.endswith("300 orders, 300 events\nall as it should be\n")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, ottla.Log]]:
    database = open_database(tmp_path / "shop.sqlite")
    for number in range(relay.AT_ONCE + 5):
        take_order(database, number)
    with ottla.Log(tmp_path / "events") as log:
        yield database, log
    database.close()


def test_a_relay_that_dies_between_its_two_commits(shop: tuple[sqlite3.Connection, ottla.Log], tmp_path: Path) -> None:
    """Events that are in the log and still in the outbox are not sent again, and go from there."""
    database, log = shop
    kept = database.execute("SELECT * FROM outbox").fetchall()
    assert relay.forward(database, log) == relay.AT_ONCE
    with database:
        database.executemany("INSERT INTO outbox VALUES (?, ?, ?)", kept[: relay.AT_ONCE])
    assert (relay.forward(database, log), relay.forward(database, log)) == (5, 0)
    assert log.end_offset == len(kept)
    assert outbox_run.is_empty(tmp_path / "shop.sqlite")
    assert outbox_run.compare(tmp_path / "shop.sqlite", log) == []


def test_an_outbox_s_verdict_is_not_blind(shop: tuple[sqlite3.Connection, ottla.Log], tmp_path: Path) -> None:
    """Events that are missing, there twice, of no order or out of order are told."""
    database, log = shop
    path = tmp_path / "shop.sqlite"
    assert outbox_run.compare(path, log) == ["25 orders are not in the log"]
    rows = database.execute("SELECT key, event FROM outbox ORDER BY id").fetchall()
    events = [(key.encode(), event.encode()) for key, event in rows]
    log.append_many([events[1], events[0], *events[2:]])
    assert outbox_run.compare(path, log) == ["events are in another order than what they tell of"]
    log.append_many([events[3], (b"ann", b'{"order": 99, "cups": 1}')])
    assert outbox_run.compare(path, log) == ["1 events are in the log twice", "1 events are of no order"]


# ---- jobs


def test_jobs(tmp_path: Path) -> None:
    """Each job has one answer, after a worker and the owner were killed."""
    output = run(plain("jobs"), tmp_path, "--jobs", "200")
    assert output.startswith("a worker killed with ")
    assert "\nthe owner killed with " in output
    assert "\n200 jobs, 200 answers by " in output
    assert output.endswith("\nall as it should be\n")


def answered(log: ottla.Log, job: int, cursor: int) -> None:
    log.append(b"...", headers={NUMBER: b"%d" % job, BY: b"1"}, cursors={CURSOR: cursor})


def test_an_owner_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    """Behind the cursor, without jobs above it that have their answer; the cursor never passes one that has none."""
    with ottla.Log(tmp_path / "jobs") as jobs, ottla.Log(tmp_path / "answers") as answers:
        jobs.append_many([b"%d" % number for number in range(8)])
        for job, cursor in ((0, 1), (3, 1), (1, 2), (5, 2)):
            answered(answers, job, cursor)
        owner = Owner(jobs, answers)
        assert [job for job, _text in iter(owner._take, None)] == [2, 4, 6, 7]
        for job, cursor in ((6, 2), (2, 4), (7, 4), (4, 8)):
            owner._keep(job, "...", 1)
            assert answers.cursor(CURSOR) == cursor
        assert Owner(jobs, answers)._take() is None
        assert len(jobs_run.compare(jobs, answers)) == 8
        assert sorted(map(job_of, answers.read())) == list(range(8))


# ---- audit


def test_audit(tmp_path: Path) -> None:
    """Each way of tampering is noticed, by what is to notice it."""
    output = run(plain("audit"), tmp_path)
    assert output.splitlines()[0] == "as it was written: nothing"
    for words_of_it in ("checksum: ", "breaks at offset 50:", "offset 99 is not what was noted", "trail ends at 997"):
        assert output.count(words_of_it) == 1
    assert output.endswith("\nall as it should be\n")


def test_verifying_a_trail(tmp_path: Path) -> None:
    """By a command, while its owner has it open; with the notes that were taken."""
    command, notes = "python -m examples.audit.trail", tmp_path / "notes.jsonl"
    with ottla.Log(tmp_path / "t") as log:
        for _ in range(2):
            trail = Trail(log)
            trail.record("ann", "login")
            trail.record("ann", "logout", seconds=5)
        notes.write_text(json.dumps(trail.note()) + "\n")
        assert run(command, tmp_path, str(tmp_path / "t"), str(notes)) == "4 entries, nothing wrong\n"
        log.append(b"{}", key=b"mallory", headers={"chain": b"\0" * 32})
        assert list(verify(log)) == ["the chain breaks at offset 4: it, or one before it, is not what was written"]
    failed = subprocess.run(
        [*words(command), str(tmp_path / "t")], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (failed.returncode, failed.stdout.split(":")[0]) == (1, "the chain breaks at offset 4")


# ---- time travel


def test_time_travel(tmp_path: Path) -> None:
    """All flights go in, and each moment's answers are the table's."""
    pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    output = run(plain("timetravel"), tmp_path, "--at", "2013-07-04T12:00", "--at", "2014-01-02T00:00")
    assert output.startswith("336,776 flights in ")
    assert "\n2014-01-02 00:00 UTC: 336,776 flights known, 4,037 aircraft\n" in output
    assert output.endswith("\nall as it should be\n")


def test_a_moment_is_what_was_known_then(tmp_path: Path) -> None:
    """Of the time itself nothing is known yet; what is asked for comes as columns, and what is wrong is told."""
    pl: Any = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    from examples.timetravel.__main__ import compare, moment
    from examples.timetravel.travel import known_at, record, table

    flights = table()[:500]
    with ottla.Log(tmp_path / "d") as log:
        record(log, flights)
        at = flights["time_hour"][250]
        then = known_at(log, at)
        before = flights.filter(pl.col("time_hour") < at)
        assert 0 < then.height == before.height < 250
        assert then.columns[2:] == ["carrier", "flight", "tailnum", "origin", "dest", "dep_delay", "distance"]
        assert compare(then, before, at) == []
        assert len(compare(then, before.head(before.height // 2), at)) == 2
        assert known_at(log, moment("2012-01-01T00:00")).height == 0


# ---- tail


def test_tail(tmp_path: Path) -> None:
    """Of a log that is written meanwhile: lines in order, without a gap."""
    lines = run(plain("tail"), tmp_path, "--lines", "15").splitlines()
    offsets = [int(shown.split("\t")[0]) for shown in lines]
    assert offsets == list(range(offsets[0], offsets[0] + 15))
    assert lines[-1].split("\t")[2].startswith("web-")


def test_tail_of_a_directory(tmp_path: Path) -> None:
    """The last records and no more, when nothing comes; keys and values that are no text are shown too."""
    with ottla.Log(tmp_path / "d") as log:
        log.append_many([(b"k%d" % number, b"v%d" % number) for number in range(30)])
        log.append(b"\xff\n", timestamp=7)
        shown = run("python -m examples.tail", tmp_path, str(tmp_path / "d"), "-n", "2", "--timeout-ms", "0")
    assert [each.split("\t")[0::2] for each in shown.splitlines()] == [["29", "k29"], ["30", "-"]]
    assert shown.endswith("\t7\t-\tb'\\xff\\n'\n")
    assert line(ottla.Log(tmp_path / "d", read_only=True).read(29).__next__()).endswith("\tk29\tv29")
    command = [sys.executable, "-m", "examples.tail", str(tmp_path / "none")]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Traceback" not in failed.stderr


def test_tail_goes_on_over_what_the_owner_does(tmp_path: Path) -> None:
    """Records that were deleted before they were shown, and those that were truncated after it."""
    small = {"internal.segment.bytes": "2000", "file.delete.delay.ms": "0"}
    with ottla.Log(tmp_path / "d", config=small) as log, ottla.Log(tmp_path / "d", read_only=True) as reader:
        for number in range(200):
            log.append(b"%d" % number * 50)
        shown = tail(reader, 200, timeout_ms=0)
        assert isinstance(first := next(shown), ottla.Record)
        assert first.offset == 0
        log.delete_before(150)
        rest = [item if isinstance(item, str) else item.offset for item in shown]
        (told,) = [item for item in rest if isinstance(item, str)]
        assert told.endswith("going on at 150")
        assert rest[-50:] == list(range(150, 200))
        shown = tail(reader, 5)
        assert [item.offset for _, item in zip(range(5), shown, strict=False) if isinstance(item, ottla.Record)] == [
            *range(195, 200)
        ]
        log.truncate(190)
        assert isinstance(cut := next(shown), str)
        assert cut.endswith("going on at 190")
        log.append(b"next")
        assert isinstance(last := next(shown), ottla.Record)
        assert (last.offset, last.value) == (190, b"next")
