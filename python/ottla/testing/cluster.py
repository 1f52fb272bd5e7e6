"""Topics that a test makes and changes, and what else consumer groups ask of a cluster."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from ottla.coordinator.group.consumer.topics import Cluster, Patterns, TopicView, here

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ottla.coordinator.group.consumer.topics import Elsewhere, Racks


class MemoryTopics:
    """Topics kept in memory; ids are numbered, and never used twice."""

    def __init__(self) -> None:
        self.version = 0
        self._by_name: dict[str, TopicView] = {}
        self._by_id: dict[bytes, TopicView] = {}

    def named(self, name: str) -> TopicView | None:
        """The topic of that name."""
        return self._by_name.get(name)

    def with_id(self, topic_id: bytes) -> TopicView | None:
        """The topic of that id."""
        return self._by_id.get(topic_id)

    def racks(self, topic: TopicView) -> Racks:
        """Where its replicas are: nobody knows."""
        return [()] * topic.partition_count

    def names(self) -> Iterable[str]:
        """All topics."""
        return self._by_name.keys()

    def create(self, name: str, partition_count: int) -> bytes:
        """Create a topic, or a new one in the place of another; gives its id."""
        self.delete(name)
        self.version += 1
        topic_id = self.version.to_bytes(16, "big")
        self._put(TopicView(name, topic_id, partition_count))
        return topic_id

    def grow(self, name: str, partition_count: int) -> None:
        """Give a topic more partitions."""
        self.version += 1
        self._put(self._by_name[name]._replace(partition_count=partition_count))

    def delete(self, name: str) -> None:
        """Delete a topic, if it is there."""
        topic = self._by_name.pop(name, None)
        if topic is not None:
            self.version += 1
            del self._by_id[topic.topic_id]

    def _put(self, topic: TopicView) -> None:
        self._by_name[topic.name] = self._by_id[topic.topic_id] = topic


def _check(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return None


def _match(patterns: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    return [[] if _check(pattern) else [name for name in names if re.fullmatch(pattern, name)] for pattern in patterns]


# Regular expressions by Python's `re`: not linear, but the same for what tests write.
PYTHON_PATTERNS = Patterns(_check, _match)


def memory_cluster(
    topics: MemoryTopics,
    group_configs: Mapping[str, Mapping[str, int]] | None = None,
    *,
    elsewhere: Elsewhere = here,
) -> Cluster:
    """A cluster of these topics; the groups' own settings by group id."""
    configs = {} if group_configs is None else group_configs
    return Cluster(topics, PYTHON_PATTERNS, _hash64, lambda group_id: configs.get(group_id, {}), elsewhere)


def _hash64(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
