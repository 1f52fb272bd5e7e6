"""What one member's heartbeat decides, step by step, as records: nothing is changed before they are applied.

    note_member      it says something new about itself
    note_pattern     it subscribes by another regular expression; those of the group may have to be matched again
    look_at_topics   the group subscribes to something else, or its topics have changed: the group epoch grows
    assign           the target is older than the group epoch: compute it, unless that was done a moment ago
    reconcile        the member takes its next step

JoinGroup of a member that speaks the classic protocol takes the same steps (`classic_members`).

Reference: Apache Kafka 4.3, GroupMetadataManager.consumerGroupHeartbeat and what it calls.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ottla.coordinator.group.consumer.assignors import ASSIGNORS
from ottla.coordinator.group.consumer.assignors.subject import Subject
from ottla.coordinator.group.consumer.reconcile import reconcile
from ottla.coordinator.group.consumer.records import (
    current_assignment,
    group_epoch,
    member_metadata,
    member_target,
    old_metadata_tombstone,
    pattern_tombstone,
    target_epoch,
)
from ottla.coordinator.group.consumer.subscribed import Subscribed
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from ottla.coordinator.group.consumer.environment import Environment
    from ottla.coordinator.group.consumer.group import ConsumerGroup
    from ottla.coordinator.group.consumer.member import ConsumerMember, Target
    from ottla.coordinator.group.consumer.reconcile import Owned
    from ottla.coordinator.shard import CoordinatorRecord

log = logging.getLogger(__name__)

# Patterns of a group are not matched more often than this, whatever changes (a constant in Kafka, too).
PATTERN_PAUSE_MS: Final = 10_000


class Draft:
    """The steps of one member; see the module's doc."""

    def __init__(
        self,
        environment: Environment,
        group: ConsumerGroup,
        old: ConsumerMember,
        member: ConsumerMember,
        records: list[CoordinatorRecord],
    ) -> None:
        self._env = environment
        self.group = group
        # As it was; one that joins has said nothing yet.
        self.old = old
        # As it will be.
        self.member = member
        self.records = records
        self.epoch = group.epoch
        self.target_epoch = group.assignment_epoch
        # Patterns to be matched once this is done.
        self.patterns_to_resolve: frozenset[str] = frozenset()
        # A pattern nobody will subscribe by any more.
        self._dropped_patterns: tuple[str, ...] = ()
        self._alike: bool | None = None

    def note_member(self) -> bool:
        """Write down what is new about the member; whether it subscribes to other names."""
        if self.member is self.old or self.member == self.old:
            return False
        self.records.append(member_metadata(self.group.group_id, self.member))
        return self.member.topics != self.old.topics

    def note_pattern(self) -> tuple[bool, bool]:
        """Whether the member's pattern has changed, and whether what that means is known already."""
        group, old, new = self.group, self.old.pattern, self.member.pattern
        known = is_new = False
        changed = old != new
        if changed:
            if old and group.pattern_subscribers[old] == 1:
                self.records.append(pattern_tombstone(group.group_id, old))
                self._dropped_patterns = (old,)
            if not new:
                known = bool(old)
            elif not group.pattern_subscribers[new]:
                self._check_pattern(new)
                is_new = True
            else:
                known = new in group.patterns
        if is_new or group.pattern_subscribers:
            self._plan_resolution(is_new=is_new)
        return changed, known

    def _check_pattern(self, pattern: str) -> None:
        reason = self._env.patterns.check(pattern)
        if reason is not None:
            raise RequestError(
                ErrorCode.INVALID_REGULAR_EXPRESSION, f"SubscribedTopicRegex {pattern!r} is no valid pattern: {reason}."
            )

    def _plan_resolution(self, *, is_new: bool) -> None:
        env, resolved = self._env, self.group.patterns.values()
        now_ms = env.clock.now_ms()
        if resolved and now_ms <= resolved[0].resolved_ms + PATTERN_PAUSE_MS:
            return
        patterns = self.group.patterns_with(self.old, self.member)
        if patterns and (
            is_new
            or len(patterns) != len(resolved)
            or resolved[0].version < env.cluster.created_version
            or now_ms > resolved[0].resolved_ms + env.settings.consumer_pattern_refresh_interval_ms
        ):
            self.patterns_to_resolve = patterns

    def look_at_topics(self, *, bump: bool) -> None:
        """Raise the group epoch if asked to, or if the topics are not what they were."""
        group = self.group
        if not bump and 0 <= group.looked_at_epoch <= group.epoch:
            return
        subscriptions = group.subscriptions_with([self.old], self.member, dropped_patterns=self._dropped_patterns)
        metadata_hash = self._env.hashes.of_group(subscriptions.topics)
        count = len(group.members)
        if self.member.member_id not in group.members and self.member.instance_id not in group.static_members:
            count += 1
        self._alike = subscriptions.are_alike(count)
        if bump or metadata_hash != group.metadata_hash:
            self.epoch += 1
            self.records.append(group_epoch(group.group_id, self.epoch, metadata_hash))
            log.debug("group %.255r: epoch %d", group.group_id, self.epoch)
        # Should the record not be written, the group's epoch stays below, and it is looked at again.
        group.looked_at_epoch = self.epoch
        if group.has_old_metadata:
            self.records.append(old_metadata_tombstone(group.group_id))

    def assign(self) -> Target:
        """The member's target."""
        group, member = self.group, self.member
        previous_id = group.static_members.get(member.instance_id) if member.instance_id is not None else None
        now_ms = self._env.clock.now_ms()
        if group.assignment_epoch >= self.epoch or not self._may_assign(now_ms):
            return group.target(member.member_id if previous_id is None else previous_id)
        subjects = self._subjects(previous_id)
        topic_ids = {topic_id for subject in subjects for topic_id in subject.topics}
        counts = {topic_id: self._partition_count(topic_id) for topic_id in topic_ids}
        alike = self._alike
        if alike is None:
            alike = group.subscriptions_with([self.old], member).are_alike(len(subjects))
        name = group.preferred_assignor(self.old, member)
        if name not in self._env.settings.consumer_assignors:
            name = self._env.settings.consumer_assignors[0]
        found = ASSIGNORS[name](subjects, counts, alike=alike)
        for subject in subjects:
            target, old = found[subject.member_id], group.targets.get(subject.member_id)
            if target is not old and target != old:
                self.records.append(member_target(group.group_id, subject.member_id, target))
        self.target_epoch = self.epoch
        self.records.append(target_epoch(group.group_id, self.epoch, now_ms))
        log.info("group %.255r: target of epoch %d by %s for %d members", group.group_id, self.epoch, name, len(found))
        return found[member.member_id]

    def _may_assign(self, now_ms: int) -> bool:
        interval_ms = self._env.assignment_interval_ms(self.group.group_id)
        return not interval_ms or not self.group.assigned_ms or now_ms >= self.group.assigned_ms + interval_ms

    def _partition_count(self, topic_id: bytes) -> int:
        topic = self._env.topics.with_id(topic_id)
        assert topic is not None, "subscriptions are resolved to topics that exist"
        return topic.partition_count

    def _subjects(self, previous_id: str | None) -> list[Subject]:
        group, me = self.group, self.member
        members = {member.member_id: member for member in group.members.values()}
        target_id = me.member_id
        if previous_id is not None and previous_id != me.member_id:
            del members[previous_id]
            target_id = previous_id
        members[me.member_id] = me
        resolved: dict[tuple[frozenset[str], str | None], tuple[bytes, ...]] = {}
        subjects = []
        for member_id, member in members.items():
            key = (member.topics, member.pattern)
            topics = resolved.get(key)
            if topics is None:
                topics = resolved[key] = self._subscribed_ids(member)
            target = group.target(target_id if member is me else member_id)
            subjects.append(Subject(member_id, member.instance_id, topics, target))
        return subjects

    def _subscribed_ids(self, member: ConsumerMember) -> tuple[bytes, ...]:
        """The ids of the topics a member subscribes to that exist."""
        names = member.topics
        if member.pattern and (resolved := self.group.patterns.get(member.pattern)) is not None:
            names |= resolved.topics
        found = (self._env.topics.named(name) for name in sorted(names))
        return tuple(topic.topic_id for topic in found if topic is not None)

    def reconcile(self, target: Target, owned: Owned | None, *, subscription_changed: bool) -> None:
        """Take the member's next step."""
        member = self.member
        if not subscription_changed and member.is_reconciled_to(self.target_epoch):
            return
        self.member = reconcile(
            member,
            target=target,
            target_epoch=self.target_epoch,
            subscribed=Subscribed(member, self.group, self._env.topics),
            subscription_changed=subscription_changed,
            is_free=self.group.is_free,
            owned=owned,
        )
        if self.member is not member and self.member != member:
            self.records.append(current_assignment(self.group.group_id, self.member))
