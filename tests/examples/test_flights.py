"""The flights example: a consumer and the broker are killed on the way, and every flight is there in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.children import Follower, Journal, OttlaServe
from examples.flights import check, picture, table
from examples.flights.ledger import Ledger
from examples.flights.story import Plan, Story

if TYPE_CHECKING:
    from pathlib import Path

HOUR = "2013-01-01T10:00:00Z"


class Notes:
    """An audience that remembers."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.read = 0

    def says(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def progress(self, acked: int, read: int) -> None:
        self.read = read


@pytest.mark.ottla
@pytest.mark.timeout(360)
def test_no_flight_is_lost(tmp_path: Path) -> None:
    """All 336,776 flights survive two crashes, none twice in the log, counts and means equal to pandas exactly."""
    notes = Notes()
    outcome = Story(Plan(), OttlaServe(tmp_path), tmp_path, notes).play()
    assert outcome.wrong == []
    assert outcome.total == notes.read == 336_776
    assert len(outcome.rows) == 16
    assert all(row.equal for row in outcome.rows)
    assert sum("killed" in sentence for sentence in notes.sentences) == 2
    picture.draw(outcome, tmp_path / "flights.png")
    assert (tmp_path / "flights.png").read_bytes().startswith(b"\x89PNG")


def entry(partition: int, *offsets_and_numbers: tuple[int, int], time: float = 0.0) -> dict[str, object]:
    flights = [[HOUR, "UA", number, 5] for _offset, number in offsets_and_numbers]
    return {
        "partition": partition,
        "offsets": [o for o, _number in offsets_and_numbers],
        "flights": flights,
        "time": time,
    }


def flight(number: int) -> table.Flight:
    return {"time_hour": HOUR, "carrier": "UA", "flight": number}


def test_books_notice_a_lost_flight() -> None:
    """The verdict is not blind: a flight that nobody read, or that nobody sent, is named."""
    ledger = Ledger()
    ledger.add("a", {"assigned": [0], "time": 1.0})
    ledger.add("a", entry(0, (0, 1), (1, 3)))
    wrong = list(check.lost_or_invented(ledger, [flight(1), flight(2)], acked=1))
    assert [sentence.split(",")[0] for sentence in wrong] == [
        "1 flights acknowledged of 2",
        "1 flights lost",
        "1 flights that were never sent",
    ]


def test_books_notice_a_flight_written_twice() -> None:
    """The same flight at two offsets is a duplicate of the producer, not one that at-least-once allows."""
    ledger = Ledger()
    ledger.add("a", {"assigned": [0], "time": 1.0})
    ledger.add("a", entry(0, (0, 1), (1, 1)))
    assert list(check.written_twice(ledger)) == [f"{(HOUR, 'UA', 1)} was written twice, at (0, 0) and at (0, 1)"]


def test_books_notice_a_wrong_order_and_a_gap() -> None:
    """A partition that gives flights in another order than they were sent in, or leaves an offset out, is named."""
    ledger = Ledger()
    ledger.add("a", {"assigned": [0], "time": 1.0})
    ledger.add("a", entry(0, (0, 2), (2, 1)))
    wrong = list(check.out_of_order(ledger, [flight(1), flight(2)]))
    assert wrong == [f"{(HOUR, 'UA', 2)} is at (0, 0), but 2 was sent earlier"]
    assert list(check.out_of_order(ledger, [])) == ["a read 0-2 where 1 was next"]


@pytest.mark.parametrize("assigned, allowed", [(1.5, True), (2.5, False)])
def test_books_know_what_at_least_once_allows(assigned: float, *, allowed: bool) -> None:
    """Reading again from 0 is right before the commit of 1 was acknowledged, and wrong after it."""
    ledger = Ledger()
    ledger.add("a", {"assigned": [0], "time": 1.0})
    ledger.add("a", entry(0, (0, 1)))
    ledger.add("a", {"committed": {"0": 1}, "time": 2.0})
    ledger.add("b", {"assigned": [0], "time": assigned})
    ledger.add("b", entry(0, (0, 1)))
    assert ledger.reread == 1
    assert ledger.carriers["UA"].flights == 1
    assert (list(check.read_again_without_licence(ledger)) == []) is allowed


def test_a_line_torn_by_a_kill_does_not_count(tmp_path: Path) -> None:
    """A journal whose writer died in the middle of a line is read up to the line before."""
    path = tmp_path / "journal"
    Journal(path).write({"committed": {0: 7}, "time": 1.0})
    with path.open("ab") as file:
        file.write(b'{"partition":0,"off')
    follower = Follower(path)
    assert list(follower.news()) == [{"committed": {"0": 7}, "time": 1.0}]
    assert list(follower.news()) == []


def test_the_table_is_read_as_pandas_reads_it() -> None:
    """Parsing with the standard library gives the same rows, values and holes as pandas does."""
    import pandas

    frame = pandas.read_csv(table.flights_file(), dtype=str, keep_default_na=False)
    flights = table.flights()
    assert len(flights) == len(frame) == 336_776
    assert len({table.identity(one) for one in flights}) == len(flights)
    assert list(flights[0]) == list(frame.columns)
    for name in ("carrier", "arr_delay", "tailnum", "time_hour"):
        written = ["" if one[name] is None else str(one[name]) for one in flights]
        assert written == ["" if value == "NA" else value for value in frame[name]]
