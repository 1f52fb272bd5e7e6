"""ConsumerGroupHeartbeat: joining, staying, leaving; `draft` has the steps in between, `quiet` the way without any.

    epoch 0    joins, or begins again: says everything about itself, owns nothing
    epoch > 0  stays: says what has changed. Its epoch must be the one it was told, or the one before if it owns no more
               than it was given since (the answer was lost); else it is fenced
    epoch -1   leaves
    epoch -2   a static member leaves for now: what it has stays with it until its session ends

The answer carries an assignment when that has changed, or when the member said everything.

Reference: Apache Kafka 4.3, GroupCoordinatorService and GroupMetadataManager.consumerGroupHeartbeat.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.consumer.draft import Draft
from ottla.coordinator.group.consumer.environment import group_not_found
from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.consumer.member import NOTHING_ASSIGNED, ConsumerMember
from ottla.coordinator.group.consumer.quiet import quiet_step
from ottla.coordinator.group.consumer.reconcile import together
from ottla.coordinator.group.consumer.records import (
    current_assignment,
    member_metadata,
    member_target,
    member_tombstones,
)
from ottla.coordinator.group.consumer.state import JOINS, LEAVES, LEAVES_FOR_NOW, MemberState
from ottla.coordinator.group.records import group_tombstone
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.shard import Result
from ottla.coordinator.timeline import Timeline
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatResponseAssignment,
    ConsumerGroupHeartbeatResponseTopicPartitions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.coordinator.group.consumer.environment import Environment
    from ottla.coordinator.group.consumer.fencing import Fencing
    from ottla.coordinator.group.consumer.patterns import Resolver
    from ottla.coordinator.group.consumer.reconcile import Owned
    from ottla.coordinator.group.consumer.upgrade import Upgrader
    from ottla.coordinator.shard import CoordinatorRecord
    from ottla.messages import ConsumerGroupHeartbeatRequest
    from ottla.types import RequestContext

log = logging.getLogger(__name__)

# From here on members choose their ids themselves (KIP-1082).
OWN_ID_VERSION_MIN: Final = 1
# What Java's String.trim takes away.
_BLANKS: Final = "".join(map(chr, range(0x21)))


def check_request(request: ConsumerGroupHeartbeatRequest, api_version: int, assignors: Sequence[str]) -> None:
    """What can be said without looking at the group; RequestError if something is wrong."""
    epoch = request.member_epoch
    if api_version >= OWN_ID_VERSION_MIN or epoch > 0 or epoch == LEAVES:
        _refuse_blank(request.member_id, "MemberId")
    _refuse_blank(request.group_id, "GroupId")
    if request.instance_id is not None:
        _refuse_blank(request.instance_id, "InstanceId")
    if request.rack_id is not None:
        _refuse_blank(request.rack_id, "RackId")
    if epoch == JOINS:
        if request.rebalance_timeout_ms == -1:
            raise RequestError(ErrorCode.INVALID_REQUEST, "A member that joins must say RebalanceTimeoutMs.")
        if request.topic_partitions is None or request.topic_partitions:
            raise RequestError(ErrorCode.INVALID_REQUEST, "TopicPartitions of a member that joins must be empty.")
        if request.subscribed_topic_names is None and request.subscribed_topic_regex is None:
            raise RequestError(
                ErrorCode.INVALID_REQUEST,
                "A member that joins must say SubscribedTopicNames, SubscribedTopicRegex or both.",
            )
    elif epoch == LEAVES_FOR_NOW:
        if request.instance_id is None:
            raise RequestError(ErrorCode.INVALID_REQUEST, "Only a member with an InstanceId can leave for now.")
    elif epoch < LEAVES_FOR_NOW:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"MemberEpoch {epoch} means nothing.")
    if request.server_assignor is not None and request.server_assignor not in assignors:
        raise RequestError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"There is no assignor {request.server_assignor!r}, but {', '.join(assignors)}.",
        )


def _refuse_blank(text: str, field: str) -> None:
    # Most do not begin with one, and are not looked at any further.
    if text[:1] in _BLANKS and not text.strip(_BLANKS):
        raise RequestError(ErrorCode.INVALID_REQUEST, f"{field} must not be empty.")


class Heartbeats:
    """Handles ConsumerGroupHeartbeat for the groups of one shard."""

    def __init__(self, environment: Environment, fencing: Fencing, upgrader: Upgrader, resolver: Resolver) -> None:
        self._env = environment
        self._fencing = fencing
        self._upgrader = upgrader
        self._resolver = resolver

    def heartbeat(self, context: RequestContext, request: ConsumerGroupHeartbeatRequest) -> Result:
        """Answer a request that has been checked."""
        try:
            return self._leave(request) if request.member_epoch < JOINS else self._beat(context, request)
        except RequestError as error:
            # The runtime would pass on the code alone.
            return Result(response=ConsumerGroupHeartbeatResponse(error_code=error.code, error_message=error.message))

    # Joining and staying.

    def _beat(self, context: RequestContext, request: ConsumerGroupHeartbeatRequest) -> Result:
        group = self._env.groups.get(request.group_id)
        if isinstance(group, ConsumerGroup):
            step = quiet_step(group, context, request, self._env.topics)
            if step is not None:
                session_timeout_ms, heartbeat_interval_ms = self._env.times(group.group_id)
                self._fencing.heard_of(group.group_id, request.member_id, session_timeout_ms)
                return Result(
                    records=step,
                    response=ConsumerGroupHeartbeatResponse(
                        member_id=request.member_id,
                        member_epoch=group.assignment_epoch,
                        heartbeat_interval_ms=heartbeat_interval_ms,
                    ),
                )
        records: list[CoordinatorRecord] = []
        joins = request.member_epoch == JOINS
        upgraded: ClassicGroup | None = None
        if group is None:
            if not joins:
                raise group_not_found(request.group_id)
            group = ConsumerGroup(request.group_id, Timeline())
        elif isinstance(group, ClassicGroup):
            if not joins:
                raise group_not_found(request.group_id)
            if group.is_in(GroupState.EMPTY):
                log.info("group %.255r: was classic and empty, begins anew as a consumer group", request.group_id)
                records.append(group_tombstone(request.group_id))
                group = ConsumerGroup(request.group_id, Timeline())
            else:
                upgraded = group
                group = self._upgrader.upgrade(group, records)
        member_id = request.member_id
        limit = self._env.settings.consumer_group_size_max
        if len(group.members) >= limit and member_id not in group.members:
            raise RequestError(ErrorCode.GROUP_MAX_SIZE_REACHED, f"The group has {limit} members and takes no more.")
        member_id = member_id or self._env.new_member_id()
        owned: Owned | None = None
        if request.topic_partitions is not None:
            owned = together((said.topic_id, said.partitions) for said in request.topic_partitions)
        old = self.find_member(group, member_id, request.member_epoch, request.instance_id, owned, joins, records)
        draft = Draft(self._env, group, old, _told(old, context, request), records)
        names_changed = draft.note_member()
        pattern_changed, pattern_known = draft.note_pattern()
        draft.look_at_topics(bump=names_changed or (pattern_changed and pattern_known))
        target = draft.assign()
        draft.reconcile(target, owned, subscription_changed=names_changed or pattern_changed)
        self._note_deadlines(draft, upgraded)
        return Result(records=records, response=self._response(request, draft))

    def find_member(
        self,
        group: ConsumerGroup,
        member_id: str,
        epoch: int | None,
        instance_id: str | None,
        owned: Owned | None,
        joins: bool,
        records: list[CoordinatorRecord],
    ) -> ConsumerMember:
        """The member a request speaks for; one that joins may be new. `epoch`: None in the classic protocol."""
        group_id = group.group_id
        if instance_id is None:
            member = group.members.get(member_id)
            if member is None:
                if not joins:
                    return group.member(member_id)
                log.info("group %.255r: member %.255r joins", group_id, member_id)
                return ConsumerMember(member_id=member_id)
            self._check_epoch(member, epoch, owned)
            return member
        there = group.static_member(instance_id)
        if not joins:
            there = owner_of(group, instance_id, member_id)
            self._check_epoch(there, epoch, owned)
            return there
        if there is None:
            log.info("group %.255r: static member %.255r joins as %.255r", group_id, instance_id, member_id)
            return group.members.get(member_id) or ConsumerMember(member_id=member_id)
        if epoch is not None and there.classic is None and not there.is_away:
            raise RequestError(
                ErrorCode.UNRELEASED_INSTANCE_ID,
                f"InstanceId {instance_id} belongs to member {there.member_id}, which has not left.",
            )
        log.info("group %.255r: static member %.255r is back as %.255r", group_id, instance_id, member_id)
        # Everything the other one had is the new one's; it begins at epoch 0.
        back = replace(there, member_id=member_id, epoch=0, previous_epoch=0)
        records += member_tombstones(group_id, there.member_id)
        records.append(member_metadata(group_id, back))
        records.append(member_target(group_id, member_id, group.target(there.member_id)))
        records.append(current_assignment(group_id, back))
        return back

    def _check_epoch(self, member: ConsumerMember, epoch: int | None, owned: Owned | None) -> None:
        if epoch is None or epoch in {JOINS, member.epoch}:
            return
        if epoch == member.previous_epoch < member.epoch and owned is not None and _is_within(owned, member):
            return
        raise RequestError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"MemberEpoch {epoch} is not the member's, which is {member.epoch}. Give up all partitions and join again.",
        )

    def _note_deadlines(self, draft: Draft, upgraded: ClassicGroup | None) -> None:
        group_id, member = draft.group.group_id, draft.member
        if member is not draft.old:
            if member.state is MemberState.UNREVOKED_PARTITIONS:
                if member.epoch != draft.old.epoch or member.revoking != draft.old.revoking:
                    self._fencing.expect_revocation(group_id, member)
            else:
                self._fencing.revocation_ended(group_id, member.member_id)
        self._fencing.heard_of(group_id, member.member_id)
        if upgraded is not None:
            self._env.shard.submit(lambda: self._upgrader.upgraded(upgraded))
        if draft.patterns_to_resolve:
            self._env.shard.submit(lambda: self._resolver.resolve(group_id, draft.patterns_to_resolve))

    def _response(self, request: ConsumerGroupHeartbeatRequest, draft: Draft) -> ConsumerGroupHeartbeatResponse:
        member = draft.member
        says_all = (
            request.rebalance_timeout_ms != -1
            and (request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None)
            and request.topic_partitions is not None
        )
        assignment = None
        if request.member_epoch == JOINS or says_all or member.assigned != draft.old.assigned:
            assignment = ConsumerGroupHeartbeatResponseAssignment(
                topic_partitions=[
                    ConsumerGroupHeartbeatResponseTopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
                    for topic_id, partitions in member.assigned.items()
                ]
            )
        return ConsumerGroupHeartbeatResponse(
            member_id=member.member_id,
            member_epoch=member.epoch,
            heartbeat_interval_ms=self._env.times(draft.group.group_id).heartbeat_interval_ms,
            assignment=assignment,
        )

    # Leaving.

    def _leave(self, request: ConsumerGroupHeartbeatRequest) -> Result:
        group = self._env.groups.get(request.group_id)
        if not isinstance(group, ConsumerGroup):
            raise group_not_found(request.group_id)
        member_id, epoch = request.member_id, request.member_epoch
        if request.instance_id is None:
            member = group.member(member_id)
        else:
            member = owner_of(group, request.instance_id, member_id)
        response = ConsumerGroupHeartbeatResponse(member_id=member_id, member_epoch=epoch)
        if epoch == LEAVES_FOR_NOW:
            log.info("group %.255r: static member %.255r is away", group.group_id, request.instance_id)
            # What it has stays, to be given to its next life, which then may commit for it at any epoch.
            away = replace(
                member,
                epoch=LEAVES_FOR_NOW,
                assigned={topic_id: dict.fromkeys(partitions, 0) for topic_id, partitions in member.assigned.items()},
                revoking=NOTHING_ASSIGNED,
            )
            return Result(records=[current_assignment(group.group_id, away)], response=response)
        log.info("group %.255r: member %.255r leaves", group.group_id, member_id)
        return self._fencing.fence(group, [member], response)


def owner_of(group: ConsumerGroup, instance_id: str, member_id: str) -> ConsumerMember:
    """The member that has the instance id, which must be this one."""
    member = group.static_member(instance_id)
    if member is None:
        raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID, f"InstanceId {instance_id} is not known.")
    if member.member_id != member_id:
        raise RequestError(
            ErrorCode.FENCED_INSTANCE_ID, f"InstanceId {instance_id} belongs to member {member.member_id} now."
        )
    return member


def _told(old: ConsumerMember, context: RequestContext, request: ConsumerGroupHeartbeatRequest) -> ConsumerMember:
    """The member with what it says about itself; what it does not say stays."""
    names, pattern = request.subscribed_topic_names, request.subscribed_topic_regex
    client_id, client_host = context.client_id or "", "/" + context.client_host
    if (
        names is None
        and pattern is None
        and request.rack_id is None
        and request.server_assignor is None
        and old.classic is None
        and request.rebalance_timeout_ms == -1
        and request.instance_id in {None, old.instance_id}
        and client_id == old.client_id
        and client_host == old.client_host
    ):
        return old
    return replace(
        old,
        instance_id=old.instance_id if request.instance_id is None else request.instance_id,
        rack_id=old.rack_id if request.rack_id is None else request.rack_id,
        rebalance_timeout_ms=(
            old.rebalance_timeout_ms if request.rebalance_timeout_ms == -1 else request.rebalance_timeout_ms
        ),
        assignor=old.assignor if request.server_assignor is None else request.server_assignor,
        topics=old.topics if names is None else frozenset(names),
        pattern=old.pattern if pattern is None else pattern,
        client_id=client_id,
        client_host=client_host,
        classic=None,
    )


def _is_within(owned: Owned, member: ConsumerMember) -> bool:
    return all(
        topic_id in member.assigned and all(partition in member.assigned[topic_id] for partition in partitions)
        for topic_id, partitions in owned.items()
    )
