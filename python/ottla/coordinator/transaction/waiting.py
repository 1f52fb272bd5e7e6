"""Who begins a transaction and waits for the markers of the one before.

A producer goes on as soon as the end of its transaction is decided, so its next write (v2) or AddPartitionsToTxn
regularly finds the door closed (PREPARE_x). Apache Kafka asks again for a write every 20 ms, for at most 100, and lets
other clients ask again themselves; here they wait for COMPLETE_x, as long.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from ottla.coordinator.shard import NOTHING, Result
from ottla.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.coordinator.shard import ShardContext

T = TypeVar("T")


def once(answer: Callable[[T], None]) -> Callable[[T], None]:
    """Only the first call counts: several things that do not know each other may end what waits."""
    pending = [answer]

    def tell(outcome: T) -> None:
        if pending:
            pending.pop()(outcome)

    return tell


class Waiting:
    """Who waits, by transactional id, in the order of arrival."""

    def __init__(self, shard: ShardContext) -> None:
        self._shard = shard
        self._numbers = count()
        self._parked: dict[str, dict[int, tuple[Callable[[], Result], Callable[[ErrorCode], None]]]] = {}

    def park(
        self, transactional_id: str, operation: Callable[[], Result], told: Callable[[ErrorCode], None], wait_ms: int
    ) -> None:
        """Run `operation` when the transaction is gone; `told` gets CONCURRENT_TRANSACTIONS if that takes longer."""
        number = next(self._numbers)
        self._parked.setdefault(transactional_id, {})[number] = (operation, told)
        self._shard.after(("waits", number), wait_ms, partial(self._expire, transactional_id, number))

    def resume(self, transactional_id: str) -> None:
        """The transaction is gone."""
        for number, (operation, _) in self._parked.pop(transactional_id, {}).items():
            self._shard.cancel(("waits", number))
            self._shard.submit(operation)

    def stop(self) -> None:
        """The shard goes away."""
        parked, self._parked = self._parked, {}
        for waiting in parked.values():
            for _, told in waiting.values():
                told(ErrorCode.NOT_COORDINATOR)

    def _expire(self, transactional_id: str, number: int) -> Result:
        waiting = self._parked[transactional_id]
        _, told = waiting.pop(number)
        if not waiting:
            del self._parked[transactional_id]
        told(ErrorCode.CONCURRENT_TRANSACTIONS)
        return NOTHING
