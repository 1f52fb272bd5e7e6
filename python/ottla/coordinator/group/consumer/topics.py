"""What consumer groups ask of the cluster: topics by name, hashes of what they are, names that match a pattern.

A group remembers a hash of the topics it subscribes to: their ids, partitions and racks. When it differs from the one
of now, what is to be assigned has changed and the group epoch grows. The hash of a topic is taken over the bytes Apache
Kafka 4.3 takes it over (Utils.computeTopicHash, with XXH3 in 64 bits, which comes in from outside), so that a group of
Kafka's does not rebalance when its directory opens here. (Numbers little-endian; a text is its UTF-16 units and then
their count.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

_MAGIC: Final = b"\0"
_SIGN_BIT: Final = 1 << 63


# For each partition of a topic the racks of its replicas, where they are known.
Racks = Sequence[Sequence[str]]


class TopicView(NamedTuple):
    """A topic that exists. Made with every look, so it has nothing that costs more with every partition."""

    name: str
    topic_id: bytes
    partition_count: int


class Topics(Protocol):
    """The topics of the cluster."""

    def named(self, name: str) -> TopicView | None:
        """The topic of that name."""
        ...

    def with_id(self, topic_id: bytes) -> TopicView | None:
        """The topic of that id."""
        ...

    def racks(self, topic: TopicView) -> Racks:
        """Where its replicas are."""
        ...

    def names(self) -> Iterable[str]:
        """All of them."""
        ...

    @property
    def version(self) -> int:
        """Grows with every change."""
        ...


class Patterns(NamedTuple):
    """Regular expressions of the RE2 family; matching takes time linear in the text."""

    # Why a text is no pattern; None if it is one.
    check: Callable[[str], str | None]
    # For each pattern the names it matches as a whole; none if it is no pattern.
    match: Callable[[Sequence[str], Sequence[str]], list[list[str]]]


class Elsewhere(Protocol):
    """Where work is done that would keep the control plane's thread from everything else."""

    def __call__(self, work: Callable[[], T], done: Callable[[T | Exception], None], /) -> None:
        """Do `work` on another thread, then `done` with what it gave or raised on this one."""
        ...


def here(work: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
    """Do it at once, on this thread."""
    outcome: T | Exception
    try:
        outcome = work()
    except Exception as error:  # noqa: BLE001 - handed to who asked
        outcome = error
    done(outcome)


class Cluster:
    """All of it; one per coordinator."""

    def __init__(
        self,
        topics: Topics,
        patterns: Patterns,
        hash64: Callable[[bytes], int],
        group_configs: Callable[[str], Mapping[str, int]],
        elsewhere: Elsewhere = here,
    ) -> None:
        self.topics = topics
        self.patterns = patterns
        self.elsewhere = elsewhere
        self.hashes = TopicHashes(topics, hash64)
        # What a group sets itself, by the name of the setting.
        self.group_configs = group_configs
        # Version in which a topic was created last: patterns resolved before are old.
        self.created_version = topics.version
        self._names: tuple[int, Sequence[str]] = (-1, ())

    def on_topics_changed(self, names: Iterable[str], *, created: bool) -> None:
        """These topics were created, changed or deleted."""
        self.hashes.forget(names)
        if created:
            self.created_version = self.topics.version

    def names(self) -> tuple[int, Sequence[str]]:
        """The version of the metadata, and the names of all topics then: never changed, shared by all who ask."""
        version = self.topics.version
        if self._names[0] != version:
            self._names = (version, tuple(self.topics.names()))
        return self._names


class TopicHashes:
    """Hashes of topics, each computed once as long as the topic does not change."""

    def __init__(self, topics: Topics, hash64: Callable[[bytes], int]) -> None:
        self._topics = topics
        self._hash64 = hash64
        self._known: dict[str, int] = {}

    def forget(self, names: Iterable[str]) -> None:
        """These topics have changed."""
        for name in names:
            self._known.pop(name, None)

    def of_group(self, names: Iterable[str]) -> int:
        """The hash of those of the topics that exist, as a signed number; 0 if none does."""
        found = []
        for name in sorted(names, key=_java_order):
            topic_hash = self._known.get(name)
            if topic_hash is None:
                topic = self._topics.named(name)
                if topic is None:
                    continue
                topic_hash = self._known[name] = self._hash64(topic_bytes(topic, self._topics.racks(topic)))
            found.append(topic_hash.to_bytes(8, "little"))
        if not found:
            return 0
        value = self._hash64(b"".join(found))
        return value - 2 * _SIGN_BIT if value & _SIGN_BIT else value


def topic_bytes(topic: TopicView, racks_of: Racks) -> bytes:
    """What a topic is, as bytes."""
    parts = [_MAGIC, topic.topic_id[:8][::-1], topic.topic_id[8:][::-1], _text(topic.name), _int(len(racks_of))]
    for index, racks in enumerate(racks_of):
        parts.append(_int(index))
        for rack in sorted(racks, key=_java_order):
            parts += [_int(len(rack.encode("utf-16-le")) // 2), _text(rack)]
    return b"".join(parts)


def _int(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _text(text: str) -> bytes:
    units = text.encode("utf-16-le", "surrogatepass")
    return units + _int(len(units) // 2)


def _java_order(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")
