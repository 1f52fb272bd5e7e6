"""How members go: they leave, fall silent, or do not give up in time what they were told to.

Deadlines, each under a key of the shard:

    session of a member      not heard of for its session time-out -> fenced. A static member that is away has what is
                             left of it to come back
    revocation of a member   it has not given up what it was told to within its rebalance time-out -> fenced, if its
                             epoch is still the one it was told at
    join, sync of a member   one of the classic protocol does not take the next step of its rebalance -> fenced

A member that goes raises the group epoch. Its partitions are free at once; the next heartbeat of another one finds the
target old. With the last member of the consumer protocol the group goes back to the classic one (`downgrade`).
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.consumer.records import group_epoch, member_tombstones, pattern_tombstone
from ottla.coordinator.shard import NOTHING, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Struct

    from ottla.coordinator.group.consumer.downgrade import Downgrader
    from ottla.coordinator.group.consumer.environment import Environment
    from ottla.coordinator.group.consumer.member import ConsumerMember
    from ottla.coordinator.shard import CoordinatorRecord
    from ottla.errors import ErrorCode

log = logging.getLogger(__name__)


class Fencing:
    """Deadlines and ends of members."""

    def __init__(self, environment: Environment, downgrader: Downgrader) -> None:
        self._env = environment
        self._downgrader = downgrader

    # Deadlines.

    def heard_of(self, group_id: str, member_id: str, timeout_ms: int | None = None) -> None:
        """Start the member's session again; with the time-out of the group, unless another one is said."""
        if timeout_ms is None:
            timeout_ms = self._env.times(group_id).session_timeout_ms
        key = ("consumer session", group_id, member_id)
        if not self._env.shard.put_off(key, timeout_ms):
            self._expect(key, timeout_ms, "not heard of for its session")

    def expect_revocation(self, group_id: str, member: ConsumerMember) -> None:
        """The member has been told to give something up."""
        member_id, epoch = member.member_id, member.epoch

        def expire() -> Result:
            group = self._env.groups.get(group_id)
            still = group.members.get(member_id) if isinstance(group, ConsumerGroup) else None
            if still is None or still.epoch != epoch:
                return NOTHING
            return self._fence_one(group_id, member_id, "what it was told to give up it has not within its time")

        self._env.shard.after(("consumer revocation", group_id, member_id), max(member.rebalance_timeout_ms, 0), expire)

    def revocation_ended(self, group_id: str, member_id: str) -> None:
        """It has, or need not any more."""
        self._env.shard.cancel(("consumer revocation", group_id, member_id))

    def expect_join(self, group_id: str, member: ConsumerMember) -> None:
        """A classic member has been told to join again; the first time counts."""
        key = ("consumer join", group_id, member.member_id)
        if not self._env.shard.is_pending(key):
            self._expect(key, max(member.rebalance_timeout_ms, 0), "has not joined again within its rebalance time-out")

    def joined(self, group_id: str, member_id: str) -> None:
        """It has."""
        self._env.shard.cancel(("consumer join", group_id, member_id))

    def expect_sync(self, group_id: str, member_id: str, timeout_ms: int) -> None:
        """A classic member has been answered its JoinGroup."""
        key = ("consumer sync", group_id, member_id)
        self._expect(key, max(timeout_ms, 0), "no SyncGroup within its rebalance time-out")

    def synced(self, group_id: str, member_id: str) -> None:
        """Its SyncGroup has come."""
        self._env.shard.cancel(("consumer sync", group_id, member_id))

    def forget(self, group_id: str, member_id: str) -> None:
        """No deadline of the member counts any more."""
        for what in ("consumer session", "consumer revocation", "consumer join", "consumer sync"):
            self._env.shard.cancel((what, group_id, member_id))

    def _expect(self, key: tuple[str, str, str], delay_ms: int, reason: str) -> None:
        _, group_id, member_id = key
        self._env.shard.after(key, delay_ms, lambda: self._fence_one(group_id, member_id, reason))

    def _fence_one(self, group_id: str, member_id: str, reason: str) -> Result:
        group = self._env.groups.get(group_id)
        member = group.members.get(member_id) if isinstance(group, ConsumerGroup) else None
        if not isinstance(group, ConsumerGroup) or member is None:
            return NOTHING
        log.info("group %.255r: member %.255r is fenced: %s", group_id, member_id, reason)
        return self.fence(group, [member])

    # Ends.

    def fence(self, group: ConsumerGroup, members: Sequence[ConsumerMember], response: Struct | None = None) -> Result:
        """These members are gone."""
        if not members:
            return Result(response=response)
        group_id = group.group_id
        records: list[CoordinatorRecord] = []
        if self._downgrader.may_without(group, members):
            records = self._downgrader.convert(group, leaving=members, reason="the last consumer-protocol member left")
            if not self._env.fits(records):
                log.warning("group %.255r: stays a consumer group, it is too large for a record of one", group_id)
                records = []
        if not records:
            records = [record for member in members for record in member_tombstones(group_id, member.member_id)]
            going = Counter(member.pattern for member in members if member.pattern)
            dropped = [pattern for pattern, count in going.items() if group.pattern_subscribers[pattern] == count]
            records += [pattern_tombstone(group_id, pattern) for pattern in dropped]
            subscriptions = group.subscriptions_with(members, None, dropped_patterns=dropped)
            metadata_hash = self._env.hashes.of_group(subscriptions.topics)
            records.append(group_epoch(group_id, group.epoch + 1, metadata_hash))
            log.debug("group %.255r: epoch %d, %d members left", group_id, group.epoch + 1, len(members))
        for member in members:
            self.forget(group_id, member.member_id)
        return Result(records=records, response=response, done=partial(self._fenced, group, members))

    def _fenced(self, group: ConsumerGroup, members: Sequence[ConsumerMember], code: ErrorCode | None) -> None:
        """If that could not be written they are still there, perhaps for good: they have their time once more."""
        if code is None or self._env.groups.get(group.group_id) is not group:
            return
        for member in members:
            if group.members.get(member.member_id) is member:
                self._begin_deadlines(group, member)

    def on_loaded(self, group: ConsumerGroup) -> None:
        """Members from the log have a full session to be heard of, and to give up what they were told to."""
        for member in group.members.values():
            self._begin_deadlines(group, member)

    def _begin_deadlines(self, group: ConsumerGroup, member: ConsumerMember) -> None:
        self.heard_of(group.group_id, member.member_id)
        if member.revoking:
            self.expect_revocation(group.group_id, member)
