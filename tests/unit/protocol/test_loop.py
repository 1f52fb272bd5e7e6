"""The control plane's thread: turns when there is something to do, and an orderly end. Real threads, no sleeping."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator

import pytest

from ottla.clock import SystemClock, VirtualClock
from ottla.protocol.loop import ControlLoop


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def poke(self) -> None:
        os.write(self.writer, b"x")

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def nothing() -> None:
    pass


def no_deadline() -> None:
    return None


def test_a_readable_descriptor_makes_a_turn(pipe: Pipe) -> None:
    """All callbacks run on the loop's thread, `finish` last."""
    loop = ControlLoop(SystemClock(), "loop")
    seen: list[tuple[str, str]] = []
    turned = threading.Event()

    def note(what: str) -> Callable[[], None]:
        return lambda: seen.append((what, threading.current_thread().name))

    def turn() -> None:
        if seen[-1][0] == "prepare":
            note("first")()
            return
        os.read(pipe.reader, 1)
        note("turn")()
        turned.set()

    loop.start(note("prepare"), pipe.reader, turn, no_deadline, note("finish"))
    pipe.poke()
    assert turned.wait(10)
    loop.stop()
    loop.stop()
    assert seen == [(what, "loop") for what in ("prepare", "first", "turn", "finish")]


def test_what_prepare_raises_is_raised_by_start(pipe: Pipe) -> None:
    """The thread is gone, and the loop may be stopped all the same."""
    loop = ControlLoop(SystemClock(), "loop")

    def prepare() -> None:
        raise OSError("port taken")

    with pytest.raises(OSError, match="port taken"):
        loop.start(prepare, pipe.reader, nothing, no_deadline, nothing)
    loop.stop()
    assert "loop" not in [thread.name for thread in threading.enumerate()]


def test_a_deadline_makes_a_turn(pipe: Pipe) -> None:
    """The loop sleeps until the earliest one."""
    clock = SystemClock()
    loop = ControlLoop(clock, "loop")
    deadlines = [clock.monotonic_ms() + 20]
    fired = threading.Event()

    def turn() -> None:
        if deadlines and deadlines[0] <= clock.monotonic_ms():
            deadlines.clear()
            fired.set()

    loop.start(nothing, pipe.reader, turn, lambda: deadlines[0] if deadlines else None, nothing)
    assert fired.wait(10)
    loop.stop()


def test_a_turned_clock_is_noticed_when_the_loop_is_woken(pipe: Pipe) -> None:
    """A test moves the virtual clock and wakes the loop: no waiting for a minute."""
    clock = VirtualClock()
    loop = ControlLoop(clock, "loop")
    fired = threading.Event()

    def turn() -> None:
        if clock.monotonic_ms() >= 60_000:
            fired.set()

    loop.start(nothing, pipe.reader, turn, lambda: 60_000, nothing)
    clock.advance(60_000)
    loop.wake()
    assert fired.wait(10)
    loop.stop()
    loop.wake()


def test_a_turn_that_raises_does_not_end_the_loop(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    """The dispatcher guards what it calls; this guards the dispatcher."""
    loop = ControlLoop(SystemClock(), "loop")
    turns: list[int] = []
    second = threading.Event()

    def turn() -> None:
        turns.append(1)
        if len(turns) == 1:
            loop.request_turn()
            loop.request_turn()
            raise RuntimeError("mine")
        second.set()

    loop.start(nothing, pipe.reader, turn, no_deadline, nothing)
    assert second.wait(10)
    loop.stop()
    assert len(turns) == 2
    assert "RuntimeError: mine" in caplog.text


def test_a_panic_in_a_turn_disarms_no_deadline(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    """A panic of the native side is no Exception; what waits for its moment gets it all the same."""

    class Panic(BaseException):
        """What pyo3 makes of one."""

    clock = SystemClock()
    loop = ControlLoop(clock, "loop")
    turns: list[int] = []
    fired = threading.Event()

    def turn() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise Panic("mine")
        fired.set()

    loop.start(nothing, pipe.reader, turn, lambda: None if fired.is_set() else clock.monotonic_ms() + 20, nothing)
    assert fired.wait(10)
    loop.stop()
    assert "Panic: mine" in caplog.text


def test_wakes_that_nobody_has_heard_yet_hold_nobody_up(pipe: Pipe) -> None:
    """A thread wakes a loop that is busy more often than its pipe has room for."""
    loop = ControlLoop(SystemClock(), "loop")
    turned = threading.Event()

    def prepare() -> None:
        for _ in range(100_000):
            loop.wake()

    loop.start(prepare, pipe.reader, turned.set, no_deadline, nothing)
    assert turned.wait(10)
    loop.stop()


def test_a_wake_that_comes_after_the_stop_is_nothing() -> None:
    """A stop leaves a thread behind, which ends its work; who has the loop's descriptors by then hears nothing."""
    first = Pipe()
    loop = ControlLoop(SystemClock(), "loop")
    loop.start(nothing, first.reader, nothing, no_deadline, nothing)
    loop.stop()
    others = [Pipe() for _ in range(8)]
    poll = select.poll()
    for other in others:
        poll.register(other.reader, select.POLLIN)
    loop.wake()
    assert poll.poll(0) == []
    for opened in (first, *others):
        opened.close()


def test_a_loop_lets_go_of_its_descriptors(pipe: Pipe) -> None:
    """Whether it was stopped or never came up: a program may start brokers for a long time."""

    def refuse() -> None:
        raise OSError("port taken")

    def lowest_free() -> int:
        other = Pipe()
        other.close()
        return other.reader

    before = lowest_free()
    loop = ControlLoop(SystemClock(), "loop")
    loop.start(nothing, pipe.reader, nothing, no_deadline, nothing)
    loop.stop()
    with pytest.raises(OSError, match="port taken"):
        ControlLoop(SystemClock(), "loop").start(refuse, pipe.reader, nothing, no_deadline, nothing)
    assert lowest_free() == before
