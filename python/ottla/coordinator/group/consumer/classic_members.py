"""Members of the classic protocol in a consumer group: their JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

To them it looks like a classic group without a leader's work: nobody waits for the others in a round, the answer to
JoinGroup names nobody to assign, and SyncGroup is answered with what the coordinator has assigned. Their generation is
their epoch. When there is something new for them Heartbeat says REBALANCE_IN_PROGRESS; they give up (cooperatively, or
everything) and join again, which is their way of saying what they own: JoinGroup is the step `draft` takes.

They are fenced if they do not join within their rebalance time-out then, or do not send SyncGroup after the answer.

Reference: Apache Kafka 4.3, GroupMetadataManager.classicGroupJoinToConsumerGroup and its three siblings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ottla.coordinator.batch import append_error
from ottla.coordinator.group.consumer.draft import Draft
from ottla.coordinator.group.consumer.embedded import read_subscription, write_assignment
from ottla.coordinator.group.consumer.group import CONSUMER_TYPE
from ottla.coordinator.group.consumer.heartbeat import owner_of
from ottla.coordinator.group.consumer.member import ClassicProtocols, ConsumerMember, target_of
from ottla.coordinator.group.consumer.reconcile import together
from ottla.coordinator.group.consumer.state import MemberState
from ottla.coordinator.group.join import MEMBER_ID_VERSION_MIN
from ottla.coordinator.group.members import protocol_list
from ottla.coordinator.shard import NOTHING, Result
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    HeartbeatResponse,
    JoinGroupResponse,
    LeaveGroupResponse,
    LeaveGroupResponseMemberResponse,
    SyncGroupResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.coordinator.group.consumer.downgrade import Downgrader
    from ottla.coordinator.group.consumer.environment import Environment
    from ottla.coordinator.group.consumer.fencing import Fencing
    from ottla.coordinator.group.consumer.group import ConsumerGroup
    from ottla.coordinator.group.consumer.heartbeat import Heartbeats
    from ottla.coordinator.group.consumer.patterns import Resolver
    from ottla.coordinator.group.members import Reply
    from ottla.coordinator.shard import CoordinatorRecord
    from ottla.messages import (
        ConsumerProtocolSubscription,
        HeartbeatRequest,
        JoinGroupRequest,
        LeaveGroupRequest,
        LeaveGroupRequestMemberIdentity,
        SyncGroupRequest,
    )
    from ottla.types import RequestContext

_CODE: Final = ErrorCode.INCONSISTENT_GROUP_PROTOCOL


class ClassicMembers:
    """Handles the requests of the classic protocol for the consumer groups of one shard."""

    def __init__(
        self,
        environment: Environment,
        fencing: Fencing,
        downgrader: Downgrader,
        heartbeats: Heartbeats,
        resolver: Resolver,
    ) -> None:
        self._env = environment
        self._fencing = fencing
        self._downgrader = downgrader
        self._heartbeats = heartbeats
        self._resolver = resolver

    # JoinGroup.

    def join(self, context: RequestContext, request: JoinGroupRequest, group: ConsumerGroup, reply: Reply) -> Result:
        """Come in, or take the next step; answered once it is committed."""
        try:
            return self._join(context, request, group, reply)
        except RequestError as error:
            reply(JoinGroupResponse(error_code=error.code, member_id=request.member_id, protocol_name=None))
            return NOTHING

    def _join(self, context: RequestContext, request: JoinGroupRequest, group: ConsumerGroup, reply: Reply) -> Result:
        settings, instance_id = self._env.settings, request.group_instance_id
        if not (settings.may_upgrade or settings.may_downgrade):
            raise RequestError(_CODE)
        member_id = request.member_id or self._env.new_member_id()
        if len(group.members) >= settings.consumer_group_size_max and member_id not in group.members:
            raise RequestError(ErrorCode.GROUP_MAX_SIZE_REACHED)
        if not group.supports_classic(request.protocol_type, (protocol.name for protocol in request.protocols)):
            raise RequestError(_CODE)
        if not request.member_id and instance_id is None and context.api_version >= MEMBER_ID_VERSION_MIN:
            # Nothing is remembered of it: any id is taken that comes back.
            reply(JoinGroupResponse(error_code=ErrorCode.MEMBER_ID_REQUIRED, member_id=member_id, protocol_name=None))
            return NOTHING
        protocols = tuple(protocol_list(request.protocols))
        subscription = read_subscription(self._env.codec, protocols[0][1])
        records: list[CoordinatorRecord] = []
        # A static member that names itself must be there; anyone else may be new.
        joins = instance_id is None or not request.member_id
        old = self._heartbeats.find_member(group, member_id, None, instance_id, None, joins, records)
        replaced = group.static_member(instance_id)
        downgrades = replaced is not None and self._downgrader.may_replacing(group, replaced)
        draft = Draft(self._env, group, old, _told(old, context, request, protocols, subscription), records)
        names_changed = draft.note_member()
        pattern_changed, _ = draft.note_pattern()
        changed = names_changed or pattern_changed
        draft.look_at_topics(bump=changed)
        owned = together(
            (topic.topic_id, said.partitions)
            for said in subscription.owned_partitions
            if (topic := self._env.topics.named(said.topic)) is not None
        )
        if downgrades:
            stale = group.assignment_epoch < draft.epoch
            if not stale:
                draft.reconcile(draft.assign(), owned, subscription_changed=changed)
            reason = "back to the classic protocol with an old target" if stale else None
            records += self._downgrader.convert(group, joining=draft.member, reason=reason)
        else:
            draft.reconcile(draft.assign(), owned, subscription_changed=changed)
        if draft.patterns_to_resolve:
            self._env.shard.submit(lambda: self._resolver.resolve(group.group_id, draft.patterns_to_resolve))
        return Result(
            records=records, done=self._when_joined(request, draft.member, downgrades=downgrades, reply=reply)
        )

    def _when_joined(
        self, request: JoinGroupRequest, member: ConsumerMember, *, downgrades: bool, reply: Reply
    ) -> Callable[[ErrorCode | None], None]:
        assert member.classic is not None
        response = JoinGroupResponse(
            member_id=member.member_id,
            generation_id=member.epoch,
            protocol_type=CONSUMER_TYPE,
            protocol_name=member.classic.protocols[0][0],
        )

        def done(code: ErrorCode | None) -> None:
            if code is not None:
                reply(JoinGroupResponse(error_code=append_error(code), member_id=request.member_id, protocol_name=None))
                return
            self._fencing.joined(request.group_id, member.member_id)
            if not downgrades:
                self._fencing.heard_of(request.group_id, member.member_id, request.session_timeout_ms)
                self._fencing.expect_sync(request.group_id, member.member_id, member.rebalance_timeout_ms)
            reply(response)

        return done

    # SyncGroup.

    def sync(self, request: SyncGroupRequest, group: ConsumerGroup, reply: Reply) -> Result:
        """Hand out what the member has."""
        try:
            member, classic = self._find(group, request.member_id, request.group_instance_id, request.generation_id)
            if request.protocol_type not in {None, CONSUMER_TYPE}:
                raise RequestError(_CODE)
            if request.protocol_name not in {None, classic.protocols[0][0]}:
                raise RequestError(_CODE)
            if group.assignment_epoch > member.epoch and member.state is not MemberState.UNREVOKED_PARTITIONS:
                self._fencing.expect_join(group.group_id, member)
                raise RequestError(ErrorCode.REBALANCE_IN_PROGRESS)
        except RequestError as error:
            reply(SyncGroupResponse(error_code=error.code))
            return NOTHING

        def done(code: ErrorCode | None) -> None:
            if code is not None:
                reply(SyncGroupResponse(error_code=append_error(code)))
                return
            self._fencing.synced(group.group_id, member.member_id)
            self._fencing.heard_of(group.group_id, member.member_id, classic.session_timeout_ms)
            assignment = write_assignment(
                self._env.codec, self._env.topics, target_of(member.assigned), classic.protocols[0][1]
            )
            reply(
                SyncGroupResponse(
                    protocol_type=request.protocol_type, protocol_name=request.protocol_name, assignment=assignment
                )
            )

        return Result(done=done)

    # Heartbeat.

    def heartbeat(self, request: HeartbeatRequest, group: ConsumerGroup) -> Result:
        """The member lives; it hears whether it shall join again."""
        member, classic = self._find(group, request.member_id, request.group_instance_id, request.generation_id)
        self._fencing.heard_of(group.group_id, member.member_id, classic.session_timeout_ms)
        if (
            member.epoch < group.assignment_epoch
            or member.state is MemberState.UNREVOKED_PARTITIONS
            or (member.state is MemberState.UNRELEASED_PARTITIONS and not group.waits_for_others(member))
        ):
            self._fencing.expect_join(group.group_id, member)
            return Result(response=HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS))
        return Result(response=HeartbeatResponse())

    def _find(
        self, group: ConsumerGroup, member_id: str, instance_id: str | None, generation: int
    ) -> tuple[ConsumerMember, ClassicProtocols]:
        member = group.member(member_id) if instance_id is None else owner_of(group, instance_id, member_id)
        if member.classic is None:
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
        if generation != member.epoch:
            raise RequestError(ErrorCode.ILLEGAL_GENERATION)
        return member, member.classic

    # LeaveGroup.

    def leave(self, request: LeaveGroupRequest, group: ConsumerGroup) -> Result:
        """Take members out, of whichever protocol (admin tools do so)."""
        leaving: dict[str, ConsumerMember] = {}
        answers = []
        for identity in request.members:
            code = ErrorCode.NONE
            try:
                member = _named(group, identity)
                leaving[member.member_id] = member
            except RequestError as error:
                code = error.code
            answers.append(
                LeaveGroupResponseMemberResponse(
                    member_id=identity.member_id, group_instance_id=identity.group_instance_id, error_code=code
                )
            )
        return self._fencing.fence(group, list(leaving.values()), LeaveGroupResponse(members=answers))


def _named(group: ConsumerGroup, identity: LeaveGroupRequestMemberIdentity) -> ConsumerMember:
    instance_id = identity.group_instance_id
    if instance_id is None:
        return group.member(identity.member_id)
    member = group.static_member(instance_id)
    if member is None:
        raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
    return owner_of(group, instance_id, identity.member_id) if identity.member_id else member


def _told(
    old: ConsumerMember,
    context: RequestContext,
    request: JoinGroupRequest,
    protocols: tuple[tuple[str, bytes], ...],
    subscription: ConsumerProtocolSubscription,
) -> ConsumerMember:
    timeout_ms = request.rebalance_timeout_ms
    return replace(
        old,
        instance_id=old.instance_id if request.group_instance_id is None else request.group_instance_id,
        rack_id=subscription.rack_id or old.rack_id,
        # v0 has no such field: the session time-out stands for both.
        rebalance_timeout_ms=request.session_timeout_ms if timeout_ms < 0 else timeout_ms,
        topics=frozenset(subscription.topics),
        pattern="",
        client_id=context.client_id or "",
        client_host="/" + context.client_host,
        classic=ClassicProtocols(request.session_timeout_ms, protocols),
    )
