"""Groups between the protocols: up when a member of the new one joins, down when the last of it leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode
from ottla.messages import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition,
)
from tests.coordinator.consumers import Consumer, describe, settle
from tests.coordinator.world import Box, World

Owned = dict[str, list[int]]
VERSION = b"\0\3"


class ClassicConsumer:
    """A client of the classic protocol that gives up only what it is told to (cooperative)."""

    def __init__(self, world: World, name: str, *topics: str, instance: str | None = None) -> None:
        self.world, self.name, self.topics, self.instance = world, name, topics, instance
        self.member_id = ""
        self.generation = -1
        self.owned: Owned = {}

    def subscription(self) -> bytes:
        said = ConsumerProtocolSubscription(
            topics=list(self.topics),
            owned_partitions=[
                ConsumerProtocolSubscriptionTopicPartition(topic=topic, partitions=partitions)
                for topic, partitions in self.owned.items()
            ],
            generation_id=self.generation,
        )
        return VERSION + bytes(self.world.codec.encode_struct("ConsumerProtocolSubscription", 3, said))

    def ask_join(self) -> Box:
        return self.world.join(
            self.member_id,
            client=self.name,
            instance=self.instance,
            protocols=(("cooperative-sticky", self.subscription()), ("range", self.subscription())),
        )

    def join(self) -> Box:
        """Join, under the id it is given if it is asked to come back with one."""
        box = self.ask_join()
        if box.answered and box.code is ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = box.response.member_id
            box = self.ask_join()
        return box

    def joined(self, box: Box) -> None:
        assert box.code is ErrorCode.NONE, box.code
        self.member_id, self.generation = box.response.member_id, box.response.generation_id

    def sync(self, assignment: Mapping[str, Owned] | None = None) -> ErrorCode:
        """Send SyncGroup, and take what it brings."""
        sent = {member_id: encoded(self.world, owned) for member_id, owned in (assignment or {}).items()}
        box = self.world.sync(self.member_id, self.generation, sent)
        if box.answered:
            self.synced(box)
        return box.code if box.answered else ErrorCode.NONE

    def synced(self, box: Box) -> None:
        if box.code is ErrorCode.NONE:
            body = box.response.assignment[2:]
            read = self.world.codec.decode_struct("ConsumerProtocolAssignment", 3, body)
            self.owned = {said.topic: sorted(said.partitions) for said in read.assigned_partitions}

    def heartbeat(self) -> ErrorCode:
        return self.world.heartbeat(self.member_id, self.generation, instance=self.instance).code

    def beat(self) -> ErrorCode:
        """Heartbeat, and rejoin if there is something new."""
        code = self.heartbeat()
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            self.joined(self.join())
            code = self.sync()
        return code

    @property
    def count(self) -> int:
        return sum(map(len, self.owned.values()))


def encoded(world: World, owned: Owned, user_data: bytes | None = None) -> bytes:
    said = ConsumerProtocolAssignment(
        assigned_partitions=[
            ConsumerProtocolAssignmentTopicPartition(topic=topic, partitions=partitions)
            for topic, partitions in owned.items()
        ],
        user_data=user_data,
    )
    return VERSION + bytes(world.codec.encode_struct("ConsumerProtocolAssignment", 3, said))


def classic_group(world: World, names: Collection[str] = ("a", "b")) -> list[ClassicConsumer]:
    """A stable group whose members share topic "t" of four partitions."""
    if world.topics.named("t") is None:
        world.topics.create("t", 4)
    members = [ClassicConsumer(world, name, "t") for name in names]
    boxes = [member.join() for member in members]
    world.wait(world.settings.initial_rebalance_delay_ms * 3)
    for member, box in zip(members, boxes, strict=True):
        member.joined(box)
    leader = next(member for member in members if member.member_id == boxes[0].response.leader)
    others = [member for member in members if member is not leader]
    parked = [(member, world.sync(member.member_id, member.generation)) for member in others]
    parts = {member.member_id: {"t": [index, index + 2]} for index, member in enumerate(members)}
    leader.sync(parts)
    for member, box in parked:
        member.synced(box)
    return members


def converge(world: World, consumers: Collection[Consumer], classics: Collection[ClassicConsumer]) -> None:
    """Heartbeats of all until nothing changes."""

    def seen() -> list[object]:
        news = [(consumer.epoch, consumer.owned) for consumer in consumers]
        return [*news, *((member.generation, member.owned) for member in classics)]

    for _ in range(20):
        before = seen()
        world.wait(1_000)
        for consumer in consumers:
            assert consumer.beat() is ErrorCode.NONE
        for member in classics:
            assert member.beat() is ErrorCode.NONE
        if before == seen():
            return
    raise AssertionError("not settled")


@pytest.fixture
def world() -> World:
    return World()


def test_a_classic_group_is_upgraded_and_nothing_moves_that_need_not(world: World) -> None:
    """The classic members keep theirs until they are told, one by one."""
    members = classic_group(world)
    before = [member.owned for member in members]
    new = Consumer(world, "new", "t")
    assert new.join() is ErrorCode.NONE
    (group,) = describe(world, "g")
    assert (group.group_epoch, [member.member_type for member in group.members]) == (2, [0, 0, 1])
    assert [member.owned for member in members] == before
    converge(world, [new], members)
    assert sorted([new.count, *(member.count for member in members)]) == [1, 1, 2]
    for owned, member in zip(before, members, strict=True):
        assert set(member.owned["t"]) <= set(owned["t"])
    assert [line.group_type for line in world.list_groups().response.groups] == ["consumer"]


def test_an_upgraded_group_is_what_it_was_after_a_restart(world: World) -> None:
    """Sessions of classic members begin anew, too."""
    members = classic_group(world)
    new = Consumer(world, "new", "t")
    new.join()
    converge(world, [new], members)
    (described,) = describe(world, "g")
    world.start()
    (again,) = describe(world, "g")
    for group in (described, again):
        # A start takes them in the order in which the log last spoke of them.
        group.members.sort(key=lambda member: member.member_id)
    assert again == described
    world.wait(5_000)
    converge(world, [new], members)
    world.wait(45_000)
    assert describe(world, "g")[0].members == []


def test_joins_that_wait_are_sent_back_when_the_group_is_upgraded(world: World) -> None:
    """A rebalance under way is over; its members come again and are served."""
    members = classic_group(world)
    third = ClassicConsumer(world, "c", "t")
    waiting = third.join()
    assert not waiting.answered
    new = Consumer(world, "new", "t")
    assert new.join() is ErrorCode.NONE
    assert waiting.code is ErrorCode.REBALANCE_IN_PROGRESS
    # It was a member already, with nothing.
    third.member_id = waiting.response.member_id
    third.joined(third.join())
    assert third.sync() is ErrorCode.NONE
    converge(world, [new], [*members, third])
    assert [new.count, third.count, *(member.count for member in members)] == [1, 1, 1, 1]


def test_the_last_member_of_the_new_protocol_takes_it_along(world: World) -> None:
    """The classic members rebalance among themselves, from the epoch the group had."""
    members = classic_group(world)
    new = Consumer(world, "new", "t")
    new.join()
    converge(world, [new], members)
    assert new.leave() is ErrorCode.NONE
    group = world.classic()
    assert group.generation == describe_epoch(world)
    assert [line.group_type for line in world.list_groups().response.groups] == ["classic"]
    assert [member.heartbeat() for member in members] == [ErrorCode.REBALANCE_IN_PROGRESS] * 2
    boxes = [member.join() for member in members]
    for member, box in zip(members, boxes, strict=True):
        member.joined(box)
    assert len({member.generation for member in members}) == 1
    leader = next(member for member in members if member.member_id == boxes[0].response.leader)
    (other,) = (member for member in members if member is not leader)
    parked = world.sync(other.member_id, other.generation)
    assert leader.sync({leader.member_id: {"t": [0, 1]}, other.member_id: {"t": [2, 3]}}) is ErrorCode.NONE
    other.synced(parked)
    assert [leader.owned, other.owned] == [{"t": [0, 1]}, {"t": [2, 3]}]


def describe_epoch(world: World) -> int:
    return world.classic().generation


def test_a_downgraded_group_has_its_members_after_a_restart(world: World) -> None:
    """Nothing of the consumer group is left in the log's sum."""
    members = classic_group(world)
    new = Consumer(world, "new", "t")
    new.join()
    converge(world, [new], members)
    new.leave()
    world.start()
    assert {member.member_id for member in members} == world.classic().members.keys()


def test_a_static_member_that_goes_back_takes_its_target_along(world: World) -> None:
    """Nothing else has changed, so nobody rebalances."""
    members = classic_group(world, ("a",))
    new = Consumer(world, "new", "t", instance="i")
    assert new.join() is ErrorCode.NONE
    converge(world, [new], members)
    new.leave(-2)
    back = ClassicConsumer(world, "back", "t", instance="i")
    back.joined(back.join())
    assert isinstance(world.machine().groups.get("g"), type(world.classic()))
    assert back.generation == members[0].generation
    assert back.sync() is ErrorCode.NONE
    assert back.count == 2
    assert [members[0].heartbeat(), back.heartbeat()] == [ErrorCode.NONE] * 2


def test_a_static_classic_member_comes_back_with_the_new_protocol(world: World) -> None:
    """A rolling upgrade of static members moves nothing."""
    world.topics.create("t", 4)
    classics = [ClassicConsumer(world, name, "t", instance=f"i-{name}") for name in "ab"]
    boxes = [member.join() for member in classics]
    world.wait(world.settings.initial_rebalance_delay_ms * 3)
    for member, box in zip(classics, boxes, strict=True):
        member.joined(box)
    leader, other = classics
    parked = world.sync(other.member_id, other.generation)
    leader.sync({leader.member_id: {"t": [0, 1]}, other.member_id: {"t": [2, 3]}})
    other.synced(parked)
    first = Consumer(world, "first", "t", instance="i-a")
    assert first.join() is ErrorCode.NONE
    settle(world, first)
    assert [sorted(first.owned.values()), other.heartbeat()] == [[[0, 1]], ErrorCode.NONE]
    second = Consumer(world, "second", "t", instance="i-b")
    assert second.join() is ErrorCode.NONE
    settle(world, first, second)
    assert [list(first.owned.values()), list(second.owned.values())] == [[[0, 1]], [[2, 3]]]


@pytest.mark.parametrize("policy", ["disabled", "downgrade"])
def test_a_policy_can_forbid_the_way_up(policy: str) -> None:
    """The classic group goes on as if nothing had happened."""
    world = World(GroupSettings(consumer_migration_policy=policy))
    members = classic_group(world)
    assert Consumer(world, "new", "t").join() is ErrorCode.GROUP_ID_NOT_FOUND
    assert [member.heartbeat() for member in members] == [ErrorCode.NONE] * 2


@pytest.mark.parametrize("policy", ["disabled", "upgrade"])
def test_a_policy_can_forbid_the_way_down(policy: str) -> None:
    """The group stays a consumer group of classic members; with migration off nobody can join those."""
    world = World()
    members = classic_group(world)
    new = Consumer(world, "new", "t")
    new.join()
    converge(world, [new], members)
    world.settings = GroupSettings(consumer_migration_policy=policy)
    world.start()
    assert new.leave() is ErrorCode.NONE
    assert isinstance(world.machine().groups.get("g"), ConsumerGroup)
    refused = ClassicConsumer(world, "late", "t").join().code
    assert refused is (ErrorCode.INCONSISTENT_GROUP_PROTOCOL if policy == "disabled" else ErrorCode.NONE)


def test_what_cannot_be_read_cannot_be_upgraded(world: World) -> None:
    """Assignors with data of their own, assignments that share a partition, bytes that are none of it."""
    members = classic_group(world)
    group = world.classic()
    kept = [member.assignment for member in group.members.values()]
    for bad in (encoded(world, {"t": [0]}, b"data"), encoded(world, {"t": [1]}), b"\0", b"\0\0garbage"):
        first = next(iter(group.members.values()))
        first.assignment = bad
        assert Consumer(world, "new", "t").join() is ErrorCode.GROUP_ID_NOT_FOUND
        first.assignment = kept[0]
    assert [member.heartbeat() for member in members] == [ErrorCode.NONE] * 2


def test_empty_groups_change_their_protocol_freely(world: World) -> None:
    """Whatever the policy; what was committed stays."""
    world.topics.create("t", 1)
    world.commit({("t", 0): 7})
    consumer = Consumer(world, "m", "t")
    assert consumer.join() is ErrorCode.NONE
    assert world.fetched() == {("t", 0): 7}
    consumer.leave()
    classic_group(world, ("a",))
    assert world.fetched() == {("t", 0): 7}
    world.leave((next(iter(world.classic().members)), None))
    assert consumer.join() is ErrorCode.NONE
    world.start()
    assert isinstance(world.machine().groups.get("g"), ConsumerGroup)
    assert world.fetched() == {("t", 0): 7}


def test_a_group_that_all_have_left_in_its_first_round_changes_its_protocol(world: World) -> None:
    """The round goes on without members until its time is over."""
    world.topics.create("t", 1)
    first = ClassicConsumer(world, "a", "t")
    first.join()
    world.leave((first.member_id, None))
    assert not world.classic().members
    consumer = Consumer(world, "m", "t")
    assert consumer.join() is ErrorCode.NONE
    assert consumer.count == 1


def test_a_classic_member_that_does_not_rejoin_is_fenced(world: World) -> None:
    """Its heartbeats say that it lives; its rebalance time-out says that it does not listen."""
    members = classic_group(world)
    new = Consumer(world, "new", "t")
    new.join()
    deaf, other = members
    for _ in range(13):
        world.wait(5_000)
        assert new.beat() is ErrorCode.NONE
        assert other.beat() is ErrorCode.NONE
        deaf.heartbeat()
    assert deaf.heartbeat() is ErrorCode.UNKNOWN_MEMBER_ID
    converge(world, [new], [other])
    assert sorted([new.count, other.count]) == [2, 2]


def test_what_classic_members_may_not_say(world: World) -> None:
    """Codes of the classic protocol, for a group of the other one."""
    members = classic_group(world)
    new = Consumer(world, "new", "t")
    new.join()
    first = members[0]
    assert world.heartbeat(first.member_id, 99).code is ErrorCode.ILLEGAL_GENERATION
    assert world.heartbeat("nobody", 1).code is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.heartbeat("new", new.epoch).code is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.sync(first.member_id, 99).code is ErrorCode.ILLEGAL_GENERATION
    wrong = world.sync(first.member_id, first.generation, protocol="roundrobin")
    assert wrong.code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    other = world.join(protocols=(("roundrobin", first.subscription()),))
    assert other.code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    gone = world.leave((first.member_id, None), ("nobody", None)).response
    assert [answer.error_code for answer in gone.members] == [ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID]


def test_a_restart_right_after_the_way_down_leaves_no_partition_behind(world: World) -> None:
    """The rebalance that was begun is not in the log; the members hear of it all the same."""
    members = classic_group(world)
    new = Consumer(world, "new", "t")
    new.join()
    converge(world, [new], members)
    new.leave()
    world.start()
    assert [member.heartbeat() for member in members] == [ErrorCode.ILLEGAL_GENERATION] * 2
    generation = world.classic().generation
    boxes = [member.join() for member in members]
    for member, box in zip(members, boxes, strict=True):
        member.joined(box)
        assert member.generation > generation
