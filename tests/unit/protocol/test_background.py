"""Work off the control-plane thread: ends come back in order, whatever the work did."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ottla.errors import ErrorCode, RequestError
from ottla.protocol.background import WAITING_MAX, Background


def test_work_runs_elsewhere_and_ends_here() -> None:
    """Results and exceptions are handed over in the order of the work, each announced by a wake-up."""
    woken = threading.Semaphore(0)
    background = Background("worker", woken.release)
    ends: list[object] = []
    threads: list[str] = []

    def work(value: int) -> Callable[[], int]:
        def run() -> int:
            threads.append(threading.current_thread().name)
            if value == 1:
                raise OSError("no disk")
            return value

        return run

    for value in range(3):
        background.run(work(value), ends.append)
    for _ in range(3):
        assert woken.acquire(timeout=30)
    assert ends == []
    for end in background.finished():
        end()
    background.stop()
    assert [repr(end) for end in ends] == ["0", "OSError('no disk')", "2"]
    assert threads == ["worker"] * 3


def test_a_panic_is_an_outcome_like_any_other() -> None:
    """What is no Exception (a panic of the native side) neither ends the thread nor leaves anybody waiting."""

    class Panic(BaseException):
        pass

    def panic() -> int:
        raise Panic("index out of bounds")

    woken = threading.Semaphore(0)
    background = Background("worker", woken.release)
    ends: list[object] = []
    background.run(panic, ends.append)
    background.run(lambda: 7, ends.append)
    for _ in range(2):
        assert woken.acquire(timeout=10)
    for end in background.finished():
        end()
    background.stop()
    assert [repr(end) for end in ends] == ["RuntimeError('index out of bounds')", "7"]


def test_stopping_finishes_what_was_begun_and_begins_nothing() -> None:
    """A stop waits for one piece of work, not for the queue behind it; what comes later starts no thread."""
    begun, go_on = threading.Event(), threading.Event()
    background = Background("worker", lambda: None)
    done: list[object] = []

    def work() -> str:
        begun.set()
        assert go_on.wait(timeout=30)
        return "begun"

    background.run(work, done.append)
    background.run(lambda: "queued", done.append)
    assert begun.wait(timeout=30)
    stopper = threading.Thread(target=background.stop)
    stopper.start()
    while not background.stopping:
        threading.Event().wait(0.001)
    go_on.set()
    stopper.join(timeout=30)
    before = threading.active_count()
    background.run(lambda: "late", done.append)
    assert threading.active_count() == before
    background.stop()
    for end in background.finished():
        end()
    assert done == ["begun"]


def test_stopping_what_was_never_used() -> None:
    """There is no thread to wait for, and none comes afterwards."""
    background = Background("worker", lambda: None)
    background.stop()
    before = threading.active_count()
    background.run(lambda: 7, lambda _: None)
    assert threading.active_count() == before


def test_a_stop_does_not_wait_for_ever() -> None:
    """Work that does not end, as on a disk that does not answer, is left to itself; ended later, it harms nobody."""
    begun, go_on = threading.Event(), threading.Event()
    woken = threading.Semaphore(0)
    background = Background("worker", woken.release)

    def work() -> None:
        begun.set()
        assert go_on.wait(timeout=30)

    background.run(work, lambda _: None)
    assert begun.wait(timeout=30)
    assert not background.stop(0.001)
    go_on.set()
    assert woken.acquire(timeout=30)
    assert background.stop(30)


def test_a_stop_of_an_idle_thread_is_done() -> None:
    """Nothing is being done: the thread ends."""
    woken = threading.Semaphore(0)
    background = Background("worker", woken.release)
    background.run(lambda: 7, lambda _: None)
    assert woken.acquire(timeout=30)
    assert background.stop(30)


def test_what_waits_is_bounded() -> None:
    """Behind a disk that does not answer no more piles up than so much; the next ones are told, there and then."""
    begun, go_on = threading.Event(), threading.Event()
    woken = threading.Semaphore(0)
    background = Background("worker", woken.release)
    ends: list[object] = []

    def work() -> None:
        begun.set()
        assert go_on.wait(timeout=30)

    background.run(work, ends.append)
    assert begun.wait(timeout=30)
    for _ in range(WAITING_MAX):
        background.run(lambda: 7, ends.append)
    assert ends == []
    background.run(lambda: 8, ends.append)
    (refused,) = ends
    assert isinstance(refused, RequestError)
    assert refused.code is ErrorCode.REQUEST_TIMED_OUT
    go_on.set()
    for _ in range(1 + WAITING_MAX):
        assert woken.acquire(timeout=30)
    for end in background.finished():
        end()
    assert ends[1:] == [None, *[7] * WAITING_MAX]
    background.run(lambda: 9, ends.append)
    assert woken.acquire(timeout=30)
    assert background.stop(30)


def test_threads_beside_each_other_do_not_wait_for_each_other() -> None:
    """What both have done comes out of one place."""
    woken = threading.Semaphore(0)
    first = Background("first", woken.release)
    second = first.beside("second", waiting_max=1)
    go = threading.Event()
    ends: list[object] = []
    first.run(lambda: go.wait(30), ends.append)
    second.run(lambda: threading.current_thread().name, ends.append)
    assert woken.acquire(timeout=30)
    for end in first.finished():
        end()
    assert ends == ["second"]
    go.set()
    assert woken.acquire(timeout=30)
    for end in first.finished():
        end()
    assert ends == ["second", True]
    assert second.stop()
    assert not first.stopping
    first.stop()
