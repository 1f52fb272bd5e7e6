"""The short way of a heartbeat that says nothing new: who may take it, and that the whole way decides the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.consumer.member import ClassicProtocols
from ottla.coordinator.group.consumer.quiet import quiet_step
from ottla.coordinator.group.consumer.state import MemberState
from ottla.errors import ErrorCode
from ottla.messages import ConsumerGroupHeartbeatRequest
from tests.coordinator.both_ways import Seen, both_ways
from tests.coordinator.consumers import Consumer, beat, settle
from tests.coordinator.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def seen() -> Iterator[Seen]:
    with both_ways() as counted:
        yield counted


@pytest.fixture
def world(seen: Seen) -> World:
    return World()


@pytest.fixture
def members(world: World) -> list[Consumer]:
    """Four that are settled, with a partition each."""
    world.topics.create("t", 4)
    members = [Consumer(world, name, "t") for name in ("m", "m1", "m2", "m3")]
    for each in members:
        assert each.join() is ErrorCode.NONE
    settle(world, *members)
    return members


@pytest.fixture
def member(members: list[Consumer]) -> Consumer:
    return members[0]


def test_nothing_is_written_when_nothing_is_new(world: World, member: Consumer, seen: Seen) -> None:
    before, written = seen.unchanged, world.coordinator.status.appended_records
    assert member.beat() is ErrorCode.NONE
    assert (seen.unchanged, world.coordinator.status.appended_records) == (before + 1, written)


def test_who_keeps_what_it_has_goes_to_the_new_epoch_the_short_way(world: World, member: Consumer, seen: Seen) -> None:
    """There is nothing for a fifth, and nobody gives up anything."""
    taken, owned, epoch = seen.next_epoch, dict(member.owned), member.epoch
    Consumer(world, "last", "t").join()
    world.wait(1_000)
    assert member.beat() is ErrorCode.NONE
    assert (seen.next_epoch, member.epoch, member.owned) == (taken + 1, epoch + 1, owned)


def test_a_session_goes_on_the_short_way(world: World, member: Consumer, seen: Seen) -> None:
    """45 seconds without a word end it; not 80 with one in between."""
    short = seen.unchanged + seen.next_epoch
    for _ in range(4):
        world.wait(40_000)
        assert member.beat() is ErrorCode.NONE
    assert seen.unchanged + seen.next_epoch > short
    world.wait(46_000)
    assert member.beat() is not ErrorCode.NONE


@pytest.mark.parametrize(
    "said",
    [
        {"topics": ["t"]},
        {"topics": ["t", "u"]},
        {"pattern": "t.*"},
        {"pattern": ""},
        {"rack": "r"},
        {"assignor": "range"},
        {"rebalance_ms": 1_000},
        {"instance": "i"},
        {"client": "another"},
    ],
)
def test_who_says_something_goes_the_whole_way(
    world: World, member: Consumer, seen: Seen, said: dict[str, Any]
) -> None:
    short, whole = (seen.unchanged, seen.next_epoch), seen.whole
    beat(world, "m", member.epoch, **said)
    assert (seen.unchanged, seen.next_epoch) == short
    assert seen.whole == whole + 1


def test_an_old_epoch_goes_the_whole_way(world: World, member: Consumer, seen: Seen) -> None:
    """The whole way says why it is refused."""
    short = (seen.unchanged, seen.next_epoch)
    assert beat(world, "m", member.epoch + 1).code is ErrorCode.FENCED_MEMBER_EPOCH
    assert beat(world, "nobody", member.epoch).code is ErrorCode.UNKNOWN_MEMBER_ID
    assert (seen.unchanged, seen.next_epoch) == short


@pytest.mark.parametrize("change", ["grows", "goes"])
def test_a_change_of_topics_is_looked_at_first(world: World, member: Consumer, seen: Seen, change: str) -> None:
    short = (seen.unchanged, seen.next_epoch)
    if change == "grows":
        world.topics.grow("t", 8)
    else:
        world.topics.delete("t")
    world.coordinator.on_topics_changed({"t"}, created=False)
    world.wait(1_000)
    whole = seen.whole
    assert member.beat() is ErrorCode.NONE
    assert (seen.unchanged, seen.next_epoch, seen.whole) == (*short, whole + 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"classic": ClassicProtocols(45_000, (("range", b""),))},
        {"client_host": "/elsewhere"},
        {"revoking": {b"t" * 16: {0: 1}}},
        {"state": MemberState.UNRELEASED_PARTITIONS},
        {"pattern": "t.*"},
    ],
)
def test_only_a_settled_member_that_is_what_it_was_goes_it(
    world: World, member: Consumer, changed: dict[str, Any]
) -> None:
    """A target it has reached has to be there; what it is comes from elsewhere."""
    group = world.machine().groups.get("g")
    assert isinstance(group, ConsumerGroup)
    Consumer(world, "last", "t").join()
    context = world.context("beat", 1)
    request = ConsumerGroupHeartbeatRequest(group_id="g", member_id="m", member_epoch=member.epoch)
    known = group.member("m")
    assert quiet_step(group, context, request, world.topics) is not None
    if "pattern" in changed:
        group.pattern_subscribers["t.*"] += 1
    group.members.set("m", replace(known, **changed))
    assert quiet_step(group, context, request, world.topics) is None
