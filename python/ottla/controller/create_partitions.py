"""Deciding on more partitions for existing topics: a count can only grow. Kafka's order and words.

One refusal is ours: `__consumer_offsets`, `__transaction_state`. A group or a transactional id is found by the number
of its partitions, so that one more would leave most groups without their committed offsets at the next start, and
transactions without their end. Kafka 4.3.1 does it (its docs say not to).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ottla.controller.decision import NEW_PARTITIONS_MAX, Decision
from ottla.controller.names import OFFSETS_TOPIC, TRANSACTIONS_TOPIC
from ottla.controller.placement import check_assignment, partition_record, place
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.controller.image import MetadataImage
    from ottla.types import Random

# What another number of partitions would cost.
_LOST: Final = {
    OFFSETS_TOPIC: "groups are found by it, and most would lose their committed offsets",
    TRANSACTIONS_TOPIC: "transactional ids are found by it, and most would lose their transactions",
}


class MorePartitions(Struct, frozen=True):
    """A topic and how many partitions it is to have in all; `assignments` are the brokers of the new ones."""

    name: str
    partition_count: int
    assignments: tuple[tuple[int, ...], ...] | None = None


class GrownTopic(Struct, frozen=True):
    """What one item of the request is answered."""

    name: str
    code: ErrorCode = ErrorCode.NONE
    message: str | None = None


def create_partitions(
    image: MetadataImage, topics: Sequence[MorePartitions], random: Random, *, validate_only: bool = False
) -> Decision[GrownTopic]:
    """Decide on each topic, independent of the others."""
    twice = {name for name, count in Counter(topic.name for topic in topics).items() if count > 1}
    results: dict[str, GrownTopic] = {}
    records: list[Struct] = []
    for topic in topics:
        if topic.name in twice:
            results[topic.name] = GrownTopic(topic.name, ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
            continue
        try:
            added = _grow(image, topic, random)
            if len(records) + len(added) > NEW_PARTITIONS_MAX:
                raise RequestError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
        except RequestError as error:
            # Kafka sends no sentence with an unknown topic here.
            message = None if error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION else error.message
            results[topic.name] = GrownTopic(topic.name, error.code, message)
        else:
            results[topic.name] = GrownTopic(topic.name)
            records.extend(added)
    return Decision(list(results.values()), [] if validate_only else records)


def _grow(image: MetadataImage, wanted: MorePartitions, random: Random) -> list[Struct]:
    topic = image.topics.get(wanted.name)
    if topic is None:
        raise RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if topic.name in _LOST:
        raise RequestError(
            ErrorCode.INVALID_PARTITIONS,
            f"The number of partitions of {topic.name} cannot be changed: {_LOST[topic.name]}.",
        )
    current = len(topic.partitions)
    if wanted.partition_count == current:
        raise RequestError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {current} partition(s).")
    if wanted.partition_count < current:
        raise RequestError(
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {topic.name} currently has {current} partition(s); {wanted.partition_count} would not be an "
            "increase.",
        )
    added = wanted.partition_count - current
    if wanted.assignments is not None and len(wanted.assignments) != added:
        raise RequestError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Attempted to add {added} additional partition(s), but only {len(wanted.assignments)} assignment(s) "
            "were specified.",
        )
    if added > NEW_PARTITIONS_MAX:
        raise RequestError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
    factor = len(topic.partitions[0].replicas)
    replicas: Sequence[Sequence[int]]
    if wanted.assignments is None:
        replicas = place(image, added, factor, random)
    else:
        for brokers in wanted.assignments:
            check_assignment(image, brokers, factor)
        replicas = wanted.assignments
    return [
        partition_record(image, topic.topic_id, current + number, brokers) for number, brokers in enumerate(replicas)
    ]
