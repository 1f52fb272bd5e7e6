"""Producers that commit offsets in transactions, in the world of a group coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.messages import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from ottla.testing import MemoryTransactionGate
from ottla.types import TransactionMarker

if TYPE_CHECKING:
    from ottla.errors import ErrorCode
    from tests.coordinator.world import Box, World

TRANSACTIONS_2 = 5


class Producers:
    """What they send. Their transactions' coordinator is played by `gate`, which agrees to everything."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gate = MemoryTransactionGate()
        # How markers went.
        self.ended: list[ErrorCode] = []

    def commit(
        self,
        producer_id: int,
        offsets: dict[tuple[str, int], int],
        *,
        epoch: int = 0,
        group: str = "g",
        member_id: str = "",
        generation: int = -1,
        instance: str | None = None,
        version: int = TRANSACTIONS_2,
        metadata: str | None = "",
        topic_ids: dict[str, bytes] | None = None,
        end_turn: bool = True,
    ) -> Box:
        """TxnOffsetCommit."""
        world = self.world
        box = world._box(f"txn-commit {producer_id} {offsets}")
        topics: dict[str, list[TxnOffsetCommitRequestPartition]] = {}
        for (topic, index), offset in offsets.items():
            partition = TxnOffsetCommitRequestPartition(
                partition_index=index, committed_offset=offset, committed_metadata=metadata
            )
            topics.setdefault(topic, []).append(partition)
        request = TxnOffsetCommitRequest(
            transactional_id=f"t{producer_id}",
            group_id=group,
            producer_id=producer_id,
            producer_epoch=epoch,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
            topics=[TxnOffsetCommitRequestTopic(name=name, partitions=each) for name, each in topics.items()],
        )
        context = world.context("txn-commit", version)
        world.coordinator.transactions.commit(context, request, topic_ids or {}, self.gate, box)
        return world._end(box, end_turn)

    def end(
        self,
        producer_id: int,
        *,
        committed: bool = True,
        epoch: int = 0,
        coordinator_epoch: int = 0,
        version: int = 0,
        partition: int = 0,
    ) -> list[ErrorCode]:
        """A marker comes; how that went, once it is known."""
        told: list[ErrorCode] = []
        marker = TransactionMarker(
            producer_id, epoch, committed, coordinator_epoch, version, (("__consumer_offsets", partition),)
        )
        self.world.coordinator.transactions.end(partition, marker, told.append)
        self.world.turn()
        return told
