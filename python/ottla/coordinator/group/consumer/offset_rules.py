"""Who may commit and fetch offsets in the name of a consumer group.

A member commits with its epoch. With an older one it may commit for a partition it has had since then at the latest,
to keep or to give up: the answer that raised its epoch may still be on its way, and the partition was nobody else's
meanwhile (KIP-1251). For any other it is a zombie: STALE_MEMBER_EPOCH. A member of the classic protocol hears
ILLEGAL_GENERATION instead.

Reference: Apache Kafka 4.3, ConsumerGroup.validateOffsetCommit and validateOffsetFetch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from ottla.coordinator.group.consumer.group import ConsumerGroup
    from ottla.coordinator.group.consumer.member import ConsumerMember

# OffsetCommit from here on knows epochs.
EPOCH_VERSION_MIN: Final = 9

# Raises RequestError if nothing may be committed for a partition (topic id, index).
PartitionRule = Callable[[bytes, int], None]


def commit_rule(
    group: ConsumerGroup,
    member_id: str,
    instance_id: str | None,
    epoch: int,
    *,
    api_version: int,
    transactional: bool = False,
) -> PartitionRule | None:
    """Whether the member may commit at all, else RequestError; and what it may commit for if not for everything."""
    if epoch < 0 and group.is_empty:
        return None
    if transactional and epoch == -1 and not member_id and instance_id is None:
        # Producers of old say only whom they commit for.
        return None
    member = group.member(member_id)
    if not transactional and member.classic is None and api_version < EPOCH_VERSION_MIN:
        raise RequestError(ErrorCode.UNSUPPORTED_VERSION)
    if epoch == member.epoch:
        return None
    if epoch > member.epoch:
        raise RequestError(_stale(member))

    def rule(topic_id: bytes, partition: int) -> None:
        since = member.assignment_epoch(topic_id, partition)
        if since is None or epoch < since:
            raise RequestError(_stale(member))

    return rule


def check_fetch(group: ConsumerGroup, member_id: str | None, epoch: int, *, committed_only: bool) -> None:
    """Whether offsets may be fetched in this name; RequestError if not. Who says no name may (admin tools)."""
    if member_id is None and epoch < 0:
        return
    members = group.members
    member = members.committed_get(member_id or "") if committed_only else members.get(member_id or "")
    if member is None:
        raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
    if epoch != member.epoch:
        raise RequestError(_stale(member))


def _stale(member: ConsumerMember) -> ErrorCode:
    return ErrorCode.STALE_MEMBER_EPOCH if member.classic is None else ErrorCode.ILLEGAL_GENERATION
