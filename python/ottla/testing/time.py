"""Playing time: what the control plane's loop does with the clock, without waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.clock import DeadlineQueue, VirtualClock


def run_until(clock: VirtualClock, deadlines: DeadlineQueue, elapsed_ms: int) -> int:
    """Let `elapsed_ms` pass and fire every deadline at its own moment; return how many fired."""
    end_ms = clock.monotonic_ms() + elapsed_ms
    fired = 0
    while (next_ms := deadlines.next_deadline_ms) is not None and next_ms <= end_ms:
        clock.advance(max(0, next_ms - clock.monotonic_ms()))
        for callback in deadlines.due(clock.monotonic_ms()):
            callback()
            fired += 1
    clock.advance(end_ms - clock.monotonic_ms())
    return fired
