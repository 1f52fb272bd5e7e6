"""A member of a consumer group, as a value: each change makes a new one, so that the old can still be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ottla.coordinator.group.consumer.state import LEAVES_FOR_NOW, MemberState

if TYPE_CHECKING:
    from ottla.messages import ConsumerGroupCurrentMemberAssignmentValueTopicPartitions

# What a member shall have: topic id -> partitions, ascending. Never changed in place; no topic is empty.
Target = Mapping[bytes, tuple[int, ...]]
# What a member has: topic id -> partition -> the epoch it got it at. The same rules.
Assigned = Mapping[bytes, Mapping[int, int]]


class Recorded(dict[bytes, Mapping[int, int]]):
    """What a member has, and how its record says that: the record of the next epoch says the same."""

    __slots__ = ("compared_with", "said")

    def __init__(
        self,
        assigned: Mapping[bytes, Mapping[int, int]],
        said: list[ConsumerGroupCurrentMemberAssignmentValueTopicPartitions],
    ) -> None:
        super().__init__(assigned)
        # Never changed in place.
        self.said = said
        # The target it was found to be exactly (`quiet`).
        self.compared_with: Target | None = None


NO_TARGET: Final[Target] = {}
NOTHING_ASSIGNED: Final[Assigned] = {}


class ClassicProtocols(Struct, frozen=True):
    """What a member that speaks the classic protocol said in its JoinGroup."""

    session_timeout_ms: int
    # Name and metadata, the preferred one first; there is at least one.
    protocols: tuple[tuple[str, bytes], ...]


class ConsumerMember(Struct, frozen=True, kw_only=True):
    """One member: what it said, which epoch it has reached, what it owns."""

    member_id: str
    epoch: int = 0
    # Before its last step: what a member that missed the answer repeats.
    previous_epoch: int = -1
    state: MemberState = MemberState.STABLE
    # `group.instance.id` of a static member.
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    client_id: str = ""
    # As Kafka shows it: with a leading slash.
    client_host: str = ""
    topics: frozenset[str] = frozenset()
    # A subscription by regular expression, beside the one by names; "" or None for none, as the member said it.
    pattern: str | None = ""
    # The assignor it asks for; None leaves it to the others and the broker.
    assignor: str | None = None
    assigned: Assigned = NOTHING_ASSIGNED
    # What it was told to give up and has not confirmed.
    revoking: Assigned = NOTHING_ASSIGNED
    # None unless it speaks the classic protocol.
    classic: ClassicProtocols | None = None

    def is_reconciled_to(self, assignment_epoch: int) -> bool:
        """It has reached the target of that epoch."""
        return self.state is MemberState.STABLE and self.epoch == assignment_epoch

    @property
    def is_away(self) -> bool:
        """A static member that said it would be back."""
        return self.epoch == LEAVES_FOR_NOW

    def assignment_epoch(self, topic_id: bytes, partition: int) -> int | None:
        """Since which epoch it has the partition, to keep or to give up; None if it has not."""
        for owned in (self.assigned, self.revoking):
            epoch = owned.get(topic_id, _NO_PARTITIONS).get(partition)
            if epoch is not None:
                return epoch
        return None


_NO_PARTITIONS: Final[Mapping[int, int]] = {}


def target_of(assigned: Assigned) -> Target:
    """The same partitions without their epochs."""
    return {topic_id: tuple(sorted(partitions)) for topic_id, partitions in assigned.items()}
