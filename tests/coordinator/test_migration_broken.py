"""Groups that are upgraded while what their members said does not fit."""

from __future__ import annotations

import pytest

from ottla.errors import ErrorCode
from tests.coordinator.consumers import Consumer, describe
from tests.coordinator.test_migration import ClassicConsumer, classic_group, converge, encoded
from tests.coordinator.world import World


@pytest.fixture
def world() -> World:
    return World()


def test_assigned_partitions_that_do_not_exist_are_nobody_s(world: World) -> None:
    """The topic was deleted and made anew with fewer; every partition there is has an owner all the same."""
    members = classic_group(world)
    world.topics.create("t", 3)
    world.coordinator.on_topics_changed({"t"}, created=True)
    first, second = world.classic().members.values()
    first.assignment = encoded(world, {"t": [0, 2, 7]})
    second.assignment = encoded(world, {"t": [-1, 1, 3]})
    new = Consumer(world, "new", "t")
    assert new.join() is ErrorCode.NONE
    converge(world, [new], members)
    assert sorted([*new.owned.values(), *(list(member.owned["t"]) for member in members)]) == [[0], [1], [2]]


@pytest.mark.parametrize("known", [("rr", "range"), ("rr",)])
def test_a_member_that_does_not_know_the_running_protocol_is_taken_along(world: World, known: tuple[str, ...]) -> None:
    """A rebalance to another protocol is under way when the group is upgraded."""
    world.topics.create("t", 4)
    old = ClassicConsumer(world, "old", "t")
    said = (("range", old.subscription()), ("rr", old.subscription()))
    ids = [world.join(client=name, version=3, protocols=said, end_turn=True) for name in "ab"]
    world.wait(world.settings.initial_rebalance_delay_ms * 3)
    leader = ids[0].response.member_id
    world.sync(leader, 1, {box.response.member_id: encoded(world, {"t": [index]}) for index, box in enumerate(ids)})
    assert world.classic().protocol == "range"
    late = world.join(client="c", version=3, protocols=tuple((name, old.subscription()) for name in known))
    assert not late.answered
    assert Consumer(world, "new", "t").join() is ErrorCode.NONE
    assert late.code is ErrorCode.REBALANCE_IN_PROGRESS
    (group,) = describe(world, "g")
    assert [member.subscribed_topic_names for member in group.members] == [["t"]] * 4
