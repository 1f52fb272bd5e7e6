"""The states of a consumer group and of its members, and what they follow from.

Theory of operation
===================

Three numbers chase each other, and none of them ever goes back:

    group epoch        grows when what is to be assigned changes: a member comes, goes, or subscribes to other topics,
                       or a subscribed topic appears, grows or is deleted
    assignment epoch   the group epoch for which the target assignment (who shall have what in the end) was computed
    member epoch       the assignment epoch a member has reached

A heartbeat is the only request. It tells what the member wants, if that changed, and what it owns; the answer tells
its epoch and what it may own, if that changed. Nobody waits for anybody: each member walks from its current assignment
to its target on its own, and the coordinator sees to it that a partition has one owner at a time, by two rules:

    1. A member first gives up what is not in its target. As long as it has not confirmed that, its epoch stays.
    2. It gets a partition only when nobody else owns it.

So a member is in one of these states, for one target (`reconcile` makes the steps):

    STABLE                 it owns what it shall own, or was told all of it
    UNREVOKED_PARTITIONS   rule 1: it has been told to give up partitions and still owns one. It has its rebalance
                           time-out for that; then it is fenced
    UNRELEASED_PARTITIONS  rule 2: it has reached the epoch, but others still own part of its target. Each heartbeat
                           looks again
    UNKNOWN                written by a later version: it is fenced, or starts anew if it owns nothing

                 +----------- nothing to give up, all of it free ------------+
                 |                                                           v
    STABLE ------+-- something to give up --> UNREVOKED --given up--+--> STABLE (at the new epoch)
                 |                                                  |        ^
                 +-- nothing to give up, not all free --> UNRELEASED <+      |
                                                              +--all free----+

A member that lost an answer repeats itself with its previous epoch; that is accepted as long as it claims to own
nothing that it was not given. Any other epoch is fenced: the member gives up everything and joins again with epoch 0.
Epoch -1 leaves; -2 is a static member that will be back: its partitions stay with it until its session ends.

The state of the group is not kept; it follows from these numbers:

    EMPTY        no members
    ASSIGNING    the target is older than the group epoch (computed at most once in an assignment interval)
    RECONCILING  a member has not reached the target
    STABLE       all have
    DEAD         there is no such group (any more)

Everything above is in the log, record by record, so that a coordinator that starts again goes on where it was: members
notice nothing, and no partition moves. Only sessions and other deadlines start anew.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.coordinator.group.consumer.member import ConsumerMember

# Epochs a member says that are none.
JOINS: Final = 0
LEAVES: Final = -1
LEAVES_FOR_NOW: Final = -2

# The epochs of a group nobody has joined yet.
FIRST_EPOCH: Final = 1


class MemberState(IntEnum):
    """The numbers are those in the log."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    UNRELEASED_PARTITIONS = 2
    UNKNOWN = 127

    @classmethod
    def of(cls, number: int) -> MemberState:
        """The state a record names."""
        return _STATES.get(number, cls.UNKNOWN)


_STATES: Final = {state.value: state for state in MemberState}


class ConsumerGroupState(Enum):
    """The value is the name clients see."""

    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    RECONCILING = "Reconciling"
    STABLE = "Stable"
    DEAD = "Dead"


def state_of(epoch: int, assignment_epoch: int, members: Iterable[ConsumerMember]) -> ConsumerGroupState:
    """The state of a group that exists."""
    reconciled = empty = True
    for member in members:
        empty = False
        if not member.is_reconciled_to(assignment_epoch):
            reconciled = False
            break
    if empty:
        return ConsumerGroupState.EMPTY
    if epoch > assignment_epoch:
        return ConsumerGroupState.ASSIGNING
    return ConsumerGroupState.STABLE if reconciled else ConsumerGroupState.RECONCILING
