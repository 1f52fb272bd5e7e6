"""What the coordinator writes, in the versions Apache Kafka 4.3 writes, with the codec a broker has."""

from __future__ import annotations

from collections import deque

import pytest

from ottla import _core
from ottla.coordinator.group.offsets import CommittedOffset
from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.shard import Result
from ottla.errors import ErrorCode
from ottla.messages import GroupMetadataKey, GroupMetadataValue
from tests.coordinator.world import World

OFFSET, GROUP = b"\0\1", b"\0\2"


@pytest.fixture
def world() -> World:
    """A coordinator with the real codec."""
    return World(codec=_core.Codec())


def versions(world: World) -> list[tuple[bytes, bytes | None]]:
    """Of each record in the log the type of the key and the version of the value: the first two bytes of each."""
    return [((key or b"")[:2], None if value is None else value[:2]) for _, _, key, value in world.journal().records]


def test_versions_are_those_of_kafka(world: World) -> None:
    """Offsets 4, with an explicit end 1, groups 3; tombstones have no value."""
    world.commit({("t", 0): 1})
    world.commit({("t", 0): 2}, version=4, retention_ms=1000)
    assert versions(world) == [(OFFSET, b"\0\4"), (OFFSET, b"\0\1")]
    world.delete_groups("g")
    assert versions(world)[2:] == [(OFFSET, None), (GROUP, None)]
    members, _ = world.stable_group(1)
    world.leave((members[0], None))
    assert versions(world)[4:] == [(GROUP, b"\0\3")] * 3


def test_what_a_commit_says_is_in_its_record(world: World) -> None:
    """Topic id, metadata and, in version 1, the end come back from the log."""
    world.commit({("t", 0): 1}, topic_id=b"i" * 16, metadata="said")
    world.commit({("t", 1): 2}, version=4, retention_ms=5000, metadata="old")
    at_ms = world.clock.now_ms()
    world.start()
    assert world.machine().offsets.of_group("g") == [
        (("t", 0), CommittedOffset(1, -1, "said", at_ms, -1, b"i" * 16, 0)),
        (("t", 1), CommittedOffset(2, -1, "old", at_ms, at_ms + 5000, bytes(16), 1)),
    ]


def test_static_members_survive_the_coordinator(world: World) -> None:
    """Instance, time-outs and place: after a restart it is fenced, taken back and removed by its instance as before."""
    joined = world.join(instance="one", session_ms=7_000, rebalance_ms=30_000, client="c")
    world.wait(9_000)
    member_id = joined.response.member_id
    assert world.sync(member_id, 1, {member_id: b"all"}).code is ErrorCode.NONE
    world.start()
    group = world.classic()
    (member,) = group.members.values()
    assert (member.instance_id, member.session_timeout_ms, member.rebalance_timeout_ms) == ("one", 7_000, 30_000)
    assert (member.client_id, member.client_host) == ("c", "/127.0.0.1")
    assert world.heartbeat(member_id, 1, instance="one").code is ErrorCode.NONE
    assert world.heartbeat("stranger", 1, instance="one").code is ErrorCode.FENCED_INSTANCE_ID
    back = world.join(instance="one")
    assert (back.code, back.response.generation_id, back.response.skip_assignment) == (ErrorCode.NONE, 1, True)
    assert world.sync(back.response.member_id, 1).response.assignment == b"all"
    world.start()
    assert world.heartbeat(member_id, 1, instance="one").code is ErrorCode.FENCED_INSTANCE_ID
    assert world.heartbeat(back.response.member_id, 1, instance="one").code is ErrorCode.NONE
    assert world.leave(("", "one")).response.members[0].error_code == ErrorCode.NONE


def test_how_long_a_group_has_been_empty_survives_the_coordinator() -> None:
    """Offsets expire by the time the group became empty, which is in its record; not by their commit."""
    world = World(GroupSettings(offsets_retention_ms=60_000), codec=_core.Codec())
    members, generation = world.stable_group(1)
    world.commit({("t", 0): 1}, member_id=members[0], generation=generation)
    for _ in range(10):
        world.wait(5_000)
        world.heartbeat(members[0], generation)
    world.leave((members[0], None))
    (empty,) = [value for key, value in world.records()[-1:] if isinstance(key, GroupMetadataKey)]
    assert isinstance(empty, GroupMetadataValue)
    assert empty.current_state_timestamp == world.clock.now_ms()
    world.start()
    world.wait(30_000)
    offsets = world.machine().offsets

    def expire() -> Result:
        return offsets.expire(deque(world.machine().groups), 100)

    assert expire().records == []
    world.wait(30_000)
    assert len(expire().records) == 2
