"""The handlers of the group APIs: what changes from version to version, and what they ask of the rest of the broker."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from ottla.errors import ErrorCode
from ottla.messages import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    LeaveGroupRequest,
    LeaveGroupRequestMemberIdentity,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    SyncGroupRequest,
)
from ottla.protocol.handlers import (
    delete_groups,
    describe_groups,
    find_coordinator,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    offset_commit,
    offset_delete,
    offset_fetch,
    sync_group,
)
from tests.coordinator.world import World

ID = b"i" * 16
STRANGE_ID = b"s" * 16


class Rig:
    """Handlers, a coordinator, and an image of two topics: `t` with two partitions, and the offsets topic."""

    def __init__(self) -> None:
        self.world = World(partition_count=2)
        partitions = [SimpleNamespace(leader=3), SimpleNamespace(leader=3)]
        topic = SimpleNamespace(name="t", topic_id=ID, partitions=partitions)
        offsets = SimpleNamespace(name="__consumer_offsets", topic_id=b"o" * 16, partitions=partitions)
        self.waiting: list[Callable[[ErrorCode], None]] = []
        self.addresses = {(3, "INSIDE"): ("10.0.0.1", 9092), (3, "OUTSIDE"): ("example.org", 19092)}
        self.services: Any = SimpleNamespace(
            groups=self.world.coordinator,
            transactions=SimpleNamespace(partition_for=lambda _transactional_id: 0),
            image=SimpleNamespace(
                topics={"t": topic, "__consumer_offsets": offsets}, topics_by_id={ID: topic, b"o" * 16: offsets}
            ),
            internal_topics=SimpleNamespace(ensure=lambda _name, done: self.waiting.append(done)),
            address_of=lambda node_id, listener: self.addresses.get((node_id, listener)),
        )

    def ask(self, handler: ModuleType, version: int, request: Struct, *, listener: str = "INSIDE") -> list[Any]:
        """The answers so far: a list that grows."""
        context = replace(self.world.context("", version), listener=listener)
        answers: list[Any] = []
        handler.handle(context, request, self.services, answers.append)
        self.world.turn()
        return answers

    def answer(self, handler: ModuleType, version: int, request: Struct) -> Any:
        """The one answer."""
        (response,) = self.ask(handler, version, request)
        return response


@pytest.fixture
def rig() -> Rig:
    return Rig()


def commit(*partitions: int, name: str = "t", topic_id: bytes = bytes(16)) -> OffsetCommitRequestTopic:
    return OffsetCommitRequestTopic(
        name=name,
        topic_id=topic_id,
        partitions=[OffsetCommitRequestPartition(partition_index=index, committed_offset=7) for index in partitions],
    )


def codes(response: Any) -> list[tuple[str, bytes, list[tuple[int, str]]]]:
    return [
        (
            topic.name,
            topic.topic_id,
            [(partition.partition_index, ErrorCode(partition.error_code).name) for partition in topic.partitions],
        )
        for topic in response.topics
    ]


def test_find_coordinator_waits_for_the_topic(rig: Rig) -> None:
    """The answer comes when the offsets topic is there, with the leader's address on the asker's listener."""
    alone = rig.ask(find_coordinator, 1, FindCoordinatorRequest(key="g"))
    several = rig.ask(find_coordinator, 4, FindCoordinatorRequest(coordinator_keys=["g", "h"]), listener="OUTSIDE")
    assert (alone, several) == ([], [])
    for done in rig.waiting:
        done(ErrorCode.NONE)
    assert (alone[0].node_id, alone[0].host, alone[0].port, alone[0].error_message) == (3, "10.0.0.1", 9092, "NONE")
    found = several[0].coordinators
    assert [(each.key, each.host, each.port, each.error_message) for each in found] == [
        ("g", "example.org", 19092, ""),
        ("h", "example.org", 19092, ""),
    ]


def test_find_coordinator_says_why_not(rig: Rig) -> None:
    """A topic that cannot be made or is gone, a leader without that listener, and kinds that do not exist."""

    def code(version: int, kind: int, done: ErrorCode | None = None, listener: str = "INSIDE") -> str:
        request = FindCoordinatorRequest(key="k", key_type=kind, coordinator_keys=["k"])
        answers = rig.ask(find_coordinator, version, request, listener=listener)
        if done is not None:
            rig.waiting.pop()(done)
        found = answers[0].coordinators[0] if version >= 4 else answers[0]
        assert (found.node_id, found.host, found.port) == (-1, "", -1)
        assert found.error_message
        return ErrorCode(found.error_code).name

    for version in (1, 6):
        assert code(version, 0, ErrorCode.INVALID_REPLICATION_FACTOR) == "INVALID_REPLICATION_FACTOR"
        assert code(version, 0, ErrorCode.NONE, "NOWHERE") == "COORDINATOR_NOT_AVAILABLE"
        assert code(version, 1, ErrorCode.KAFKA_STORAGE_ERROR) == "KAFKA_STORAGE_ERROR"
        assert code(version, 1, ErrorCode.NONE) == "COORDINATOR_NOT_AVAILABLE"
        assert code(version, 2) == "INVALID_REQUEST"
        assert code(version, -1) == "INVALID_REQUEST"


def test_join_group_before_v7_has_no_null_protocol(rig: Rig) -> None:
    """The field is not nullable there."""
    refused = JoinGroupRequest(group_id="", session_timeout_ms=10_000)
    assert rig.answer(join_group, 6, refused).protocol_name == ""
    assert rig.answer(join_group, 7, refused).protocol_name is None


def test_leave_group_before_v3_has_one_member(rig: Rig) -> None:
    """Its code is the answer's; a group that is not given is the answer's too."""
    assert rig.answer(leave_group, 2, LeaveGroupRequest(group_id="g", member_id="m")).error_code == 25
    assert rig.answer(leave_group, 2, LeaveGroupRequest(group_id="", member_id="m")).error_code == 24
    several = LeaveGroupRequest(group_id="g", members=[LeaveGroupRequestMemberIdentity(member_id="m")])
    response = rig.answer(leave_group, 3, several)
    assert (response.error_code, response.members[0].error_code) == (0, 25)


def test_offset_commit_by_name(rig: Rig) -> None:
    """What does not exist is refused by itself; partitions of one topic come together, refused ones first."""
    topics = [commit(0, 9, 1), commit(0, name="nowhere")]
    response = rig.answer(offset_commit, 9, OffsetCommitRequest(group_id="g", topics=topics))
    assert codes(response) == [
        ("t", ID, [(9, "UNKNOWN_TOPIC_OR_PARTITION"), (0, "NONE"), (1, "NONE")]),
        ("nowhere", bytes(16), [(0, "UNKNOWN_TOPIC_OR_PARTITION")]),
    ]
    assert rig.world.fetched() == {("t", 0): 7, ("t", 1): 7}
    twice = rig.answer(offset_commit, 9, OffsetCommitRequest(group_id="g", topics=[commit(9), commit(0), commit(8)]))
    unknown = "UNKNOWN_TOPIC_OR_PARTITION"
    assert codes(twice) == [("t", ID, [(9, unknown), (8, unknown), (0, "NONE")])]


def test_offset_commit_by_id(rig: Rig) -> None:
    """From v10 on, whatever name is given; an unknown id has a code of its own."""
    topics = [commit(1, name="", topic_id=ID), commit(0, name="", topic_id=STRANGE_ID)]
    response = rig.answer(offset_commit, 10, OffsetCommitRequest(group_id="g", topics=topics))
    assert codes(response) == [("", STRANGE_ID, [(0, "UNKNOWN_TOPIC_ID")]), ("t", ID, [(1, "NONE")])]
    ((_, committed),) = rig.world.machine("g").offsets.of_group("g")
    assert committed.topic_id == ID


def test_offset_commit_of_nothing_that_exists_does_not_make_a_group(rig: Rig) -> None:
    """It never reaches the coordinator."""
    rig.answer(offset_commit, 9, OffsetCommitRequest(group_id="g", topics=[commit(0, name="nowhere")]))
    assert rig.world.list_groups().response.groups == []
    assert rig.answer(offset_commit, 9, OffsetCommitRequest(group_id="g")).topics == []


def test_offset_fetch_of_old_versions(rig: Rig) -> None:
    """One group; v1 has no place for its code but the partitions."""
    rig.world.commit({("t", 0): 5}, metadata="m")
    request = OffsetFetchRequest(group_id="g", topics=[OffsetFetchRequestTopic(name="t", partition_indexes=[0, 1])])
    response = rig.answer(offset_fetch, 1, request)
    found = [(each.partition_index, each.committed_offset, each.metadata) for each in response.topics[0].partitions]
    assert found == [(0, 5, "m"), (1, -1, "")]
    assert rig.answer(offset_fetch, 7, OffsetFetchRequest(group_id="g", topics=None)).topics[0].name == "t"
    for partition in (0, 1):
        rig.world.coordinator.unload(partition)
    refused = rig.answer(offset_fetch, 1, request)
    assert refused.error_code == 0
    assert codes_of(refused) == ["NOT_COORDINATOR", "NOT_COORDINATOR"]
    refused = rig.answer(offset_fetch, 2, request)
    assert (refused.error_code, refused.topics) == (ErrorCode.NOT_COORDINATOR, [])


def codes_of(response: Any) -> list[str]:
    return [ErrorCode(each.error_code).name for topic in response.topics for each in topic.partitions]


def test_offset_fetch_of_several_groups(rig: Rig) -> None:
    """In the order asked for, each with its own trouble; none is fine."""
    rig.world.commit({("t", 0): 5}, group="a")
    groups = [OffsetFetchRequestGroup(group_id=name, topics=None) for name in "abc"]
    rig.world.coordinator.unload(rig.world.coordinator.partition_for("b"))
    response = rig.answer(offset_fetch, 8, OffsetFetchRequest(groups=groups))
    found = {each.group_id: ErrorCode(each.error_code).name for each in response.groups}
    assert list(found) == ["a", "b", "c"]
    assert found["b"] == "NOT_COORDINATOR"
    assert rig.answer(offset_fetch, 8, OffsetFetchRequest(groups=[])).groups == []


def test_offset_fetch_by_id(rig: Rig) -> None:
    """Ids in and out; what is gone is not part of everything; an id nobody knows has a code."""
    rig.world.commit({("t", 0): 5, ("gone", 0): 6})

    def fetch(topics: list[OffsetFetchRequestTopics] | None) -> Any:
        groups = [OffsetFetchRequestGroup(group_id="g", topics=topics)]
        return rig.answer(offset_fetch, 10, OffsetFetchRequest(groups=groups)).groups[0]

    everything = fetch(None)
    assert [(topic.topic_id, topic.partitions[0].committed_offset) for topic in everything.topics] == [(ID, 5)]
    asked = [
        OffsetFetchRequestTopics(topic_id=STRANGE_ID, partition_indexes=[0]),
        OffsetFetchRequestTopics(topic_id=ID, partition_indexes=[0]),
    ]
    found = fetch(asked)
    assert [(topic.topic_id, topic.partitions[0].error_code) for topic in found.topics] == [
        (ID, ErrorCode.NONE),
        (STRANGE_ID, ErrorCode.UNKNOWN_TOPIC_ID),
    ]


def test_describe_groups_tells_operations_when_asked(rig: Rig) -> None:
    """Of groups that exist; the number is Kafka's for everything a group has."""
    rig.world.commit({("t", 0): 5})
    plain = rig.answer(describe_groups, 6, DescribeGroupsRequest(groups=["g"]))
    asked = rig.answer(describe_groups, 6, DescribeGroupsRequest(groups=["g", "x"], include_authorized_operations=True))
    assert plain.groups[0].authorized_operations == -(2**31)
    assert [group.authorized_operations for group in asked.groups] == [3400, -(2**31)]


def test_the_rest_passes_through(rig: Rig) -> None:
    """Handlers of one line still answer."""
    join = JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range")],
    )
    assert rig.answer(join_group, 9, join).error_code == ErrorCode.MEMBER_ID_REQUIRED
    assert rig.answer(sync_group, 4, SyncGroupRequest(group_id="g", member_id="m")).error_code == 25
    assert rig.answer(heartbeat, 4, HeartbeatRequest(group_id="g", member_id="m")).error_code == 25
    assert [group.group_id for group in rig.answer(list_groups, 5, ListGroupsRequest()).groups] == ["g"]


def test_sync_group_from_v5_names_its_protocol(rig: Rig) -> None:
    """Null is refused before anything else is looked at, as in Kafka."""
    request = SyncGroupRequest(group_id="g", member_id="m", protocol_type="consumer")
    assert rig.answer(sync_group, 5, request).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    request.protocol_name = "range"
    assert rig.answer(sync_group, 5, request).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_offset_delete_answers_what_does_not_exist(rig: Rig) -> None:
    """By itself, together with the partitions of the topic that do; a refused request says nothing else."""
    rig.world.commit({("t", 0): 5})

    def ask(group: str) -> Any:
        topics = [
            OffsetDeleteRequestTopic(name="t", partitions=[OffsetDeleteRequestPartition(partition_index=9)]),
            OffsetDeleteRequestTopic(name="t", partitions=[OffsetDeleteRequestPartition(partition_index=0)]),
            OffsetDeleteRequestTopic(name="nowhere", partitions=[OffsetDeleteRequestPartition(partition_index=0)]),
        ]
        return rig.answer(offset_delete, 0, OffsetDeleteRequest(group_id=group, topics=topics))

    response = ask("g")
    assert response.error_code == ErrorCode.NONE
    assert [(topic.name, [each.error_code for each in topic.partitions]) for topic in response.topics] == [
        ("t", [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.NONE]),
        ("nowhere", [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]),
    ]
    assert rig.world.fetched() == {}
    refused = ask("none")
    assert (refused.error_code, refused.topics) == (ErrorCode.GROUP_ID_NOT_FOUND, [])


def test_delete_groups_waits_for_every_shard(rig: Rig) -> None:
    """One answer, in the order asked for, when all of it is committed."""
    for name in "abc":
        rig.world.commit({("t", 0): 5}, group=name)
    for journal in rig.world.journals.values():
        journal.commit_at_once = False
    answers = rig.ask(delete_groups, 2, DeleteGroupsRequest(groups_names=["c", "a", "b", "none"]))
    assert answers == []
    for journal in rig.world.journals.values():
        journal.commit()
    (response,) = answers
    assert [(result.group_id, result.error_code) for result in response.results] == [
        ("c", 0),
        ("a", 0),
        ("b", 0),
        ("none", ErrorCode.GROUP_ID_NOT_FOUND),
    ]
    assert rig.world.list_groups().response.groups == []
    assert rig.answer(delete_groups, 2, DeleteGroupsRequest()).results == []


REFUSALS: list[tuple[ModuleType, int, Struct]] = [
    (find_coordinator, 3, FindCoordinatorRequest(key="k")),
    (find_coordinator, 6, FindCoordinatorRequest(coordinator_keys=["k"])),
    (join_group, 9, JoinGroupRequest()),
    (sync_group, 5, SyncGroupRequest()),
    (heartbeat, 4, HeartbeatRequest()),
    (leave_group, 5, LeaveGroupRequest()),
    (offset_commit, 10, OffsetCommitRequest(topics=[commit(0)])),
    (
        offset_fetch,
        1,
        OffsetFetchRequest(topics=[OffsetFetchRequestTopic(name="t", partition_indexes=[0])]),
    ),
    (offset_fetch, 7, OffsetFetchRequest()),
    (offset_fetch, 10, OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="g")])),
    (describe_groups, 6, DescribeGroupsRequest(groups=["g"])),
    (delete_groups, 2, DeleteGroupsRequest(groups_names=["g"])),
    (offset_delete, 0, OffsetDeleteRequest()),
    (list_groups, 5, ListGroupsRequest()),
]


@pytest.mark.parametrize("handler,version,request_", REFUSALS)
def test_every_api_has_a_shape_for_no(rig: Rig, handler: ModuleType, version: int, request_: Struct) -> None:
    """`refuse` puts the code where a client of that version looks for it."""
    response = handler.refuse(rig.world.context("", version), request_, ErrorCode.UNKNOWN_SERVER_ERROR)
    assert "UNKNOWN_SERVER_ERROR" in repr(response)
