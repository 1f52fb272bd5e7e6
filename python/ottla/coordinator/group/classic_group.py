"""One classic group: its members, who leads, which protocol they share.

Invariants (`check` asserts them; the tests call it after every step):
- the leader is a member; a group with members has a leader
- every static instance names a member that carries it
- a member that waits to join once with its id (`pending_joins`) is not a member yet
- `awaiting_join` counts the members whose JoinGroup is parked
- `pending_syncs` are members, and empty but in COMPLETING_REBALANCE and STABLE
- the members of a group have a protocol in common

Decides nothing about time: `join`, `rebalance` and `session` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.coordinator.group.state import GroupState, StateMachine
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    DescribeGroupsResponseDescribedGroup,
    DescribeGroupsResponseDescribedGroupMember,
    JoinGroupResponse,
    JoinGroupResponseMember,
    ListGroupsResponseListedGroup,
    SyncGroupResponse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ottla.coordinator.group.members import Member, Reply

CONSUMER_PROTOCOL_TYPE: Final = "consumer"
CLASSIC_TYPE: Final = "classic"


class ClassicGroup:
    """One group of the classic protocol, also the group of a simple consumer (which has no members, only offsets)."""

    def __init__(
        self,
        group_id: str,
        *,
        state: GroupState = GroupState.EMPTY,
        since_ms: int | None,
        generation: int = 0,
        protocol_type: str | None = None,
        protocol: str | None = None,
        leader: str | None = None,
    ) -> None:
        self.group_id = group_id
        self.state = StateMachine(state, since_ms)
        self.generation = generation
        # In the log, where that is ahead (`consumer.downgrade`): the next generation is none that it knows.
        self.logged_generation = generation
        # What kind of group it is ("consumer", "connect", ...); None for a group that never had a member.
        self.protocol_type = protocol_type
        # The protocol of this generation, chosen by vote.
        self.protocol = protocol
        self.leader = leader
        self.members: dict[str, Member] = {}
        self.static_members: dict[str, str] = {}
        # Ids given out with MEMBER_ID_REQUIRED (KIP-394) and not used yet. (No set: an empty one takes more, and the
        # garbage collector's time; there are many groups nobody is in.)
        self.pending_joins: dict[str, None] = {}
        # Members that have been answered their JoinGroup and have not sent SyncGroup since.
        self.pending_syncs: dict[str, None] = {}
        # Someone joined while the first rebalance of an empty group waits for more.
        self.new_member_added = False
        # Topics the members subscribe to, as far as we can read it; None: we cannot.
        self.subscribed_topics: frozenset[str] | None = None
        # How many JoinGroups are parked.
        self.awaiting_join = 0
        # How many members know a protocol.
        self._support: dict[str, int] = {}

    # Members.

    def is_in(self, *states: GroupState) -> bool:
        """Whether the group is in one of these states."""
        return self.state.current in states

    @property
    def is_empty(self) -> bool:
        """Nobody is in it, or comes."""
        return self.is_in(GroupState.EMPTY)

    @property
    def all_have_joined(self) -> bool:
        """Nobody is missing to finish the first round."""
        return not self.pending_joins and self.awaiting_join == len(self.members)

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest any member asks for."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    @property
    def is_consumer_group(self) -> bool:
        """The members are consumers, whose protocol we can read."""
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    def add(self, member: Member, protocol_type: str) -> None:
        """Take in a member, which has been checked to fit."""
        assert member.member_id not in self.members
        if not self.members:
            self.protocol_type = protocol_type
        assert self.protocol_type == protocol_type
        if member.instance_id is not None:
            assert member.instance_id not in self.static_members
            self.static_members[member.instance_id] = member.member_id
        if self.leader is None:
            self.leader = member.member_id
        self.members[member.member_id] = member
        self._count_support(member, 1)
        self.pending_joins.pop(member.member_id, None)

    def update(
        self,
        member: Member,
        *,
        protocols: Sequence[tuple[str, bytes]],
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
    ) -> None:
        """A member says something new in another JoinGroup."""
        self._count_support(member, -1)
        member.protocols = list(protocols)
        self._count_support(member, 1)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def remove(self, member_id: str) -> None:
        """Forget a member, pending or not; another one leads if it led. What it waits for has been answered."""
        member = self.members.pop(member_id, None)
        if member is not None:
            assert not member.awaits_join
            self._count_support(member, -1)
            if member.instance_id is not None and self.static_members.get(member.instance_id) == member_id:
                del self.static_members[member.instance_id]
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        self.pending_joins.pop(member_id, None)
        self.pending_syncs.pop(member_id, None)

    def park_join(self, member: Member, reply: Reply) -> None:
        """The member waits for the end of the first round."""
        if member.join_reply is not None:
            # The client has given up on its earlier request and sent another: let go of the one, keep the other. Should
            # anyone still read it, this code makes it join again as who it is.
            again = JoinGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS, member_id=member.member_id)
            self.answer_join(member, again)
        member.join_reply = reply
        self.awaiting_join += 1

    def answer_join(self, member: Member, response: JoinGroupResponse) -> None:
        """End the member's waiting in the first round, if it waits."""
        if member.join_reply is not None:
            reply, member.join_reply = member.join_reply, None
            self.awaiting_join -= 1
            reply(response)

    def replace_static(self, old_id: str, new_id: str) -> Member:
        """A static member has come back and gets a new id; whoever still uses the old one is fenced."""
        member = self.members[old_id]
        code = ErrorCode.FENCED_INSTANCE_ID
        self.answer_join(member, JoinGroupResponse(error_code=code, member_id=old_id, protocol_name=None))
        if member.sync_reply is not None:
            member.sync_reply(SyncGroupResponse(error_code=code))
            member.sync_reply = None
        # The place in the order of members is kept: assignors look at it.
        self.members = {new_id if key == old_id else key: value for key, value in self.members.items()}
        member.member_id = new_id
        member.is_new = False
        assert member.instance_id is not None
        self.static_members[member.instance_id] = new_id
        if self.leader == old_id:
            self.leader = new_id
        self.pending_syncs.pop(old_id, None)
        return member

    def validate_member(self, member_id: str, instance_id: str | None) -> Member:
        """The member a request speaks for; RequestError if it may not."""
        if instance_id is not None:
            owner = self.static_members.get(instance_id)
            if owner is None:
                raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
            if owner != member_id:
                raise RequestError(ErrorCode.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def validate_commit(
        self, member_id: str, instance_id: str | None, generation: int, *, in_transaction: bool = False
    ) -> None:
        """Whether offsets may be committed in this name; RequestError if not.

        Without generation and member (admin tools, consumers that assign themselves) only while nobody is in the group,
        or in a transaction, where a rebalance that is under way is no reason either.
        """
        if generation < 0 and self.is_in(GroupState.EMPTY):
            return
        if generation >= 0 or member_id or instance_id is not None:
            self.validate_member(member_id, instance_id)
            if generation != self.generation:
                raise RequestError(ErrorCode.ILLEGAL_GENERATION)
        elif not in_transaction and not self.is_in(GroupState.EMPTY):
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
        if not in_transaction and self.is_in(GroupState.COMPLETING_REBALANCE):
            raise RequestError(ErrorCode.REBALANCE_IN_PROGRESS)

    # Leader and protocol.

    def elect_joined_leader(self) -> bool:
        """Make a member lead that takes part in this round; False if none does."""
        if self.leader is None:
            return False
        if self.members[self.leader].awaits_join:
            return True
        for member in self.members.values():
            if member.awaits_join:
                self.leader = member.member_id
                return True
        return False

    def supports(self, protocol_type: str, protocols: Iterable[str]) -> bool:
        """Whether someone who joins with these would share a protocol with everyone."""
        if self.is_in(GroupState.EMPTY):
            return bool(protocol_type) and any(True for _ in protocols)
        count = len(self.members)
        return self.protocol_type == protocol_type and any(self._support.get(name, 0) == count for name in protocols)

    def select_protocol(self) -> str:
        """The protocol most members like best among those all know; of equals the one an earlier member likes."""
        count = len(self.members)
        candidates = frozenset(name for name, known in self._support.items() if known == count)
        votes: dict[str, int] = {}
        for member in self.members.values():
            name = member.vote(candidates)
            votes[name] = votes.get(name, 0) + 1
        return max(votes, key=lambda name: votes[name])

    def _count_support(self, member: Member, change: int) -> None:
        for name, _ in member.protocols:
            count = self._support.get(name, 0) + change
            if count:
                self._support[name] = count
            else:
                del self._support[name]

    # What others see.

    def join_response(
        self, member: Member, *, skip_assignment: bool = False, leader: str | None = None
    ) -> JoinGroupResponse:
        """The end of the first round for one member; the leader learns who is there."""
        leads = member.member_id == self.leader
        return JoinGroupResponse(
            generation_id=self.generation,
            protocol_type=self.protocol_type,
            protocol_name=self.protocol,
            leader=(leader if leader is not None else self.leader) or "",
            skip_assignment=skip_assignment,
            member_id=member.member_id,
            members=self.joined_members() if leads else [],
        )

    def joined_members(self) -> list[JoinGroupResponseMember]:
        """All members with what they said for the chosen protocol."""
        assert self.protocol is not None
        return [
            JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                metadata=member.metadata(self.protocol),
            )
            for member in self.members.values()
        ]

    def listed(self) -> ListGroupsResponseListedGroup:
        """One line of ListGroups."""
        return ListGroupsResponseListedGroup(
            group_id=self.group_id,
            protocol_type=self.protocol_type or "",
            group_state=self.state.current.value,
            group_type=CLASSIC_TYPE,
        )

    def described(self) -> DescribeGroupsResponseDescribedGroup:
        """The group in DescribeGroups; protocol and metadata only when they are settled."""
        settled = self.protocol if self.is_in(GroupState.STABLE) else None
        return DescribeGroupsResponseDescribedGroup(
            group_id=self.group_id,
            group_state=self.state.current.value,
            protocol_type=self.protocol_type or "",
            protocol_data=settled or "",
            members=[
                DescribeGroupsResponseDescribedGroupMember(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    member_metadata=b"" if settled is None else member.metadata(settled),
                    member_assignment=member.assignment,
                )
                for member in self.members.values()
            ],
        )

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether members consume the topic; if a consumer group's subscription cannot be read: perhaps, so yes."""
        if self.subscribed_topics is not None:
            return topic in self.subscribed_topics
        return self.is_consumer_group

    def check(self) -> None:
        """Assert the invariants of the module's doc."""
        assert (self.leader is None) == (not self.members), (self.group_id, self.leader, list(self.members))
        assert self.leader is None or self.leader in self.members
        for instance_id, member_id in self.static_members.items():
            assert self.members[member_id].instance_id == instance_id
        assert all(key == member.member_id for key, member in self.members.items())
        assert self.awaiting_join == sum(1 for member in self.members.values() if member.awaits_join)
        assert not self.pending_joins.keys() & self.members.keys()
        assert self.pending_syncs.keys() <= self.members.keys()
        settled = self.is_in(GroupState.COMPLETING_REBALANCE, GroupState.STABLE)
        assert settled or not self.pending_syncs
        if self.members:
            assert any(count == len(self.members) for count in self._support.values())
        if self.is_in(GroupState.EMPTY):
            assert not self.members
        if settled:
            assert self.protocol is not None
            assert self.members
