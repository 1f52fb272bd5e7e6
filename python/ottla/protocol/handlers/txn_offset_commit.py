"""TxnOffsetCommit (28), versions 0-5.

Behavior:
- A topic that does not exist is UNKNOWN_TOPIC_OR_PARTITION, and so is a partition; the rest is written all the same.
- The rest is written into the group's partition of `__consumer_offsets` as part of the transaction, and counts when
  that commits (`coordinator.group.transactions`). The producer's transaction has to have that partition; its
  coordinator is asked at the first write.
- Answered when it is committed to the log.

Version notes:
- v2 adds the leader epoch of what was read (KIP-320); before it COORDINATOR_LOAD_IN_PROGRESS is not known.
- v3 adds member, generation and instance: a member that is fenced commits nothing (KIP-447).
- v4 adds TRANSACTION_ABORTABLE to what may be answered, v5 adds the partition to the transaction (KIP-890).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ottla.coordinator.group.transactions import commit_refusal
from ottla.errors import ErrorCode
from ottla.messages import (
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.messages import TxnOffsetCommitRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(context: RequestContext, request: TxnOffsetCommitRequest, services: Services, answer: Answer) -> None:
    """Answer what cannot be written at once, the rest when it is."""
    known, refused = _sort(request, services)
    if not known:
        answer(TxnOffsetCommitResponse(topics=_merge(refused, [])))
        return

    def finish(response: Struct) -> None:
        assert isinstance(response, TxnOffsetCommitResponse)
        answer(TxnOffsetCommitResponse(topics=_merge(refused, response.topics)))

    services.groups.transactions.commit(
        context,
        replace(request, topics=known),
        {topic.name: services.image.topics[topic.name].topic_id for topic in known},
        services.transactions,
        finish,
    )


def refuse(_context: RequestContext, request: TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse:
    """Answer every partition with the code."""
    return commit_refusal(request, code)


def _sort(
    request: TxnOffsetCommitRequest, services: Services
) -> tuple[list[TxnOffsetCommitRequestTopic], list[TxnOffsetCommitResponseTopic]]:
    """What exists, and the answers for what does not."""
    known: list[TxnOffsetCommitRequestTopic] = []
    refused: list[TxnOffsetCommitResponseTopic] = []
    for asked in request.topics:
        there: list[TxnOffsetCommitRequestPartition] = []
        missing: list[TxnOffsetCommitRequestPartition] = []
        for each in asked.partitions:
            (there if services.image.has_partition(asked.name, each.partition_index) else missing).append(each)
        if there:
            known.append(TxnOffsetCommitRequestTopic(name=asked.name, partitions=there))
        if missing:
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            partitions = [
                TxnOffsetCommitResponsePartition(partition_index=each.partition_index, error_code=code)
                for each in missing
            ]
            refused.append(TxnOffsetCommitResponseTopic(name=asked.name, partitions=partitions))
    return known, refused


def _merge(
    refused: list[TxnOffsetCommitResponseTopic], written: list[TxnOffsetCommitResponseTopic]
) -> list[TxnOffsetCommitResponseTopic]:
    """Both, a topic that is in both, or was named twice, once."""
    merged: dict[str, TxnOffsetCommitResponseTopic] = {}
    for topic in (*refused, *written):
        first = merged.setdefault(topic.name, topic)
        if first is not topic:
            first.partitions += topic.partitions
    return list(merged.values())
