"""Consumer groups of the new protocol: members come, converge and go."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.coordinator.group.consumer.member import ConsumerMember
from ottla.coordinator.group.consumer.reconcile import reconcile
from ottla.coordinator.group.consumer.state import MemberState
from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode, StorageError
from ottla.messages import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupMemberMetadataKey,
)
from tests.coordinator.consumers import Consumer, assigned, beat, commit, describe, join, settle
from tests.coordinator.world import World


@pytest.fixture
def world() -> World:
    return World()


def consumers(world: World, count: int, *topics: str) -> list[Consumer]:
    """So many that have joined and settled."""
    found = [Consumer(world, f"m{index}", *topics) for index in range(count)]
    for consumer in found:
        assert consumer.join() is ErrorCode.NONE
    settle(world, *found)
    return found


def test_the_first_member_gets_everything_at_once(world: World) -> None:
    """One heartbeat makes the group, computes its target and hands it out."""
    topic_id = world.topics.create("t", 3)
    box = join(world, "m", "t")
    assert box.code is ErrorCode.NONE
    assert (box.response.member_id, box.response.member_epoch) == ("m", 2)
    assert box.response.heartbeat_interval_ms == 5000
    assert assigned(box.response) == {topic_id: [0, 1, 2]}


def test_a_partition_changes_hands_only_when_it_was_given_up(world: World) -> None:
    """The second member waits until the first one has confirmed."""
    topic_id = world.topics.create("t", 2)
    first = Consumer(world, "a", "t")
    first.join()
    world.wait(1_000)
    second = join(world, "b", "t")
    assert (second.response.member_epoch, assigned(second.response)) == (3, {})
    told = beat(world, "a", first.epoch, owned=first.owned)
    # It hears what is left to it, at its old epoch, and nobody has the other one.
    assert (told.response.member_epoch, assigned(told.response)) == (2, {topic_id: [0]})
    assert assigned(beat(world, "b", 3, owned={}).response) is None
    # Saying that it still owns both changes nothing.
    assert beat(world, "a", 2, owned={topic_id: [0, 1]}).response.member_epoch == 2
    assert assigned(beat(world, "b", 3, owned={}).response) is None
    assert beat(world, "a", 2, owned={topic_id: [0]}).response.member_epoch == 3
    assert assigned(beat(world, "b", 3, owned={}).response) == {topic_id: [1]}


def test_members_share_evenly_and_a_leaver_s_part_goes_to_the_others(world: World) -> None:
    """Ten partitions, three members, then two."""
    world.topics.create("t", 10)
    members = consumers(world, 3, "t")
    assert sorted(member.count for member in members) == [3, 3, 4]
    assert members[0].leave() is ErrorCode.NONE
    settle(world, *members[1:])
    assert [member.count for member in members[1:]] == [5, 5]


@pytest.mark.parametrize(
    "said",
    [
        {"client": "another"},
        {"rack": "r"},
        {"rebalance_ms": 9_000},
        {"topics": ["u"]},
        {"pattern": "u.*"},
        {"assignor": "range"},
    ],
    ids=lambda said: next(iter(said)),
)
def test_whatever_a_member_says_alone_is_written_down_once(world: World, said: dict[str, Any]) -> None:
    """One record of the member, and none when it says the same again."""
    world.topics.create("t", 1)
    join(world, "m", "t")

    def written() -> int:
        return sum(isinstance(key, ConsumerGroupMemberMetadataKey) for key, _ in world.records())

    before = written()
    epoch = beat(world, "m", 2, **said).response.member_epoch
    assert written() == before + 1
    assert beat(world, "m", epoch, **said).code is ErrorCode.NONE
    assert written() == before + 1


def test_a_member_that_has_its_target_gives_up_what_it_does_not_subscribe_to(world: World) -> None:
    """The target of its next epoch still has the topic, since no other may be computed yet."""
    one, two = world.topics.create("t", 2), world.topics.create("u", 2)
    has = {one: {0: 2, 1: 2}, two: {0: 2, 1: 2}}
    member = ConsumerMember(member_id="m", epoch=2, topics=frozenset("t"), assigned=has)
    step = reconcile(
        member,
        target={one: (0, 1), two: (0, 1)},
        target_epoch=3,
        subscribed={one},
        subscription_changed=True,
        is_free=lambda _topic_id, _partition: False,
        owned=None,
    )
    assert (step.assigned, step.revoking) == ({one: {0: 2, 1: 2}}, {two: {0: 2, 1: 2}})
    assert (step.epoch, step.state) == (2, MemberState.UNREVOKED_PARTITIONS)


def test_a_lost_answer_is_repeated_with_the_epoch_before(world: World) -> None:
    """The member did not hear of its new epoch and says the old one: fine, unless it claims to own more."""
    topic_id = world.topics.create("t", 2)
    consumers(world, 1, "t")
    world.wait(1_000)
    join(world, "b", "t")
    assert beat(world, "m0", 2, owned={topic_id: [0]}).response.member_epoch == 3
    again = beat(world, "m0", 2, owned={topic_id: [0]})
    assert (again.code, again.response.member_epoch) == (ErrorCode.NONE, 3)
    assert beat(world, "m0", 2, owned={topic_id: [0, 1]}).code is ErrorCode.FENCED_MEMBER_EPOCH
    assert beat(world, "m0", 2).code is ErrorCode.FENCED_MEMBER_EPOCH
    assert beat(world, "m0", 9, owned={}).code is ErrorCode.FENCED_MEMBER_EPOCH
    assert beat(world, "m0", 1, owned={}).code is ErrorCode.FENCED_MEMBER_EPOCH


def test_a_member_may_name_a_topic_as_often_as_it_likes(world: World) -> None:
    """It owns what it says, wherever it says so: nobody else gets a partition that it has not given up."""
    topic_id = world.topics.create("t", 2)
    consumers(world, 1, "t")
    world.wait(1_000)
    join(world, "b", "t")
    assert assigned(beat(world, "m0", 2, owned={topic_id: [0, 1]}).response) == {topic_id: [0]}
    request = ConsumerGroupHeartbeatRequest(
        group_id="g",
        member_id="m0",
        member_epoch=2,
        topic_partitions=[
            ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=topic_id, partitions=[1]),
            ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=topic_id, partitions=[0]),
        ],
    )
    box = world._box("twice")
    world.coordinator.consumer_group_heartbeat(world.context("beat", 1), request, box)
    world.turn()
    assert box.response.member_epoch == 2
    assert assigned(beat(world, "b", 3, owned={}).response) is None


def test_a_silent_member_is_fenced_after_its_session(world: World) -> None:
    """Its partitions go to who is left; it is unknown when it comes back."""
    world.topics.create("t", 4)
    first, second = consumers(world, 2, "t")
    for _ in range(9):
        world.wait(5_000)
        assert second.beat() is ErrorCode.NONE
    settle(world, second)
    assert second.count == 4
    assert first.beat() is ErrorCode.UNKNOWN_MEMBER_ID
    assert first.join() is ErrorCode.NONE


def test_who_does_not_give_up_in_time_is_fenced(world: World) -> None:
    """Its heartbeats do not save it: the rebalance time-out counts."""
    world.topics.create("t", 4)
    holder = Consumer(world, "holder", "t")
    assert holder.take(join(world, "holder", "t", rebalance_ms=10_000)) is ErrorCode.NONE
    world.wait(1_000)
    waiting = Consumer(world, "waiting", "t")
    waiting.join()
    everything = holder.owned
    for _ in range(4):
        world.wait(3_000)
        assert beat(world, "holder", 2, owned=everything).code is ErrorCode.NONE
    world.wait(3_000)
    assert beat(world, "holder", 2, owned=everything).code is ErrorCode.UNKNOWN_MEMBER_ID
    settle(world, waiting)
    assert waiting.count == 4


def test_a_static_member_comes_back_to_what_it_had(world: World) -> None:
    """Away for now, its partitions stay with it; its next life gets them under a new id."""
    world.topics.create("t", 4)
    stays = Consumer(world, "stays", "t")
    static = Consumer(world, "one", "t", instance="i")
    stays.join()
    static.join()
    settle(world, stays, static)
    had, epoch = static.owned, stays.epoch
    assert static.leave(-2) is ErrorCode.NONE
    world.wait(20_000)
    assert stays.beat() is ErrorCode.NONE
    back = Consumer(world, "two", "t", instance="i")
    assert back.join() is ErrorCode.NONE
    assert back.owned == had
    settle(world, stays, back)
    assert (stays.epoch, back.owned) == (epoch, had)
    assert static.beat() is ErrorCode.FENCED_INSTANCE_ID


def test_an_instance_id_in_use_is_not_given_away(world: World) -> None:
    """Until its owner leaves or falls silent."""
    world.topics.create("t", 4)
    static = Consumer(world, "one", "t", instance="i")
    static.join()
    other = Consumer(world, "two", "t", instance="i")
    assert other.join() is ErrorCode.UNRELEASED_INSTANCE_ID
    assert beat(world, "three", 1, instance="nobody", owned={}).code is ErrorCode.UNKNOWN_MEMBER_ID
    world.wait(45_000)
    assert other.join() is ErrorCode.NONE


def test_the_epoch_grows_when_a_topic_grows_comes_or_goes(world: World) -> None:
    """Members hear of it with their next heartbeats."""
    world.topics.create("t", 2)
    (member,) = consumers(world, 1, "t", "later")
    world.topics.grow("t", 5)
    world.coordinator.on_topics_changed({"t"}, created=False)
    settle(world, member)
    assert member.count == 5
    world.topics.create("later", 2)
    world.coordinator.on_topics_changed({"later"}, created=True)
    settle(world, member)
    assert member.count == 7
    world.topics.delete("t")
    world.coordinator.on_topics_changed({"t"}, created=False)
    settle(world, member)
    assert member.count == 2
    again = world.topics.create("t", 1)
    world.coordinator.on_topics_changed({"t"}, created=True)
    settle(world, member)
    assert member.owned[again] == [0]
    world.topics.create("else", 1)
    world.coordinator.on_topics_changed({"else"}, created=True)
    epoch = member.epoch
    settle(world, member)
    assert member.epoch == epoch


def test_patterns_are_matched_after_the_heartbeat_that_brings_them(world: World) -> None:
    """A member with a new pattern gets its partitions with its second heartbeat, and those of new topics later."""
    a, b = world.topics.create("a-1", 1), world.topics.create("a-2", 1)
    world.topics.create("b-1", 1)
    box = join(world, "m", pattern="a-.*")
    assert (box.code, assigned(box.response)) == (ErrorCode.NONE, {})
    world.wait(1_000)
    second = beat(world, "m", box.response.member_epoch, owned={})
    assert assigned(second.response) == {a: [0], b: [0]}
    third_id = world.topics.create("a-3", 1)
    world.coordinator.on_topics_changed({"a-3"}, created=True)
    epoch = second.response.member_epoch
    assert assigned(beat(world, "m", epoch, owned={a: [0], b: [0]}).response) is None
    world.wait(10_001)
    # This one finds that they are old, the next one what they match.
    assert assigned(beat(world, "m", epoch, owned={a: [0], b: [0]}).response) is None
    assert assigned(beat(world, "m", epoch, owned={a: [0], b: [0]}).response) == {a: [0], b: [0], third_id: [0]}


def test_what_is_no_pattern_is_refused_with_the_reason(world: World) -> None:
    """And nothing is left behind."""
    box = join(world, "m", pattern="a(")
    assert box.code is ErrorCode.INVALID_REGULAR_EXPRESSION
    assert "a(" in box.response.error_message
    assert world.records() == []


def test_a_restart_changes_nothing_for_members(world: World) -> None:
    """Replay makes what was there; heartbeats go on where they were."""
    world.topics.create("t", 7)
    members = consumers(world, 3, "t")
    before = world.coordinator
    described = describe(world, "g")
    world.start()
    assert world.coordinator is not before
    assert describe(world, "g") == described
    epochs = [member.epoch for member in members]
    settle(world, *members)
    assert [member.epoch for member in members] == epochs


def test_a_member_of_the_log_has_a_session_after_a_restart(world: World) -> None:
    """Otherwise a member that died meanwhile would keep its partitions for ever."""
    world.topics.create("t", 2)
    consumers(world, 1, "t")
    world.start()
    world.wait(45_000)
    assert describe(world, "g")[0].members == []


def test_targets_are_computed_once_in_an_interval() -> None:
    """A hundred members that come at once cost one target, or two."""
    world = World(GroupSettings(consumer_assignment_interval_ms=1_000))
    world.topics.create("t", 100)
    members = [Consumer(world, f"m{index}", "t") for index in range(20)]
    for member in members:
        member.join()
    assert [member.epoch for member in members] == [2] * 20
    settle(world, *members, rounds=50)
    assert [member.count for member in members] == [5] * 20
    assert {member.epoch for member in members} == {21}


def test_the_group_s_own_settings_count_within_the_broker_s_bounds(world: World) -> None:
    """KIP-1005: session time-out and heartbeat interval of one group."""
    world.topics.create("t", 1)
    world.group_configs["g"] = {"consumer.heartbeat.interval.ms": 9_000, "consumer.session.timeout.ms": 999_000}
    assert join(world, "m", "t").response.heartbeat_interval_ms == 9_000
    world.wait(59_000)
    assert beat(world, "m", 2, owned={}).code is ErrorCode.NONE
    world.wait(60_000)
    assert beat(world, "m", 2, owned={}).code is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_full_group_takes_nobody() -> None:
    """Members of it may begin anew."""
    world = World(GroupSettings(consumer_group_size_max=1))
    world.topics.create("t", 1)
    assert join(world, "m", "t").code is ErrorCode.NONE
    assert join(world, "n", "t").code is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert join(world, "m", "t").code is ErrorCode.NONE


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"member_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"group": " "}, ErrorCode.INVALID_REQUEST),
        ({"instance": ""}, ErrorCode.INVALID_REQUEST),
        ({"rack": ""}, ErrorCode.INVALID_REQUEST),
        ({"rebalance_ms": -1}, ErrorCode.INVALID_REQUEST),
        ({"owned": None}, ErrorCode.INVALID_REQUEST),
        ({"owned": {bytes(16): [0]}}, ErrorCode.INVALID_REQUEST),
        ({"topics": None}, ErrorCode.INVALID_REQUEST),
        ({"epoch": -3}, ErrorCode.INVALID_REQUEST),
        ({"epoch": -2}, ErrorCode.INVALID_REQUEST),
        ({"assignor": "sticky"}, ErrorCode.UNSUPPORTED_ASSIGNOR),
        ({"epoch": 1}, ErrorCode.GROUP_ID_NOT_FOUND),
        ({"epoch": -1}, ErrorCode.GROUP_ID_NOT_FOUND),
    ],
)
def test_what_a_request_must_say(world: World, fields: dict[str, object], code: ErrorCode) -> None:
    """Refused with a sentence, before anything is looked at."""
    said: dict[str, object] = {"member_id": "m", "epoch": 0, "rebalance_ms": 1, "topics": ["t"], "owned": {}} | fields
    box = beat(world, said.pop("member_id"), said.pop("epoch"), **said)  # type: ignore[arg-type]
    assert box.code is code
    assert box.response.error_message
    assert world.records() == []


def test_old_clients_are_given_an_id(world: World) -> None:
    """Version 0 comes without one."""
    world.topics.create("t", 1)
    box = beat(world, "", 0, version=0, rebalance_ms=1, topics=["t"], owned={})
    assert len(box.response.member_id) == 22


def test_the_assignor_most_members_ask_for_decides(world: World) -> None:
    """Of equals, and if nobody asks, the first of the broker's."""
    ids = [world.topics.create(name, 3) for name in ("t", "u")]
    for member_id, assignor in (("a", "range"), ("b", "range"), ("c", "uniform")):
        join(world, member_id, "t", "u", assignor=assignor)
        world.wait(1_000)
    beat(world, "a", 2, owned={})
    group = describe(world, "g")[0]
    assert group.assignor_name == "range"
    targets = {
        member.member_id: {said.topic_id: said.partitions for said in member.target_assignment.topic_partitions}
        for member in group.members
    }
    assert targets == {name: {key: [index] for key in ids} for index, name in enumerate("abc")}


def test_failed_appends_take_nothing_but_the_heartbeat(world: World) -> None:
    """The shard is replayed; the member repeats itself and goes on."""
    world.topics.create("t", 4)
    (member,) = consumers(world, 1, "t")
    world.wait(1_000)
    world.journal().fail_with = StorageError("the disk is full")
    other = Consumer(world, "b", "t")
    assert other.join() is ErrorCode.NOT_COORDINATOR
    world.journal().fail_with = None
    world.wait(1_000)
    assert other.join() is ErrorCode.NONE
    settle(world, member, other)
    assert (member.count, other.count) == (2, 2)


def test_offsets_are_committed_by_epoch(world: World) -> None:
    """An older epoch counts for what the member has had since then."""
    topic_id = world.topics.create("t", 2)
    (member,) = consumers(world, 1, "t")
    assert commit(world, "m0", member.epoch, topic_id) is ErrorCode.NONE
    assert commit(world, "m0", 99, topic_id) is ErrorCode.STALE_MEMBER_EPOCH
    assert commit(world, "x", 2, topic_id) is ErrorCode.UNKNOWN_MEMBER_ID
    assert commit(world, "", -1, topic_id) is ErrorCode.UNKNOWN_MEMBER_ID
    world.wait(1_000)
    Consumer(world, "b", "t").join()
    assert member.beat() is ErrorCode.NONE
    assert member.beat() is ErrorCode.NONE
    assert (member.epoch, member.owned) == (3, {topic_id: [0]})
    assert commit(world, "m0", 2, topic_id) is ErrorCode.NONE
    # What it gave up is not its own at any older epoch.
    assert commit(world, "m0", 2, topic_id, 1) is ErrorCode.STALE_MEMBER_EPOCH


def test_offsets_are_fetched_by_epoch(world: World) -> None:
    """Members say theirs; admin tools say none."""
    world.topics.create("t", 2)
    (member,) = consumers(world, 1, "t")
    assert world.fetch(None).code is ErrorCode.NONE
    assert world.fetch(None, member_id="m0", epoch=member.epoch).code is ErrorCode.NONE
    assert world.fetch(None, member_id="m0", epoch=1).code is ErrorCode.STALE_MEMBER_EPOCH
    assert world.fetch(None, member_id="x", epoch=2).code is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_group_with_members_cannot_be_deleted_and_one_without_can(world: World) -> None:
    """With its end everything of it is gone, also after a restart."""
    topic_id = world.topics.create("t", 2)
    (member,) = consumers(world, 1, "t")
    assert commit(world, "m0", member.epoch, topic_id) is ErrorCode.NONE
    assert world.delete_groups("g").response.results[0].error_code == ErrorCode.NON_EMPTY_GROUP
    assert world.delete_offsets([("t", 0)]).response.topics[0].partitions[0].error_code == (
        ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
    )
    member.leave()
    assert world.list_groups().response.groups[0].group_state == "Empty"
    assert world.delete_groups("g").response.results[0].error_code == ErrorCode.NONE
    assert world.list_groups().response.groups == []
    world.start()
    assert world.list_groups().response.groups == []
    assert world.machine().offsets.of_group("g") == []


def test_lists_tell_type_and_state(world: World) -> None:
    """Filters apply to both protocols alike."""
    world.topics.create("t", 2)
    consumers(world, 1, "t")
    world.join(group="c")
    lines = {line.group_id: line for line in world.list_groups().response.groups}
    assert (lines["g"].group_type, lines["g"].group_state, lines["g"].protocol_type) == (
        "consumer",
        "Stable",
        "consumer",
    )
    assert [line.group_id for line in world.list_groups((), ("Consumer",)).response.groups] == ["g"]
    assert [line.group_id for line in world.list_groups((), ("classic",)).response.groups] == ["c"]
    assert [line.group_id for line in world.list_groups(("STABLE",), ()).response.groups] == ["g"]
    (other,) = world.describe("g", version=6).response.groups
    assert (other.error_code, other.group_state) == (ErrorCode.GROUP_ID_NOT_FOUND, "Dead")
    (other,) = describe(world, "c")
    assert other.error_code == ErrorCode.GROUP_ID_NOT_FOUND
