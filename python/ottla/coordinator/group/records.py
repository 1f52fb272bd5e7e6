"""What a group writes to `__consumer_offsets`, and in which versions.

    key                              value                     says
    OffsetCommitKey    (type 1)      OffsetCommitValue  4      one committed offset; tombstone: forgotten or expired
                                                        1      the same with an explicit end (OffsetCommit 2-4 with a
                                                               retention time: the only version that has the field)
    GroupMetadataKey   (type 2)      GroupMetadataValue 3      a generation with its members and what each is assigned;
                                                               without members: the group is empty; tombstone: it is
                                                               gone

Types and versions are those Apache Kafka 4.3 writes (GroupCoordinatorRecordHelpers), so that its tools read our
topic; version 4 of GroupMetadataValue exists, but older brokers could not read it. Type 0, written by Kafka before 0.9
(LegacyOffsetCommitKey), is read as type 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.coordinator.shard import CoordinatorRecord
from ottla.messages import (
    GroupMetadataKey,
    GroupMetadataValue,
    GroupMetadataValueMemberMetadata,
    OffsetCommitKey,
    OffsetCommitValue,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ottla.coordinator.group.classic_group import ClassicGroup
    from ottla.coordinator.group.offsets import CommittedOffset

OFFSET_COMMIT_VERSION: Final = 4
OFFSET_COMMIT_WITH_END_VERSION: Final = 1
GROUP_METADATA_VERSION: Final = 3


def offset_commit(group_id: str, topic: str, partition: int, committed: CommittedOffset) -> CoordinatorRecord:
    """One committed offset."""
    return CoordinatorRecord(
        OffsetCommitKey(group=group_id, topic=topic, partition=partition),
        OffsetCommitValue(
            offset=committed.offset,
            leader_epoch=committed.leader_epoch,
            metadata=committed.metadata,
            commit_timestamp=committed.commit_ms,
            expire_timestamp=committed.expire_ms,
            topic_id=committed.topic_id,
        ),
        OFFSET_COMMIT_VERSION if committed.expire_ms < 0 else OFFSET_COMMIT_WITH_END_VERSION,
    )


def offset_tombstone(group_id: str, topic: str, partition: int) -> CoordinatorRecord:
    """The offset is forgotten."""
    return CoordinatorRecord(OffsetCommitKey(group=group_id, topic=topic, partition=partition), None)


def group_metadata(group: ClassicGroup, assignment: Mapping[str, bytes]) -> CoordinatorRecord:
    """The group with its members and what each is assigned."""
    protocol = group.protocol
    assert protocol is not None or not group.members, "a group with members has a protocol"
    return CoordinatorRecord(
        GroupMetadataKey(group=group.group_id),
        GroupMetadataValue(
            protocol_type=group.protocol_type or "",
            generation=group.generation,
            protocol=protocol,
            leader=group.leader,
            current_state_timestamp=-1 if group.state.since_ms is None else group.state.since_ms,
            members=[
                GroupMetadataValueMemberMetadata(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout=member.rebalance_timeout_ms,
                    session_timeout=member.session_timeout_ms,
                    subscription=member.metadata(protocol or ""),
                    assignment=assignment[member.member_id],
                )
                for member in group.members.values()
            ],
        ),
        GROUP_METADATA_VERSION,
    )


def new_group(group: ClassicGroup) -> CoordinatorRecord:
    """The group exists, and nobody is in it yet."""
    return CoordinatorRecord(
        GroupMetadataKey(group=group.group_id),
        GroupMetadataValue(
            protocol_type="",
            generation=0,
            protocol=None,
            leader=None,
            current_state_timestamp=-1 if group.state.since_ms is None else group.state.since_ms,
            members=[],
        ),
        GROUP_METADATA_VERSION,
    )


def group_tombstone(group_id: str) -> CoordinatorRecord:
    """The group is gone."""
    return CoordinatorRecord(GroupMetadataKey(group=group_id), None)
