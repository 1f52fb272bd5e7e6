"""OffsetCommit (key 8), versions 2 to 10.

Behavior:
- A topic that does not exist is UNKNOWN_TOPIC_OR_PARTITION (UNKNOWN_TOPIC_ID by id), and so is a partition; the rest is
  committed all the same. What is left of the request is answered first, partitions of one topic together.
- Whether the committer may: `coordinator.group.classic_group.validate_commit`, for groups of the consumer protocol
  `coordinator.group.consumer.offset_rules`. The code is that of every partition.
- OFFSET_METADATA_TOO_LARGE beyond `offset.metadata.max.bytes`.
- Answered when the offsets are committed to the log.

Version notes:
- v2 to v4 may carry a retention time, which the offset then keeps; later it is the broker's (KIP-211).
- v6 adds the leader epoch of what was read (KIP-320), v7 `group_instance_id` (KIP-345).
- v9 answers GROUP_ID_NOT_FOUND where v8 has ILLEGAL_GENERATION: a generation of a group that does not exist (KIP-848);
  members of the consumer protocol may commit from v9 on.
- v10 names topics by id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ottla.coordinator.group.coordinator import commit_refusal
from ottla.errors import ErrorCode
from ottla.messages import (
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.messages import OffsetCommitRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

TOPIC_ID_VERSION_MIN: Final = 10


def handle(context: RequestContext, request: OffsetCommitRequest, services: Services, answer: Answer) -> None:
    """Answer what cannot be committed at once, the rest when it is."""
    known, refused = _sort(context.api_version >= TOPIC_ID_VERSION_MIN, request, services)
    if not known and refused:
        answer(OffsetCommitResponse(topics=_merge(refused, [])))
        return

    def finish(response: Struct) -> None:
        assert isinstance(response, OffsetCommitResponse)
        answer(response if not refused else OffsetCommitResponse(topics=_merge(refused, response.topics)))

    services.groups.commit_offsets(context, replace(request, topics=known), finish)


def _sort(
    by_id: bool, request: OffsetCommitRequest, services: Services
) -> tuple[list[OffsetCommitRequestTopic], list[OffsetCommitResponseTopic]]:
    """What exists, each topic with name and id; and the answers for what does not."""
    image = services.image
    known: list[OffsetCommitRequestTopic] = []
    refused: list[OffsetCommitResponseTopic] = []
    for asked in request.topics:
        topic = image.topics_by_id.get(asked.topic_id) if by_id else image.topics.get(asked.name)
        count = 0 if topic is None else len(topic.partitions)
        there = [partition for partition in asked.partitions if 0 <= partition.partition_index < count]
        if topic is not None and there:
            known.append(OffsetCommitRequestTopic(name=topic.name, topic_id=topic.topic_id, partitions=there))
        if topic is None or len(there) < len(asked.partitions):
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            if topic is None and by_id:
                code = ErrorCode.UNKNOWN_TOPIC_ID
            refused.append(
                OffsetCommitResponseTopic(
                    name=asked.name if topic is None else topic.name,
                    topic_id=asked.topic_id if topic is None else topic.topic_id,
                    partitions=[
                        OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                        for partition in asked.partitions
                        if not 0 <= partition.partition_index < count
                    ],
                )
            )
    return known, refused


def _merge(
    refused: list[OffsetCommitResponseTopic], committed: list[OffsetCommitResponseTopic]
) -> list[OffsetCommitResponseTopic]:
    """Both, a topic that is in both, or was named twice, once."""
    merged: dict[tuple[str, bytes], OffsetCommitResponseTopic] = {}
    for topic in (*refused, *committed):
        first = merged.setdefault((topic.name, topic.topic_id), topic)
        if first is not topic:
            first.partitions += topic.partitions
    return list(merged.values())


def refuse(_context: RequestContext, request: OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse:
    """Answer every partition with the code."""
    return commit_refusal(request, code)
