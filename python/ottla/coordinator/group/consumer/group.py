"""One consumer group: the fold of its records, and what follows from them at once.

What is committed can be read beside what is only appended (`timeline`): members, targets and epochs are such maps. The
rest (who owns a partition, which instance is who, how many subscribe to what) follows from the newest values and is
kept in plain maps; if an append fails the group is replayed anyway.

Invariants (`check` asserts them; the tests call it after every step):
- a partition is owned, to keep or to give up, by one member
- every static instance names a member that carries it
- no member's epoch is greater than the assignment epoch, nor that one than the group's
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from ottla.coordinator.group.consumer.member import (
    NO_TARGET,
    NOTHING_ASSIGNED,
    Assigned,
    ClassicProtocols,
    ConsumerMember,
    Recorded,
)
from ottla.coordinator.group.consumer.state import FIRST_EPOCH, ConsumerGroupState, MemberState, state_of
from ottla.coordinator.timeline import TimelineDict
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMetadataKey,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from msgspec import Struct

    from ottla.coordinator.group.consumer.member import Target
    from ottla.coordinator.timeline import Timeline
    from ottla.messages import (
        ConsumerGroupCurrentMemberAssignmentValue,
        ConsumerGroupCurrentMemberAssignmentValueTopicPartitions,
        ConsumerGroupMemberMetadataValue,
        ConsumerGroupMetadataValue,
        ConsumerGroupRegularExpressionValue,
        ConsumerGroupTargetAssignmentMemberValue,
        ConsumerGroupTargetAssignmentMetadataValue,
    )

CONSUMER_TYPE: Final = "consumer"
# Names of the values a group has one of.
_HEAD: Final = "head"
_TARGET: Final = "target"


class _Head(NamedTuple):
    epoch: int = FIRST_EPOCH
    metadata_hash: int = 0


class _TargetHead(NamedTuple):
    epoch: int = FIRST_EPOCH
    # Wall clock; 0 if it was never computed.
    assigned_ms: int = 0


class ResolvedPattern(NamedTuple):
    """The topics a pattern matched."""

    topics: frozenset[str]
    # Of the cluster's metadata, and the wall clock.
    version: int
    resolved_ms: int


_NO_HEAD: Final = _Head()
_NO_TARGET_HEAD: Final = _TargetHead()


class ConsumerGroup:
    """One group of the consumer protocol."""

    def __init__(self, group_id: str, timeline: Timeline) -> None:
        self.group_id = group_id
        self.members: TimelineDict[str, ConsumerMember] = TimelineDict(timeline)
        self.targets: TimelineDict[str, Target] = TimelineDict(timeline)
        self.patterns: TimelineDict[str, ResolvedPattern] = TimelineDict(timeline)
        self._heads: TimelineDict[str, _Head] = TimelineDict(timeline)
        self._target_heads: TimelineDict[str, _TargetHead] = TimelineDict(timeline)
        # A record of Kafka 4.0's that is to be ended with the next change.
        self.has_old_metadata = False
        # The group epoch its topics were looked at last; -1 if they have changed since.
        self.looked_at_epoch = -1
        self.static_members: dict[str, str] = {}
        self.pattern_subscribers: Counter[str] = Counter()
        self._by_name: Counter[str] = Counter()
        self._by_pattern: Counter[str] = Counter()
        self._assignors: Counter[str] = Counter()
        self.classic_count = 0
        self._classic_support: Counter[str] = Counter()
        # Topic id -> partition -> who owns it, to keep or to give up.
        self._owners: dict[bytes, dict[int, str]] = {}

    # What it is.

    @property
    def epoch(self) -> int:
        """Grows when what is to be assigned changes."""
        return (self._heads.get(_HEAD) or _NO_HEAD).epoch

    @property
    def metadata_hash(self) -> int:
        """Of the topics the epoch was decided on."""
        return (self._heads.get(_HEAD) or _NO_HEAD).metadata_hash

    @property
    def assignment_epoch(self) -> int:
        """The epoch the target is for."""
        return (self._target_heads.get(_TARGET) or _NO_TARGET_HEAD).epoch

    @property
    def assigned_ms(self) -> int:
        """When the target was computed."""
        return (self._target_heads.get(_TARGET) or _NO_TARGET_HEAD).assigned_ms

    @property
    def is_empty(self) -> bool:
        """Nobody is in it."""
        return not self.members

    def committed_epochs(self) -> tuple[int, int]:
        """Group epoch and assignment epoch that a crash cannot take back."""
        head = self._heads.committed_get(_HEAD) or _NO_HEAD
        target = self._target_heads.committed_get(_TARGET) or _NO_TARGET_HEAD
        return head.epoch, target.epoch

    def committed_state(self) -> ConsumerGroupState:
        """The state as far as it is committed."""
        return state_of(*self.committed_epochs(), (member for _, member in self.members.committed_items()))

    def committed_assignor(self) -> str | None:
        """The assignor the members ask for, as far as that is committed."""
        return _preferred(Counter(m.assignor for _, m in self.members.committed_items() if m.assignor is not None))

    def target(self, member_id: str) -> Target:
        """What a member shall have."""
        return self.targets.get(member_id) or NO_TARGET

    def is_free(self, topic_id: bytes, partition: int) -> bool:
        """Nobody owns the partition."""
        return partition not in self._owners.get(topic_id, _NOBODY)

    def member(self, member_id: str) -> ConsumerMember:
        """A member; RequestError if it is none."""
        member = self.members.get(member_id)
        if member is None:
            raise RequestError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}."
            )
        return member

    def static_member(self, instance_id: str | None) -> ConsumerMember | None:
        """The member that has an instance id."""
        member_id = None if instance_id is None else self.static_members.get(instance_id)
        return None if member_id is None else self.member(member_id)

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether members consume the topic."""
        return self._by_name[topic] > 0 or self._by_pattern[topic] > 0

    def is_subscribed_to_any(self, topics: AbstractSet[str]) -> bool:
        """Whether members consume one of these; costs what the group subscribes to, however many they are."""
        return not topics.isdisjoint(self._by_name) or not topics.isdisjoint(self._by_pattern)

    # What it would be, were `old` replaced by `new` (either may be missing).

    def subscriptions_with(
        self, old: Iterable[ConsumerMember], new: ConsumerMember | None, *, dropped_patterns: Iterable[str] = ()
    ) -> Subscriptions:
        """Who would subscribe to what."""
        by_name, patterns = self._by_name.copy(), self.pattern_subscribers.copy()
        for member in old:
            by_name.subtract(member.topics)
            if member.pattern:
                patterns[member.pattern] -= 1
        if new is not None:
            by_name.update(new.topics)
            if new.pattern:
                patterns[new.pattern] += 1
        by_pattern = self._by_pattern
        dropped = [resolved for pattern in dropped_patterns if (resolved := self.patterns.get(pattern)) is not None]
        if dropped:
            by_pattern = by_pattern.copy()
            for resolved in dropped:
                by_pattern.subtract(resolved.topics)
        return Subscriptions(+by_name, +by_pattern, +patterns)

    def patterns_with(self, old: ConsumerMember, new: ConsumerMember) -> frozenset[str]:
        """The patterns members would subscribe by."""
        subscribers = self.pattern_subscribers
        if old.pattern == new.pattern and old.member_id in self.members:
            return frozenset(subscribers)
        patterns = subscribers.copy()
        if old.pattern:
            patterns[old.pattern] -= 1
        if new.pattern:
            patterns[new.pattern] += 1
        return frozenset(+patterns)

    def preferred_assignor(self, old: ConsumerMember | None, new: ConsumerMember) -> str | None:
        """The assignor most members would ask for; None if nobody asks for any."""
        counts = self._assignors.copy()
        if old is not None and old.assignor is not None:
            counts[old.assignor] -= 1
        if new.assignor is not None:
            counts[new.assignor] += 1
        return _preferred(+counts)

    def supports_classic(self, protocol_type: str, protocols: Iterable[str]) -> bool:
        """Whether someone who joins with these classic protocols would share one with all who speak it."""
        return protocol_type == CONSUMER_TYPE and any(
            self._classic_support[name] == self.classic_count for name in protocols
        )

    def waits_for_others(self, member: ConsumerMember) -> bool:
        """Part of its target is still owned by others."""
        return member.state is MemberState.UNRELEASED_PARTITIONS and any(
            partition not in member.assigned.get(topic_id, _NO_EPOCHS) and not self.is_free(topic_id, partition)
            for topic_id, partitions in self.target(member.member_id).items()
            for partition in partitions
        )

    # The fold.

    def apply_head(self, value: ConsumerGroupMetadataValue) -> None:
        """The group epoch."""
        self._heads.set(_HEAD, _Head(value.epoch, value.metadata_hash))

    def apply_target_head(self, value: ConsumerGroupTargetAssignmentMetadataValue | None) -> None:
        """The epoch of the target."""
        if value is None:
            self._target_heads.remove(_TARGET)
        else:
            self._target_heads.set(_TARGET, _TargetHead(value.assignment_epoch, value.assignment_timestamp))

    def apply_target(self, member_id: str, value: ConsumerGroupTargetAssignmentMemberValue | None) -> None:
        """What a member shall have."""
        if value is None:
            self.targets.remove(member_id)
        else:
            target = {said.topic_id: tuple(sorted(said.partitions)) for said in value.topic_partitions}
            self.targets.set(member_id, target)

    def apply_member(self, member_id: str, value: ConsumerGroupMemberMetadataValue | None) -> None:
        """What a member said."""
        old = self.members.get(member_id)
        if value is None:
            if old is not None:
                self._forget(old)
                self.members.remove(member_id)
            return
        classic = None
        if (said := value.classic_member_metadata) is not None:
            protocols = tuple((protocol.name, protocol.metadata) for protocol in said.supported_protocols)
            classic = ClassicProtocols(said.session_timeout_ms, protocols)
        self._put(
            old,
            replace(
                old or ConsumerMember(member_id=member_id),
                instance_id=value.instance_id,
                rack_id=value.rack_id,
                rebalance_timeout_ms=value.rebalance_timeout_ms,
                client_id=value.client_id,
                client_host=value.client_host,
                topics=frozenset(value.subscribed_topic_names),
                pattern=value.subscribed_topic_regex,
                assignor=value.server_assignor,
                classic=classic,
            ),
        )

    def apply_current(self, member_id: str, value: ConsumerGroupCurrentMemberAssignmentValue | None) -> None:
        """What a member has."""
        old = self.members.get(member_id)
        if value is None:
            if old is not None:
                gone = replace(old, epoch=-1, previous_epoch=-1, assigned=NOTHING_ASSIGNED, revoking=NOTHING_ASSIGNED)
                self._put(old, gone)
            return
        if (
            old is not None
            and type(old.assigned) is Recorded
            and old.assigned.said is value.assigned_partitions
            and not old.revoking
            and not value.partitions_pending_revocation
        ):
            # It has come to a new epoch and keeps what it has, as most members do in a rebalance.
            state = MemberState.of(value.state)
            self.members.set(
                member_id,
                replace(old, epoch=value.member_epoch, previous_epoch=value.previous_member_epoch, state=state),
            )
            return
        new = replace(
            old or ConsumerMember(member_id=member_id),
            epoch=value.member_epoch,
            previous_epoch=value.previous_member_epoch,
            state=MemberState.of(value.state),
            assigned=_read_assigned(value.assigned_partitions, value.member_epoch),
            revoking=_read_assigned(value.partitions_pending_revocation, value.member_epoch),
        )
        self._put(old, new)

    def apply_pattern(self, pattern: str, value: ConsumerGroupRegularExpressionValue | None) -> None:
        """The topics a pattern matches."""
        old = self.patterns.get(pattern)
        if old is not None:
            self._by_pattern.subtract(old.topics)
        if value is None:
            self.patterns.remove(pattern)
        else:
            resolved = ResolvedPattern(frozenset(value.topics), value.version, value.timestamp)
            self.patterns.set(pattern, resolved)
            self._by_pattern.update(resolved.topics)
        self._by_pattern = +self._by_pattern

    def _put(self, old: ConsumerMember | None, new: ConsumerMember) -> None:
        if old is not None:
            self._forget(old)
        self.members.set(new.member_id, new)
        if new.instance_id is not None:
            self.static_members[new.instance_id] = new.member_id
        self._by_name.update(new.topics)
        if new.pattern:
            self.pattern_subscribers[new.pattern] += 1
        if new.assignor is not None:
            self._assignors[new.assignor] += 1
        if new.classic is not None:
            self.classic_count += 1
            self._classic_support.update(name for name, _ in new.classic.protocols)
        for owned in (new.assigned, new.revoking):
            for topic_id, partitions in owned.items():
                owners = self._owners.setdefault(topic_id, {})
                owners.update(dict.fromkeys(partitions, new.member_id))

    def _forget(self, old: ConsumerMember) -> None:
        member_id = old.member_id
        if old.instance_id is not None and self.static_members.get(old.instance_id) == member_id:
            del self.static_members[old.instance_id]
        _take(self._by_name, old.topics)
        if old.pattern:
            _take(self.pattern_subscribers, (old.pattern,))
        if old.assignor is not None:
            _take(self._assignors, (old.assignor,))
        if old.classic is not None:
            self.classic_count -= 1
            _take(self._classic_support, [name for name, _ in old.classic.protocols])
        for owned in (old.assigned, old.revoking):
            for topic_id, partitions in owned.items():
                owners = self._owners.get(topic_id)
                if owners is None:
                    continue
                for partition in partitions:
                    if owners.get(partition) == member_id:
                        del owners[partition]
                if not owners:
                    del self._owners[topic_id]

    def check(self) -> None:
        """Assert the invariants of the module's doc."""
        seen: dict[tuple[bytes, int], str] = {}
        for member in self.members.values():
            for owned in (member.assigned, member.revoking):
                for topic_id, partitions in owned.items():
                    for partition in partitions:
                        other = seen.setdefault((topic_id, partition), member.member_id)
                        assert other == member.member_id, (self.group_id, topic_id, partition, other, member.member_id)
            assert member.epoch <= self.assignment_epoch, (self.group_id, member)
        assert seen == {
            (topic_id, partition): owner
            for topic_id, owners in self._owners.items()
            for partition, owner in owners.items()
        }
        for instance_id, member_id in self.static_members.items():
            assert self.member(member_id).instance_id == instance_id
        assert self.assignment_epoch <= self.epoch
        assert self.classic_count == sum(member.classic is not None for member in self.members.values())


class Subscriptions(NamedTuple):
    """Who subscribes to what: members by topic, patterns by topic, members by pattern; counts greater than 0."""

    by_name: Counter[str]
    by_pattern: Counter[str]
    patterns: Counter[str]

    @property
    def topics(self) -> set[str]:
        """Every topic somebody subscribes to; some may not exist."""
        return {*self.by_name, *self.by_pattern}

    def are_alike(self, member_count: int) -> bool:
        """All members subscribe to the same topics (for Kafka: by saying it in the same way)."""
        if not self.patterns:
            return not self.by_pattern and all(count == member_count for count in self.by_name.values())
        count = next(iter(self.patterns.values()))
        return count == member_count and not self.by_name and all(each == 1 for each in self.by_pattern.values())


_NOBODY: Final[Mapping[int, str]] = {}
_NO_EPOCHS: Final[Mapping[int, int]] = {}


def _take(counts: Counter[str], names: Iterable[str]) -> None:
    for name in names:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]


def _preferred(counts: Counter[str]) -> str | None:
    # Of equals Kafka takes the one its hash map happens to show first, which for its two assignors is "uniform".
    return max(sorted(counts, reverse=True), key=lambda name: counts[name], default=None)


def _read_assigned(said: list[ConsumerGroupCurrentMemberAssignmentValueTopicPartitions], member_epoch: int) -> Assigned:
    if not said:
        return NOTHING_ASSIGNED
    found: dict[bytes, dict[int, int]] = {}
    has_epochs = True
    for topic in said:
        epochs = topic.assignment_epochs
        if epochs is None or len(epochs) != len(topic.partitions):
            # Kafka before 4.3 wrote no epochs: then it is the member's.
            epochs = [max(member_epoch, 0)] * len(topic.partitions)
            has_epochs = False
        found[topic.topic_id] = dict(zip(topic.partitions, epochs, strict=True))
    return Recorded(found, said) if has_epochs else found


def apply_to_group(group: ConsumerGroup, key: Struct, value: Any) -> None:
    """Fold a record of the group in. The end of the whole group is its owner's matter."""
    _FOLDS[type(key)](group, key, value)


def _note_old_metadata(group: ConsumerGroup, _key: Struct, value: Any) -> None:
    group.has_old_metadata = value is not None


# By type: looked up with each record a rebalance writes.
_FOLDS: Final[Mapping[type[Struct], Callable[[ConsumerGroup, Any, Any], None]]] = {
    ConsumerGroupMetadataKey: lambda group, _, value: group.apply_head(value),
    ConsumerGroupPartitionMetadataKey: _note_old_metadata,
    ConsumerGroupMemberMetadataKey: lambda group, key, value: group.apply_member(key.member_id, value),
    ConsumerGroupTargetAssignmentMetadataKey: lambda group, _, value: group.apply_target_head(value),
    ConsumerGroupTargetAssignmentMemberKey: lambda group, key, value: group.apply_target(key.member_id, value),
    ConsumerGroupCurrentMemberAssignmentKey: lambda group, key, value: group.apply_current(key.member_id, value),
    ConsumerGroupRegularExpressionKey: lambda group, key, value: group.apply_pattern(key.regular_expression, value),
}
