"""The states of a classic group, and the only place where they change.

Theory of operation
===================

A classic group agrees in two rounds. In the first, every member sends JoinGroup with the protocols (assignors) it
knows and is kept waiting until all have; then all are answered at once with a new generation, and one of them, the
leader, with the list of all members. In the second, every member sends SyncGroup and is kept waiting until the leader
has sent what each is assigned; the coordinator writes the assignment to the log and answers all. The coordinator does
not understand what is assigned: it is bytes from the leader to the members.

    EMPTY                 no members; perhaps offsets. Commits of simple consumers (no generation) are accepted here
                          only
    PREPARING_REBALANCE   the first round: JoinGroups wait. Heartbeats answer REBALANCE_IN_PROGRESS, which makes members
                          join; commits of the running generation are still accepted, so that nothing consumed is lost
    COMPLETING_REBALANCE  the second round: SyncGroups wait for the leader's. Heartbeats are fine, commits are refused
                          with REBALANCE_IN_PROGRESS
    STABLE                everyone has its assignment
    DEAD                  its shard is gone; whatever still holds it must not act on it. (To clients a group that does
                          not exist is dead too.)

What moves a group:

    JoinGroup of a new member, of the leader, or with other protocols ... -> PREPARING_REBALANCE
    a member leaves, or is not heard of within its session .............. -> PREPARING_REBALANCE
    all members have joined, or the rebalance timeout has passed ........ -> COMPLETING_REBALANCE; EMPTY if none is left
    the leader's assignment is committed ................................ -> STABLE
    a member has not sent SyncGroup within the rebalance timeout ........ -> PREPARING_REBALANCE, without it

The first rebalance of an empty group (EMPTY -> PREPARING_REBALANCE) is not finished by the last member's join but by
time: it waits `group.initial.rebalance.delay.ms`, again as long as new members came meanwhile, at most their
rebalance timeout (KIP-134). That is why `ClassicGroup` remembers its previous state.

Ties: a deadline and a request that come together: the request is taken first (the loop drains them before
it fires deadlines), so a heartbeat that has arrived saves its member. A new JoinGroup during COMPLETING_REBALANCE
wins over SyncGroups that wait: they are answered REBALANCE_IN_PROGRESS. An assignment that is being written when the
next rebalance begins stays in the log, but changes nothing here: its generation is over.

In the log are: the assignment of each generation (with members and their metadata), the EMPTY group, and its end. The
rounds are not: a coordinator that starts again finds the last stable generation, and its members find theirs to be
unknown and join.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class GroupState(Enum):
    """The value is the name clients see."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


# From which states each may be entered.
TRANSITIONS: Final[dict[GroupState, frozenset[GroupState]]] = {
    GroupState.EMPTY: frozenset({GroupState.PREPARING_REBALANCE}),
    GroupState.PREPARING_REBALANCE: frozenset(
        {GroupState.EMPTY, GroupState.COMPLETING_REBALANCE, GroupState.STABLE},
    ),
    GroupState.COMPLETING_REBALANCE: frozenset({GroupState.PREPARING_REBALANCE}),
    GroupState.STABLE: frozenset({GroupState.COMPLETING_REBALANCE}),
    GroupState.DEAD: frozenset(GroupState) - {GroupState.DEAD},
}


class StateMachine:
    """The state of one group. Everything that changes it goes through `enter`."""

    __slots__ = ("current", "previous", "since_ms")

    def __init__(self, initial: GroupState, since_ms: int | None) -> None:
        self.current = initial
        # DEAD stands for "none": no rule asks whether a group was dead before.
        self.previous = GroupState.DEAD
        # Wall clock of the last change; None if a record of an old version did not say.
        self.since_ms = since_ms

    def may_enter(self, state: GroupState) -> bool:
        """Whether the table allows the step."""
        return self.current in TRANSITIONS[state]

    def enter(self, state: GroupState, now_ms: int) -> None:
        """Make the step."""
        assert self.may_enter(state), f"no step from {self.current.value} to {state.value}"
        self.previous = self.current
        self.current = state
        self.since_ms = now_ms
