"""The deadline queue and the journal fake keep their promises."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.clock import DeadlineQueue, SeededRandom, SystemClock, SystemRandom, VirtualClock
from ottla.testing import MemoryJournal, run_until


def test_fires_in_order_of_deadline_then_creation() -> None:
    """Two deadlines of the same moment fire in the order they were made."""
    queue = DeadlineQueue()
    fired: list[str] = []
    queue.at(20, lambda: fired.append("late"))
    queue.at(10, lambda: fired.append("first"))
    queue.at(10, lambda: fired.append("second"))
    for callback in queue.due(20):
        callback()
    assert fired == ["first", "second", "late"]
    assert queue.next_deadline_ms is None


def test_a_callback_may_cancel_one_that_is_due_too() -> None:
    """Cancelling takes effect even inside the same round."""
    queue = DeadlineQueue()
    fired: list[str] = []
    victim = queue.at(2, lambda: fired.append("victim"))
    queue.at(1, victim.cancel)
    for callback in queue.due(5):
        callback()
    assert fired == []
    assert len(queue) == 0


def test_a_callback_that_rearms_itself_in_the_past_fires_once_per_round() -> None:
    """A self-renewing deadline cannot hold the loop."""
    queue = DeadlineQueue()
    fired: list[int] = []

    def again() -> None:
        fired.append(1)
        queue.at(0, again)

    queue.at(0, again)
    for callback in queue.due(5):
        callback()
    assert len(fired) == 1
    assert queue.next_deadline_ms == 0


def test_cancelled_deadlines_do_not_pile_up() -> None:
    """A deadline renewed at every heartbeat keeps the heap small."""
    queue = DeadlineQueue()
    current = queue.at(45_000, lambda: None)
    for beat in range(10_000):
        current.cancel()
        current = queue.at(45_000 + beat, lambda: None)
    assert len(queue) == 1
    assert len(queue._heap) < 200


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=200))
def test_fires_exactly_what_is_due_and_not_cancelled(entries: list[tuple[int, bool]]) -> None:
    """Against the obvious model: sort, filter, compare."""
    queue = DeadlineQueue()
    fired: list[int] = []
    handles = [queue.at(deadline, partial(fired.append, number)) for number, (deadline, _) in enumerate(entries)]
    for handle, (_, cancelled) in zip(handles, entries, strict=True):
        if cancelled:
            handle.cancel()
            handle.cancel()
    for callback in queue.due(25):
        callback()
    expected = sorted(
        (deadline, n) for n, (deadline, cancelled) in enumerate(entries) if not cancelled and deadline <= 25
    )
    assert fired == [n for _, n in expected]
    assert len(queue) == sum(1 for deadline, cancelled in entries if not cancelled and deadline > 25)


def test_run_until_fires_each_deadline_at_its_own_moment() -> None:
    """A deadline sees the clock at its moment, and may set further ones inside the span."""
    clock, queue = VirtualClock(), DeadlineQueue()
    seen: list[int] = []

    def tick() -> None:
        seen.append(clock.monotonic_ms())
        queue.at(clock.monotonic_ms() + 10, tick)

    queue.at(10, tick)
    assert run_until(clock, queue, 35) == 3
    assert seen == [10, 20, 30]
    assert clock.monotonic_ms() == 35


def test_virtual_time_does_not_go_back() -> None:
    """A negative step is a mistake of the test."""
    with pytest.raises(ValueError, match="does not go back"):
        VirtualClock().advance(-1)


def test_system_sources_answer() -> None:
    """The real clock moves forward, real randomness has the length asked for."""
    clock = SystemClock()
    assert clock.monotonic_ms() <= clock.monotonic_ms()
    assert clock.now_ms() > 1_700_000_000_000
    assert len(SystemRandom().bytes(16)) == 16
    assert 0 <= SystemRandom().below(3) < 3
    assert SeededRandom(7).bytes(16) == SeededRandom(7).bytes(16)


def test_journal_calls_back_at_commit_and_forgets_at_a_crash() -> None:
    """An append is readable and called back once committed; a crash takes the rest away."""
    journal = MemoryJournal(commit_at_once=False)
    called: list[int] = []
    loaded: list[Any] = []
    last = journal.append([(b"k", b"v"), (b"l", b"w")], 5)
    journal.when_committed(last, lambda: called.append(last))
    journal.load(lambda load: loaded.extend(load.take(100)))
    assert (last, called, loaded) == (1, [], [])
    journal.commit()
    journal.load(lambda load: loaded.extend(load.take(100)))
    assert (called, loaded) == ([1], [(0, b"k", b"v", -1, -1), (1, b"l", b"w", -1, -1)])
    journal.append([(b"m", b"n")], 6)
    journal.crash()
    assert journal.log_end_offset == 2
    assert journal.append([(b"o", b"p")], 7) == 2
