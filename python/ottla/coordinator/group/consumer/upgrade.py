"""From the classic protocol to the new one, with members in the group.

It happens when a member of the new protocol joins a classic group, if `group.consumer.migration.policy` allows it, the
group speaks the protocol of consumers, and what its members have can be read: the assignments of the running generation
become both what they have and what they shall have, so that nothing moves; the generation becomes the epoch. From then
on the members of the classic protocol are members like the others, their requests served by `classic_members`.

Reference: Apache Kafka 4.3, GroupMetadataManager.convertToConsumerGroup and ConsumerGroup.fromClassicGroup.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.coordinator.group.consumer.embedded import read_assignment, read_subscription
from ottla.coordinator.group.consumer.group import ConsumerGroup, apply_to_group
from ottla.coordinator.group.consumer.member import ClassicProtocols, ConsumerMember, target_of
from ottla.coordinator.group.consumer.records import (
    current_assignment,
    group_epoch,
    member_metadata,
    member_target,
    target_epoch,
)
from ottla.coordinator.group.records import group_tombstone
from ottla.coordinator.shard import NOTHING, Result
from ottla.coordinator.timeline import Timeline
from ottla.errors import ErrorCode, RequestError
from ottla.messages import JoinGroupResponse, SyncGroupResponse

if TYPE_CHECKING:
    from ottla.coordinator.group.classic_group import ClassicGroup
    from ottla.coordinator.group.consumer.environment import Environment
    from ottla.coordinator.group.consumer.fencing import Fencing
    from ottla.coordinator.group.members import Member
    from ottla.coordinator.group.rebalance import Rebalancer
    from ottla.coordinator.shard import CoordinatorRecord

log = logging.getLogger(__name__)


class Upgrader:
    """Makes consumer groups of classic ones."""

    def __init__(self, environment: Environment, fencing: Fencing, rebalancer: Rebalancer) -> None:
        self._env = environment
        self._fencing = fencing
        self._rebalancer = rebalancer

    def upgrade(self, classic: ClassicGroup, records: list[CoordinatorRecord]) -> ConsumerGroup:
        """Decide on it; RequestError if it may not be. The group given back is what the records will make."""
        group_id = classic.group_id
        if not self._env.settings.may_upgrade:
            raise self._refusal(group_id, "the migration policy does not allow it")
        if not classic.is_consumer_group:
            raise self._refusal(group_id, "its members do not speak the protocol of consumers")
        if len(classic.members) > self._env.settings.consumer_group_size_max:
            raise self._refusal(group_id, "it has more members than a consumer group may have")
        # In the very first round nothing is chosen yet, in a later one perhaps what not all know any more; and all may
        # have left.
        protocol = classic.protocol or ""
        if not all(member.knows(protocol) for member in classic.members.values()):
            protocol = classic.select_protocol()
        try:
            members = [self._member(classic, member, protocol) for member in classic.members.values()]
        except RequestError as error:
            raise self._refusal(group_id, error.message) from error
        self._refuse_shared(group_id, members)
        topics = {name for member in members for name in member.topics}
        made = [
            *(member_metadata(group_id, member) for member in members),
            group_epoch(group_id, classic.generation, self._env.hashes.of_group(topics)),
            *(member_target(group_id, member.member_id, target_of(member.assigned)) for member in members),
            target_epoch(group_id, classic.generation, 0),
            *(current_assignment(group_id, member) for member in members),
        ]
        group = ConsumerGroup(group_id, Timeline())
        for key, value, _ in made:
            apply_to_group(group, key, value)
        records.append(group_tombstone(group_id))
        records += made
        log.info("group %.255r: upgraded from generation %d of the classic protocol", group_id, classic.generation)
        return group

    def _refusal(self, group_id: str, reason: str) -> RequestError:
        log.info("group %.255r cannot be upgraded: %s", group_id, reason)
        return RequestError(
            ErrorCode.GROUP_ID_NOT_FOUND, f"Classic group {group_id} cannot become a consumer group: {reason}."
        )

    def _refuse_shared(self, group_id: str, members: list[ConsumerMember]) -> None:
        owned = [
            (topic_id, partition)
            for member in members
            for topic_id, partitions in member.assigned.items()
            for partition in partitions
        ]
        if len(owned) != len(set(owned)):
            raise self._refusal(group_id, "a partition is assigned to several of its members")

    def _member(self, classic: ClassicGroup, member: Member, protocol: str) -> ConsumerMember:
        codec, topics = self._env.codec, self._env.topics
        subscription = read_subscription(codec, member.metadata(protocol))
        assigned: dict[bytes, dict[int, int]] = {}
        if member.assignment:
            assignment = read_assignment(codec, member.assignment)
            if assignment.user_data:
                raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND, "its assignor keeps data with the members")
            for said in assignment.assigned_partitions:
                topic = topics.named(said.topic)
                # A topic made anew may have fewer than the one they were assigned of.
                there = [] if topic is None else [p for p in said.partitions if 0 <= p < topic.partition_count]
                if topic is not None and there:
                    assigned[topic.topic_id] = dict.fromkeys(sorted(there), classic.generation)
        return ConsumerMember(
            member_id=member.member_id,
            epoch=classic.generation,
            previous_epoch=classic.generation,
            instance_id=member.instance_id,
            rack_id=subscription.rack_id or None,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            client_id=member.client_id,
            client_host=member.client_host,
            topics=frozenset(subscription.topics),
            assigned=assigned,
            classic=ClassicProtocols(member.session_timeout_ms, tuple(member.protocols)),
        )

    def upgraded(self, classic: ClassicGroup) -> Result:
        """The records are applied: who waits in the old group joins again, and the new deadlines count."""
        group_id = classic.group_id
        if not isinstance(self._env.groups.get(group_id), ConsumerGroup):
            return NOTHING
        self._rebalancer.abandon(classic)
        for member in classic.members.values():
            code = ErrorCode.REBALANCE_IN_PROGRESS
            response = JoinGroupResponse(error_code=code, member_id=member.member_id, protocol_name=None)
            classic.answer_join(member, response)
            if member.sync_reply is not None:
                member.sync_reply(SyncGroupResponse(error_code=code))
                member.sync_reply = None
            self._fencing.heard_of(group_id, member.member_id, member.session_timeout_ms)
        return NOTHING
