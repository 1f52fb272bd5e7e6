"""SyncGroup, Heartbeat, LeaveGroup: what a member does between its joins.

Reference: Apache Kafka 4.3, GroupMetadataManager.classicGroupSync, classicGroupHeartbeat, classicGroupLeave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.coordinator.batch import append_error
from ottla.coordinator.group.groups import classic_group
from ottla.coordinator.group.rebalance import Rebalancer
from ottla.coordinator.group.records import group_metadata
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.shard import NOTHING, Result
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    HeartbeatResponse,
    LeaveGroupResponse,
    LeaveGroupResponseMemberResponse,
    SyncGroupResponse,
)

if TYPE_CHECKING:
    from ottla.coordinator.group.classic_group import ClassicGroup
    from ottla.coordinator.group.groups import Groups
    from ottla.coordinator.group.members import Member, Reply
    from ottla.messages import (
        HeartbeatRequest,
        LeaveGroupRequest,
        LeaveGroupRequestMemberIdentity,
        SyncGroupRequest,
    )


class Sessions:
    """Handles the requests of members for the groups of one shard."""

    def __init__(self, groups: Groups, rebalancer: Rebalancer) -> None:
        self._groups = groups
        self._rebalancer = rebalancer

    # SyncGroup.

    def sync(self, request: SyncGroupRequest, reply: Reply) -> Result:
        """Give a member its assignment, or park it until the leader has sent one; take the leader's."""
        try:
            group, member = self._check_sync(request)
        except RequestError as error:
            reply(SyncGroupResponse(error_code=error.code))
            return NOTHING
        self._rebalancer.synced(group, member.member_id)
        if group.is_in(GroupState.STABLE):
            reply(
                SyncGroupResponse(
                    protocol_type=group.protocol_type,
                    protocol_name=group.protocol,
                    assignment=member.assignment,
                )
            )
            return NOTHING
        if member.sync_reply is not None:
            # A repeated request; whoever may still read the first one comes back with a JoinGroup.
            member.sync_reply(SyncGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS))
        member.sync_reply = reply
        if group.leader != member.member_id:
            return NOTHING
        return self._take_assignment(group, request)

    def _check_sync(self, request: SyncGroupRequest) -> tuple[ClassicGroup, Member]:
        group = classic_group(self._groups, request.group_id)
        if group is None or group.is_in(GroupState.EMPTY):
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
        member = group.validate_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation:
            raise RequestError(ErrorCode.ILLEGAL_GENERATION)
        # v5 says what the member believes has been agreed on (KIP-559).
        if _differ(request.protocol_type, group.protocol_type) or _differ(request.protocol_name, group.protocol):
            raise RequestError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if group.is_in(GroupState.PREPARING_REBALANCE):
            raise RequestError(ErrorCode.REBALANCE_IN_PROGRESS)
        return group, member

    def _take_assignment(self, group: ClassicGroup, request: SyncGroupRequest) -> Result:
        sent = {assignment.member_id: assignment.assignment for assignment in request.assignments}
        # Members the leader says nothing about have nothing to do; members it invents are not written.
        assignment = {member_id: sent.get(member_id, b"") for member_id in group.members}
        generation = group.generation

        def done(code: ErrorCode | None) -> None:
            if not group.is_in(GroupState.COMPLETING_REBALANCE) or group.generation != generation:
                # The next rebalance has begun while this was being written.
                return
            if classic_group(self._groups, group.group_id) is not group:
                # So has the life of the group under the other protocol.
                return
            if code is None:
                self._rebalancer.become_stable(group, assignment)
                return
            self._rebalancer.refuse_syncs(group, append_error(code))
            self._rebalancer.prepare_later(group, f"the assignment was not written ({code.name})")

        return Result(records=[group_metadata(group, assignment)], applied=True, done=done)

    # Heartbeat.

    def heartbeat(self, request: HeartbeatRequest) -> Result:
        """The member lives; it hears whether it shall join again."""
        group = classic_group(self._groups, request.group_id)
        if group is None:
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
        member = group.validate_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation:
            raise RequestError(ErrorCode.ILLEGAL_GENERATION)
        self._rebalancer.heard_of(group, member)
        if group.is_in(GroupState.PREPARING_REBALANCE):
            return Result(response=HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS))
        # Consumers send heartbeats from the JoinGroup answer on, so they are fine while SyncGroups are waited for.
        return Result(response=HeartbeatResponse())

    # LeaveGroup.

    def leave(self, request: LeaveGroupRequest) -> Result:
        """Take members out, several at once from v3 on (KIP-345: admin tools remove static members)."""
        group = classic_group(self._groups, request.group_id)
        if group is None:
            return Result(
                response=LeaveGroupResponse(
                    members=[_left(identity, ErrorCode.UNKNOWN_MEMBER_ID) for identity in request.members]
                )
            )
        answers = [_left(identity, self._leave_one(group, identity)) for identity in request.members]
        response = LeaveGroupResponse(members=answers)
        gone = [answer.member_id for answer in answers if answer.error_code == ErrorCode.NONE]
        result = NOTHING
        if gone and group.is_in(GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            result = self._rebalancer.prepare_or_complete(group, f"left: {', '.join(gone)}")
        elif gone:
            result = self._rebalancer.complete_if_ready(group)
        return Result(records=result.records, response=response, applied=True, done=result.done)

    def _leave_one(self, group: ClassicGroup, identity: LeaveGroupRequestMemberIdentity) -> ErrorCode:
        member_id, instance_id = identity.member_id, identity.group_instance_id
        if not member_id:
            if instance_id is None or instance_id not in group.static_members:
                return ErrorCode.UNKNOWN_MEMBER_ID
            member_id = group.static_members[instance_id]
        elif member_id in group.pending_joins:
            group.remove(member_id)
            self._rebalancer.forget_session(group.group_id, member_id)
            return ErrorCode.NONE
        else:
            try:
                group.validate_member(member_id, instance_id)
            except RequestError as error:
                return error.code
        self._rebalancer.dismiss(group, group.members[member_id])
        return ErrorCode.NONE


def _differ(said: str | None, agreed: str | None) -> bool:
    return said is not None and agreed is not None and said != agreed


def _left(identity: LeaveGroupRequestMemberIdentity, code: ErrorCode) -> LeaveGroupResponseMemberResponse:
    return LeaveGroupResponseMemberResponse(
        member_id=identity.member_id, group_instance_id=identity.group_instance_id, error_code=code
    )
