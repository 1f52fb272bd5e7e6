"""The ends of transactions, written into the partitions that took part: `types.Markers`.

A partition of `__consumer_offsets` is written by the coordinator that owns it, since its state follows from its log.
All others are the native side's: it writes them on threads of its own and tells when every one of a call is committed
or refused. No time limits that: a marker that is given up for the moment, and written behind the next transaction's
records after all, would end that. (Kafka has a limit, of the wait for its followers only.)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from ottla.controller.names import OFFSETS_TOPIC
from ottla.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.protocol.commits import Commits
    from ottla.types import TransactionMarker

Partition = tuple[str, int]


class Written(Protocol):
    """What came of markers the native side was given."""

    def codes(self) -> list[int]:
        """For each partition, in their order; once it has told that it is done."""
        ...


class Engine(Protocol):
    """The native side, as far as it writes markers."""

    def write_markers(
        self,
        producer_id: int,
        producer_epoch: int,
        committed: bool,
        coordinator_epoch: int,
        transaction_version: int,
        partitions: Sequence[Partition],
        token: int,
    ) -> Written:
        """Begin to write; tell under `token` when every marker is committed or refused."""
        ...


class PartitionMarkers:
    """See the module's doc."""

    def __init__(self, engine: Engine, commits: Commits, groups: GroupCoordinator) -> None:
        self._engine = engine
        self._commits = commits
        self._groups = groups

    def write(self, marker: TransactionMarker, answer: Callable[[dict[Partition, ErrorCode]], None]) -> None:
        """End a transaction in the marker's partitions; `answer` gets a code for each."""
        codes: dict[Partition, ErrorCode | None] = dict.fromkeys(marker.partitions)
        native = [partition for partition in codes if partition[0] != OFFSETS_TOPIC]

        def told(written: Written) -> None:
            settle(dict(zip(native, map(ErrorCode, written.codes()), strict=True)))

        def settle(known: dict[Partition, ErrorCode]) -> None:
            codes.update(known)
            if None not in codes.values():
                answer({partition: code for partition, code in codes.items() if code is not None})

        if not codes:
            answer({})
        if native:
            self._commits.when_done(partial(self._begin, marker, native), told)
        for partition in codes:
            if partition[0] == OFFSETS_TOPIC:
                self._end(partition, marker, settle)

    def _begin(self, marker: TransactionMarker, partitions: Sequence[Partition], token: int) -> Written:
        return self._engine.write_markers(
            marker.producer_id,
            marker.producer_epoch,
            marker.committed,
            marker.coordinator_epoch,
            marker.transaction_version,
            partitions,
            token,
        )

    def _end(
        self, partition: Partition, marker: TransactionMarker, settle: Callable[[dict[Partition, ErrorCode]], None]
    ) -> None:
        if not 0 <= partition[1] < self._groups.partition_count:
            settle({partition: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION})
        else:
            self._groups.transactions.end(partition[1], marker, lambda code: settle({partition: code}))
