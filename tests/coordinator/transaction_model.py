"""Partitions and producers as a transaction sees them: what the coordinator is judged by.

A partition knows what Kafka's `ProducerStateManager` knows: the newest epoch of each producer id, and whether one of
its transactions is open. A producer believes what it is told and repeats what it was told nothing about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ottla.errors import ErrorCode
from ottla.types import TransactionMarker

Place = tuple[str, int]


@dataclass
class Written:
    """A record, by the transaction its producer thinks it is in."""

    transaction: str
    producer_id: int
    # None while it is open.
    committed: bool | None = None


@dataclass
class Entry:
    """What a partition knows of a producer id."""

    epoch: int
    coordinator_epoch: int = -1
    is_open: bool = False
    # Changes with each marker: a verification from before is void.
    guard: int = 0


@dataclass
class ModelPartition:
    """One partition of a topic."""

    producers: dict[int, Entry] = field(default_factory=dict)
    records: list[Written] = field(default_factory=list)

    def guard(self, producer_id: int) -> int:
        """What is seen before the coordinator is asked."""
        entry = self.producers.get(producer_id)
        return 0 if entry is None else entry.guard

    def is_open(self, producer: tuple[int, int]) -> bool:
        entry = self.producers.get(producer[0])
        return entry is not None and entry.is_open and entry.epoch == producer[1]

    def write(self, producer: tuple[int, int], transaction: str, guard: int) -> bool:
        """Append a record, unless the producer is fenced here or its verification is void."""
        producer_id, epoch = producer
        entry = self.producers.setdefault(producer_id, Entry(epoch))
        if epoch < entry.epoch or (not entry.is_open and guard != entry.guard):
            return False
        entry.epoch, entry.is_open = epoch, True
        self.records.append(Written(transaction, producer_id))
        return True

    def end(self, marker: TransactionMarker) -> ErrorCode:
        """Append a marker (ProducerAppendInfo of Kafka 4.3)."""
        entry = self.producers.setdefault(marker.producer_id, Entry(-1))
        strict = marker.transaction_version >= 2
        repeated = strict and marker.producer_epoch == entry.epoch and not entry.is_open
        too_old = marker.producer_epoch <= entry.epoch if strict else marker.producer_epoch < entry.epoch
        if too_old and not repeated:
            return ErrorCode.INVALID_PRODUCER_EPOCH
        if marker.coordinator_epoch < entry.coordinator_epoch:
            return ErrorCode.TRANSACTION_COORDINATOR_FENCED
        ended = [each for each in self.records if each.producer_id == marker.producer_id and each.committed is None]
        assert len({record.transaction for record in ended}) <= 1, f"{ended} end together"
        for record in ended:
            record.committed = marker.committed
        entry.epoch, entry.coordinator_epoch, entry.is_open = marker.producer_epoch, marker.coordinator_epoch, False
        entry.guard += 1
        return ErrorCode.NONE


class ModelMarkers:
    """Markers on their way to the partitions; the test delivers, repeats and refuses them in any order."""

    def __init__(self, partitions: dict[Place, ModelPartition], check: Callable[[TransactionMarker], None]) -> None:
        self.partitions = partitions
        self.check = check
        self.waiting: list[tuple[TransactionMarker, Callable[[dict[Place, ErrorCode]], None]]] = []

    def write(self, marker: TransactionMarker, answer: Callable[[dict[Place, ErrorCode]], None]) -> None:
        self.check(marker)
        self.waiting.append((marker, answer))

    def lose(self) -> None:
        """The coordinator is gone; what it has sent may still arrive."""
        self.waiting = [(marker, lambda _codes: None) for marker, _ in self.waiting]

    def deliver(self, place: int, *, written: bool, told: bool) -> None:
        """One call: `written` to the partitions or not, and `told` the truth or that nobody knows."""
        marker, answer = self.waiting.pop(place % len(self.waiting))
        codes = dict.fromkeys(marker.partitions, ErrorCode.KAFKA_STORAGE_ERROR)
        if written:
            codes = {each: self.partitions[each].end(marker) for each in marker.partitions}
        answer(codes if told else dict.fromkeys(marker.partitions, ErrorCode.REQUEST_TIMED_OUT))


@dataclass
class Producer:
    """A client of one transactional id."""

    name: str
    client_version: int
    # Producer id and epoch, if it has them; a fenced one has to start again.
    id: tuple[int, int] | None = None
    number: int = 0
    # What it wrote in this transaction, and whether it was told so.
    wrote: list[Place] = field(default_factory=list)
    added: set[Place] = field(default_factory=set)
    # The end it wants until it is told that there is one; then it cannot write.
    ending: bool | None = None

    @property
    def transaction(self) -> str:
        """Its current one."""
        return f"{self.name}#{self.number}"

    def next(self) -> None:
        """The transaction is over."""
        self.number += 1
        self.wrote, self.added, self.ending = [], set(), None

    def give_up(self) -> None:
        """It is fenced."""
        self.id = None
        self.next()
