"""OffsetFetch (key 9), versions 1 to 10.

Behavior:
- A group, topic or partition nothing was committed for is no error: offset -1, epoch -1, no metadata.
- Without topics (null): everything the group has.
- Committed records only; with `require_stable` also what is about to be committed, and the answer waits for it
  (KIP-447).
- No offsets that were committed for an earlier topic of the same name; in Apache Kafka only v10 is safe from them.
- COORDINATOR_LOAD_IN_PROGRESS and NOT_COORDINATOR for the whole group.

Version notes:
- v1 has no place for a code of the whole answer: every partition carries it.
- v2 adds "everything" and that place. v5 adds the leader epoch (KIP-320), v7 `require_stable` (KIP-447).
- v8 asks for several groups at once (KIP-709).
- v9 adds member and epoch of the consumer protocol (KIP-848): STALE_MEMBER_EPOCH, UNKNOWN_MEMBER_ID. They mean nothing
  to a classic group, and who says none may fetch anyway.
- v10 names topics by id: UNKNOWN_TOPIC_ID where there is none. Topics that are gone are left out of "everything".
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ottla.errors import ErrorCode
from ottla.messages import (
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.messages import OffsetFetchRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

GROUP_CODE_VERSION_MIN: Final = 2
SEVERAL_VERSION_MIN: Final = 8
TOPIC_ID_VERSION_MIN: Final = 10
NO_TOPIC_ID: Final = bytes(16)


def handle(context: RequestContext, request: OffsetFetchRequest, services: Services, answer: Answer) -> None:
    """Answer when the last of the groups has been looked up."""
    version = context.api_version
    groups = request.groups
    if version < SEVERAL_VERSION_MIN:
        groups = [_group_of_old(request)]
    found: list[OffsetFetchResponseGroup | None] = [None] * len(groups)
    missing = len(groups)

    def finish(index: int, group: OffsetFetchResponseGroup) -> None:
        nonlocal missing
        found[index] = group
        missing -= 1
        if not missing:
            _answer([group for group in found if group is not None], version, request, answer)

    if not groups:
        answer(OffsetFetchResponse(groups=[]))
    for index, group in enumerate(groups):

        def receive(response: OffsetFetchResponseGroup, index: int = index) -> None:
            finish(index, response)

        if version >= TOPIC_ID_VERSION_MIN:
            _fetch_by_id(group, request.require_stable, services, receive)
        else:
            services.groups.fetch_offsets(
                group, request.require_stable, receive, current_id=partial(_current_id, services)
            )


def _group_of_old(request: OffsetFetchRequest) -> OffsetFetchRequestGroup:
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in request.topics
        ]
    return OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)


def _fetch_by_id(
    group: OffsetFetchRequestGroup,
    require_stable: bool,
    services: Services,
    receive: Callable[[OffsetFetchResponseGroup], None],
) -> None:
    """Names for ids on the way in, ids for names on the way out."""
    image = services.image
    topics: list[OffsetFetchRequestTopics] | None = None
    unknown: list[OffsetFetchResponseTopics] = []
    if group.topics is not None:
        topics = []
        for asked in group.topics:
            topic = image.topics_by_id.get(asked.topic_id)
            if topic is None:
                unknown.append(_unknown_topic(asked))
            else:
                named = OffsetFetchRequestTopics(
                    name=topic.name, topic_id=topic.topic_id, partition_indexes=asked.partition_indexes
                )
                topics.append(named)

    def translate(response: OffsetFetchResponseGroup) -> None:
        if response.error_code == ErrorCode.NONE:
            known = []
            for entry in response.topics:
                topic = image.topics.get(entry.name)
                if topic is not None:
                    entry.topic_id = topic.topic_id
                    known.append(entry)
            response.topics = known + unknown
        receive(response)

    asked_by_name = OffsetFetchRequestGroup(
        group_id=group.group_id, member_id=group.member_id, member_epoch=group.member_epoch, topics=topics
    )
    services.groups.fetch_offsets(asked_by_name, require_stable, translate, current_id=partial(_current_id, services))


def _current_id(services: Services, name: str) -> bytes:
    topic = services.image.topics.get(name)
    return NO_TOPIC_ID if topic is None else topic.topic_id


def _unknown_topic(asked: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics:
    return OffsetFetchResponseTopics(
        topic_id=asked.topic_id,
        partitions=[
            OffsetFetchResponsePartitions(
                partition_index=index, committed_offset=-1, metadata="", error_code=ErrorCode.UNKNOWN_TOPIC_ID
            )
            for index in asked.partition_indexes
        ],
    )


def _answer(groups: list[OffsetFetchResponseGroup], version: int, request: OffsetFetchRequest, answer: Answer) -> None:
    if version >= SEVERAL_VERSION_MIN:
        answer(OffsetFetchResponse(groups=groups))
        return
    (group,) = groups
    if group.error_code != ErrorCode.NONE and version < GROUP_CODE_VERSION_MIN:
        answer(OffsetFetchResponse(topics=_code_everywhere(request, group.error_code)))
        return
    topics = [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(
                    partition_index=partition.partition_index,
                    committed_offset=partition.committed_offset,
                    committed_leader_epoch=partition.committed_leader_epoch,
                    metadata=partition.metadata,
                    error_code=partition.error_code,
                )
                for partition in topic.partitions
            ],
        )
        for topic in group.topics
    ]
    answer(OffsetFetchResponse(topics=topics, error_code=group.error_code))


def _code_everywhere(request: OffsetFetchRequest, code: int) -> list[OffsetFetchResponseTopic]:
    return [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(partition_index=index, committed_offset=-1, metadata="", error_code=code)
                for index in topic.partition_indexes
            ],
        )
        for topic in request.topics or []
    ]


def refuse(context: RequestContext, request: OffsetFetchRequest, code: ErrorCode) -> OffsetFetchResponse:
    """Answer each group, or all of the older answer, with the code."""
    version = context.api_version
    if version >= SEVERAL_VERSION_MIN:
        groups = [OffsetFetchResponseGroup(group_id=group.group_id, error_code=code) for group in request.groups]
        return OffsetFetchResponse(groups=groups)
    if version >= GROUP_CODE_VERSION_MIN:
        return OffsetFetchResponse(error_code=code)
    return OffsetFetchResponse(topics=_code_everywhere(request, code))
