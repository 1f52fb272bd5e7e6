"""The groups of a shard, of both protocols under one roof: a group id names one group at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.consumer.records import group_tombstones
from ottla.coordinator.group.records import group_tombstone
from ottla.coordinator.timeline import TimelineDict

if TYPE_CHECKING:
    from ottla.coordinator.shard import CoordinatorRecord

AnyGroup = ClassicGroup | ConsumerGroup
Groups = TimelineDict[str, AnyGroup]


def classic_group(groups: Groups, group_id: str) -> ClassicGroup | None:
    """The group of that id, if it is one of the classic protocol."""
    group = groups.get(group_id)
    return group if isinstance(group, ClassicGroup) else None


def tombstones(group: AnyGroup) -> list[CoordinatorRecord]:
    """The end of the group itself; what it has committed ends separately."""
    return [group_tombstone(group.group_id)] if isinstance(group, ClassicGroup) else group_tombstones(group)
