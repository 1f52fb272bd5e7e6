"""Members that go, when the log does not take it."""

from __future__ import annotations

import pytest

from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode
from tests.coordinator.consumers import Consumer, describe, settle
from tests.coordinator.test_migration import ClassicConsumer
from tests.coordinator.world import World

# The end of twelve members with ids of fifty characters takes more, any other write of theirs less.
BATCH_BYTES = 4_000


def members_of(world: World) -> set[str]:
    (group,) = describe(world, "g")
    return {member.member_id for member in group.members}


def test_who_could_not_be_fenced_is_fenced_later(caplog: pytest.LogCaptureFixture) -> None:
    """More members are taken out at a time than a batch holds: none is, but their sessions still end."""
    world = World(GroupSettings(batch_bytes_max=BATCH_BYTES))
    world.topics.create("t", 4)
    consumers = [Consumer(world, f"{index:050}", "t") for index in range(12)]
    for consumer in consumers:
        assert consumer.join() is ErrorCode.NONE
    stays, *others = consumers
    box = world.leave(*((consumer.member_id, None) for consumer in others))
    assert box.code is ErrorCode.UNKNOWN_SERVER_ERROR
    assert len(members_of(world)) == len(consumers)
    assert "larger than" in caplog.text
    for _ in range(10):
        world.wait(5_000)
        assert stays.beat() is ErrorCode.NONE
    assert members_of(world) == {stays.member_id}
    settle(world, stays)
    assert stays.count == 4


def test_who_does_not_give_up_is_fenced_although_the_log_did_not_take_it_at_first() -> None:
    """The rebalance time-out begins again, however often the member is heard of."""
    world = World(GroupSettings(batch_bytes_max=BATCH_BYTES))
    world.topics.create("t", 4)
    consumers = [Consumer(world, f"{index:050}", "t") for index in range(12)]
    holder, *others = consumers
    assert holder.join() is ErrorCode.NONE
    everything = holder.owned
    for consumer in others:
        assert consumer.join() is ErrorCode.NONE
    world.wait(1_000)
    holder.beat()
    assert len(holder.owned[next(iter(everything))]) < 4
    holder.owned = everything
    world.leave(*((consumer.member_id, None) for consumer in consumers))
    assert len(members_of(world)) == len(consumers)
    for _ in range(13):
        world.wait(5_000)
        holder.beat()
    assert holder.member_id not in members_of(world)


def test_a_group_too_large_to_become_classic_goes_on_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """All its members in one record are more than a batch holds: the last consumer is fenced all the same."""
    world = World(GroupSettings(batch_bytes_max=6_000))
    world.topics.create("t", 4)
    consumer = Consumer(world, "c", "t")
    assert consumer.join() is ErrorCode.NONE
    classic = [ClassicConsumer(world, f"{index:0400}", "t") for index in range(8)]
    for member in classic:
        assert member.join().code is ErrorCode.NONE
    assert consumer.leave() is ErrorCode.NONE
    assert members_of(world) == {member.member_id for member in classic}
    assert "stays a consumer group" in caplog.text
