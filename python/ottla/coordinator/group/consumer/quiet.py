"""The heartbeat that says nothing new: nearly all are, and in a rebalance all but a few.

Its member is settled and says only that it is still there. If a new target has come meanwhile that leaves it what it
has, it goes to the new epoch; else nothing changes. That is decided here in a few comparisons. Wherever anything else
could follow, the answer is None and `draft` goes the whole way, which decides the same where both can (the tests
compare them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.coordinator.group.consumer.member import Recorded
from ottla.coordinator.group.consumer.reconcile import has_exactly
from ottla.coordinator.group.consumer.records import next_epoch
from ottla.coordinator.group.consumer.state import MemberState
from ottla.coordinator.group.consumer.subscribed import Subscribed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.coordinator.group.consumer.group import ConsumerGroup
    from ottla.coordinator.group.consumer.member import ConsumerMember
    from ottla.coordinator.group.consumer.topics import Topics
    from ottla.coordinator.shard import CoordinatorRecord
    from ottla.messages import ConsumerGroupHeartbeatRequest
    from ottla.types import RequestContext


def quiet_step(
    group: ConsumerGroup, context: RequestContext, request: ConsumerGroupHeartbeatRequest, topics: Topics
) -> Sequence[CoordinatorRecord] | None:
    """The records of a heartbeat that says nothing new, after which its member has the epoch of the target."""
    member = group.members.get(request.member_id)
    target_epoch = group.assignment_epoch
    if (
        member is None
        or member.epoch != request.member_epoch
        or member.state is not MemberState.STABLE
        or member.classic is not None
        or _says_something(member, context, request)
        or group.pattern_subscribers
        # A look at the topics or a target is due.
        or not 0 <= group.looked_at_epoch <= group.epoch <= target_epoch
    ):
        return None
    if member.epoch == target_epoch:
        return ()
    if member.revoking or not _keeps_all(group, member, topics):
        return None
    return (next_epoch(group.group_id, member, target_epoch),)


def _keeps_all(group: ConsumerGroup, member: ConsumerMember, topics: Topics) -> bool:
    """It has what it shall have."""
    has, target = member.assigned, group.target(member.member_id)
    # Neither changes in place, and whatever changes what a member subscribes to, or what topics there are, has another
    # target computed first: what was found once holds for as long as both are the same.
    if type(has) is Recorded and has.compared_with is target:
        return True
    found = has_exactly(has, target, Subscribed(member, group, topics))
    if found and type(has) is Recorded:
        has.compared_with = target
    return found


def _says_something(member: ConsumerMember, context: RequestContext, request: ConsumerGroupHeartbeatRequest) -> bool:
    """About itself; what it owns matters only while it gives something up."""
    return (
        request.subscribed_topic_names is not None
        or request.subscribed_topic_regex is not None
        or request.rack_id is not None
        or request.server_assignor is not None
        or request.rebalance_timeout_ms != -1
        or (request.instance_id is not None and request.instance_id != member.instance_id)
        or (context.client_id or "") != member.client_id
        or "/" + context.client_host != member.client_host
    )
