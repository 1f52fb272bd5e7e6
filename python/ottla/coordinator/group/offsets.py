"""Committed offsets: what OffsetCommit writes, OffsetFetch reads and time takes away.

An offset belongs to a group and a partition, not to a member. It is kept until it is deleted, its topic is, or it
expires (KIP-211), which depends on the group:

    simple consumer (never had members) ... `offsets.retention.minutes` after the commit
    group without members ................. that long after it became empty
    consumer group in STABLE .............. that long after the commit, if no member subscribes to the topic
    consumer group (KIP-848) .............. that long after the commit, if no member subscribes to the topic
    any other group with members .......... never
    committed with its own end (v2-4) ..... then, and not before

When a group without members has lost its last offset the group goes too; not while it has offsets in an open
transaction (`pending_offsets`), and neither does an offset whose successor is in one.

OffsetFetch shows committed records only (`timeline`); with `require_stable` it is a write without records, so that it
sees everything and its answer waits for what it has seen (KIP-447, as Kafka 4 does it); an offset whose successor is
in an open transaction is UNSTABLE_OFFSET_COMMIT then.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.consumer.offset_rules import check_fetch, commit_rule
from ottla.coordinator.group.groups import tombstones
from ottla.coordinator.group.pending_offsets import PendingOffsets
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
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping

    from ottla.coordinator.group.consumer.offset_rules import PartitionRule
    from ottla.coordinator.group.groups import AnyGroup, Groups
    from ottla.coordinator.group.rebalance import Rebalancer
    from ottla.coordinator.group.settings import GroupSettings
    from ottla.coordinator.shard import CoordinatorRecord
    from ottla.coordinator.timeline import Timeline
    from ottla.messages import (
        OffsetCommitKey,
        OffsetCommitRequest,
        OffsetCommitRequestTopic,
        OffsetCommitValue,
        OffsetDeleteRequest,
        OffsetFetchRequestGroup,
        TxnOffsetCommitRequest,
        TxnOffsetCommitRequestTopic,
    )
    from ottla.types import Clock

NO_OFFSET: Final = -1
NO_EPOCH: Final = -1
NO_TIMESTAMP: Final = -1
NO_TOPIC_ID: Final = bytes(16)
# From here on a commit to a group that does not exist is GROUP_ID_NOT_FOUND (KIP-848), before ILLEGAL_GENERATION.
GROUP_NOT_FOUND_VERSION_MIN: Final = 9

Partition = tuple[str, int]
R = TypeVar("R")


class CommittedOffset(Struct, frozen=True, gc=False):
    """One committed offset. There may be millions: the garbage collector need not look at them."""

    offset: int
    leader_epoch: int
    metadata: str
    # Wall clock.
    commit_ms: int
    expire_ms: int
    # All zero if the client spoke of a name only and the topic was not known.
    topic_id: bytes
    # Where its record is in the log.
    record_offset: int = -1


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
        self._pending = PendingOffsets(timeline)

    # The fold.

    def apply(self, record_offset: int, key: OffsetCommitKey, value: OffsetCommitValue | None) -> None:
        """Take over what a record says."""
        partition = (key.topic, key.partition)
        if value is not None:
            # `_set` written out: this is the way of every commit.
            offsets = self._by_group.get(key.group)
            if offsets is None:
                offsets = self._by_group[key.group] = TimelineDict(self._timeline)
            offsets.set(partition, _committed(record_offset, value))
            return
        # Whatever is going on in transactions, it is forgotten.
        self._pending.remove(key.group, partition)
        offsets = self._by_group.get(key.group)
        if offsets is not None:
            offsets.remove(partition)
            if offsets.is_forgotten:
                del self._by_group[key.group]

    def apply_pending(
        self, record_offset: int, producer_id: int, key: OffsetCommitKey, value: OffsetCommitValue
    ) -> None:
        """Take over what a record of an open transaction says."""
        committed = _committed(record_offset, value)
        self._pending.add(producer_id, key.group, (key.topic, key.partition), committed)

    def apply_marker(self, producer_id: int, *, committed: bool) -> None:
        """A producer's transaction has ended. Of two commits the one that stands later in the log counts.

        If the one of the transaction counted because its marker is later, compaction might leave the wrong one.
        """
        for group_id, partition, pending in self._pending.end(producer_id):
            if not committed:
                continue
            offsets = self._by_group.get(group_id)
            current = None if offsets is None else offsets.get(partition)
            if current is None or current.record_offset < pending.record_offset:
                self._set(group_id, partition, pending)

    def _set(self, group_id: str, partition: Partition, committed: CommittedOffset) -> None:
        offsets = self._by_group.get(group_id)
        if offsets is None:
            offsets = self._by_group[group_id] = TimelineDict(self._timeline)
        offsets.set(partition, committed)

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
        topics = []
        for topic in request.topics:
            partitions = self._commit_topic(
                OffsetCommitResponsePartition,
                request.group_id,
                topic,
                topic.topic_id,
                rule,
                now_ms,
                expire_ms,
                records,
            )
            topics.append(OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=partitions))
        response = OffsetCommitResponse(topics=topics)
        return Result(records=records, response=response, undoable=True, founds=group is None)

    def commit_in_transaction(self, request: TxnOffsetCommitRequest, topic_ids: Mapping[str, bytes]) -> Result:
        """TxnOffsetCommit (KIP-447): write the offsets, which count once the transaction is committed.

        Who names neither member nor generation (a client of before KIP-447) may commit whoever is in the group; and a
        rebalance refuses nobody, since what was consumed may be in the transaction already.
        """
        try:
            rule = self._rule_in_transaction(request)
            now_ms = self._clock.now_ms()
            records: list[CoordinatorRecord] = []
            topics = []
            for topic in request.topics:
                topic_id = topic_ids.get(topic.name, NO_TOPIC_ID)
                partitions = self._commit_topic(
                    *(TxnOffsetCommitResponsePartition, request.group_id, topic, topic_id),
                    *(rule, now_ms, NO_TIMESTAMP, records),
                )
                topics.append(TxnOffsetCommitResponseTopic(name=topic.name, partitions=partitions))
        except RequestError as error:
            # Producers know no epochs of members.
            is_stale = error.code is ErrorCode.STALE_MEMBER_EPOCH
            raise RequestError(ErrorCode.ILLEGAL_GENERATION if is_stale else error.code) from error
        return Result(records=records, response=TxnOffsetCommitResponse(topics=topics), undoable=True)

    def _rule_in_transaction(self, request: TxnOffsetCommitRequest) -> PartitionRule | None:
        generation = request.generation_id
        group = self._groups.get(request.group_id)
        if isinstance(group, ConsumerGroup):
            return commit_rule(
                group, request.member_id, request.group_instance_id, generation, api_version=0, transactional=True
            )
        if group is not None:
            group.validate_commit(request.member_id, request.group_instance_id, generation, in_transaction=True)
        elif generation >= 0:
            raise RequestError(ErrorCode.ILLEGAL_GENERATION)
        return None

    def _commit_topic(
        self,
        response: Callable[[int, ErrorCode], R],
        group_id: str,
        topic: OffsetCommitRequestTopic | TxnOffsetCommitRequestTopic,
        topic_id: bytes,
        rule: PartitionRule | None,
        now_ms: int,
        expire_ms: int,
        records: list[CoordinatorRecord],
    ) -> list[R]:
        """Add the records; give the response for each partition."""
        partitions = []
        for partition in topic.partitions:
            code = ErrorCode.NONE
            if self._is_too_long(partition.committed_metadata):
                code = ErrorCode.OFFSET_METADATA_TOO_LARGE
            else:
                if rule is not None:
                    rule(topic_id, partition.partition_index)
                committed = CommittedOffset(
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.committed_metadata or "",
                    now_ms,
                    expire_ms,
                    topic_id,
                )
                records.append(offset_commit(group_id, topic.name, partition.partition_index, committed))
            partitions.append(response(partition.partition_index, code))
        return partitions

    def _is_too_long(self, text: str | None) -> bool:
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
            topics = self._fetch_all(request.group_id, offsets, current_id, committed_only=committed_only)
        else:
            topics = []
            for topic in request.topics:
                partitions = []
                asked_id = current_id(topic.name) if topic.topic_id == NO_TOPIC_ID else topic.topic_id
                for index in topic.partition_indexes:
                    key = (topic.name, index)
                    if not committed_only and self._pending.has(request.group_id, key):
                        partitions.append(_unstable(index))
                        continue
                    found = None
                    if offsets is not None:
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
        group_id: str,
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
            is_unstable = not committed_only and self._pending.has(group_id, (topic, index))
            entry.partitions.append(_unstable(index) if is_unstable else _fetched(index, found))
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
        records: list[CoordinatorRecord] = []
        topics = []
        for topic in request.topics:
            subscribed = group.is_subscribed_to(topic.name)
            code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if subscribed else ErrorCode.NONE
            partitions = []
            for partition in topic.partitions:
                index = partition.partition_index
                if not subscribed and self._is_there(request.group_id, (topic.name, index)):
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
        partitions = dict.fromkeys([partition for partition, _ in self.of_group(group_id)])
        partitions |= dict.fromkeys(self._pending.of_group(group_id))
        return [*(offset_tombstone(group_id, topic, index) for topic, index in partitions), *tombstones(group)]

    def _is_there(self, group_id: str, partition: Partition) -> bool:
        """It is committed, or may be."""
        offsets = self._by_group.get(group_id)
        return (offsets is not None and partition in offsets) or self._pending.has(group_id, partition)

    def delete_topics(self, topic_ids_by_name: dict[str, bytes]) -> Result:
        """Topics were deleted: their offsets go, unless they were committed for another topic of that name."""
        there = (
            (group_id, partition, committed)
            for group_id, offsets in self._by_group.items()
            for partition, committed in offsets.items()
        )
        forgotten = {
            (group_id, topic, index): None
            for group_id, (topic, index), committed in chain(there, self._pending.all())
            if topic in topic_ids_by_name and not _is_of_another(committed.topic_id, topic_ids_by_name[topic])
        }
        return Result(records=[offset_tombstone(*of) for of in forgotten], atomic=False)

    def expire(self, waiting: deque[str], offsets_max: int) -> Result:
        """Write the end of what has expired, and of groups that have nothing left; of these groups as many as that."""
        now_ms = self._clock.now_ms()
        records: list[CoordinatorRecord] = []
        looked_at = 0
        while waiting and looked_at < offsets_max:
            group = self._groups.get(waiting.popleft())
            if group is None:
                continue
            offsets = self.of_group(group.group_id)
            looked_at += 1 + len(offsets)
            if self._expire_group(group, offsets, now_ms, records) and group.is_empty:
                records += tombstones(group)
        if not waiting:
            for group_id in [group_id for group_id, offsets in self._by_group.items() if offsets.is_forgotten]:
                del self._by_group[group_id]
            self._pending.tidy()
        return Result(records=records, atomic=False)

    def _expire_group(
        self,
        group: AnyGroup,
        offsets: list[tuple[Partition, CommittedOffset]],
        now_ms: int,
        records: list[CoordinatorRecord],
    ) -> bool:
        """True if nothing is left."""
        group_id = group.group_id
        nothing_pending = not self._pending.of_group(group_id)
        if not offsets:
            return nothing_pending
        from_ms = self._expiry_base_ms(group)
        if from_ms is None:
            return False
        all_expired = True
        for (topic, index), committed in offsets:
            has_expired = not group.is_subscribed_to(topic) and self._has_expired(committed, from_ms, now_ms)
            if has_expired and not self._pending.has(group_id, (topic, index)):
                records.append(offset_tombstone(group_id, topic, index))
            else:
                all_expired = False
        return all_expired and nothing_pending

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


def _committed(record_offset: int, value: OffsetCommitValue) -> CommittedOffset:
    return CommittedOffset(
        value.offset,
        value.leader_epoch,
        value.metadata,
        value.commit_timestamp,
        value.expire_timestamp,
        value.topic_id,
        record_offset,
    )


def _unstable(index: int) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=NO_OFFSET,
        committed_leader_epoch=NO_EPOCH,
        metadata="",
        error_code=ErrorCode.UNSTABLE_OFFSET_COMMIT,
    )


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
