"""The thread the control plane lives on: an asyncio loop that runs a turn when the bridge is readable or time has come.

The loop is a waiting room, not a scheduler: deadlines are in the dispatcher's queue, on the engine's clock, and asyncio
only ever holds the one timer for the earliest of them. uvloop is used where it is installed.

    with start:  run(prepare)     on the new thread, before the first turn; what it raises is raised by `start`
    then:        turn             whenever the descriptor is readable, the timer fires, or `request_turn` was called
    at the end:  finish           on the same thread, after the last turn
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.types import Clock

log = logging.getLogger(__name__)

# A wait for a far deadline is cut into such pieces: clocks that are turned while we sleep are noticed.
_SLEEP_MS_MAX = 60_000


class ControlLoop:
    """One thread, one loop; see the module's doc."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: Callable[[], None] = lambda: None
        self._next_deadline_ms: Callable[[], int | None] = lambda: None
        self._timer: asyncio.TimerHandle | None = None
        # A turn is on its way through `call_soon`: asking again changes nothing.
        self._requested = False

    def start(
        self,
        prepare: Callable[[], None],
        descriptor: int,
        turn: Callable[[], None],
        next_deadline_ms: Callable[[], int | None],
        finish: Callable[[], None],
    ) -> None:
        """Run `prepare` on the new thread and then turns; returns once `prepare` has, or raises what it raised."""
        self._turn = turn
        self._next_deadline_ms = next_deadline_ms
        ready = threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                self._loop = _new_loop()
                self._loop.add_reader(descriptor, self._run_turn)
                prepare()
                self._loop.call_soon(self._run_turn)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                failed.append(error)
                self._close(descriptor)
                ready.set()
                return
            ready.set()
            try:
                self._loop.run_forever()
            finally:
                finish()
                self._close(descriptor)

        self._thread = threading.Thread(target=run, name=self._name, daemon=True)
        self._thread.start()
        ready.wait()
        if failed:
            self._thread.join()
            self._thread = None
            raise failed[0]

    def stop(self) -> None:
        """End the loop after the turn it is in, and wait for the thread."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()

    def request_turn(self) -> None:
        """Have a turn run soon; only from the loop's own thread."""
        if not self._requested and self._loop is not None:
            self._requested = True
            self._loop.call_soon(self._run_turn)

    def wake(self) -> None:
        """Have a turn run soon; from any thread, also from one that a stop has left behind."""
        loop = self._loop
        if loop is not None and self._thread is not None:
            # Closed in between: there will be no turn any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._run_turn)

    def _run_turn(self) -> None:
        self._requested = False
        try:
            self._turn()
        except BaseException:  # a panic of the native side is no Exception; the timer must be armed again
            log.exception("a turn of the control plane failed")
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_ms = self._next_deadline_ms()
        if deadline_ms is not None:
            wait_ms = min(max(0, deadline_ms - self._clock.monotonic_ms()), _SLEEP_MS_MAX)
            self._timer = self._loop.call_later(wait_ms / 1000, self._run_turn)

    def _close(self, descriptor: int) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(descriptor)
            loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
