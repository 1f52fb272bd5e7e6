"""One shard of the group coordinator: all groups whose id falls on one partition of `__consumer_offsets`."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from ottla.coordinator.group.classic_group import CLASSIC_TYPE, ClassicGroup
from ottla.coordinator.group.consumer.describe import described, listed
from ottla.coordinator.group.consumer.environment import Environment
from ottla.coordinator.group.consumer.group import CONSUMER_TYPE, ConsumerGroup
from ottla.coordinator.group.consumer.machine import CONSUMER_GROUP_KEYS, ConsumerProtocol
from ottla.coordinator.group.groups import classic_group
from ottla.coordinator.group.join import Joiner
from ottla.coordinator.group.members import Member
from ottla.coordinator.group.offsets import Offsets
from ottla.coordinator.group.rebalance import Rebalancer
from ottla.coordinator.group.session import Sessions
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.shard import Result
from ottla.coordinator.timeline import TimelineDict
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    ConsumerGroupDescribeResponseDescribedGroup,
    DeleteGroupsResponse,
    DeleteGroupsResponseDeletableGroupResult,
    DescribeGroupsResponseDescribedGroup,
    GroupMetadataKey,
    GroupMetadataValue,
    LegacyOffsetCommitKey,
    LegacyOffsetCommitValue,
    OffsetCommitKey,
    OffsetCommitValue,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msgspec import Struct

    from ottla.coordinator.group.consumer.machine import ConsumerGroupKey
    from ottla.coordinator.group.consumer.topics import Cluster
    from ottla.coordinator.group.groups import Groups
    from ottla.coordinator.group.members import Reply
    from ottla.coordinator.group.settings import GroupSettings
    from ottla.coordinator.shard import CoordinatorRecord, ShardContext
    from ottla.messages import (
        HeartbeatRequest,
        JoinGroupRequest,
        LeaveGroupRequest,
        ListGroupsResponseListedGroup,
        SyncGroupRequest,
    )
    from ottla.types import Clock, Codec, Random, RequestContext

# From here on DescribeGroups says that a group does not exist; before it is described as dead (KIP-1043).
GROUP_NOT_FOUND_VERSION_MIN: Final = 6


# Offsets looked at in one turn of the loop, whether they have expired: a fraction of a millisecond.
EXPIRED_PER_TURN: Final = 500


class GroupMachine:
    """The groups of one partition, and what can be done to them."""

    def __init__(
        self,
        shard: ShardContext,
        *,
        cluster: Cluster,
        codec: Codec,
        clock: Clock,
        random: Random,
        settings: GroupSettings,
    ) -> None:
        self._shard = shard
        self._settings = settings
        self._clock = clock
        self.groups: Groups = TimelineDict(shard.timeline)
        self.rebalancer = Rebalancer(shard, self.groups, codec, clock, settings)
        self.joiner = Joiner(self.groups, self.rebalancer, clock, random, settings)
        self.sessions = Sessions(self.groups, self.rebalancer)
        self.offsets = Offsets(shard.timeline, self.groups, self.rebalancer, clock, settings)
        environment = Environment(
            shard, self.groups, cluster=cluster, codec=codec, clock=clock, random=random, settings=settings
        )
        self._topics = cluster.topics
        self.consumers = ConsumerProtocol(environment, shard.timeline, self.rebalancer)

    # The fold.

    def apply(self, offset: int, key: Struct, value: Struct | None) -> None:
        """Take over what a record says."""
        # A rebalance writes these for each member; the rest, in the order of how many there are.
        if type(key) in CONSUMER_GROUP_KEYS:
            self.consumers.apply(cast("ConsumerGroupKey", key), value)
            return
        match key:
            case OffsetCommitKey():
                assert value is None or isinstance(value, OffsetCommitValue)
                self._apply_offset(offset, key, value)
            case GroupMetadataKey():
                assert value is None or isinstance(value, GroupMetadataValue)
                self._apply_group(key.group, value)
            case LegacyOffsetCommitKey():
                assert value is None or isinstance(value, LegacyOffsetCommitValue)
                modern = None
                if value is not None:
                    modern = OffsetCommitValue(
                        offset=value.offset, metadata=value.metadata, commit_timestamp=value.commit_timestamp
                    )
                modern_key = OffsetCommitKey(group=key.group, topic=key.topic, partition=key.partition)
                self._apply_offset(offset, modern_key, modern)
            case _:
                # Records of protocols that are not served here (a Kafka directory may have them) change nothing.
                pass

    def _apply_offset(self, offset: int, key: OffsetCommitKey, value: OffsetCommitValue | None) -> None:
        if value is not None:
            self._found(key.group)
        self.offsets.apply(offset, key, value)

    def _found(self, group_id: str) -> None:
        """Offsets are committed: a simple consumer's group has no record of its own."""
        if group_id not in self.groups:
            self.groups.set(group_id, ClassicGroup(group_id, since_ms=None))

    def apply_pending(self, offset: int, producer_id: int, key: Struct, value: Struct) -> None:
        """Take over what a record of an open transaction says."""
        if isinstance(key, OffsetCommitKey):
            assert isinstance(value, OffsetCommitValue)
            self._found(key.group)
            self.offsets.apply_pending(offset, producer_id, key, value)

    def apply_marker(self, producer_id: int, *, committed: bool) -> None:
        """The transaction of a producer has ended."""
        self.offsets.apply_marker(producer_id, committed=committed)

    def _apply_group(self, group_id: str, value: GroupMetadataValue | None) -> None:
        if value is None:
            # Its state stays: who reads what is committed sees it as it was until its end is.
            if classic_group(self.groups, group_id) is not None:
                self.groups.remove(group_id)
            return
        group = ClassicGroup(
            group_id,
            state=GroupState.STABLE if value.members else GroupState.EMPTY,
            since_ms=None if value.current_state_timestamp < 0 else value.current_state_timestamp,
            generation=value.generation,
            protocol_type=value.protocol_type or None,
            protocol=value.protocol,
            leader=value.leader,
        )
        for said in value.members:
            member = Member(
                said.member_id,
                instance_id=said.group_instance_id,
                client_id=said.client_id,
                client_host=said.client_host,
                # Version 0 of the record knew one time-out only.
                rebalance_timeout_ms=said.session_timeout if said.rebalance_timeout < 0 else said.rebalance_timeout,
                session_timeout_ms=said.session_timeout,
                # Of what the member supports, the log has what the generation uses; the rest comes with its next join.
                protocols=[(value.protocol or "", said.subscription)],
                assignment=said.assignment,
            )
            group.add(member, value.protocol_type)
        self.groups.set(group_id, group)

    def on_loaded(self) -> None:
        """Begin the sessions of the members the log knows, and look for expired offsets from now on."""
        for group in self.groups.values():
            if isinstance(group, ConsumerGroup):
                self.consumers.on_loaded(group)
                continue
            self.rebalancer.read_subscriptions(group)
            # Most are of simple consumers, or empty.
            if group.members:
                self._shard.submit(partial(self.rebalancer.on_loaded, group))
        self._expire_later()

    def on_unloaded(self) -> None:
        """Whoever waits here looks for the coordinator again."""
        for group in self.groups.values():
            if isinstance(group, ClassicGroup):
                self.rebalancer.on_unloaded(group)

    # Requests of the classic protocol: a consumer group may have members that speak it.

    def join(self, context: RequestContext, request: JoinGroupRequest, reply: Reply) -> Result:
        """JoinGroup."""
        group = self._consumer_group(request.group_id)
        if group is None:
            return self.joiner.join(context, request, reply)
        return self.consumers.classic_members.join(context, request, group, reply)

    def sync(self, request: SyncGroupRequest, reply: Reply) -> Result:
        """SyncGroup."""
        group = self._consumer_group(request.group_id)
        if group is None:
            return self.sessions.sync(request, reply)
        return self.consumers.classic_members.sync(request, group, reply)

    def heartbeat(self, request: HeartbeatRequest) -> Result:
        """Heartbeat."""
        group = self._consumer_group(request.group_id)
        if group is None:
            return self.sessions.heartbeat(request)
        return self.consumers.classic_members.heartbeat(request, group)

    def leave(self, request: LeaveGroupRequest) -> Result:
        """LeaveGroup."""
        group = self._consumer_group(request.group_id)
        if group is None:
            return self.sessions.leave(request)
        return self.consumers.classic_members.leave(request, group)

    def _consumer_group(self, group_id: str) -> ConsumerGroup | None:
        """One with members: an empty one is nobody's, and makes room for a classic group."""
        group = self.groups.get(group_id)
        return group if isinstance(group, ConsumerGroup) and not group.is_empty else None

    # The end of groups.

    def delete(self, group_ids: Iterable[str]) -> Result:
        """DeleteGroups, for those of this shard."""
        records: list[CoordinatorRecord] = []
        results = []
        for group_id in group_ids:
            code = ErrorCode.NONE
            try:
                records += self.offsets.delete_group(group_id)
            except RequestError as error:
                code = error.code
            results.append(DeleteGroupsResponseDeletableGroupResult(group_id=group_id, error_code=code))
        # A group with more offsets than a batch holds ends in several, its own tombstone last.
        return Result(records=records, response=DeleteGroupsResponse(results=results), atomic=False)

    # Time.

    def _expire_later(self) -> None:
        self._shard.after("expire", self._settings.offsets_retention_check_interval_ms, self._expire)

    def _expire(self) -> Result:
        self._expire_later()
        return self._expire_some(deque(self.groups))

    def _expire_some(self, waiting: deque[str]) -> Result:
        """A part in each turn: others wait for it, and all shards of a broker come to it at the same time."""
        result = self.offsets.expire(waiting, EXPIRED_PER_TURN)
        if waiting:
            self._shard.after("expire more", 0, partial(self._expire_some, waiting))
        return result

    # Reads.

    def listed(self, states: frozenset[str], types: frozenset[str]) -> list[ListGroupsResponseListedGroup]:
        """The groups in one of the states and of one of the types, lower case; empty sets stand for all."""
        found = []
        for _, group in self.groups.committed_items():
            kind = CLASSIC_TYPE if isinstance(group, ClassicGroup) else CONSUMER_TYPE
            if types and kind not in types:
                continue
            line = group.listed() if isinstance(group, ClassicGroup) else listed(group)
            if not states or line.group_state.lower() in states:
                found.append(line)
        return found

    def described(self, group_ids: Iterable[str], api_version: int) -> list[DescribeGroupsResponseDescribedGroup]:
        """Each of the groups; one that does not exist is described as dead."""
        found = []
        for group_id in group_ids:
            group = self.groups.committed_get(group_id)
            if isinstance(group, ClassicGroup):
                found.append(group.described())
                continue
            missing = DescribeGroupsResponseDescribedGroup(group_id=group_id, group_state=GroupState.DEAD.value)
            if api_version >= GROUP_NOT_FOUND_VERSION_MIN:
                missing.error_code = ErrorCode.GROUP_ID_NOT_FOUND
                what = "not found" if group is None else "is not a classic group"
                missing.error_message = f"Group {group_id} {what}."
            found.append(missing)
        return found

    def consumer_groups_described(self, group_ids: Iterable[str]) -> list[ConsumerGroupDescribeResponseDescribedGroup]:
        """Each of the groups of the consumer protocol."""
        found = []
        for group_id in group_ids:
            group = self.groups.committed_get(group_id)
            if isinstance(group, ConsumerGroup):
                found.append(described(group, self._topics, self._settings.consumer_assignors[0]))
                continue
            what = "not found" if group is None else "is not a consumer group"
            found.append(
                ConsumerGroupDescribeResponseDescribedGroup(
                    group_id=group_id,
                    error_code=ErrorCode.GROUP_ID_NOT_FOUND,
                    error_message=f"Group {group_id} {what}.",
                )
            )
        return found
