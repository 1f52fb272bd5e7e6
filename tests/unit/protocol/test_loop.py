"""The control plane's thread: turns when there is something to do, and an orderly end. Real threads, no sleeping."""

from __future__ import annotations

import asyncio
import os
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


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)
    os.close(pipe.writer)


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


def test_a_wake_that_comes_while_the_loop_is_closed_is_nothing(pipe: Pipe) -> None:
    """A thread that a stop has left behind ends its work, and wakes a loop that is just going."""
    loop = ControlLoop(SystemClock(), "loop")
    left: list[BaseException | None] = []

    def finish() -> None:
        # The thread and its loop are still known, and the loop is closed: the narrowest moment.
        assert loop._loop is not None
        loop._thread = threading.current_thread()
        real, loop._loop = loop._loop, asyncio.new_event_loop()
        loop._loop.close()
        try:
            loop.wake()
            left.append(None)
        except RuntimeError as error:
            left.append(error)
        loop._loop = real

    loop.start(nothing, pipe.reader, nothing, no_deadline, finish)
    loop.stop()
    assert left == [None]
