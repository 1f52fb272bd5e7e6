"""Groups: list, describe, delete; and what they have committed: read, set, delete.

A group of the consumer protocol (KIP-848) is described by ConsumerGroupDescribe, any other by DescribeGroups. A broker
that serves the first is asked it first, as Kafka's AdminClient does, and says GROUP_ID_NOT_FOUND for a classic group.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ottla.admin import apis
from ottla.admin.connection import error_of
from ottla.admin.results import Broker, CommittedOffset, Group, GroupListing, Member, TopicPartition
from ottla.admin.routing import COORDINATOR_MOVES, Routing
from ottla.errors import CodecError, ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from msgspec import Struct

    from ottla.admin.connection import ClientCodec, Deadline


CONSUMER = "consumer"
# Versions of subscription and assignment that the schemas hold; newer ones only append fields.
_EMBEDDED_VERSION_MAX = 3


def listed(routing: Routing, states: Collection[str], types: Collection[str], deadline: Deadline) -> list[GroupListing]:
    """Every group of every broker, by id; filtered by state (Kafka 2.6) and type (Kafka 3.8) where asked for."""
    from ottla.messages.list_groups import ListGroupsRequest

    request = ListGroupsRequest(states_filter=list(states), types_filter=list(types))
    at_least = 5 if types else 4 if states else 0
    found: dict[str, GroupListing] = {}
    for broker in routing.cluster(deadline, refresh=True).brokers:
        answer, version = routing.ask(
            routing.at(broker, deadline), apis.LIST_GROUPS, request, deadline, at_least=at_least
        )
        if answer.error_code:
            raise error_of(answer.error_code, None)
        for row in answer.groups:
            found[row.group_id] = GroupListing(
                row.group_id,
                row.protocol_type,
                row.group_state if version >= 4 else None,
                row.group_type if version >= 5 else None,
            )
    return [found[group_id] for group_id in sorted(found)]


def described(routing: Routing, groups: Iterable[str], deadline: Deadline) -> dict[str, Group | RequestError]:
    """Groups with their members. One that does not exist is GROUP_ID_NOT_FOUND, on every version."""

    def ask(coordinator: Broker, those: list[str]) -> dict[str, Group | RequestError]:
        outcomes: dict[str, Group | RequestError] = {}
        connection = routing.at(coordinator, deadline)()
        if connection.version(apis.CONSUMER_GROUP_DESCRIBE) is not None:
            outcomes = _consumer_groups(routing, coordinator, those, deadline)
        classic = [each for each in those if each not in outcomes or _is_elsewhere(outcomes[each])]
        if classic:
            outcomes.update(_classic_groups(routing, coordinator, classic, deadline))
        return outcomes

    return routing.by_coordinator(groups, deadline, ask)


def _is_elsewhere(outcome: object) -> bool:
    return isinstance(outcome, RequestError) and outcome.code in (
        ErrorCode.GROUP_ID_NOT_FOUND,
        ErrorCode.UNSUPPORTED_VERSION,
    )


def _consumer_groups(
    routing: Routing, coordinator: Broker, groups: list[str], deadline: Deadline
) -> dict[str, Group | RequestError]:
    from ottla.messages.consumer_group_describe import ConsumerGroupDescribeRequest

    answer, _ = routing.ask(
        routing.at(coordinator, deadline),
        apis.CONSUMER_GROUP_DESCRIBE,
        ConsumerGroupDescribeRequest(groups),
        deadline,
    )
    return {
        row.group_id: error_of(row.error_code, row.error_message)
        if row.error_code
        else Group(
            group_id=row.group_id,
            type="Consumer",
            state=row.group_state,
            protocol_type=CONSUMER,
            assignor=row.assignor_name,
            members=tuple(
                Member(
                    member_id=member.member_id,
                    instance_id=member.instance_id,
                    client_id=member.client_id,
                    host=member.client_host,
                    subscription=tuple(sorted(member.subscribed_topic_names)),
                    assignment=_partitions_of(member.assignment),
                    target=_partitions_of(member.target_assignment),
                    epoch=member.member_epoch,
                    upgraded=None if member.member_type < 0 else member.member_type > 0,
                )
                for member in row.members
            ),
            coordinator=coordinator,
            epoch=row.group_epoch,
            target_epoch=row.assignment_epoch,
        )
        for row in answer.groups
    }


def _partitions_of(assignment: Any) -> tuple[TopicPartition, ...]:
    return tuple(
        sorted(
            TopicPartition(topic.topic_name, partition)
            for topic in assignment.topic_partitions
            for partition in topic.partitions
        )
    )


def _classic_groups(
    routing: Routing, coordinator: Broker, groups: list[str], deadline: Deadline
) -> dict[str, Group | RequestError]:
    from ottla.messages.describe_groups import DescribeGroupsRequest

    answer, _ = routing.ask(
        routing.at(coordinator, deadline), apis.DESCRIBE_GROUPS, DescribeGroupsRequest(groups), deadline
    )
    outcomes: dict[str, Group | RequestError] = {}
    for row in answer.groups:
        if row.error_code:
            outcomes[row.group_id] = error_of(row.error_code, row.error_message)
        elif row.group_state == "Dead":
            # Before version 6 (Kafka 4.0, KIP-1043) a group that does not exist is described as dead.
            outcomes[row.group_id] = RequestError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {row.group_id} not found.")
        else:
            outcomes[row.group_id] = Group(
                group_id=row.group_id,
                type="Classic",
                state=row.group_state,
                protocol_type=row.protocol_type,
                assignor=row.protocol_data,
                members=tuple(_classic_member(routing.codec, row.protocol_type, member) for member in row.members),
                coordinator=coordinator,
            )
    return outcomes


def _classic_member(codec: ClientCodec, protocol_type: str, row: Any) -> Member:
    subscription: tuple[str, ...] = ()
    assignment: tuple[TopicPartition, ...] | None = None
    if protocol_type == CONSUMER:
        told = _embedded(codec, "ConsumerProtocolSubscription", row.member_metadata)
        subscription = tuple(sorted(told.topics)) if told is not None else ()
        told = _embedded(codec, "ConsumerProtocolAssignment", row.member_assignment)
        assignment = tuple(
            sorted(
                TopicPartition(topic.topic, partition)
                for topic in (told.assigned_partitions if told is not None else ())
                for partition in topic.partitions
            )
        )
    return Member(
        member_id=row.member_id,
        instance_id=row.group_instance_id,
        client_id=row.client_id,
        host=row.client_host,
        subscription=subscription,
        assignment=assignment,
    )


def _embedded(codec: ClientCodec, name: str, body: bytes) -> Any:
    """What members say to each other: a version, then the message; None where it is not theirs or empty."""
    if len(body) < 2:
        return None
    (version,) = struct.unpack(">h", body[:2])
    try:
        return codec.decode_struct(name, max(0, min(version, _EMBEDDED_VERSION_MAX)), body[2:])
    except CodecError:
        return None


def deleted(routing: Routing, groups: Iterable[str], deadline: Deadline) -> dict[str, RequestError | None]:
    """Delete groups, which must have no members."""
    from ottla.messages.delete_groups import DeleteGroupsRequest

    def ask(coordinator: Broker, those: list[str]) -> dict[str, RequestError | None]:
        answer, _ = routing.ask(
            routing.at(coordinator, deadline), apis.DELETE_GROUPS, DeleteGroupsRequest(those), deadline
        )
        return {row.group_id: error_of(row.error_code, None) if row.error_code else None for row in answer.results}

    return routing.by_coordinator(groups, deadline, ask)


# Committed offsets.


def offsets(
    routing: Routing, group: str, partitions: Collection[TopicPartition] | None, deadline: Deadline
) -> dict[TopicPartition, CommittedOffset | RequestError]:
    """What a group has committed, for some partitions or all; nothing committed is no entry."""
    from ottla.messages.offset_fetch import (
        OffsetFetchRequest,
        OffsetFetchRequestGroup,
        OffsetFetchRequestTopic,
        OffsetFetchRequestTopics,
    )

    topics = None if partitions is None else _by_topic(partitions)

    def ask(
        coordinator: Broker, _those: list[str]
    ) -> dict[str, dict[TopicPartition, CommittedOffset | RequestError] | RequestError]:
        connect = routing.at(coordinator, deadline)
        version = connect().version(apis.OFFSET_FETCH)
        request = OffsetFetchRequest()
        if version is not None and version >= 8:
            names = None if topics is None else [OffsetFetchRequestTopics(n, partition_indexes=p) for n, p in topics]
            request.groups = [OffsetFetchRequestGroup(group, topics=names)]
        else:
            request.group_id = group
            request.topics = None if topics is None else [OffsetFetchRequestTopic(n, p) for n, p in topics]
        answer, version = routing.ask(connect, apis.OFFSET_FETCH, request, deadline)
        result = answer.groups[0] if version >= 8 else answer
        if result.error_code:
            return {group: error_of(result.error_code, None)}
        found: dict[TopicPartition, CommittedOffset | RequestError] = {}
        for topic in result.topics:
            for row in topic.partitions:
                place = TopicPartition(topic.name, row.partition_index)
                if row.error_code:
                    found[place] = error_of(row.error_code, None)
                elif row.committed_offset >= 0:
                    epoch = row.committed_leader_epoch
                    found[place] = CommittedOffset(
                        row.committed_offset, epoch if epoch >= 0 else None, row.metadata or ""
                    )
        return {group: dict(sorted(found.items()))}

    outcome = routing.by_coordinator([group], deadline, ask)[group]
    if isinstance(outcome, RequestError):
        raise outcome
    return outcome


def offsets_altered(
    routing: Routing, group: str, wanted: Mapping[TopicPartition, CommittedOffset], deadline: Deadline
) -> dict[TopicPartition, RequestError | None]:
    """Commit for a group that has no members: as a simple consumer, outside of any generation."""
    from ottla.messages.offset_commit import (
        OffsetCommitRequest,
        OffsetCommitRequestPartition,
        OffsetCommitRequestTopic,
    )

    def request(places: list[TopicPartition]) -> OffsetCommitRequest:
        topics: dict[str, list[OffsetCommitRequestPartition]] = {}
        for place in places:
            commit = wanted[place]
            epoch = -1 if commit.leader_epoch is None else commit.leader_epoch
            row = OffsetCommitRequestPartition(place.partition, commit.offset, epoch, commit.metadata)
            topics.setdefault(place.topic, []).append(row)
        entries = [OffsetCommitRequestTopic(name, partitions=rows) for name, rows in topics.items()]
        return OffsetCommitRequest(group_id=group, topics=entries)

    return _by_place(routing, group, wanted, apis.OFFSET_COMMIT, request, deadline)


def offsets_deleted(
    routing: Routing, group: str, partitions: Collection[TopicPartition], deadline: Deadline
) -> dict[TopicPartition, RequestError | None]:
    """Forget what a group has committed for topics that no member is subscribed to (KIP-496, Kafka 2.4)."""
    from ottla.messages.offset_delete import (
        OffsetDeleteRequest,
        OffsetDeleteRequestPartition,
        OffsetDeleteRequestTopic,
    )

    def request(places: list[TopicPartition]) -> OffsetDeleteRequest:
        topics = [
            OffsetDeleteRequestTopic(name, [OffsetDeleteRequestPartition(index) for index in indexes])
            for name, indexes in _by_topic(places)
        ]
        return OffsetDeleteRequest(group, topics)

    return _by_place(routing, group, partitions, apis.OFFSET_DELETE, request, deadline)


def _by_place(
    routing: Routing,
    group: str,
    places: Iterable[TopicPartition],
    api: apis.Api,
    request: Callable[[list[TopicPartition]], Struct],
    deadline: Deadline,
) -> dict[TopicPartition, RequestError | None]:
    """Send a request that is answered partition by partition, again for those whose coordinator was elsewhere."""

    def attempt(waiting: list[TopicPartition]) -> dict[TopicPartition, RequestError | None]:
        coordinator = routing.coordinators([group], deadline)[group]
        if isinstance(coordinator, RequestError):
            return dict.fromkeys(waiting, coordinator)
        answer, _ = routing.ask(routing.at(coordinator, deadline), api, request(waiting), deadline)
        # OffsetDelete has one for the group, OffsetCommit says the same for each partition.
        code = getattr(answer, "error_code", 0)
        if code:
            return dict.fromkeys(waiting, error_of(code, None))
        return {
            TopicPartition(topic.name, row.partition_index): error_of(row.error_code, None) if row.error_code else None
            for topic in answer.topics
            for row in topic.partitions
        }

    return routing.settle(places, deadline, attempt, COORDINATOR_MOVES)


def _by_topic(places: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    topics: dict[str, list[int]] = {}
    for place in places:
        topics.setdefault(place.topic, []).append(place.partition)
    return list(topics.items())
