"""From the new protocol back to the classic one, when its last member has left a group with members of the classic one.

Those are given their targets as the running generation, which has the group's epoch, and are told to rebalance: from
then on one of them assigns. (If the last one is a static member that comes back with the classic protocol and nothing
has changed, they need not.) `group.consumer.migration.policy` can forbid it; then the group stays what it is.

The rebalance is not in the log. So that a coordinator which starts again before it is over does not take the targets
for all there is to have, and leave what the last one had to nobody, the log has them as the next generation, which no
member has: they hear ILLEGAL_GENERATION and join. (Apache Kafka 4.3 writes the running one.)

Reference: Apache Kafka 4.3, GroupMetadataManager.convertToClassicGroup and ClassicGroup.fromConsumerGroup.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.consumer.embedded import write_assignment
from ottla.coordinator.group.consumer.group import CONSUMER_TYPE
from ottla.coordinator.group.consumer.records import group_tombstones
from ottla.coordinator.group.members import Member
from ottla.coordinator.group.records import group_metadata
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.shard import NOTHING, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.coordinator.group.consumer.environment import Environment
    from ottla.coordinator.group.consumer.group import ConsumerGroup
    from ottla.coordinator.group.consumer.member import ConsumerMember
    from ottla.coordinator.group.rebalance import Rebalancer
    from ottla.coordinator.shard import CoordinatorRecord

log = logging.getLogger(__name__)


class Downgrader:
    """Makes classic groups of consumer groups."""

    def __init__(self, environment: Environment, rebalancer: Rebalancer) -> None:
        self._env = environment
        self._rebalancer = rebalancer

    def may_without(self, group: ConsumerGroup, leaving: Sequence[ConsumerMember]) -> bool:
        """Whether everyone who stays speaks the classic protocol, and the group may become classic."""
        staying = len(group.members) - len(leaving)
        classic = group.classic_count - sum(member.classic is not None for member in leaving)
        return 0 < staying == classic and self._may_have(group, staying)

    def may_replacing(self, group: ConsumerGroup, replaced: ConsumerMember) -> bool:
        """Whether that is so once this static member is back with the classic protocol."""
        count = len(group.members)
        return replaced.classic is None and group.classic_count == count - 1 and self._may_have(group, count)

    def _may_have(self, group: ConsumerGroup, count: int) -> bool:
        if self._env.settings.may_downgrade and count <= self._env.settings.group_size_max:
            return True
        log.info("group %.255r: stays a consumer group, by the migration policy or its size", group.group_id)
        return False

    def convert(
        self,
        group: ConsumerGroup,
        *,
        leaving: Sequence[ConsumerMember] = (),
        joining: ConsumerMember | None = None,
        reason: str | None,
    ) -> list[CoordinatorRecord]:
        """The records of it. `joining` replaces the member of its instance id; without a reason nobody rebalances."""
        group_id, env = group.group_id, self._env
        replaced = None if joining is None else group.static_member(joining.instance_id)
        gone = {member.member_id for member in leaving}
        # Member, and whose target it is given.
        staying = [
            (member, member.member_id)
            for member in group.members.values()
            if member.member_id not in gone and member is not replaced
        ]
        ids = [member.member_id for member in group.members.values() if member is not replaced]
        if joining is not None:
            assert replaced is not None, "only a static member can replace one"
            staying.append((joining, replaced.member_id))
            ids.append(joining.member_id)
        classic = ClassicGroup(
            group_id,
            state=GroupState.STABLE,
            since_ms=env.clock.now_ms(),
            generation=group.epoch if reason is None else group.epoch + 1,
            protocol_type=CONSUMER_TYPE,
        )
        for member, _ in staying:
            classic.add(_classic_member(member), CONSUMER_TYPE)
        classic.protocol = classic.select_protocol()
        assignment = {
            member.member_id: write_assignment(
                env.codec,
                env.topics,
                group.target(target_id),
                classic.members[member.member_id].metadata(classic.protocol),
            )
            for member, target_id in staying
        }
        env.shard.submit(partial(self._converted, classic, reason))
        log.info("group %.255r: downgraded to the classic protocol at epoch %d", group_id, group.epoch)
        return [*group_tombstones(group, member_ids=ids), group_metadata(classic, assignment)]

    def _converted(self, made: ClassicGroup, reason: str | None) -> Result:
        """The records are applied, to a group of which the log knows one protocol per member: complete it."""
        group = self._env.groups.get(made.group_id)
        if not isinstance(group, ClassicGroup) or group.members.keys() != made.members.keys():
            return NOTHING
        for member_id, known in made.members.items():
            member = group.members[member_id]
            group.update(
                member,
                protocols=known.protocols,
                rebalance_timeout_ms=known.rebalance_timeout_ms,
                session_timeout_ms=known.session_timeout_ms,
            )
            self._rebalancer.heard_of(group, member)
        self._rebalancer.read_subscriptions(group)
        if reason is not None:
            # What the members have; the log is ahead.
            group.generation -= 1
        return NOTHING if reason is None else self._rebalancer.prepare(group, reason)


def _classic_member(member: ConsumerMember) -> Member:
    assert member.classic is not None, "everyone who stays speaks the classic protocol"
    return Member(
        member.member_id,
        instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        session_timeout_ms=member.classic.session_timeout_ms,
        protocols=member.classic.protocols,
    )
