"""Time and chance as they come from outside, and the one deadline queue of the control plane.

`DeadlineQueue` does no I/O and owns no timer: whoever runs the loop asks `next_deadline_ms`, waits in its own way, and
calls what `due(now)` yields. A test turns a `VirtualClock` and does the same, so every time-out can be played in no
time (see `ottla.testing.run_until`). No asyncio timer carries a protocol deadline.

Fires in order of deadline, then of creation. A callback may cancel others (also those due now) and may add new ones:
an added one never fires in the same `due`, whatever its deadline, so a callback that always re-arms itself in the past
cannot hold the loop.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Cancelled entries stay in the heap until they come up, or until they are this many and the majority.
_CANCELLED_MIN = 64


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Milliseconds of the wall clock since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back."""
        return time.monotonic_ns() // 1_000_000


class VirtualClock:
    """Time that moves only when told to."""

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = monotonic_ms

    def now_ms(self) -> int:
        """Milliseconds of the played wall clock since 1970."""
        return self._now_ms

    def monotonic_ms(self) -> int:
        """Milliseconds of the played monotonic clock."""
        return self._monotonic_ms

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass on both clocks."""
        if elapsed_ms < 0:
            raise ValueError(f"time does not go back: {elapsed_ms} ms")
        self._now_ms += elapsed_ms
        self._monotonic_ms += elapsed_ms


class SystemRandom:
    """The operating system's randomness."""

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        return os.urandom(count)

    def below(self, limit: int) -> int:
        """A number n with 0 <= n < limit (128 random bits make the bias of the remainder nothing)."""
        return int.from_bytes(os.urandom(16), "big") % limit


class SeededRandom:
    """The same sequence for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        # Imported here: the module is large and a broker never needs it.
        import random  # noqa: PLC0415

        self._random = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        """`count` bytes of the sequence."""
        return self._random.randbytes(count)

    def below(self, limit: int) -> int:
        """A number n with 0 <= n < limit."""
        return self._random.randrange(limit)


class Deadline:
    """One entry of the queue: fires once, or never if cancelled."""

    __slots__ = ("_queue", "callback", "deadline_ms")

    def __init__(self, queue: DeadlineQueue, deadline_ms: int, callback: Callable[[], None]) -> None:
        self._queue = queue
        self.deadline_ms = deadline_ms
        # None once fired or cancelled, which also lets go of what the callback holds.
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not fire. Nothing happens if it has fired or was cancelled before."""
        if self.callback is not None:
            self.callback = None
            self._queue.forget_one()


class DeadlineQueue:
    """Deadlines of the monotonic clock, without a clock. The `types.Scheduler` of the control plane."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Deadline]] = []
        self._sequence = itertools.count()
        self._cancelled = 0

    def __len__(self) -> int:
        """How many deadlines wait."""
        return len(self._heap) - self._cancelled

    def at(self, deadline_ms: int, callback: Callable[[], None]) -> Deadline:
        """Have `callback` yielded by `due` once that moment has come."""
        deadline = Deadline(self, deadline_ms, callback)
        heapq.heappush(self._heap, (deadline_ms, next(self._sequence), deadline))
        return deadline

    @property
    def next_deadline_ms(self) -> int | None:
        """The earliest moment at which `due` has something; None if nothing waits."""
        self._drop_cancelled_head()
        return self._heap[0][0] if self._heap else None

    def due(self, now_ms: int) -> Iterator[Callable[[], None]]:
        """Yield each callback whose moment has come; call it before taking the next one."""
        first_new = next(self._sequence)
        added: list[tuple[int, int, Deadline]] = []
        try:
            while True:
                self._drop_cancelled_head()
                if not self._heap or self._heap[0][0] > now_ms:
                    return
                entry = heapq.heappop(self._heap)
                if entry[1] > first_new:
                    added.append(entry)
                    continue
                callback = entry[2].callback
                assert callback is not None, "a cancelled deadline was dropped above"
                entry[2].callback = None
                yield callback
        finally:
            for entry in added:
                heapq.heappush(self._heap, entry)

    def forget_one(self) -> None:
        """One waiting deadline was cancelled (called by `Deadline.cancel`)."""
        self._cancelled += 1
        if self._cancelled >= _CANCELLED_MIN and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def _drop_cancelled_head(self) -> None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
            self._cancelled -= 1
