"""What a consumer group writes to `__consumer_offsets`; all values in version 0, as Apache Kafka 4.3 writes them.

    type  key                                        says
    3     ConsumerGroupMetadataKey                   the group epoch, and the hash of the topics it was decided on
    4     ConsumerGroupPartitionMetadataKey          written by Kafka 4.0 in place of that hash; only its end is written
    5     ConsumerGroupMemberMetadataKey             what a member said: subscription, client, time-outs
    6     ConsumerGroupTargetAssignmentMetadataKey   the epoch of the target assignment, and when it was computed
    7     ConsumerGroupTargetAssignmentMemberKey     what a member shall have
    8     ConsumerGroupCurrentMemberAssignmentKey    what a member has, to keep and to give up, and its epoch
    16    ConsumerGroupRegularExpressionKey          the topics a pattern matches

A tombstone ends each. They are written in the order Kafka insists on when it loads: a member's tombstones 8, 7, 5; a
group's 8, 7, 6, 5, 16, 4, 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.coordinator.group.consumer.member import Recorded
from ottla.coordinator.group.consumer.state import MemberState
from ottla.coordinator.shard import CoordinatorRecord
from ottla.messages import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupCurrentMemberAssignmentValueTopicPartitions,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMemberMetadataValueClassicMemberMetadata,
    ConsumerGroupMemberMetadataValueClassicProtocol,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMemberValueTopicPartition,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.coordinator.group.consumer.group import ConsumerGroup, ResolvedPattern
    from ottla.coordinator.group.consumer.member import Assigned, ConsumerMember, Target

VERSION: Final = 0


def group_epoch(group_id: str, epoch: int, metadata_hash: int) -> CoordinatorRecord:
    """What is to be assigned has changed."""
    return CoordinatorRecord(
        ConsumerGroupMetadataKey(group_id=group_id),
        ConsumerGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash),
        VERSION,
    )


def member_metadata(group_id: str, member: ConsumerMember) -> CoordinatorRecord:
    """What a member said."""
    classic = None
    if member.classic is not None:
        classic = ConsumerGroupMemberMetadataValueClassicMemberMetadata(
            session_timeout_ms=member.classic.session_timeout_ms,
            supported_protocols=[
                ConsumerGroupMemberMetadataValueClassicProtocol(name=name, metadata=metadata)
                for name, metadata in member.classic.protocols
            ],
        )
    return CoordinatorRecord(
        ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id),
        ConsumerGroupMemberMetadataValue(
            instance_id=member.instance_id,
            rack_id=member.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topic_names=sorted(member.topics),
            subscribed_topic_regex=member.pattern,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            server_assignor=member.assignor,
            classic_member_metadata=classic,
        ),
        VERSION,
    )


def target_epoch(group_id: str, epoch: int, now_ms: int) -> CoordinatorRecord:
    """The target assignment is the one for this group epoch."""
    return CoordinatorRecord(
        ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id),
        ConsumerGroupTargetAssignmentMetadataValue(assignment_epoch=epoch, assignment_timestamp=now_ms),
        VERSION,
    )


def member_target(group_id: str, member_id: str, target: Target) -> CoordinatorRecord:
    """What a member shall have."""
    return CoordinatorRecord(
        ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id),
        ConsumerGroupTargetAssignmentMemberValue(
            topic_partitions=[
                ConsumerGroupTargetAssignmentMemberValueTopicPartition(topic_id=topic_id, partitions=list(partitions))
                for topic_id, partitions in target.items()
            ]
        ),
        VERSION,
    )


def current_assignment(group_id: str, member: ConsumerMember) -> CoordinatorRecord:
    """What a member has."""
    return CoordinatorRecord(
        ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id),
        ConsumerGroupCurrentMemberAssignmentValue(
            member_epoch=member.epoch,
            previous_member_epoch=member.previous_epoch,
            state=member.state,
            assigned_partitions=_with_epochs(member.assigned),
            partitions_pending_revocation=_with_epochs(member.revoking),
        ),
        VERSION,
    )


def next_epoch(group_id: str, member: ConsumerMember, epoch: int) -> CoordinatorRecord:
    """The member has come to this epoch and has what it had, with nothing to give up."""
    return CoordinatorRecord(
        ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id),
        ConsumerGroupCurrentMemberAssignmentValue(
            member_epoch=epoch,
            previous_member_epoch=member.epoch,
            state=MemberState.STABLE,
            assigned_partitions=_with_epochs(member.assigned),
        ),
        VERSION,
    )


def _with_epochs(assigned: Assigned) -> list[ConsumerGroupCurrentMemberAssignmentValueTopicPartitions]:
    if type(assigned) is Recorded:
        return assigned.said
    said = []
    for topic_id, epochs in assigned.items():
        partitions = sorted(epochs)
        said.append(
            ConsumerGroupCurrentMemberAssignmentValueTopicPartitions(
                topic_id, partitions, [epochs[partition] for partition in partitions]
            )
        )
    return said


def resolved_pattern(group_id: str, pattern: str, resolved: ResolvedPattern) -> CoordinatorRecord:
    """The topics a pattern matches."""
    return CoordinatorRecord(
        ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=pattern),
        ConsumerGroupRegularExpressionValue(
            topics=sorted(resolved.topics), version=resolved.version, timestamp=resolved.resolved_ms
        ),
        VERSION,
    )


def pattern_tombstone(group_id: str, pattern: str) -> CoordinatorRecord:
    """Nobody subscribes by this pattern any more."""
    return CoordinatorRecord(ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=pattern), None)


def old_metadata_tombstone(group_id: str) -> CoordinatorRecord:
    """What Kafka 4.0 wrote in place of the hash is not needed."""
    return CoordinatorRecord(ConsumerGroupPartitionMetadataKey(group_id=group_id), None)


def member_tombstones(group_id: str, member_id: str) -> list[CoordinatorRecord]:
    """The member is gone."""
    return [
        CoordinatorRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None),
        CoordinatorRecord(ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None),
        CoordinatorRecord(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None),
    ]


def group_tombstones(group: ConsumerGroup, *, member_ids: Iterable[str] | None = None) -> list[CoordinatorRecord]:
    """The group is gone, with these members (its own, unless said)."""
    group_id = group.group_id
    members = list(group.members if member_ids is None else member_ids)
    return [
        *(
            CoordinatorRecord(ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id), None)
            for member_id in members
        ),
        *(
            CoordinatorRecord(ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id), None)
            for member_id in members
        ),
        CoordinatorRecord(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), None),
        *(
            CoordinatorRecord(ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id), None)
            for member_id in members
        ),
        *(pattern_tombstone(group_id, pattern) for pattern in group.patterns),
        old_metadata_tombstone(group_id),
        CoordinatorRecord(ConsumerGroupMetadataKey(group_id=group_id), None),
    ]


def whole_group(group: ConsumerGroup) -> list[CoordinatorRecord]:
    """Everything the group is; what an upgrade writes."""
    group_id = group.group_id
    members = group.members.values()
    return [
        *(member_metadata(group_id, member) for member in members),
        group_epoch(group_id, group.epoch, group.metadata_hash),
        *(member_target(group_id, member.member_id, group.target(member.member_id)) for member in members),
        target_epoch(group_id, group.assignment_epoch, group.assigned_ms),
        *(current_assignment(group_id, member) for member in members),
    ]
