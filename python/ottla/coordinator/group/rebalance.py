"""The rounds of a rebalance: what begins them, what ends them, and the deadlines in between.

Three deadlines, each under its own key of the shard:

    session of a member     nothing heard for its session timeout -> it is removed (an excused member is kept:
                            members.py)
    join of a group         the first round has lasted the longest rebalance timeout -> go on without who is missing
    sync of a group         the second round likewise -> members that have not sent SyncGroup are removed

A session counts from when the coordinator has handled a request, not from when it was received: until it is answered
the member sends no other, so a control plane that was held up for a minute must not count that minute against it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.coordinator.group.groups import classic_group
from ottla.coordinator.group.records import group_metadata
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.group.subscription import subscribed_topics
from ottla.coordinator.shard import NOTHING, Result
from ottla.errors import ErrorCode
from ottla.messages import JoinGroupResponse, SyncGroupResponse

if TYPE_CHECKING:
    from ottla.coordinator.group.classic_group import ClassicGroup
    from ottla.coordinator.group.groups import Groups
    from ottla.coordinator.group.members import Member
    from ottla.coordinator.group.settings import GroupSettings
    from ottla.coordinator.shard import ShardContext
    from ottla.types import Clock, Codec

log = logging.getLogger(__name__)


class Rebalancer:
    """Moves the groups of one shard through their rounds."""

    def __init__(
        self,
        shard: ShardContext,
        groups: Groups,
        codec: Codec,
        clock: Clock,
        settings: GroupSettings,
    ) -> None:
        self._shard = shard
        self._groups = groups
        self._codec = codec
        self._clock = clock
        self._settings = settings

    # Sessions.

    def heard_of(self, group: ClassicGroup, member: Member) -> None:
        """Start the member's session again."""
        self.expect(group.group_id, member.member_id, member.session_timeout_ms)

    def expect(self, group_id: str, member_id: str, timeout_ms: int) -> None:
        """Remove the member, which may be a pending one, if nothing is heard of it for so long."""
        key = ("session", group_id, member_id)
        self._shard.after(key, timeout_ms, lambda: self._session_expired(group_id, member_id))

    def forget_session(self, group_id: str, member_id: str) -> None:
        """The member is gone."""
        self._shard.cancel(("session", group_id, member_id))

    def _session_expired(self, group_id: str, member_id: str) -> Result:
        group = classic_group(self._groups, group_id)
        if group is None:
            return NOTHING
        if member_id in group.pending_joins:
            group.remove(member_id)
            return self._complete_if_all_have_joined(group)
        member = group.members.get(member_id)
        if member is None or member.is_excused:
            return NOTHING
        log.info("group %.255r: member %.255r was not heard of for its session, removing it", group_id, member_id)
        self.dismiss(group, member)
        if group.is_in(GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            return self.prepare_or_complete(group, f"session of {member_id} expired")
        return self._complete_if_all_have_joined(group)

    def dismiss(self, group: ClassicGroup, member: Member) -> None:
        """Remove a member. A JoinGroup of it that still waits is UNKNOWN_MEMBER_ID: alive, it joins anew."""
        self.forget_session(group.group_id, member.member_id)
        group.answer_join(member, JoinGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID, protocol_name=None))
        if member.sync_reply is not None:
            member.sync_reply(SyncGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID))
            member.sync_reply = None
        group.remove(member.member_id)

    # The first round.

    def prepare_or_complete(self, group: ClassicGroup, reason: str) -> Result:
        """Something has changed: begin a rebalance, or go on with the one under way."""
        if group.state.may_enter(GroupState.PREPARING_REBALANCE):
            return self.prepare(group, reason)
        return self.complete_if_ready(group)

    def prepare_later(self, group: ClassicGroup, reason: str) -> None:
        """The same, as a write of its own: for what follows a commit."""
        self._shard.submit(lambda: self.prepare_or_complete(group, reason))

    def prepare(self, group: ClassicGroup, reason: str) -> Result:
        """Begin the first round."""
        if group.is_in(GroupState.COMPLETING_REBALANCE):
            self.refuse_syncs(group, ErrorCode.REBALANCE_IN_PROGRESS)
        group.pending_syncs.clear()
        self._shard.cancel(("sync", group.group_id))
        is_first = group.is_in(GroupState.EMPTY)
        group.state.enter(GroupState.PREPARING_REBALANCE, self._clock.now_ms())
        log.info("group %.255r: rebalance after generation %d: %.500r", group.group_id, group.generation, reason)
        if is_first:
            delay_ms = self._settings.initial_rebalance_delay_ms
            self._wait_for_more(group.group_id, delay_ms, max(group.rebalance_timeout_ms - delay_ms, 0))
            return NOTHING
        if group.all_have_joined:
            return self.complete(group)
        self._limit_join(group)
        return NOTHING

    def complete_if_ready(self, group: ClassicGroup) -> Result:
        """End the first round if all have joined; the first rebalance of an empty group is ended by time only."""
        if not group.is_in(GroupState.PREPARING_REBALANCE) or group.state.previous is GroupState.EMPTY:
            return NOTHING
        return self._complete_if_all_have_joined(group)

    def _complete_if_all_have_joined(self, group: ClassicGroup) -> Result:
        if group.is_in(GroupState.PREPARING_REBALANCE) and group.all_have_joined:
            return self.complete(group)
        return NOTHING

    def _limit_join(self, group: ClassicGroup) -> None:
        group_id = group.group_id
        self._shard.after(("join", group_id), group.rebalance_timeout_ms, lambda: self._join_expired(group_id))

    def _join_expired(self, group_id: str) -> Result:
        group = classic_group(self._groups, group_id)
        if group is None or not group.is_in(GroupState.PREPARING_REBALANCE):
            return NOTHING
        return self.complete(group)

    def _wait_for_more(self, group_id: str, delay_ms: int, remaining_ms: int) -> None:
        self._shard.after(("join", group_id), delay_ms, lambda: self._waited(group_id, delay_ms, remaining_ms))

    def _waited(self, group_id: str, delay_ms: int, remaining_ms: int) -> Result:
        group = classic_group(self._groups, group_id)
        if group is None or not group.is_in(GroupState.PREPARING_REBALANCE):
            return NOTHING
        if group.new_member_added and remaining_ms:
            group.new_member_added = False
            next_ms = min(self._settings.initial_rebalance_delay_ms, remaining_ms)
            self._wait_for_more(group_id, next_ms, max(remaining_ms - delay_ms, 0))
            return NOTHING
        return self.complete(group)

    def complete(self, group: ClassicGroup) -> Result:
        """End the first round with who is there: answer all JoinGroups, or be empty."""
        self._shard.cancel(("join", group.group_id))
        # Static members keep their place although they have not joined (KIP-345); the others are out.
        for member in [m for m in group.members.values() if not m.awaits_join and not m.is_static]:
            self.dismiss(group, member)
        if group.members and not group.elect_joined_leader():
            # Only static members that are away: wait until their sessions end, or one of them comes.
            self._limit_join(group)
            return NOTHING
        group.generation = max(group.generation, group.logged_generation) + 1
        group.pending_syncs.clear()
        group.new_member_added = False
        if not group.members:
            return self._become_empty(group)
        group.protocol = group.select_protocol()
        self.read_subscriptions(group)
        group.state.enter(GroupState.COMPLETING_REBALANCE, self._clock.now_ms())
        log.info("group %.255r: generation %d has %d members", group.group_id, group.generation, len(group.members))
        for member in group.members.values():
            if member.awaits_join:
                group.answer_join(member, group.join_response(member))
            self.heard_of(group, member)
            member.is_new = False
            group.pending_syncs[member.member_id] = None
        self._limit_sync(group)
        return NOTHING

    def _become_empty(self, group: ClassicGroup) -> Result:
        group.protocol = None
        self.read_subscriptions(group)
        group.state.enter(GroupState.EMPTY, self._clock.now_ms())
        log.info("group %.255r: empty since generation %d", group.group_id, group.generation)
        # If this is not written, the last generation comes back at the next start, and its members time out.
        return Result(records=[group_metadata(group, {})], applied=True)

    def read_subscriptions(self, group: ClassicGroup) -> None:
        """Learn which topics the group consumes, if it says so in a way we know."""
        if not group.is_consumer_group:
            group.subscribed_topics = None
        elif not group.members:
            group.subscribed_topics = frozenset()
        elif group.protocol is not None:
            protocol = group.protocol
            group.subscribed_topics = subscribed_topics(
                self._codec, (member.metadata(protocol) for member in group.members.values())
            )

    # The second round.

    def _limit_sync(self, group: ClassicGroup) -> None:
        group_id, generation = group.group_id, group.generation
        self._shard.after(
            ("sync", group_id), group.rebalance_timeout_ms, lambda: self._sync_expired(group_id, generation)
        )

    def _sync_expired(self, group_id: str, generation: int) -> Result:
        group = classic_group(self._groups, group_id)
        if group is None or group.generation != generation or not group.pending_syncs:
            return NOTHING
        if not group.is_in(GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
            return NOTHING
        missing = sorted(group.pending_syncs)
        for member_id in missing:
            self.dismiss(group, group.members[member_id])
        return self.prepare(group, f"no SyncGroup from {', '.join(missing)}")

    def synced(self, group: ClassicGroup, member_id: str) -> None:
        """The member has sent its SyncGroup."""
        group.pending_syncs.pop(member_id, None)
        if not group.pending_syncs:
            self._shard.cancel(("sync", group.group_id))

    def refuse_syncs(self, group: ClassicGroup, code: ErrorCode) -> None:
        """The assignment being agreed on is void: whoever waits for it hears why."""
        for member in group.members.values():
            member.assignment = b""
            self._answer_sync(group, member, SyncGroupResponse(error_code=code))

    def become_stable(self, group: ClassicGroup, assignment: dict[str, bytes]) -> None:
        """The assignment is committed: everyone gets its own."""
        group.state.enter(GroupState.STABLE, self._clock.now_ms())
        for member in group.members.values():
            member.assignment = assignment.get(member.member_id, b"")
            self._answer_sync(
                group,
                member,
                SyncGroupResponse(
                    protocol_type=group.protocol_type,
                    protocol_name=group.protocol,
                    assignment=member.assignment,
                ),
            )

    def _answer_sync(self, group: ClassicGroup, member: Member, response: SyncGroupResponse) -> None:
        if member.sync_reply is None:
            return
        reply, member.sync_reply = member.sync_reply, None
        reply(response)
        # While it waited its session may have ended without effect: it needs a new one.
        self.heard_of(group, member)

    def abandon(self, group: ClassicGroup) -> None:
        """The group has become another one: none of its deadlines counts any more."""
        for key in ("join", "sync"):
            self._shard.cancel((key, group.group_id))
        for member_id in (*group.members, *group.pending_joins):
            self.forget_session(group.group_id, member_id)

    # Coming and going of the shard.

    def on_loaded(self, group: ClassicGroup) -> Result:
        """Members from the log have a full session to be heard of."""
        for member in group.members.values():
            self.heard_of(group, member)
        if len(group.members) > self._settings.group_size_max:
            return self.prepare(group, f"more than {self._settings.group_size_max} members")
        return NOTHING

    def on_unloaded(self, group: ClassicGroup) -> None:
        """Whoever waits here must look for the coordinator again."""
        group.state.enter(GroupState.DEAD, self._clock.now_ms())
        for member in group.members.values():
            code = ErrorCode.NOT_COORDINATOR
            response = JoinGroupResponse(error_code=code, member_id=member.member_id, protocol_name=None)
            group.answer_join(member, response)
            if member.sync_reply is not None:
                member.sync_reply(SyncGroupResponse(error_code=code))
                member.sync_reply = None
