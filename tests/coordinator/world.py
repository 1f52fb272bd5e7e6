"""The group coordinator in a world that a test owns: its journals, its clock, its chance, and who asks it.

`World` plays the broker's loop: a request is handled, and at the end of its turn the coordinator writes what it has
decided. Time passes only in `wait`. Answers land in `Box`es, so that a test sees which came and which are still owed.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ottla import messages
from ottla.clock import DeadlineQueue, VirtualClock
from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.consumer.topics import Elsewhere, here
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.machine import GroupMachine
from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import CodecError, ErrorCode
from ottla.messages import (
    ConsumerProtocolSubscription,
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
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from ottla.testing import MemoryJournal, MemoryTopics, memory_cluster
from ottla.types import Codec, Record, RequestContext

KEYS = {"join": 11, "sync": 14, "heartbeat": 12, "leave": 13, "commit": 8}


class FakeCodec:
    """Any encoding does, as long as it gives back what it was given: the class's name and MessagePack."""

    def encode_coordinator_record(self, key: Struct, value: Struct | None, version: int | None = None) -> Record:
        assert (value is None) == (version is None), "versions are chosen where records are made"
        return _pack(key), None if value is None else _pack(value)

    def decode_coordinator_record(
        self, topic_kind: Literal["group", "transaction"], key: bytes, value: bytes | None
    ) -> tuple[Any, Any] | None:
        if key.startswith(b"unknown"):
            return None
        return _unpack(key), None if value is None else _unpack(value)

    def encode_struct(self, name: str, version: int, obj: Struct) -> bytes:
        return msgspec.msgpack.encode(obj)

    def decode_struct(self, name: str, version: int, body: bytes) -> Struct:
        try:
            decoded: Struct = msgspec.msgpack.decode(body, type=getattr(messages, name))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CodecError(str(error)) from error
        return decoded


def _pack(obj: Struct) -> bytes:
    return type(obj).__name__.encode() + b"\0" + msgspec.msgpack.encode(obj)


def _unpack(data: bytes) -> Any:
    name, _, body = data.partition(b"\0")
    return msgspec.msgpack.decode(body, type=getattr(messages, name.decode()))


class CountingRandom:
    """The n-th request for bytes gets n: ids are readable, and new ones never repeat, not even over restarts."""

    def __init__(self) -> None:
        self.count = 0

    def bytes(self, count: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(count, "big")

    def below(self, limit: int) -> int:
        return 0


def uuid_of(number: int) -> str:
    """The id the n-th new member gets behind its client id."""
    return str(uuid.UUID(bytes=number.to_bytes(16, "big"), version=4))


class Box:
    """Where the answer of one request lands."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.answers: list[Any] = []

    def __call__(self, response: Struct) -> None:
        self.answers.append(response)

    @property
    def answered(self) -> bool:
        return bool(self.answers)

    @property
    def response(self) -> Any:
        assert len(self.answers) == 1, f"{self.what}: {len(self.answers)} answers"
        return self.answers[0]

    @property
    def code(self) -> ErrorCode:
        return ErrorCode(self.response.error_code)


def subscription(*topics: str, codec: Codec | None = None) -> bytes:
    """What a consumer sends as metadata of its protocols, with the codec's bytes; the fake's without one."""
    return b"\0\0" + (codec or FakeCodec()).encode_struct(
        "ConsumerProtocolSubscription", 0, ConsumerProtocolSubscription(topics=list(topics))
    )


class Raised(logging.Handler):
    """Errors that the coordinator logs and survives, a failed assertion of a box among them: no test may."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])

    def check(self) -> None:
        """Raise the first one."""
        errors, self.errors = self.errors, []
        if errors:
            raise errors[0]


RAISED = Raised()
logging.getLogger("ottla.coordinator").addHandler(RAISED)


class World:
    """A coordinator, and everything around it."""

    def __init__(
        self,
        settings: GroupSettings | None = None,
        *,
        partition_count: int = 1,
        commit_at_once: bool = True,
        codec: Codec | None = None,
    ) -> None:
        self.settings = settings or GroupSettings()
        self.clock = VirtualClock()
        self.random = CountingRandom()
        self.codec: Any = codec or FakeCodec()
        self.partition_count = partition_count
        self.journals = {
            partition: MemoryJournal(commit_at_once=commit_at_once) for partition in range(partition_count)
        }
        self.topics = MemoryTopics()
        self.elsewhere: Elsewhere = here
        self.group_configs: dict[str, dict[str, int]] = {}
        self.boxes: list[Box] = []
        RAISED.errors.clear()
        self.start()

    # The loop.

    def start(self) -> None:
        """A coordinator on the journals as they are: a new process, deadlines and parked requests gone."""
        self.deadlines = DeadlineQueue()
        self.coordinator = GroupCoordinator(
            self.journals.__getitem__,
            self.partition_count,
            self.codec,
            self.deadlines,
            self.clock,
            self.random,
            memory_cluster(self.topics, self.group_configs, elsewhere=self.elsewhere),
            self.settings,
        )
        for partition in self.journals:
            self.coordinator.load(partition)
        self.turn()

    def turn(self) -> None:
        """The turn of the loop is over."""
        self.coordinator.flush_turn()
        RAISED.check()

    def wait(self, elapsed_ms: int) -> None:
        """Let time pass; each deadline fires in a turn of its own moment."""
        end_ms = self.clock.monotonic_ms() + elapsed_ms
        while (next_ms := self.deadlines.next_deadline_ms) is not None and next_ms <= end_ms:
            self.clock.advance(max(0, next_ms - self.clock.monotonic_ms()))
            for callback in self.deadlines.due(self.clock.monotonic_ms()):
                callback()
            self.turn()
        self.clock.advance(end_ms - self.clock.monotonic_ms())

    def machine(self, group_id: str = "g") -> GroupMachine:
        """The shard of a group."""
        partition = self.coordinator.partition_for(group_id)
        return self.coordinator._runtime._shards[partition].machine

    def classic(self, group_id: str = "g") -> ClassicGroup:
        """A group of the classic protocol, which is there."""
        group = self.machine(group_id).groups.get(group_id)
        assert isinstance(group, ClassicGroup)
        return group

    def journal(self, group_id: str = "g") -> MemoryJournal:
        """The log of a group's shard."""
        return self.journals[self.coordinator.partition_for(group_id)]

    def records(self, group_id: str = "g") -> list[tuple[Struct, Struct | None]]:
        """What the log holds, decoded."""
        return [
            self.codec.decode_coordinator_record("group", key, value)
            for _, _, key, value in self.journal(group_id).records
        ]

    # Requests; each is a turn of its own unless `end_turn` is False.

    def context(self, what: str, version: int, client_id: str = "client") -> RequestContext:
        return RequestContext(
            api_key=KEYS.get(what, 0),
            api_version=version,
            correlation_id=0,
            client_id=client_id,
            client_host="127.0.0.1",
            connection_id=1,
            listener="PLAINTEXT",
            received_ms=self.clock.monotonic_ms(),
        )

    def join(
        self,
        member_id: str = "",
        *,
        group: str = "g",
        version: int = 9,
        client: str = "client",
        instance: str | None = None,
        protocol_type: str = "consumer",
        protocols: tuple[tuple[str, bytes], ...] = (("range", b""),),
        session_ms: int = 10_000,
        rebalance_ms: int = 60_000,
        end_turn: bool = True,
    ) -> Box:
        box = self._box(f"join {client}")
        request = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocols=[JoinGroupRequestProtocol(name=name, metadata=metadata) for name, metadata in protocols],
        )
        self.coordinator.join_group(self.context("join", version, client), request, box)
        return self._end(box, end_turn)

    def sync(
        self,
        member_id: str,
        generation: int,
        assignment: dict[str, bytes] | None = None,
        *,
        group: str = "g",
        version: int = 5,
        instance: str | None = None,
        protocol_type: str | None = None,
        protocol: str | None = None,
        end_turn: bool = True,
    ) -> Box:
        box = self._box(f"sync {member_id}")
        request = SyncGroupRequest(
            group_id=group,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocol_name=protocol,
            assignments=[
                SyncGroupRequestAssignment(member_id=key, assignment=value) for key, value in (assignment or {}).items()
            ],
        )
        self.coordinator.sync_group(self.context("sync", version), request, box)
        return self._end(box, end_turn)

    def heartbeat(
        self,
        member_id: str,
        generation: int,
        *,
        group: str = "g",
        instance: str | None = None,
        end_turn: bool = True,
    ) -> Box:
        box = self._box(f"heartbeat {member_id}")
        request = HeartbeatRequest(
            group_id=group, generation_id=generation, member_id=member_id, group_instance_id=instance
        )
        self.coordinator.heartbeat(self.context("heartbeat", 4), request, box)
        return self._end(box, end_turn)

    def leave(self, *members: tuple[str, str | None], group: str = "g", end_turn: bool = True) -> Box:
        box = self._box(f"leave {members}")
        request = LeaveGroupRequest(
            group_id=group,
            members=[
                LeaveGroupRequestMemberIdentity(member_id=member_id, group_instance_id=instance)
                for member_id, instance in members
            ],
        )
        self.coordinator.leave_group(self.context("leave", 5), request, box)
        return self._end(box, end_turn)

    def commit(
        self,
        offsets: dict[tuple[str, int], int],
        *,
        member_id: str = "",
        generation: int = -1,
        instance: str | None = None,
        group: str = "g",
        version: int = 9,
        metadata: str | None = "",
        retention_ms: int = -1,
        topic_id: bytes = bytes(16),
        end_turn: bool = True,
    ) -> Box:
        box = self._box(f"commit {offsets}")
        topics: dict[str, list[OffsetCommitRequestPartition]] = {}
        for (topic, partition), offset in offsets.items():
            topics.setdefault(topic, []).append(
                OffsetCommitRequestPartition(
                    partition_index=partition, committed_offset=offset, committed_metadata=metadata
                )
            )
        request = OffsetCommitRequest(
            group_id=group,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            group_instance_id=instance,
            retention_time_ms=retention_ms,
            topics=[
                OffsetCommitRequestTopic(name=name, topic_id=topic_id, partitions=partitions)
                for name, partitions in topics.items()
            ],
        )
        self.coordinator.commit_offsets(self.context("commit", version), request, box)
        return self._end(box, end_turn)

    def fetch(
        self,
        partitions: list[tuple[str, int]] | None = None,
        *,
        group: str = "g",
        require_stable: bool = False,
        member_id: str | None = None,
        epoch: int = -1,
        topic_id: bytes = bytes(16),
        current_ids: dict[str, bytes] | None = None,
        end_turn: bool = True,
    ) -> Box:
        box = self._box(f"fetch {partitions}")
        topics: dict[str, list[int]] = {}
        for topic, partition in partitions or []:
            topics.setdefault(topic, []).append(partition)
        asked = [
            OffsetFetchRequestTopics(name=name, topic_id=topic_id, partition_indexes=indexes)
            for name, indexes in topics.items()
        ]
        request = OffsetFetchRequestGroup(
            group_id=group, member_id=member_id, member_epoch=epoch, topics=None if partitions is None else asked
        )
        self.coordinator.fetch_offsets(
            request, require_stable, box, current_id=lambda name: (current_ids or {}).get(name, bytes(16))
        )
        return self._end(box, end_turn)

    def fetched(
        self, partitions: list[tuple[str, int]] | None = None, *, group: str = "g"
    ) -> dict[tuple[str, int], int]:
        """The committed offsets, those that exist."""
        response = self.fetch(partitions, group=group).response
        assert response.error_code == 0
        return {
            (topic.name, partition.partition_index): partition.committed_offset
            for topic in response.topics
            for partition in topic.partitions
            if partition.committed_offset >= 0
        }

    def describe(self, *groups: str, version: int = 6) -> Box:
        box = self._box("describe")
        self.coordinator.describe_groups(list(groups), version, box)
        return box

    def list_groups(self, states: tuple[str, ...] = (), types: tuple[str, ...] = ()) -> Box:
        box = self._box("list")
        self.coordinator.list_groups(ListGroupsRequest(states_filter=[*states], types_filter=[*types]), box)
        return box

    def delete_groups(self, *groups: str) -> Box:
        box = self._box("delete-groups")
        self.coordinator.delete_groups(groups, box)
        return self._end(box, end_turn=True)

    def delete_offsets(self, partitions: list[tuple[str, int]], *, group: str = "g") -> Box:
        box = self._box("delete-offsets")
        topics: dict[str, list[OffsetDeleteRequestPartition]] = {}
        for topic, partition in partitions:
            topics.setdefault(topic, []).append(OffsetDeleteRequestPartition(partition_index=partition))
        asked = [OffsetDeleteRequestTopic(name=name, partitions=entries) for name, entries in topics.items()]
        self.coordinator.delete_offsets(OffsetDeleteRequest(group_id=group, topics=asked), box)
        return self._end(box, end_turn=True)

    # Shortcuts.

    def member(self, *, client: str = "client", group: str = "g", **keywords: Any) -> tuple[str, Box]:
        """Join as KIP-394 asks: get an id first. Returns it, and the box of the second JoinGroup."""
        first = self.join(client=client, group=group, **keywords)
        assert first.code is ErrorCode.MEMBER_ID_REQUIRED
        member_id = first.response.member_id
        return member_id, self.join(member_id, client=client, group=group, **keywords)

    def stable_group(self, size: int = 2, *, group: str = "g", **keywords: Any) -> tuple[list[str], int]:
        """A group with members in STABLE. Returns their ids, the leader first, and the generation."""
        joined = [self.member(client=f"c{number}", group=group, **keywords) for number in range(size)]
        self.wait(self.settings.initial_rebalance_delay_ms * 3)
        responses = [box.response for _, box in joined]
        generation = responses[0].generation_id
        leader = responses[0].leader
        ids = sorted((response.member_id for response in responses), key=lambda member_id: member_id != leader)
        boxes = [self.sync(member_id, generation, group=group) for member_id in ids[1:]]
        assignment = {member_id: f"part of {number}".encode() for number, member_id in enumerate(ids)}
        boxes.append(self.sync(leader, generation, assignment, group=group))
        assert all(box.code is ErrorCode.NONE for box in boxes)
        return ids, generation

    def _box(self, what: str) -> Box:
        box = Box(what)
        self.boxes.append(box)
        return box

    def _end(self, box: Box, end_turn: bool) -> Box:
        if end_turn:
            self.turn()
        for machine in self.coordinator._runtime.machines()[0]:
            for group in machine.groups.values():
                group.check()
        return box
