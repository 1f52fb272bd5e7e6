"""JoinGroup: who may come in, as whom, and whether that begins a rebalance.

    no member id, dynamic, v4+ ... gets an id and MEMBER_ID_REQUIRED (KIP-394): only a client that has received its id
                                   becomes a member, so that answers lost on the way leave no ghosts behind
    no member id, dynamic, v0-3 .. a member at once
    no member id, static ......... a member at once, or the next life of the one with this group.instance.id, under a
                                   new id; the old id is fenced. In a stable group that changes nothing but the id: it
                                   gets the running generation back without a rebalance (KIP-345), and from v9 a
                                   leader learns that it need not assign (KIP-814)
    an id given out before ....... becomes a member
    a member's id ................ repeats its join (the answer may have been lost), or changes what it supports,
                                   which begins a rebalance; a leader's join in a stable group always does, since it
                                   may have seen topics change

Reference: Apache Kafka 4.3, GroupMetadataManager.classicGroupJoin and what it calls.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ottla.coordinator.batch import append_error
from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.groups import tombstones
from ottla.coordinator.group.members import Member, Reply, protocol_list
from ottla.coordinator.group.rebalance import Rebalancer
from ottla.coordinator.group.records import group_metadata, new_group
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.shard import NOTHING, Result
from ottla.errors import ErrorCode, RequestError
from ottla.messages import JoinGroupResponse

if TYPE_CHECKING:
    from ottla.coordinator.group.groups import Groups
    from ottla.coordinator.group.settings import GroupSettings
    from ottla.coordinator.shard import CoordinatorRecord
    from ottla.messages import JoinGroupRequest
    from ottla.types import Clock, Random, RequestContext

# From here on a dynamic member must know its id before it is one (KIP-394).
MEMBER_ID_VERSION_MIN = 4
# From here on the answer can say that the leader need not assign (KIP-814).
SKIP_ASSIGNMENT_VERSION_MIN = 9


class Joiner:
    """Handles JoinGroup for the groups of one shard."""

    def __init__(
        self,
        groups: Groups,
        rebalancer: Rebalancer,
        clock: Clock,
        random: Random,
        settings: GroupSettings,
    ) -> None:
        self._groups = groups
        self._rebalancer = rebalancer
        self._clock = clock
        self._random = random
        self._settings = settings

    def join(self, context: RequestContext, request: JoinGroupRequest, reply: Reply) -> Result:
        """Answer, or park the answer in the member it belongs to."""
        there = self._groups.get(request.group_id)
        group = there if isinstance(there, ClassicGroup) else None
        is_new_group = group is None
        ended: list[CoordinatorRecord] = []
        if group is None:
            if request.member_id:
                reply(_refusal(ErrorCode.UNKNOWN_MEMBER_ID, request.member_id))
                return NOTHING
            if there is not None:
                # A consumer group nobody is in makes room.
                ended = tombstones(there)
            group = ClassicGroup(request.group_id, since_ms=self._clock.now_ms())
            self._groups.set(request.group_id, group)
            # Who has an answer finds the group in ListGroups. (In Kafka only a moment later; there the moment is short,
            # since nothing waits for a disk.)
            reply.hold()
        result = self._join_group(context, request, group, reply)
        if is_new_group:
            assert result is NOTHING, "the first rebalance of a group ends by time"
            # Nothing else would tell the log that this group exists.
            return Result(
                records=[*ended, new_group(group)], applied=True, done=lambda code: reply.release(drop=code is not None)
            )
        return result

    def _join_group(
        self, context: RequestContext, request: JoinGroupRequest, group: ClassicGroup, reply: Reply
    ) -> Result:
        member_id = request.member_id
        if not self._has_room_for(group, member_id):
            group.remove(member_id)
            reply(_refusal(ErrorCode.GROUP_MAX_SIZE_REACHED, ""))
            # It may have been the one the others waited for.
            return self._rebalancer.complete_if_ready(group)
        if not group.supports(request.protocol_type, (protocol.name for protocol in request.protocols)):
            reply(_refusal(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id))
            return NOTHING
        if member_id:
            return self._join_known(context, request, group, reply)
        new_id = self._new_member_id(request.group_instance_id or context.client_id or "")
        if request.group_instance_id is not None:
            old_id = group.static_members.get(request.group_instance_id)
            if old_id is not None:
                return self._come_back(context, request, group, old_id, new_id, reply)
        elif context.api_version >= MEMBER_ID_VERSION_MIN:
            if len(group.pending_joins) >= self._settings.pending_joins_max:
                reply(_refusal(ErrorCode.GROUP_MAX_SIZE_REACHED, ""))
                return NOTHING
            group.pending_joins[new_id] = None
            self._rebalancer.expect(group.group_id, new_id, request.session_timeout_ms)
            reply(_refusal(ErrorCode.MEMBER_ID_REQUIRED, new_id))
            return NOTHING
        return self._add(context, request, group, new_id, reply)

    def _join_known(
        self, context: RequestContext, request: JoinGroupRequest, group: ClassicGroup, reply: Reply
    ) -> Result:
        member_id = request.member_id
        if member_id in group.pending_joins:
            if request.group_instance_id is not None:
                # Static members never get an id to come back with; Kafka answers its own broken assumption, -1.
                raise RequestError(ErrorCode.UNKNOWN_SERVER_ERROR)
            return self._add(context, request, group, member_id, reply)
        try:
            member = group.validate_member(member_id, request.group_instance_id)
        except RequestError as error:
            reply(_refusal(error.code, member_id))
            return NOTHING
        protocols = protocol_list(request.protocols)
        match group.state.current:
            case GroupState.PREPARING_REBALANCE:
                return self._update(request, group, member, "joins", reply)
            case GroupState.COMPLETING_REBALANCE if not member.matches(protocols):
                return self._update(request, group, member, "joins with something new", reply)
            case GroupState.STABLE if member_id == group.leader:
                return self._update(request, group, member, "leads and joins again", reply)
            case GroupState.STABLE if not member.matches(protocols):
                return self._update(request, group, member, "joins with something new", reply)
            case GroupState.COMPLETING_REBALANCE | GroupState.STABLE:
                # It has not got its answer, or is late: here is the running generation, SyncGroup is next.
                reply(group.join_response(member))
                return NOTHING
            case _:
                reply(_refusal(ErrorCode.UNKNOWN_MEMBER_ID, member_id))
                return NOTHING

    def _add(
        self, context: RequestContext, request: JoinGroupRequest, group: ClassicGroup, member_id: str, reply: Reply
    ) -> Result:
        member = Member(
            member_id,
            instance_id=request.group_instance_id,
            client_id=context.client_id or "",
            client_host="/" + context.client_host,
            rebalance_timeout_ms=_rebalance_timeout_ms(request),
            session_timeout_ms=request.session_timeout_ms,
            protocols=protocol_list(request.protocols),
        )
        member.is_new = True
        if group.is_in(GroupState.PREPARING_REBALANCE) and group.state.previous is GroupState.EMPTY:
            group.new_member_added = True
        group.add(member, request.protocol_type)
        group.park_join(member, reply)
        # Its session has not begun, for it cannot send heartbeats while it waits here, nor do we see that its
        # connection is gone: a client that comes back again and again must not leave a member behind each time.
        self._rebalancer.expect(group.group_id, member_id, self._settings.new_member_join_timeout_ms)
        return self._rebalancer.prepare_or_complete(group, f"member {member_id} joins{_because(request)}")

    def _update(
        self, request: JoinGroupRequest, group: ClassicGroup, member: Member, what: str, reply: Reply
    ) -> Result:
        self._rejoin(request, group, member, reply)
        return self._rebalancer.prepare_or_complete(group, f"member {member.member_id} {what}{_because(request)}")

    def _rejoin(self, request: JoinGroupRequest, group: ClassicGroup, member: Member, reply: Reply) -> None:
        group.update(
            member,
            protocols=protocol_list(request.protocols),
            rebalance_timeout_ms=_rebalance_timeout_ms(request),
            session_timeout_ms=request.session_timeout_ms,
        )
        group.park_join(member, reply)

    def _come_back(
        self,
        context: RequestContext,
        request: JoinGroupRequest,
        group: ClassicGroup,
        old_id: str,
        new_id: str,
        reply: Reply,
    ) -> Result:
        """A static member joins without an id: it has been restarted."""
        old_leader = group.leader
        member = group.replace_static(old_id, new_id)
        self._rebalancer.forget_session(group.group_id, old_id)
        self._rebalancer.heard_of(group, member)
        self._rejoin(request, group, member, reply)
        reason = f"static member {request.group_instance_id} is back as {new_id}{_because(request)}"
        match group.state.current:
            case GroupState.STABLE if group.select_protocol() == group.protocol:
                return self._keep_generation(context, group, member, old_leader, reply)
            case GroupState.COMPLETING_REBALANCE:
                # The leader may be assigning partitions to the old id already: the round begins anew.
                return self._rebalancer.prepare(group, reason)
            case _:
                return self._rebalancer.prepare_or_complete(group, reason)

    def _keep_generation(
        self, context: RequestContext, group: ClassicGroup, member: Member, old_leader: str | None, reply: Reply
    ) -> Result:
        """Nothing changes but the id: write that down, and give the member the running generation."""

        def done(code: ErrorCode | None) -> None:
            if member.join_reply is not reply or self._groups.get(group.group_id) is not group:
                return
            if code is not None:
                # What we know stays ahead of the log. The member comes again without an id, and is given another one.
                group.answer_join(member, _refusal(append_error(code), ""))
                return
            if not group.is_in(GroupState.STABLE):
                # A rebalance has begun meanwhile: this JoinGroup takes part in it.
                return
            if context.api_version >= SKIP_ASSIGNMENT_VERSION_MIN:
                response = group.join_response(member, skip_assignment=group.leader == member.member_id)
            else:
                # A version that cannot say "do not assign" is told that the old id leads, so that it does not try.
                response = group.join_response(member, leader=old_leader)
                response.members = []
            group.answer_join(member, response)

        assignment = {other.member_id: other.assignment for other in group.members.values()}
        return Result(records=[group_metadata(group, assignment)], applied=True, done=done)

    def _has_room_for(self, group: ClassicGroup, member_id: str) -> bool:
        limit = self._settings.group_size_max
        match group.state.current:
            case GroupState.PREPARING_REBALANCE:
                # By the members that take part in this round: it may be the one that makes a too large group smaller.
                member = group.members.get(member_id)
                return (member is not None and member.awaits_join) or group.awaiting_join < limit
            case GroupState.COMPLETING_REBALANCE | GroupState.STABLE:
                return member_id in group.members or len(group.members) < limit
            case _:
                return True

    def _new_member_id(self, prefix: str) -> str:
        return f"{prefix}-{uuid.UUID(bytes=self._random.bytes(16), version=4)}"


def _rebalance_timeout_ms(request: JoinGroupRequest) -> int:
    # v0 has no such field: the session timeout stands for both.
    return request.session_timeout_ms if request.rebalance_timeout_ms < 0 else request.rebalance_timeout_ms


def _because(request: JoinGroupRequest) -> str:
    return f" ({request.reason})" if request.reason else ""


def _refusal(code: ErrorCode, member_id: str) -> JoinGroupResponse:
    return JoinGroupResponse(error_code=code, member_id=member_id, protocol_name=None)
