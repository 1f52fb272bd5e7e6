"""Expired offsets of many groups."""

from __future__ import annotations

from ottla.coordinator.group.machine import EXPIRED_PER_TURN
from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode
from tests.coordinator.world import World

GROUPS = 20
OFFSETS = EXPIRED_PER_TURN // 2


def test_who_asks_does_not_wait_for_all_to_expire() -> None:
    """A part of the groups ends in a turn; requests are served in between, also those that make a group anew."""
    world = World(GroupSettings(offsets_retention_ms=1_000, offsets_retention_check_interval_ms=60_000))
    names = [f"g{index}" for index in range(GROUPS)]
    for name in names:
        world.commit({("t", partition): 1 for partition in range(OFFSETS)}, group=name)
    world.wait(59_999)
    world.clock.advance(1)
    left = []
    while (next_ms := world.deadlines.next_deadline_ms) is not None and next_ms <= world.clock.monotonic_ms():
        for callback in world.deadlines.due(world.clock.monotonic_ms()):
            callback()
        world.turn()
        left.append(len(world.list_groups().response.groups))
        if len(left) == 1:
            box = world.commit({("t", 0): 7}, group=names[-1])
            assert box.response.topics[0].partitions[0].error_code == ErrorCode.NONE
    assert left == [*range(GROUPS - 2, 1, -2), 1]
    assert world.fetch(None, group=names[-1]).response.topics[0].partitions[0].committed_offset == 7
    assert all(not world.machine().offsets.of_group(name) for name in names[:-1])
