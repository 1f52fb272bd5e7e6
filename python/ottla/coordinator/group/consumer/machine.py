"""The consumer protocol of one shard, put together: what its requests, its records and the cluster's changes go to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.coordinator.group.consumer.classic_members import ClassicMembers
from ottla.coordinator.group.consumer.downgrade import Downgrader
from ottla.coordinator.group.consumer.fencing import Fencing
from ottla.coordinator.group.consumer.group import ConsumerGroup, apply_to_group
from ottla.coordinator.group.consumer.heartbeat import Heartbeats
from ottla.coordinator.group.consumer.patterns import Resolver
from ottla.coordinator.group.consumer.upgrade import Upgrader
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
    from collections.abc import Set as AbstractSet

    from msgspec import Struct

    from ottla.coordinator.group.consumer.environment import Environment
    from ottla.coordinator.group.rebalance import Rebalancer
    from ottla.coordinator.timeline import Timeline

ConsumerGroupKey = (
    ConsumerGroupMetadataKey
    | ConsumerGroupPartitionMetadataKey
    | ConsumerGroupMemberMetadataKey
    | ConsumerGroupTargetAssignmentMetadataKey
    | ConsumerGroupTargetAssignmentMemberKey
    | ConsumerGroupCurrentMemberAssignmentKey
    | ConsumerGroupRegularExpressionKey
)
CONSUMER_GROUP_KEYS: Final = frozenset(ConsumerGroupKey.__args__)


class ConsumerProtocol:
    """Its parts."""

    def __init__(self, environment: Environment, timeline: Timeline, rebalancer: Rebalancer) -> None:
        self._env = environment
        self._timeline = timeline
        # Where groups of this protocol are, and perhaps were: among many of simple consumers.
        self._ids: set[str] = set()
        downgrader = Downgrader(environment, rebalancer)
        self._fencing = Fencing(environment, downgrader)
        resolver = Resolver(environment)
        upgrader = Upgrader(environment, self._fencing, rebalancer)
        self.heartbeats = Heartbeats(environment, self._fencing, upgrader, resolver)
        self.classic_members = ClassicMembers(environment, self._fencing, downgrader, self.heartbeats, resolver)

    def apply(self, key: ConsumerGroupKey, value: Struct | None) -> None:
        """Take over what a record says. The first one of a group makes it; the end of its epoch is its end."""
        groups, group_id = self._env.groups, key.group_id
        group = groups.get(group_id)
        if not isinstance(group, ConsumerGroup):
            if value is None:
                # The end of something that a later group of this id has replaced, or of nothing.
                return
            group = ConsumerGroup(group_id, self._timeline)
            groups.set(group_id, group)
            self._ids.add(group_id)
        if value is None and isinstance(key, ConsumerGroupMetadataKey):
            groups.remove(group_id)
        else:
            apply_to_group(group, key, value)

    def on_loaded(self, group: ConsumerGroup) -> None:
        """The journal has been replayed: sessions begin."""
        self._fencing.on_loaded(group)

    def on_topics_changed(self, names: AbstractSet[str]) -> None:
        """These topics are not what they were: groups that subscribe to them look again at their next heartbeat."""
        for group_id in list(self._ids):
            group = self._env.groups.get(group_id)
            if not isinstance(group, ConsumerGroup):
                self._ids.discard(group_id)
            elif group.is_subscribed_to_any(names):
                group.looked_at_epoch = -1
