"""Topics: list, describe, create, delete, more partitions; and records: offsets by time, delete up to an offset."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

from ottla.admin import apis
from ottla.admin.connection import error_of
from ottla.admin.results import (
    CreatedTopic,
    NewPartitions,
    NewTopic,
    OffsetAt,
    Partition,
    Topic,
    TopicListing,
    TopicPartition,
)
from ottla.errors import ErrorCode, InvalidInput, RequestError
from ottla.messages.metadata import MetadataRequest, MetadataRequestTopic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ottla.admin.connection import Deadline
    from ottla.admin.routing import Routing

_NO_ID = bytes(16)
# As Kafka's AdminClient asks: more partitions than that come in pages.
_PARTITIONS_PER_PAGE = 2000


def id_text(topic_id: bytes) -> str | None:
    """Give an id as Kafka prints it; None for the id of a broker that knows none."""
    return None if topic_id == _NO_ID else base64.urlsafe_b64encode(topic_id).decode().rstrip("=")


def id_bytes(text: str) -> bytes:
    """Read an id as Kafka prints it."""
    try:
        value = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except ValueError:
        value = b""
    if len(value) != len(_NO_ID):
        raise InvalidInput(f"'{text}' is no id of a topic: 22 letters and digits, as `describe` prints it")
    return value


def listed(routing: Routing, deadline: Deadline) -> list[TopicListing]:
    """Every topic, by name."""
    answer, _ = routing.ask_any(apis.METADATA, MetadataRequest(topics=None, allow_auto_topic_creation=False), deadline)
    routing.saw(answer)
    return sorted(
        (
            TopicListing(
                topic.name,
                id_text(topic.topic_id),
                topic.is_internal,
                len(topic.partitions),
                max((len(partition.replica_nodes) for partition in topic.partitions), default=0),
            )
            for topic in answer.topics
            if not topic.error_code
        ),
        key=lambda topic: topic.name,
    )


def described(routing: Routing, names: Iterable[str], deadline: Deadline) -> dict[str, Topic | RequestError]:
    """Topics with their partitions. DescribeTopicPartitions where it is served, since it alone has KIP-966's lists."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    if routing.any(deadline).version(apis.DESCRIBE_TOPIC_PARTITIONS) is None:
        return _described_by_metadata(routing, wanted, deadline)
    from ottla.messages.describe_topic_partitions import (
        DescribeTopicPartitionsRequest,
        DescribeTopicPartitionsRequestCursor,
        DescribeTopicPartitionsRequestTopicRequest,
    )

    found: dict[str, Topic | RequestError] = {}
    partitions: dict[str, list[Any]] = {}
    cursor: DescribeTopicPartitionsRequestCursor | None = None
    # The broker answers in order of names and refuses a cursor outside what is asked for.
    waiting = sorted(wanted)
    while waiting:
        request = DescribeTopicPartitionsRequest(
            topics=[DescribeTopicPartitionsRequestTopicRequest(name) for name in waiting],
            response_partition_limit=_PARTITIONS_PER_PAGE,
            cursor=cursor,
        )
        answer, _ = routing.ask_any(apis.DESCRIBE_TOPIC_PARTITIONS, request, deadline)
        for topic in answer.topics:
            if topic.error_code:
                found[topic.name] = error_of(topic.error_code, None)
                continue
            rows = partitions.setdefault(topic.name, [])
            rows += topic.partitions
            found[topic.name] = Topic(topic.name, id_text(topic.topic_id), topic.is_internal, _partitions(rows))
        following = answer.next_cursor
        if following is None:
            break
        cursor = DescribeTopicPartitionsRequestCursor(following.topic_name, following.partition_index)
        waiting = [name for name in waiting if name >= following.topic_name]
    return {name: found.get(name) or error_of(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None) for name in wanted}


def _described_by_metadata(routing: Routing, names: list[str], deadline: Deadline) -> dict[str, Topic | RequestError]:
    answer = _metadata(routing, names, deadline)
    found: dict[str, Topic | RequestError] = {}
    for topic in answer.topics:
        found[topic.name] = (
            error_of(topic.error_code, None)
            if topic.error_code
            else Topic(
                topic.name,
                id_text(topic.topic_id),
                topic.is_internal,
                _partitions(topic.partitions),
            )
        )
    return {name: found.get(name) or error_of(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None) for name in names}


def _metadata(routing: Routing, names: Iterable[str], deadline: Deadline) -> Any:
    request = MetadataRequest(
        topics=[MetadataRequestTopic(name=name) for name in dict.fromkeys(names)], allow_auto_topic_creation=False
    )
    answer, _ = routing.ask_any(apis.METADATA, request, deadline)
    routing.saw(answer)
    return answer


def _partitions(rows: Iterable[Any]) -> tuple[Partition, ...]:
    return tuple(sorted(map(_partition, rows), key=lambda partition: partition.index))


def _partition(row: Any) -> Partition:
    eligible = getattr(row, "eligible_leader_replicas", None)
    last_known = getattr(row, "last_known_elr", None)
    return Partition(
        index=row.partition_index,
        leader=None if row.leader_id < 0 else row.leader_id,
        leader_epoch=row.leader_epoch,
        replicas=tuple(row.replica_nodes),
        isr=tuple(row.isr_nodes),
        offline=tuple(row.offline_replicas),
        eligible_leaders=None if eligible is None else tuple(eligible),
        last_known_eligible_leaders=None if last_known is None else tuple(last_known),
    )


def created(
    routing: Routing, topics: Sequence[NewTopic], deadline: Deadline, *, validate_only: bool
) -> dict[str, CreatedTopic | RequestError]:
    """Create topics; with `validate_only` say whether they could be."""
    from ottla.messages.create_topics import (
        CreateTopicsRequest,
        CreateTopicsRequestCreatableReplicaAssignment,
        CreateTopicsRequestCreatableTopic,
        CreateTopicsRequestCreatableTopicConfig,
    )

    by_name = {topic.name: topic for topic in topics}

    def entry(topic: NewTopic) -> CreateTopicsRequestCreatableTopic:
        return CreateTopicsRequestCreatableTopic(
            name=topic.name,
            num_partitions=-1 if topic.assignment else topic.partitions,
            replication_factor=-1 if topic.assignment else topic.replication_factor,
            assignments=[
                CreateTopicsRequestCreatableReplicaAssignment(index, list(replicas))
                for index, replicas in enumerate(topic.assignment)
            ],
            configs=[CreateTopicsRequestCreatableTopicConfig(name, value) for name, value in topic.configs],
        )

    def ask(names: list[str]) -> dict[str, CreatedTopic | RequestError]:
        request = CreateTopicsRequest(
            topics=[entry(by_name[name]) for name in names],
            timeout_ms=_ms(deadline),
            validate_only=validate_only,
        )
        # Before version 4 the broker does not fill in what is left to it (KIP-464).
        at_least = 4 if any(_left_to_broker(by_name[name]) for name in names) else 0
        answer, version = routing.ask(
            lambda: routing.controller(deadline), apis.CREATE_TOPICS, request, deadline, at_least=at_least
        )
        return {
            row.name: error_of(row.error_code, row.error_message)
            if row.error_code
            else CreatedTopic(
                row.name,
                id_text(row.topic_id),
                row.num_partitions if version >= 5 and row.num_partitions >= 0 else None,
                row.replication_factor if version >= 5 and row.replication_factor >= 0 else None,
            )
            for row in answer.topics
        }

    return routing.by_controller(by_name, deadline, ask)


def _left_to_broker(topic: NewTopic) -> bool:
    return not topic.assignment and (topic.partitions == -1 or topic.replication_factor == -1)


def deleted(routing: Routing, names: Iterable[str], deadline: Deadline) -> dict[str, RequestError | None]:
    """Delete topics by name."""
    from ottla.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsRequestDeleteTopicState

    def ask(names: list[str]) -> dict[str, RequestError | None]:
        # By name in the field of the version: a list of states from 6 on.
        request = DeleteTopicsRequest(timeout_ms=_ms(deadline))
        version = routing.controller(deadline).version(apis.DELETE_TOPICS)
        if version is not None and version >= 6:
            request.topics = [DeleteTopicsRequestDeleteTopicState(name=name) for name in names]
        else:
            request.topic_names = names
        answer, _ = routing.ask(lambda: routing.controller(deadline), apis.DELETE_TOPICS, request, deadline)
        return {row.name: _none_or_error(row.error_code, row.error_message) for row in answer.responses}

    return routing.by_controller(names, deadline, ask)


def deleted_by_id(routing: Routing, ids: Iterable[str], deadline: Deadline) -> dict[str, RequestError | None]:
    """Delete topics by id (Kafka 2.8)."""
    from ottla.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsRequestDeleteTopicState

    def ask(ids: list[str]) -> dict[str, RequestError | None]:
        request = DeleteTopicsRequest(
            topics=[DeleteTopicsRequestDeleteTopicState(name=None, topic_id=id_bytes(each)) for each in ids],
            timeout_ms=_ms(deadline),
        )
        answer, _ = routing.ask(lambda: routing.controller(deadline), apis.DELETE_TOPICS, request, deadline, at_least=6)
        return {
            str(id_text(row.topic_id)): _none_or_error(row.error_code, row.error_message) for row in answer.responses
        }

    return routing.by_controller(ids, deadline, ask)


def extended(
    routing: Routing, wanted: Mapping[str, NewPartitions], deadline: Deadline, *, validate_only: bool
) -> dict[str, RequestError | None]:
    """Give topics more partitions."""
    from ottla.messages.create_partitions import (
        CreatePartitionsRequest,
        CreatePartitionsRequestAssignment,
        CreatePartitionsRequestTopic,
    )

    def ask(names: list[str]) -> dict[str, RequestError | None]:
        request = CreatePartitionsRequest(
            topics=[
                CreatePartitionsRequestTopic(
                    name,
                    wanted[name].count,
                    [CreatePartitionsRequestAssignment(list(ids)) for ids in wanted[name].assignment] or None,
                )
                for name in names
            ],
            timeout_ms=_ms(deadline),
            validate_only=validate_only,
        )
        answer, _ = routing.ask(lambda: routing.controller(deadline), apis.CREATE_PARTITIONS, request, deadline)
        return {row.name: _none_or_error(row.error_code, row.error_message) for row in answer.results}

    return routing.by_controller(wanted, deadline, ask)


# Records, by the leaders of their partitions.


def offsets(
    routing: Routing, wanted: Mapping[TopicPartition, int], deadline: Deadline, *, read_committed: bool
) -> dict[TopicPartition, OffsetAt | RequestError]:
    """Find offsets: the first at or after a moment in milliseconds, or one of the ends."""
    from ottla.messages.list_offsets import (
        ListOffsetsRequest,
        ListOffsetsRequestPartition,
        ListOffsetsRequestTopic,
    )

    # Which version answers which question: KIP-734, 405, 1005, 1023.
    needed = {-3: 7, -4: 8, -5: 9, -6: 11}
    at_least = max((needed.get(timestamp, 0) for timestamp in wanted.values()), default=0)
    if read_committed:
        at_least = max(at_least, 2)

    def ask(leader: int, those: list[TopicPartition]) -> dict[TopicPartition, OffsetAt | RequestError]:
        topics: dict[str, list[ListOffsetsRequestPartition]] = {}
        for each in those:
            partition = ListOffsetsRequestPartition(each.partition, timestamp=wanted[each])
            topics.setdefault(each.topic, []).append(partition)
        request = ListOffsetsRequest(
            replica_id=-1,
            isolation_level=1 if read_committed else 0,
            topics=[ListOffsetsRequestTopic(name, partitions) for name, partitions in topics.items()],
            timeout_ms=_ms(deadline),
        )
        answer, _ = routing.ask(
            lambda: routing.broker(leader, deadline), apis.LIST_OFFSETS, request, deadline, at_least=at_least
        )
        return {
            TopicPartition(topic.name, row.partition_index): error_of(row.error_code, None)
            if row.error_code
            else OffsetAt(row.offset, row.timestamp, row.leader_epoch if row.leader_epoch >= 0 else None)
            for topic in answer.topics
            for row in topic.partitions
        }

    return routing.by_leader(wanted, deadline, lambda those: leaders(routing, those, deadline), ask)


def records_deleted(
    routing: Routing, before: Mapping[TopicPartition, int], deadline: Deadline
) -> dict[TopicPartition, int | RequestError]:
    """Delete the records before an offset (-1: all that are committed); gives the new first offset."""
    from ottla.messages.delete_records import (
        DeleteRecordsRequest,
        DeleteRecordsRequestPartition,
        DeleteRecordsRequestTopic,
    )

    def ask(leader: int, those: list[TopicPartition]) -> dict[TopicPartition, int | RequestError]:
        topics: dict[str, list[DeleteRecordsRequestPartition]] = {}
        for each in those:
            topics.setdefault(each.topic, []).append(DeleteRecordsRequestPartition(each.partition, before[each]))
        request = DeleteRecordsRequest(
            topics=[DeleteRecordsRequestTopic(name, partitions) for name, partitions in topics.items()],
            timeout_ms=_ms(deadline),
        )
        answer, _ = routing.ask(lambda: routing.broker(leader, deadline), apis.DELETE_RECORDS, request, deadline)
        return {
            TopicPartition(topic.name, row.partition_index): error_of(row.error_code, None)
            if row.error_code
            else cast(int, row.low_watermark)
            for topic in answer.topics
            for row in topic.partitions
        }

    return routing.by_leader(before, deadline, lambda those: leaders(routing, those, deadline), ask)


def leaders(
    routing: Routing, those: Collection[TopicPartition], deadline: Deadline
) -> dict[TopicPartition, int | RequestError]:
    """Who leads each partition."""
    answer = _metadata(routing, (each.topic for each in those), deadline)
    found: dict[TopicPartition, int | RequestError] = {}
    of_topic: dict[str, int] = {}
    for topic in answer.topics:
        of_topic[topic.name] = topic.error_code
        for row in topic.partitions:
            leaderless = row.leader_id < 0
            found[TopicPartition(topic.name, row.partition_index)] = (
                error_of(row.error_code or ErrorCode.LEADER_NOT_AVAILABLE, None) if leaderless else row.leader_id
            )
    missing = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return {each: found.get(each, error_of(of_topic.get(each.topic) or missing, None)) for each in those}


def _none_or_error(code: int, message: str | None) -> RequestError | None:
    return error_of(code, message) if code else None


def _ms(deadline: Deadline) -> int:
    """What is left, as the broker is told how long it may take."""
    return max(1, int(deadline.left_s * 1000))
