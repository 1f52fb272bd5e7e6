"""A member's next step towards its target: a pure function (see `state` for the rules).

Reference: Apache Kafka 4.3, CurrentAssignmentBuilder.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ottla.coordinator.group.consumer.member import NOTHING_ASSIGNED
from ottla.coordinator.group.consumer.state import MemberState
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ottla.coordinator.group.consumer.member import Assigned, ConsumerMember, Target

# Partitions a member says it owns: topic id -> partitions.
Owned = Mapping[bytes, Collection[int]]


def reconcile(
    member: ConsumerMember,
    *,
    target: Target,
    target_epoch: int,
    subscribed: Container[bytes],
    subscription_changed: bool,
    is_free: Callable[[bytes, int], bool],
    owned: Owned | None,
) -> ConsumerMember:
    """The member after this heartbeat; the same one if nothing changes.

    `subscribed`: ids of the topics it subscribes to that exist; it is never given others, whatever the target says.
    `is_free`: nobody owns the partition. `owned`: what the member says it owns, None if it did not say.
    """
    match member.state:
        case MemberState.STABLE if member.epoch != target_epoch:
            pass
        case MemberState.UNREVOKED_PARTITIONS if not _owns(owned, member.revoking):
            pass
        case MemberState.STABLE | MemberState.UNREVOKED_PARTITIONS:
            # Nothing to do for this target; but topics it has just unsubscribed from it gives up at once.
            return _give_up_unsubscribed(member, subscribed, owned) if subscription_changed else member
        case MemberState.UNRELEASED_PARTITIONS:
            pass
        case _:
            if owned is None or owned:
                raise RequestError(
                    ErrorCode.FENCED_MEMBER_EPOCH,
                    "The state of the member is not known to this version. Give up all partitions and join again.",
                )
            return _step(member, target_epoch, target, target_epoch, subscribed, is_free, owned)
    return _step(member, member.epoch, target, target_epoch, subscribed, is_free, owned)


def together(said: Iterable[tuple[bytes, Collection[int]]]) -> Owned:
    """What a member says it owns, which may name a topic several times."""
    owned: dict[bytes, Collection[int]] = {}
    for topic_id, partitions in said:
        owned[topic_id] = [*owned[topic_id], *partitions] if topic_id in owned else partitions
    return owned


def _owns(owned: Owned | None, given_up: Assigned) -> bool:
    """Whether the member may still own a partition it shall give up; it does unless it says otherwise."""
    if owned is None:
        return True
    return any(
        partition in given_up[topic_id]
        for topic_id, partitions in owned.items()
        if topic_id in given_up
        for partition in partitions
    )


def _give_up_unsubscribed(member: ConsumerMember, subscribed: Container[bytes], owned: Owned | None) -> ConsumerMember:
    gone = {topic_id: partitions for topic_id, partitions in member.assigned.items() if topic_id not in subscribed}
    if not gone:
        return member
    kept = {topic_id: partitions for topic_id, partitions in member.assigned.items() if topic_id in subscribed}
    revoking = dict(member.revoking)
    for topic_id, partitions in gone.items():
        revoking[topic_id] = {**revoking.get(topic_id, {}), **partitions}
    if not _owns(owned, revoking):
        return replace(member, previous_epoch=member.epoch, assigned=kept)
    return replace(
        member,
        state=MemberState.UNREVOKED_PARTITIONS,
        previous_epoch=member.epoch,
        assigned=kept,
        revoking=revoking,
    )


def has_exactly(assigned: Assigned, target: Target, subscribed: Container[bytes]) -> bool:
    """Whether a member has its target already, as most have when another one joins or leaves."""
    if len(assigned) != len(target):
        return False
    for topic_id, shall_have in target.items():
        has = assigned.get(topic_id)
        if has is None or len(has) != len(shall_have) or topic_id not in subscribed:
            return False
        # Both are in order nearly always.
        if tuple(has) != shall_have and any(partition not in has for partition in shall_have):
            return False
    return True


def _step(
    member: ConsumerMember,
    epoch: int,
    target: Target,
    target_epoch: int,
    subscribed: Container[bytes],
    is_free: Callable[[bytes, int], bool],
    owned: Owned | None,
) -> ConsumerMember:
    if not member.revoking and has_exactly(member.assigned, target, subscribed):
        return replace(member, state=MemberState.STABLE, epoch=target_epoch, previous_epoch=member.epoch)
    kept: dict[bytes, dict[int, int]] = {}
    revoking: dict[bytes, dict[int, int]] = {}
    pending: list[tuple[bytes, int]] = []
    unreleased = False
    for topic_id, has in member.assigned.items():
        shall_have = target.get(topic_id, ()) if topic_id in subscribed else ()
        stays = {partition: has[partition] for partition in shall_have if partition in has}
        if stays:
            kept[topic_id] = stays
        if len(stays) < len(has):
            revoking[topic_id] = {partition: since for partition, since in has.items() if partition not in stays}
    for topic_id, shall_have in target.items():
        if topic_id not in subscribed:
            continue
        has_already = kept.get(topic_id, {})
        gave_up = member.revoking.get(topic_id, {})
        for partition in shall_have:
            if partition in has_already:
                continue
            # What it has just given up itself is free for it, although the log says so only after this step.
            if partition in gave_up or is_free(topic_id, partition):
                pending.append((topic_id, partition))
            else:
                unreleased = True
    if revoking and _owns(owned, revoking):
        return replace(
            member,
            state=MemberState.UNREVOKED_PARTITIONS,
            epoch=epoch,
            previous_epoch=member.epoch,
            assigned=kept,
            revoking=revoking,
        )
    for topic_id, partition in pending:
        kept.setdefault(topic_id, {})[partition] = target_epoch
    return replace(
        member,
        state=MemberState.UNRELEASED_PARTITIONS if unreleased else MemberState.STABLE,
        epoch=target_epoch,
        previous_epoch=member.epoch,
        assigned=kept,
        revoking=NOTHING_ASSIGNED,
    )
