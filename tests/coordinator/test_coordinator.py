"""What the scripts cannot say well: the shard of a group, several shards, bounds, and groups that come from a log."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.group.state import TRANSITIONS, GroupState, StateMachine
from ottla.coordinator.key_partition import java_string_hash, partition_for
from ottla.errors import ErrorCode, StorageError
from ottla.messages import (
    GroupMetadataKey,
    GroupMetadataValue,
    GroupMetadataValueMemberMetadata,
    LegacyOffsetCommitKey,
    LegacyOffsetCommitValue,
)
from tests.coordinator.world import World, uuid_of

# From a JVM: String.hashCode, and Utils.abs of it modulo 50.
HASHES = [
    ("", 0, 0),
    ("g", 103, 3),
    ("abc", 96354, 4),
    ("my-group", -1906497762, 12),
    ("console-consumer-12345", 158455506, 6),
    ("Gruppe-\u00fc", 738167050, 0),
    ("\U0001f680 rocket", -1391342671, 21),
    # The smallest int, whose absolute value Java cannot write.
    ("polygenelubricants", -2147483648, 0),
    ("\u00e9\u4e2d\U0001f600z", 866347667, 17),
]


@pytest.mark.parametrize("text,value,partition", HASHES)
def test_a_group_lives_where_kafka_looks_for_it(text: str, value: int, partition: int) -> None:
    """Java's hash of a string is over UTF-16 units: a rocket is two."""
    assert java_string_hash(text) == value
    assert partition_for(text, 50) == partition


@pytest.mark.parametrize("length", [1, 128, 129, 5000])
def test_ids_of_any_length_have_their_partition(length: int) -> None:
    """Short ids are remembered, long ones are not: both live where their hash says, for any number of partitions."""
    group_id = "g" * length
    for count in (1, 4, 50, 50, 4, 1):
        assert partition_for(group_id, count) == abs(java_string_hash(group_id)) % count


def test_every_step_of_the_table_and_no_other() -> None:
    """The transition table is what the state machine allows."""
    for target, sources in TRANSITIONS.items():
        for source in GroupState:
            machine = StateMachine(source, None)
            assert machine.may_enter(target) == (source in sources)
            if source in sources:
                machine.enter(target, 5)
                assert (machine.current, machine.previous, machine.since_ms) == (target, source, 5)
            else:
                with pytest.raises(AssertionError):
                    machine.enter(target, 5)


def test_groups_of_other_partitions_go_on() -> None:
    """Each shard has its own log and its own trouble; ListGroups waits for all that are here."""
    world = World(partition_count=3)
    names = {partition_for(name, 3): name for name in "abcdef"}
    for partition, name in names.items():
        assert world.commit({("t", 0): partition}, group=name).response.topics[0].partitions[0].error_code == 0
    world.coordinator.unload(1)
    assert world.fetch(group=names[1]).response.error_code == ErrorCode.NOT_COORDINATOR
    assert world.fetched(group=names[2]) == {("t", 0): 2}
    listed = world.list_groups().response
    assert sorted(group.group_id for group in listed.groups) == sorted([names[0], names[2]])
    described = world.describe(names[0], names[1]).response.groups
    assert [ErrorCode(group.error_code) for group in described] == [ErrorCode.NONE, ErrorCode.NOT_COORDINATOR]
    world.coordinator.load(1)
    assert world.fetched(group=names[1]) == {("t", 0): 1}


def test_while_a_shard_loads() -> None:
    """COORDINATOR_LOAD_IN_PROGRESS for all but Heartbeat, which clients of old could not tell from a lost group."""
    world = World(GroupSettings())
    for number in range(3000):
        world.commit({("t", number): number}, metadata="x" * 100)
    world.start()
    assert world.heartbeat("someone", 1).code is ErrorCode.NONE
    assert world.join().code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert world.sync("someone", 1).code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert world.leave(("someone", None)).code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert world.list_groups().code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert world.fetch().code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert world.describe("g").response.groups[0].error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    committed = world.commit({("t", 0): 9, ("u", 1): 9}).response
    codes = {partition.error_code for topic in committed.topics for partition in topic.partitions}
    assert codes == {ErrorCode.COORDINATOR_LOAD_IN_PROGRESS}
    world.wait(1)
    assert len(world.fetched()) == 3000


def test_a_group_that_is_too_large_now_rebalances_when_loaded() -> None:
    """group.max.size was lowered: the members rejoin, and the last ones find no room."""
    world = World()
    ids, generation = world.stable_group(3)
    world.settings = GroupSettings(group_size_max=2)
    world.start()
    assert world.heartbeat(ids[0], generation).code is ErrorCode.REBALANCE_IN_PROGRESS
    boxes = [world.join(member_id) for member_id in ids]
    assert boxes[2].code is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert [box.code for box in boxes[:2]] == [ErrorCode.NONE, ErrorCode.NONE]


def test_metadata_is_bounded_in_utf16_units() -> None:
    """Kafka counts chars of a Java string, so a rocket is two."""
    world = World(GroupSettings(offset_metadata_bytes_max=4))

    def commit(text: str) -> Any:
        return world.commit({("t", 0): 1}, metadata=text).response.topics[0].partitions[0].error_code

    assert commit("four") == ErrorCode.NONE
    assert commit("five!") == ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert commit("\U0001f680\U0001f680") == ErrorCode.NONE
    assert commit("\U0001f680\U0001f680!") == ErrorCode.OFFSET_METADATA_TOO_LARGE


def test_an_offset_of_a_deleted_topic_is_not_that_of_its_namesake() -> None:
    """Known topic ids that differ mean another topic of the same name; an unknown id matches any."""
    world = World()
    old, new = b"o" * 16, b"n" * 16
    world.commit({("t", 0): 5}, topic_id=old)

    def fetch(topic_id: bytes) -> int:
        response = world.fetch([("t", 0)], topic_id=topic_id).response
        offset: int = response.topics[0].partitions[0].committed_offset
        return offset

    assert fetch(old) == 5
    assert fetch(new) == -1
    assert fetch(bytes(16)) == 5
    world.coordinator.on_topics_deleted({"t": new})
    world.turn()
    assert fetch(old) == 5
    world.coordinator.on_topics_deleted({"t": old})
    world.turn()
    assert fetch(old) == -1


def test_what_older_brokers_wrote_is_read() -> None:
    """Offsets of Kafka before 0.9, and groups without rebalance timeout and state timestamp."""
    world = World()
    member = GroupMetadataValueMemberMetadata(
        member_id="m", client_id="c", client_host="/h", session_timeout=7000, subscription=b"s", assignment=b"a"
    )
    group = GroupMetadataValue(protocol_type="consumer", generation=4, protocol="range", leader="m", members=[member])
    world.journal().append(
        [
            world.codec.encode_coordinator_record(
                LegacyOffsetCommitKey(group="g", topic="t", partition=1), LegacyOffsetCommitValue(offset=8), 0
            ),
            world.codec.encode_coordinator_record(GroupMetadataKey(group="g"), group, 0),
        ],
        0,
    )
    world.start()
    assert world.fetched() == {("t", 1): 8}
    loaded = world.classic()
    assert loaded.rebalance_timeout_ms == 7000
    assert world.heartbeat("m", 4).code is ErrorCode.NONE
    assert world.sync("m", 4).response.assignment == b"a"
    world.wait(7000)
    assert world.heartbeat("m", 4).code is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_control_plane_that_was_held_up_expires_nobody() -> None:
    """Requests that waited for a minute are handled before deadlines fire, and their members have a full session."""
    world = World()
    ids, generation = world.stable_group(2)
    world.clock.advance(60_000)
    boxes = [world.heartbeat(member_id, generation) for member_id in ids]
    world.wait(9_999)
    assert [box.code for box in boxes] == [ErrorCode.NONE, ErrorCode.NONE]
    assert world.heartbeat(ids[0], generation).code is ErrorCode.NONE


def test_sequences_of_ids_are_kafkas() -> None:
    """Client id (or instance), a dash, a UUID: tools cut them there."""
    world = World()
    assert world.join(client="app").response.member_id == f"app-{uuid_of(1)}"
    world.join(client="app", instance="seat-7", group="h")
    world.wait(3000)
    assert world.describe("h").response.groups[0].members[0].member_id == f"seat-7-{uuid_of(2)}"


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_assignment_reaches_everyone(size: int) -> None:
    """Each member gets its own part, after the leader has sent them all and the log has them."""
    world = World()
    ids, generation = world.stable_group(size)
    for number, member_id in enumerate(ids):
        assert world.sync(member_id, generation).response.assignment == f"part of {number}".encode()
    assert world.machine().offsets.of_group("g") == []


def test_a_unique_group_per_process_knows_nothing_of_the_others() -> None:
    """Two groups over the same topic have their own members and offsets."""
    world = World(partition_count=4)
    (first,), generation = world.stable_group(1, group="one")
    (second,), _ = world.stable_group(1, group="two")
    world.commit({("t", 0): 1}, member_id=first, generation=generation, group="one")
    world.commit({("t", 0): 2}, member_id=second, generation=generation, group="two")
    assert world.fetched(group="one") == {("t", 0): 1}
    assert world.fetched(group="two") == {("t", 0): 2}
    refused = world.commit({("t", 0): 3}, member_id=first, generation=generation, group="two").response
    assert refused.topics[0].partitions[0].error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_who_has_an_answer_finds_the_group() -> None:
    """The first answer of a new group waits until the group is in the log: then everyone sees it."""
    world = World(commit_at_once=False)
    box = world.join()
    assert not box.answered
    assert world.list_groups().response.groups == []
    world.journal().commit()
    assert box.code is ErrorCode.MEMBER_ID_REQUIRED
    assert [group.group_id for group in world.list_groups().response.groups] == ["g"]
    # From then on nothing waits that need not.
    second = world.join()
    assert second.code is ErrorCode.MEMBER_ID_REQUIRED


def test_a_new_group_that_cannot_be_written_is_refused_once() -> None:
    """The id that was to be given out is not; the client looks for the coordinator again."""
    world = World()
    world.journal().fail_with = StorageError("no space")
    assert world.join().code is ErrorCode.NOT_COORDINATOR
    world.wait(0)
    assert world.join().code is ErrorCode.MEMBER_ID_REQUIRED


def test_an_offset_of_an_earlier_topic_is_not_shown_to_who_asks_by_name() -> None:
    """Whoever names a topic means the one that has the name now, asked for one by one or for everything."""
    world = World()
    old, new = b"o" * 16, b"n" * 16
    world.commit({("t", 0): 5, ("u", 0): 6}, topic_id=old)
    world.commit({("t", 1): 7}, topic_id=new)
    world.commit({("t", 2): 8})
    now = {"t": new, "u": old}
    for stable in (False, True):
        for partitions in ([("t", 0), ("t", 1), ("t", 2), ("u", 0)], None):
            box = world.fetch(partitions, require_stable=stable, current_ids=now)
            offsets = {
                (topic.name, partition.partition_index): partition.committed_offset
                for topic in box.response.topics
                for partition in topic.partitions
                if partition.committed_offset >= 0
            }
            assert offsets == {("t", 1): 7, ("t", 2): 8, ("u", 0): 6}
    assert world.fetched()["t", 0] == 5


def test_a_topic_deleted_while_its_offsets_load_takes_them_with_it() -> None:
    """Before they are read or after, and while a shard is away: the deletion is for the shard as it will be."""
    world = World()
    for number in range(3000):
        world.commit({("t", number): number}, metadata="x" * 100)
    world.commit({("u", 0): 1})
    world.start()
    world.coordinator.on_topics_deleted({"t": bytes(16)})
    world.commit({("u", 0): 2})
    world.wait(1)
    assert world.fetched() == {("u", 0): 1}
    world.start()
    world.wait(1)
    assert world.fetched() == {("u", 0): 1}
    world.stable_group(1, group="other")
    world.journal().fail_with = StorageError("no space")
    world.join(group="new")
    world.coordinator.on_topics_deleted({"u": bytes(16)})
    world.wait(1)
    assert world.fetched() == {}
    world.wait(1)
    assert world.journal().records[-1][3] is None


def test_ids_given_out_and_never_used_are_bounded() -> None:
    """A client that only asks for ids is refused at some number of them; members and used ids do not count."""
    world = World(GroupSettings(pending_joins_max=3))
    ids, generation = world.stable_group(2)
    pending = [world.join(version=version) for version in (4, 9, 9)]
    assert {box.code for box in pending} == {ErrorCode.MEMBER_ID_REQUIRED}
    assert world.join().code is ErrorCode.GROUP_MAX_SIZE_REACHED
    group = world.classic()
    assert len(group.pending_joins) == 3
    # Whoever is in goes on, static members and those of old never ask, and a used id makes room.
    assert world.heartbeat(ids[0], generation).code is ErrorCode.NONE
    world.join(pending[0].response.member_id)
    world.join(instance="static")
    world.join(version=3)
    assert len(group.members) == 5
    assert world.join().code is ErrorCode.MEMBER_ID_REQUIRED
    assert world.join().code is ErrorCode.GROUP_MAX_SIZE_REACHED
    world.wait(10_000)
    assert world.join().code is ErrorCode.MEMBER_ID_REQUIRED
