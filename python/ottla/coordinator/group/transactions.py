"""Transactions of producers, as far as they concern groups: offsets committed in them, and their ends.

A producer that consumes commits what it has consumed in the transaction of what it produces (KIP-447). To the
transaction, the shard of the group is a partition like any other: it has to be added to it, and gets its marker.
`coordinator.transactional` tells how both are written, `pending_offsets` what they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.coordinator.batch import append_error
from ottla.errors import ErrorCode
from ottla.messages import (
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ottla.coordinator.group.machine import GroupMachine
    from ottla.coordinator.runtime import CoordinatorRuntime
    from ottla.messages import TxnOffsetCommitRequest
    from ottla.types import Answer, RequestContext, TransactionGate, TransactionMarker

# From these versions of TxnOffsetCommit on: the shard is added to the transaction by it (KIP-890, v2), a producer knows
# TRANSACTION_ABORTABLE, and COORDINATOR_LOAD_IN_PROGRESS.
TRANSACTIONS_2_VERSION_MIN: Final = 5
ABORTABLE_VERSION_MIN: Final = 4
LOADING_VERSION_MIN: Final = 2
_NOT_HERE: Final = frozenset(
    {ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR}
)


class GroupTransactions:
    """See the module's doc."""

    def __init__(
        self, runtime: CoordinatorRuntime[GroupMachine], topic: str, partition_for: Callable[[str], int]
    ) -> None:
        self._runtime = runtime
        self._topic = topic
        self._partition_for = partition_for

    def commit(
        self,
        context: RequestContext,
        request: TxnOffsetCommitRequest,
        topic_ids: Mapping[str, bytes],
        gate: TransactionGate,
        answer: Answer,
    ) -> None:
        """TxnOffsetCommit, of topics and partitions that exist, by their names as in `topic_ids`.

        `gate` is asked for the transaction unless it has offsets of this shard already: a client of before KIP-890 has
        added the shard to it (AddOffsetsToTxn), for later ones this does.
        """
        partition = self._partition_for(request.group_id)
        adds = context.api_version >= TRANSACTIONS_2_VERSION_MIN

        def refuse(code: ErrorCode) -> None:
            if code is ErrorCode.TRANSACTION_ABORTABLE and context.api_version < ABORTABLE_VERSION_MIN:
                code = ErrorCode.INVALID_TXN_STATE
            if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS and context.api_version < LOADING_VERSION_MIN:
                # Producers of before 2.0 do not expect it here (KAFKA-7296).
                code = ErrorCode.COORDINATOR_NOT_AVAILABLE
            answer(commit_refusal(request, append_error(code)))

        def verify(verified: Callable[[ErrorCode], None]) -> None:
            gate.ask(
                request.transactional_id,
                request.producer_id,
                request.producer_epoch,
                [(self._topic, partition)],
                adds=adds,
                answer=verified,
            )

        if not request.group_id:
            refuse(ErrorCode.INVALID_GROUP_ID)
            return
        self._runtime.transactional.write(
            partition,
            request.producer_id,
            request.producer_epoch,
            bumps_epoch=adds,
            verify=verify,
            operation=lambda machine: machine.offsets.commit_in_transaction(request, topic_ids),
            answer=answer,
            refuse=refuse,
        )

    def end(self, partition: int, marker: TransactionMarker, done: Callable[[ErrorCode], None]) -> None:
        """Write a marker into a partition of the offsets topic; `done` is told when it is committed, or why not."""

        def tell(code: ErrorCode) -> None:
            # The coordinator of the transaction looks for the leader of a partition, not for a coordinator.
            done(ErrorCode.NOT_LEADER_OR_FOLLOWER if code in _NOT_HERE else code)

        self._runtime.transactional.end(partition, marker, tell)


def commit_refusal(request: TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse:
    """The same code for every partition of a TxnOffsetCommit."""
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    TxnOffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
