"""The range assignor: each topic is cut into as many ranges as it has subscribers, in the order of the members.

Members are sorted by instance id (those that have one first), then by member id, so that a static member gets the same
range again after a restart, and topics with equally many partitions are cut alike: partition n of one and of the other
meet at one member. The first of n subscribers get one more where a topic cannot be divided. Nothing is sticky.

Reference: Apache Kafka 4.3, RangeAssignor.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.coordinator.group.consumer.assignors.subject import Subject
    from ottla.coordinator.group.consumer.member import Target


def assign_ranges(
    subjects: Sequence[Subject],
    partition_counts: Mapping[bytes, int],
    *,
    alike: bool,  # noqa: ARG001 - makes no difference here
) -> dict[str, Target]:
    """Everybody's target."""
    subscribers = Counter(topic_id for subject in subjects for topic_id in subject.topics)
    next_partition = dict.fromkeys(subscribers, 0)
    with_one_more = {topic_id: partition_counts[topic_id] % count for topic_id, count in subscribers.items()}
    found: dict[str, Target] = {}
    for subject in sorted(subjects, key=_order):
        target = {}
        for topic_id in subject.topics:
            start = next_partition[topic_id]
            end = start + partition_counts[topic_id] // subscribers[topic_id]
            if with_one_more[topic_id]:
                with_one_more[topic_id] -= 1
                end += 1
            if start < end:
                next_partition[topic_id] = end
                target[topic_id] = tuple(range(start, end))
        found[subject.member_id] = target
    return found


def _order(subject: Subject) -> tuple[bool, bytes]:
    # Java compares UTF-16 units.
    dynamic = subject.instance_id is None
    name = subject.member_id if subject.instance_id is None else subject.instance_id
    return dynamic, name.encode("utf-16-be", "surrogatepass")
