"""Offsets committed in transactions that are still open.

    TxnOffsetCommit ......... pending under its producer; another one of the same producer for the partition overwrites
    commit marker ........... counts, unless the log has a later commit for the partition (`Offsets.apply_marker`)
    abort marker ............ gone
    tombstone ............... gone too, of every producer: the offset, its topic or its group was deleted

Several producers may have offsets pending for one partition; which counts in the end is a matter of their places in the
log. As long as one has, OffsetFetch with `require_stable` says UNSTABLE_OFFSET_COMMIT for it, the committed offset does
not expire, and the group stays. (Apache Kafka: `pendingTransactionalOffsets` and `OpenTransactions` of
OffsetMetadataManager.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.coordinator.timeline import TimelineDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ottla.coordinator.group.offsets import CommittedOffset, Partition
    from ottla.coordinator.timeline import Timeline


class PendingOffsets:
    """Those of one shard, found by producer and by group; both are timeline maps."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._by_producer: dict[int, TimelineDict[tuple[str, Partition], CommittedOffset]] = {}
        # For each partition the producers that have something pending for it.
        self._by_group: dict[str, TimelineDict[Partition, frozenset[int]]] = {}

    def add(self, producer_id: int, group_id: str, partition: Partition, committed: CommittedOffset) -> None:
        """A producer has committed an offset in its transaction."""
        pending = self._by_producer.get(producer_id)
        if pending is None:
            pending = self._by_producer[producer_id] = TimelineDict(self._timeline)
        pending.set((group_id, partition), committed)
        producers = self._by_group.get(group_id)
        if producers is None:
            producers = self._by_group[group_id] = TimelineDict(self._timeline)
        producers.set(partition, (producers.get(partition) or frozenset()) | {producer_id})

    def remove(self, group_id: str, partition: Partition) -> None:
        """Nothing is pending for the partition any more."""
        producers = self._by_group.get(group_id)
        if producers is None:
            return
        for producer_id in producers.get(partition) or ():
            self._by_producer[producer_id].remove((group_id, partition))
        producers.remove(partition)

    def end(self, producer_id: int) -> list[tuple[str, Partition, CommittedOffset]]:
        """The transaction of a producer has ended: forget what it had, and give it back."""
        pending = self._by_producer.get(producer_id)
        ended = []
        for (group_id, partition), committed in [] if pending is None else pending.items():
            assert pending is not None
            pending.remove((group_id, partition))
            producers = self._by_group[group_id]
            others = (producers.get(partition) or frozenset()) - {producer_id}
            if others:
                producers.set(partition, others)
            else:
                producers.remove(partition)
            ended.append((group_id, partition, committed))
        return ended

    def has(self, group_id: str, partition: Partition) -> bool:
        """Whether something is pending for the partition."""
        producers = self._by_group.get(group_id)
        return producers is not None and partition in producers

    def of_group(self, group_id: str) -> list[Partition]:
        """The partitions of a group something is pending for."""
        producers = self._by_group.get(group_id)
        return [] if producers is None else list(producers)

    def all(self) -> Iterator[tuple[str, Partition, CommittedOffset]]:
        """Everything that is pending."""
        for pending in self._by_producer.values():
            for (group_id, partition), committed in pending.items():
                yield group_id, partition, committed

    def tidy(self) -> None:
        """Let go of maps nothing is in."""
        for producer_id in [key for key, pending in self._by_producer.items() if pending.is_forgotten]:
            del self._by_producer[producer_id]
        for group_id in [key for key, producers in self._by_group.items() if producers.is_forgotten]:
            del self._by_group[group_id]
