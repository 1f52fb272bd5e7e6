"""OffsetDelete (key 47), version 0 (KIP-496).

Behavior:
- Committed offsets of topics nobody in the group subscribes to are forgotten; what was never committed is no error.
- GROUP_SUBSCRIBED_TO_TOPIC for the partitions of others; UNKNOWN_TOPIC_OR_PARTITION for what does not exist.
- For the whole request: GROUP_ID_NOT_FOUND, INVALID_GROUP_ID, and NON_EMPTY_GROUP for a group whose members are not
  consumers, since what they read cannot be known. Then nothing else is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.errors import ErrorCode
from ottla.messages import (
    OffsetDeleteRequest,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(_context: RequestContext, request: OffsetDeleteRequest, services: Services, answer: Answer) -> None:
    """Answer when the end of the offsets is committed."""
    known: list[OffsetDeleteRequestTopic] = []
    merged: dict[str, OffsetDeleteResponseTopic] = {}
    for asked in request.topics:
        topic = services.image.topics.get(asked.name)
        count = 0 if topic is None else len(topic.partitions)
        there = [partition for partition in asked.partitions if 0 <= partition.partition_index < count]
        missing = [partition for partition in asked.partitions if not 0 <= partition.partition_index < count]
        if there:
            known.append(OffsetDeleteRequestTopic(name=asked.name, partitions=there))
        if missing or not asked.partitions:
            refused = merged.setdefault(asked.name, OffsetDeleteResponseTopic(name=asked.name))
            refused.partitions += [
                OffsetDeleteResponsePartition(
                    partition_index=partition.partition_index, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                )
                for partition in missing
            ]

    def finish(response: Struct) -> None:
        assert isinstance(response, OffsetDeleteResponse)
        if response.error_code == ErrorCode.NONE:
            for topic in response.topics:
                merged.setdefault(topic.name, OffsetDeleteResponseTopic(name=topic.name)).partitions += topic.partitions
            response.topics = list(merged.values())
        answer(response)

    services.groups.delete_offsets(OffsetDeleteRequest(group_id=request.group_id, topics=known), finish)


def refuse(_context: RequestContext, _request: OffsetDeleteRequest, code: ErrorCode) -> OffsetDeleteResponse:
    """Answer with the code alone."""
    return OffsetDeleteResponse(error_code=code)
