"""Which brokers hold a new partition: as asked for, or chosen in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.controller.image import NO_LEADER
from ottla.errors import ErrorCode, RequestError
from ottla.messages import PartitionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.controller.image import MetadataImage
    from ottla.types import Random


def place(image: MetadataImage, count: int, replication_factor: int, random: Random) -> list[list[int]]:
    """Choose replicas for `count` partitions: leaders in turn from a random broker on, followers behind them.

    Raises `RequestError` (INVALID_REPLICATION_FACTOR) in the words of Kafka's StripedReplicaPlacer.
    """
    brokers = sorted(image.brokers)
    live = image.live_brokers()
    trouble = f"Unable to replicate the partition {replication_factor} time(s): "
    if not live:
        raise RequestError(ErrorCode.INVALID_REPLICATION_FACTOR, trouble + "All brokers are currently fenced.")
    if replication_factor > len(brokers):
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            trouble + f"The target replication factor of {replication_factor} cannot be reached because only "
            f"{len(brokers)} broker(s) are registered or some brokers have all their log directories cordoned.",
        )
    # Live brokers first, so that every partition has a leader.
    ordered = live + [broker for broker in brokers if broker not in live]
    first = random.below(len(live))
    placed = []
    for number in range(count):
        at = (first + number) % len(live)
        turned = live[at:] + live[:at] + ordered[len(live) :]
        placed.append(turned[:replication_factor])
    return placed


def check_assignment(image: MetadataImage, replicas: Sequence[int], replication_factor: int | None) -> None:
    """Refuse replicas nobody could hold (INVALID_REPLICA_ASSIGNMENT), in Kafka's order and words."""

    def refuse(words: str) -> RequestError:
        return RequestError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"The manual partition assignment includes {words}")

    if not replicas:
        raise refuse("an empty replica list.")
    previous = None
    for broker in sorted(replicas):
        if broker not in image.brokers:
            raise refuse(f"broker {broker}, but no such broker is registered.")
        if broker == previous:
            raise refuse(f"the broker {broker} more than once.")
        previous = broker
    if replication_factor is not None and replication_factor != len(replicas):
        raise refuse(
            f"a partition with {len(replicas)} replica(s), but this is not consistent with previous partitions, "
            f"which have {replication_factor} replica(s)."
        )


def partition_record(image: MetadataImage, topic_id: bytes, index: int, replicas: Sequence[int]) -> PartitionRecord:
    """Give the record of a new partition: live replicas are in sync, the first of them leads."""
    live = set(image.live_brokers())
    in_sync = [broker for broker in replicas if broker in live]
    if not in_sync:
        raise RequestError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"All brokers specified in the manual partition assignment for partition {index} are fenced or in "
            "controlled shutdown.",
        )
    return PartitionRecord(
        partition_id=index,
        topic_id=topic_id,
        replicas=list(replicas),
        isr=in_sync,
        leader=in_sync[0] if in_sync else NO_LEADER,
        leader_epoch=0,
        partition_epoch=0,
    )
