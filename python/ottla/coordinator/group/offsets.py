"""Committed offsets: what OffsetCommit writes, OffsetFetch reads and time takes away.

An offset belongs to a group and a partition, not to a member. It is kept until it is deleted, its topic is, or it
expires (KIP-211), which depends on the group:

    simple consumer (never had members) ... `offsets.retention.minutes` after the commit
    group without members ................. that long after it became empty
    consumer group in STABLE .............. that long after the commit, if no member subscribes to the topic
    consumer group (KIP-848) .............. that long after the commit, if no member subscribes to the topic
    any other group with members .......... never
    committed with its own end (v2-4) ..... then, and not before

When a group without members has lost its last offset the group goes too.

OffsetFetch shows committed records only (`timeline`); with `require_stable` it is a write without records, so that it
sees everything and its answer waits for what it has seen (KIP-447, as Kafka 4 does it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.consumer.offset_rules import check_fetch, commit_rule
from ottla.coordinator.group.groups import tombstones
from ottla.coordinator.group.records import offset_commit, offset_tombstone
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.shard import Result
from ottla.coordinator.timeline import TimelineDict
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.coordinator.group.consumer.offset_rules import PartitionRule
    from ottla.coordinator.group.groups import AnyGroup, Groups
    from ottla.coordinator.group.rebalance import Rebalancer
    from ottla.coordinator.group.settings import GroupSettings
    from ottla.coordinator.shard import CoordinatorRecord
    from ottla.coordinator.timeline import Timeline
    from ottla.messages import (
        OffsetCommitKey,
        OffsetCommitRequest,
        OffsetCommitRequestPartition,
        OffsetCommitRequestTopic,
        OffsetCommitValue,
        OffsetDeleteRequest,
        OffsetFetchRequestGroup,
    )
    from ottla.types import Clock

NO_OFFSET: Final = -1
NO_EPOCH: Final = -1
NO_TIMESTAMP: Final = -1
NO_TOPIC_ID: Final = bytes(16)
# From here on a commit to a group that does not exist is GROUP_ID_NOT_FOUND (KIP-848), before ILLEGAL_GENERATION.
GROUP_NOT_FOUND_VERSION_MIN: Final = 9

Partition = tuple[str, int]


class CommittedOffset(NamedTuple):
    """One committed offset."""

    offset: int
    leader_epoch: int
    metadata: str
    # Wall clock.
    commit_ms: int
    expire_ms: int
    # All zero if the client spoke of a name only and the topic was not known.
    topic_id: bytes


class Offsets:
    """The offsets of all groups of one shard."""

    def __init__(
        self,
        timeline: Timeline,
        groups: Groups,
        rebalancer: Rebalancer,
        clock: Clock,
        settings: GroupSettings,
    ) -> None:
        self._timeline = timeline
        self._groups = groups
        self._rebalancer = rebalancer
        self._clock = clock
        self._settings = settings
        self._by_group: dict[str, TimelineDict[Partition, CommittedOffset]] = {}

    # The fold.

    def apply(self, key: OffsetCommitKey, value: OffsetCommitValue | None) -> None:
        """Take over what a record says."""
        offsets = self._by_group.get(key.group)
        if value is None:
            if offsets is not None:
                offsets.remove((key.topic, key.partition))
                if offsets.is_forgotten:
                    del self._by_group[key.group]
            return
        if offsets is None:
            offsets = self._by_group[key.group] = TimelineDict(self._timeline)
        offsets.set(
            (key.topic, key.partition),
            CommittedOffset(
                value.offset,
                value.leader_epoch,
                value.metadata,
                value.commit_timestamp,
                value.expire_timestamp,
                value.topic_id,
            ),
        )

    def of_group(self, group_id: str) -> list[tuple[Partition, CommittedOffset]]:
        """Everything committed or about to be, for one group."""
        offsets = self._by_group.get(group_id)
        return [] if offsets is None else offsets.items()

    # OffsetCommit.

    def commit(self, request: OffsetCommitRequest, api_version: int) -> Result:
        """Write the offsets. The topics have been resolved: each has a name, and an id if it is known."""
        generation = request.generation_id_or_member_epoch
        group = self._groups.get(request.group_id)
        rule: PartitionRule | None = None
        if isinstance(group, ConsumerGroup):
            rule = commit_rule(group, request.member_id, request.group_instance_id, generation, api_version=api_version)
        elif group is not None:
            group.validate_commit(request.member_id, request.group_instance_id, generation)
            if group.is_in(GroupState.STABLE, GroupState.PREPARING_REBALANCE):
                # In the classic protocol a commit keeps the session alive like a heartbeat.
                member = group.members.get(request.member_id)
                if member is not None:
                    self._rebalancer.heard_of(group, member)
        elif generation >= 0:
            known = api_version >= GROUP_NOT_FOUND_VERSION_MIN
            raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND if known else ErrorCode.ILLEGAL_GENERATION)
        # Otherwise a simple consumer; its group begins with the first of its records.
        now_ms = self._clock.now_ms()
        retention_ms = request.retention_time_ms
        expire_ms = NO_TIMESTAMP if retention_ms < 0 else now_ms + retention_ms
        records: list[CoordinatorRecord] = []
        topics = [
            self._commit_topic(request.group_id, topic, rule, now_ms, expire_ms, records) for topic in request.topics
        ]
        response = OffsetCommitResponse(topics=topics)
        return Result(records=records, response=response, undoable=True, founds=group is None)

    def _commit_topic(
        self,
        group_id: str,
        topic: OffsetCommitRequestTopic,
        rule: PartitionRule | None,
        now_ms: int,
        expire_ms: int,
        records: list[CoordinatorRecord],
    ) -> OffsetCommitResponseTopic:
        partitions = []
        for partition in topic.partitions:
            code = ErrorCode.NONE
            if self._is_too_long(partition):
                code = ErrorCode.OFFSET_METADATA_TOO_LARGE
            else:
                if rule is not None:
                    rule(topic.topic_id, partition.partition_index)
                committed = CommittedOffset(
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.committed_metadata or "",
                    now_ms,
                    expire_ms,
                    topic.topic_id,
                )
                records.append(offset_commit(group_id, topic.name, partition.partition_index, committed))
            partitions.append(OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code))
        return OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=partitions)

    def _is_too_long(self, partition: OffsetCommitRequestPartition) -> bool:
        text = partition.committed_metadata
        if not text:
            return False
        # A str has at most as many UTF-16 units as UTF-8 bytes, so most are settled by their length.
        limit = self._settings.offset_metadata_bytes_max
        return len(text) * 2 > limit and len(text.encode("utf-16-le", "surrogatepass")) // 2 > limit

    # OffsetFetch.

    def fetch(
        self, request: OffsetFetchRequestGroup, current_id: Callable[[str], bytes], *, committed_only: bool
    ) -> OffsetFetchResponseGroup:
        """The offsets of a group: of the partitions asked for, or all of them (topics None).

        A group or an offset that is not there is no error: offset -1. So is one that was committed for a topic which
        has been deleted since, whoever has its name now: the tombstones come after the deletion, and a broker that dies
        between the two must not make consumers of the new topic skip its records. (Apache Kafka compares ids only
        where the request has them.)
        """
        group = self._groups.committed_get(request.group_id) if committed_only else self._groups.get(request.group_id)
        if isinstance(group, ConsumerGroup):
            check_fetch(group, request.member_id, request.member_epoch, committed_only=committed_only)
        offsets = self._by_group.get(request.group_id)
        if request.topics is None:
            topics = self._fetch_all(offsets, current_id, committed_only=committed_only)
        else:
            topics = []
            for topic in request.topics:
                partitions = []
                asked_id = current_id(topic.name) if topic.topic_id == NO_TOPIC_ID else topic.topic_id
                for index in topic.partition_indexes:
                    found = None
                    if offsets is not None:
                        key = (topic.name, index)
                        found = offsets.committed_get(key) if committed_only else offsets.get(key)
                    if found is not None and _is_of_another(found.topic_id, asked_id):
                        found = None
                    partitions.append(_fetched(index, found))
                topics.append(
                    OffsetFetchResponseTopics(name=topic.name, topic_id=topic.topic_id, partitions=partitions)
                )
        return OffsetFetchResponseGroup(group_id=request.group_id, topics=topics)

    def _fetch_all(
        self,
        offsets: TimelineDict[Partition, CommittedOffset] | None,
        current_id: Callable[[str], bytes],
        *,
        committed_only: bool,
    ) -> list[OffsetFetchResponseTopics]:
        if offsets is None:
            return []
        by_topic: dict[str, OffsetFetchResponseTopics] = {}
        for (topic, index), found in offsets.committed_items() if committed_only else offsets.items():
            if _is_of_another(found.topic_id, current_id(topic)):
                continue
            entry = by_topic.get(topic)
            if entry is None:
                entry = by_topic[topic] = OffsetFetchResponseTopics(name=topic, partitions=[])
            entry.partitions.append(_fetched(index, found))
        return list(by_topic.values())

    # The end of offsets.

    def delete(self, request: OffsetDeleteRequest) -> Result:
        """OffsetDelete (KIP-496): what nobody in the group consumes any more may be forgotten."""
        group = self._groups.get(request.group_id)
        if group is None:
            raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND)
        if isinstance(group, ClassicGroup) and not group.is_empty and not group.is_consumer_group:
            # What such members read cannot be known.
            raise RequestError(ErrorCode.NON_EMPTY_GROUP)
        offsets = self._by_group.get(request.group_id)
        records: list[CoordinatorRecord] = []
        topics = []
        for topic in request.topics:
            subscribed = group.is_subscribed_to(topic.name)
            code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if subscribed else ErrorCode.NONE
            partitions = []
            for partition in topic.partitions:
                index = partition.partition_index
                if not subscribed and offsets is not None and (topic.name, index) in offsets:
                    records.append(offset_tombstone(request.group_id, topic.name, index))
                partitions.append(OffsetDeleteResponsePartition(partition_index=index, error_code=code))
            topics.append(OffsetDeleteResponseTopic(name=topic.name, partitions=partitions))
        return Result(records=records, response=OffsetDeleteResponse(topics=topics), undoable=True)

    def delete_group(self, group_id: str) -> list[CoordinatorRecord]:
        """The end of a group nobody is in, and of everything it has; RequestError if it may not end."""
        group = self._groups.get(group_id)
        if group is None:
            raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND)
        if not group.is_empty:
            raise RequestError(ErrorCode.NON_EMPTY_GROUP)
        records = [offset_tombstone(group_id, topic, index) for (topic, index), _ in self.of_group(group_id)]
        return [*records, *tombstones(group)]

    def delete_topics(self, topic_ids_by_name: dict[str, bytes]) -> Result:
        """Topics were deleted: their offsets go, unless they were committed for another topic of that name."""
        records = [
            offset_tombstone(group_id, topic, index)
            for group_id, offsets in self._by_group.items()
            for (topic, index), committed in offsets.items()
            if topic in topic_ids_by_name and not _is_of_another(committed.topic_id, topic_ids_by_name[topic])
        ]
        return Result(records=records, atomic=False)

    def expire(self) -> Result:
        """Write the end of what has expired, and of groups that have nothing left."""
        now_ms = self._clock.now_ms()
        records: list[CoordinatorRecord] = []
        for group in self._groups.values():
            if self._expire_group(group, now_ms, records) and group.is_empty:
                records += tombstones(group)
        for group_id in [group_id for group_id, offsets in self._by_group.items() if offsets.is_forgotten]:
            del self._by_group[group_id]
        return Result(records=records, atomic=False)

    def _expire_group(self, group: AnyGroup, now_ms: int, records: list[CoordinatorRecord]) -> bool:
        """True if nothing is left."""
        offsets = self.of_group(group.group_id)
        if not offsets:
            return True
        from_ms = self._expiry_base_ms(group)
        if from_ms is None:
            return False
        all_expired = True
        for (topic, index), committed in offsets:
            if not group.is_subscribed_to(topic) and self._has_expired(committed, from_ms, now_ms):
                records.append(offset_tombstone(group.group_id, topic, index))
            else:
                all_expired = False
        return all_expired

    def _expiry_base_ms(self, group: AnyGroup) -> int | None:
        """From when on the offsets of the group age: a wall clock, 0 for "their commit", None for never."""
        if isinstance(group, ConsumerGroup) or group.protocol_type is None:
            return 0
        if group.is_in(GroupState.EMPTY):
            return group.state.since_ms or 0
        if group.is_in(GroupState.STABLE) and group.is_consumer_group and group.subscribed_topics is not None:
            return 0
        return None

    def _has_expired(self, committed: CommittedOffset, from_ms: int, now_ms: int) -> bool:
        if committed.expire_ms != NO_TIMESTAMP:
            return now_ms >= committed.expire_ms
        return now_ms - (from_ms or committed.commit_ms) >= self._settings.offsets_retention_ms


def _is_of_another(committed_for: bytes, asked_for: bytes) -> bool:
    """Both ids are known, and differ."""
    return NO_TOPIC_ID not in {committed_for, asked_for} and committed_for != asked_for


def _fetched(index: int, found: CommittedOffset | None) -> OffsetFetchResponsePartitions:
    if found is None:
        return OffsetFetchResponsePartitions(
            partition_index=index, committed_offset=NO_OFFSET, committed_leader_epoch=NO_EPOCH, metadata=""
        )
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=found.offset,
        committed_leader_epoch=found.leader_epoch,
        metadata=found.metadata,
    )
