"""The control plane's thread: a turn, then a wait until the bridge is readable, time has come or somebody wakes it.

The loop is a waiting room, not a scheduler: deadlines are in the dispatcher's queue, on the engine's clock, and a wait
ends at the earliest of them. There are two descriptors to wait for and one thing to do then. An event loop has nothing
to add to that, and asyncio's would be a fifth of a broker's start and of its memory.

    with start:  run(prepare)     on the new thread, before the first turn; what it raises is raised by `start`
    then:        turn             whenever the descriptor is readable, time has come, or a turn was asked for
    at the end:  finish           on the same thread, after the last turn
"""

from __future__ import annotations

import logging
import os
import select
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
        self._bell: _Bell | None = None
        self._stopping = False
        # A turn was asked for in the one that runs: the next one does not wait.
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
        bell = self._bell = _Bell()
        ready = threading.Event()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                try:
                    prepare()
                except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                    failed.append(error)
                    return
                finally:
                    ready.set()
                try:
                    self._run(descriptor, bell, turn, next_deadline_ms)
                finally:
                    finish()
            finally:
                bell.close()

        self._stopping = False
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
        if thread is None:
            return
        self._stopping = True
        self.wake()
        thread.join()

    def request_turn(self) -> None:
        """Have a turn run soon; only from the loop's own thread."""
        self._requested = True

    def wake(self) -> None:
        """Have a turn run soon; from any thread, also from one that a stop has left behind."""
        if self._bell is not None:
            self._bell.ring()

    def _run(
        self,
        descriptor: int,
        bell: _Bell,
        turn: Callable[[], None],
        next_deadline_ms: Callable[[], int | None],
    ) -> None:
        # Not select(), which refuses the descriptors of a program that has more than a thousand open.
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(bell.descriptor, select.POLLIN)
        while True:
            self._requested = False
            try:
                turn()
            except BaseException:  # a panic of the native side is no Exception; deadlines must be waited for again
                log.exception("a turn of the control plane failed")
            if any(ready == bell.descriptor for ready, _ in poll.poll(self._wait_ms(next_deadline_ms()))):
                bell.clear()
            if self._stopping:
                return

    def _wait_ms(self, deadline_ms: int | None) -> int | None:
        if self._requested:
            return 0
        if deadline_ms is None:
            return None
        return min(max(0, deadline_ms - self._clock.monotonic_ms()), _SLEEP_MS_MAX)


class _Bell:
    """A pipe that ends a wait. To ring one that is closed is nothing, whatever has its descriptors by then."""

    def __init__(self) -> None:
        self.descriptor, self._rope = os.pipe()
        os.set_blocking(self._rope, False)
        self._closed = False
        # Of who rings and who closes.
        self._lock = threading.Lock()

    def ring(self) -> None:
        # A full pipe wakes as well.
        with self._lock, suppress(BlockingIOError):
            if not self._closed:
                os.write(self._rope, b"!")

    def clear(self) -> None:
        """Take rings back; only of a bell that has rung."""
        os.read(self.descriptor, 4096)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self.descriptor)
            os.close(self._rope)
