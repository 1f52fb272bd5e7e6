"""Work off the control-plane thread: ends come back in order, whatever the work did."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ottla.protocol.background import Background


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


def test_stopping_finishes_what_was_asked_for() -> None:
    """Nothing is lost at the end, and a background that was never used has nothing to stop."""
    background = Background("worker", lambda: None)
    background.stop()
    done: list[object] = []
    background.run(lambda: 7, done.append)
    background.stop()
    for end in background.finished():
        end()
    assert done == [7]
