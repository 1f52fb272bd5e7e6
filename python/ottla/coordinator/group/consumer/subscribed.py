"""Which topics a member subscribes to, without a list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ottla.coordinator.group.consumer.group import ConsumerGroup
    from ottla.coordinator.group.consumer.member import ConsumerMember
    from ottla.coordinator.group.consumer.topics import Topics

_NO_NAMES: Final[frozenset[str]] = frozenset()


class Subscribed:
    """The ids of the topics that a member subscribes to and that exist, each looked up when it is asked for.

    A member of thousands of topics has a few of their partitions, and every heartbeat of it asks until it is settled.
    """

    def __init__(self, member: ConsumerMember, group: ConsumerGroup, topics: Topics) -> None:
        self._names = member.topics
        resolved = group.patterns.get(member.pattern) if member.pattern else None
        self._matched = _NO_NAMES if resolved is None else resolved.topics
        self._topics = topics

    def __contains__(self, topic_id: object) -> bool:
        assert isinstance(topic_id, bytes)
        topic = self._topics.with_id(topic_id)
        return topic is not None and (topic.name in self._names or topic.name in self._matched)
