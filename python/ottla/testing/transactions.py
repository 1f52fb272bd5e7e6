"""The two sides of a transaction that somebody else plays: who writes its markers, and who says that it is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ottla.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.types import TransactionMarker

Partition = tuple[str, int]


class MemoryMarkers:
    """Keeps the markers it is given, and obeys the test.

    `answer_at_once=True` (the default) answers within `write`, with `codes` (NONE where that says nothing). Otherwise
    the answers wait for `settle()`, as they do while markers are on their way to the disk.
    """

    def __init__(self, *, answer_at_once: bool = True) -> None:
        self.answer_at_once = answer_at_once
        # What the next answers say of a partition.
        self.codes: dict[Partition, ErrorCode] = {}
        self.written: list[TransactionMarker] = []
        self._waiting: list[tuple[TransactionMarker, Callable[[dict[Partition, ErrorCode]], None]]] = []

    @property
    def waiting(self) -> int:
        """How many calls are not answered."""
        return len(self._waiting)

    def write(self, marker: TransactionMarker, answer: Callable[[dict[Partition, ErrorCode]], None]) -> None:
        """End a transaction in the marker's partitions."""
        self.written.append(marker)
        self._waiting.append((marker, answer))
        if self.answer_at_once:
            self.settle()

    def settle(self, count: int | None = None) -> int:
        """Answer the oldest `count` calls (default: all); return how many that were."""
        ready = self._waiting[:count]
        del self._waiting[: len(ready)]
        for marker, answer in ready:
            answer({partition: self.codes.get(partition, ErrorCode.NONE) for partition in marker.partitions})
        return len(ready)

    def lose(self) -> None:
        """Forget who waits, as a crash does."""
        self._waiting.clear()


@dataclass(frozen=True, slots=True)
class GateQuestion:
    """What the gate was asked."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    partitions: tuple[Partition, ...]
    adds: bool


class MemoryTransactionGate:
    """Says `code` to every question; with `answer_at_once=False` only when the test calls `settle()`."""

    def __init__(self, *, code: ErrorCode = ErrorCode.NONE, answer_at_once: bool = True) -> None:
        self.code = code
        self.answer_at_once = answer_at_once
        self.questions: list[GateQuestion] = []
        self._waiting: list[Callable[[ErrorCode], None]] = []

    def ask(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Sequence[Partition],
        *,
        adds: bool,
        answer: Callable[[ErrorCode], None],
    ) -> None:
        """Add the partitions to the transaction, or verify that they are in it."""
        self.questions.append(GateQuestion(transactional_id, producer_id, producer_epoch, tuple(partitions), adds))
        self._waiting.append(answer)
        if self.answer_at_once:
            self.settle()

    def settle(self) -> None:
        """Answer who waits."""
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer(self.code)
