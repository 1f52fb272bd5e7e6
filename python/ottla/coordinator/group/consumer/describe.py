"""What others see of a consumer group: ConsumerGroupDescribe and a line of ListGroups, of what is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.coordinator.group.consumer.group import CONSUMER_TYPE
from ottla.coordinator.group.consumer.member import NO_TARGET
from ottla.messages import (
    ConsumerGroupDescribeResponseAssignment,
    ConsumerGroupDescribeResponseDescribedGroup,
    ConsumerGroupDescribeResponseMember,
    ConsumerGroupDescribeResponseTopicPartitions,
    ListGroupsResponseListedGroup,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ottla.coordinator.group.consumer.group import ConsumerGroup
    from ottla.coordinator.group.consumer.member import ConsumerMember, Target
    from ottla.coordinator.group.consumer.topics import Topics

# How a member speaks (KIP-1099).
CLASSIC_MEMBER: Final = 0
CONSUMER_MEMBER: Final = 1


def listed(group: ConsumerGroup) -> ListGroupsResponseListedGroup:
    """One line of ListGroups."""
    return ListGroupsResponseListedGroup(
        group_id=group.group_id,
        protocol_type=CONSUMER_TYPE,
        group_state=group.committed_state().value,
        group_type=CONSUMER_TYPE,
    )


def described(
    group: ConsumerGroup, topics: Topics, default_assignor: str
) -> ConsumerGroupDescribeResponseDescribedGroup:
    """The group with its members, what each has and what it shall have."""
    epoch, assignment_epoch = group.committed_epochs()
    return ConsumerGroupDescribeResponseDescribedGroup(
        group_id=group.group_id,
        group_state=group.committed_state().value,
        group_epoch=epoch,
        assignment_epoch=assignment_epoch,
        assignor_name=group.committed_assignor() or default_assignor,
        members=[
            _member(member, group.targets.committed_get(member_id) or NO_TARGET, topics)
            for member_id, member in group.members.committed_items()
        ],
    )


def _member(member: ConsumerMember, target: Target, topics: Topics) -> ConsumerGroupDescribeResponseMember:
    has: dict[bytes, list[int]] = {}
    for owned in (member.assigned, member.revoking):
        for topic_id, partitions in owned.items():
            has.setdefault(topic_id, []).extend(sorted(partitions))
    return ConsumerGroupDescribeResponseMember(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=sorted(member.topics),
        subscribed_topic_regex=member.pattern,
        assignment=_assignment(has, topics),
        target_assignment=_assignment(target, topics),
        member_type=CONSUMER_MEMBER if member.classic is None else CLASSIC_MEMBER,
    )


def _assignment(partitions: Mapping[bytes, Iterable[int]], topics: Topics) -> ConsumerGroupDescribeResponseAssignment:
    named = [(topics.with_id(topic_id), indexes) for topic_id, indexes in partitions.items()]
    return ConsumerGroupDescribeResponseAssignment(
        topic_partitions=[
            ConsumerGroupDescribeResponseTopicPartitions(
                topic_id=topic.topic_id, topic_name=topic.name, partitions=list(indexes)
            )
            for topic, indexes in named
            if topic is not None
        ]
    )
