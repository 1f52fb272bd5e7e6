"""The settings of segments and of retention, each as a topic was made with it and as it is altered while it is used.

What a setting does is looked at where it does it, in the partition's directory. Beside each topic stands one without
the setting, or what the topic itself did before it was set: a setting that were ignored would make no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.clients.drivers import wait_until
from tests.conftest import TEST_SETTINGS
from tests.processes import Process
from tests.wire.batches import Batch, Record
from tests.wire.differential import Talk

SETTINGS = {
    **TEST_SETTINGS,
    "log.retention.check.interval.ms": "100",
    "log.initial.task.delay.ms": "100",
    "log.retention.ms": "-1",
}
T0 = 1_700_000_000_000
BIG = 300_000


@pytest.fixture(scope="module")
def tidy_broker(broker_class: type[Process], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The broker under test; it looks for what may be deleted all the time."""
    process = broker_class(tmp_path_factory.mktemp("tidy"), SETTINGS)
    process.start()
    yield process
    process.stop_without_fault()


class Topic:
    """A topic with one partition and what lies in its directory."""

    def __init__(self, broker: Process, name: str) -> None:
        self.talk = Talk(broker, name)
        self.name = name
        self.directory: Path = broker.data_dir / f"{name}-0"
        self.at_ms = T0

    def create(self, **configs: str) -> None:
        self.talk.create(configs={name.replace("_", "."): value for name, value in configs.items()})

    def alter(self, **configs: str) -> None:
        """Sets, and asks until it is shown: Kafka answers a moment before."""
        changes = [
            {"name": name.replace("_", "."), "config_operation": 0, "value": value} for name, value in configs.items()
        ]
        resource = {"resource_type": 2, "resource_name": self.name, "configs": changes}
        answer = self.talk.quietly("incremental_alter_configs", 1, resources=[resource])
        assert answer["responses"][0]["error_code"] == "none", answer
        for change in changes:
            wait_until(lambda change=change: self.shown(str(change["name"])) == change["value"], "altered")  # type: ignore[misc]

    def shown(self, name: str) -> str | None:
        resource = {"resource_type": 2, "resource_name": self.name, "configuration_keys": [name]}
        answer = self.talk.quietly("describe_configs", 4, resources=[resource], include_synonyms=False)
        value: str | None = answer["results"][0]["configs"][0]["value"]
        return value

    def put(self, count: int, value_bytes: int = 10, step_ms: int = 0) -> None:
        """So many batches of a record each, so far apart in time."""
        for _ in range(count):
            self.at_ms += step_ms
            self.talk.produce(self.name, Batch([Record(value=bytes(value_bytes), timestamp=self.at_ms)]))

    def delete_before(self, offset: int) -> None:
        partitions = [{"partition_index": 0, "offset": offset}]
        topics = [{"name": self.name, "partitions": partitions}]
        answer = self.talk.quietly("delete_records", 2, topics=topics, timeout=10_000)
        assert answer["topics"][0]["partitions"][0]["error_code"] == "none", answer

    def files(self, suffix: str) -> list[int]:
        """The base offsets of such files."""
        return sorted(int(path.name[:20]) for path in self.directory.glob(f"*{suffix}"))

    def segments(self) -> list[int]:
        return self.files(".log")


@pytest.fixture
def topics(tidy_broker: Process, unique: str) -> Iterator[Callable[[str], Topic]]:
    made: list[Topic] = []

    def make(suffix: str) -> Topic:
        made.append(Topic(tidy_broker, f"{unique}-{suffix}"))
        return made[-1]

    yield make
    for topic in made:
        topic.talk.close()


Topics = Callable[[str], Topic]


def test_segment_bytes(topics: Topics) -> None:
    """A batch that would make the segment longer begins the next."""
    small, other = topics("small"), topics("other")
    small.create(segment_bytes=str(1 << 20))
    other.create()
    small.put(7, BIG)
    other.put(7, BIG)
    assert (small.segments(), other.segments()) == ([0, 3, 6], [0])
    small.alter(segment_bytes=str(1 << 30))
    other.alter(segment_bytes=str(1 << 20))
    small.put(7, BIG)
    other.put(4, BIG)
    assert (small.segments(), other.segments()) == ([0, 3, 6], [0, 7, 10])


def test_segment_ms(topics: Topics) -> None:
    """A batch whose time is so much later than the first of the segment begins the next."""
    short, other = topics("short"), topics("other")
    short.create(segment_ms="10000")
    other.create()
    short.put(7, step_ms=5000)
    other.put(7, step_ms=5000)
    assert (short.segments(), other.segments()) == ([0, 3, 6], [0])
    short.alter(segment_ms="600000")
    other.alter(segment_ms="60000")
    short.put(7, step_ms=5000)
    other.put(7, step_ms=5000)
    assert (short.segments(), other.segments()) == ([0, 3, 6], [0, 13])


def test_segment_jitter_ms(topics: Topics) -> None:
    """Up to so much is taken off segment.ms, for each segment anew: over forty batches that none is taken is as good as
    impossible, and a segment never lasts longer than without."""
    jittery, other = topics("jittery"), topics("other")
    jittery.create(segment_ms="10000", segment_jitter_ms="10000")
    other.create(segment_ms="10000")
    jittery.put(40, step_ms=5000)
    other.put(40, step_ms=5000)
    assert other.segments() == list(range(0, 40, 3))
    assert len(jittery.segments()) > len(other.segments())
    before = len(other.segments())
    other.alter(segment_jitter_ms="10000")
    other.put(42, step_ms=5000)
    assert len(other.segments()) - before > 14
    assert all(later - earlier <= 3 for earlier, later in pairwise(other.segments()))


def test_segment_index_bytes(topics: Topics) -> None:
    """A full index begins the next segment, and no index is longer."""
    short, other = topics("short"), topics("other")
    for topic, limit in ((short, {"segment_index_bytes": "64"}), (other, {})):
        topic.create(index_interval_bytes="0", **limit)
        topic.put(40, step_ms=1)
    assert other.segments() == [0]
    assert len(short.segments()) > 4
    before = len(short.segments())
    other.alter(segment_index_bytes="64")
    # In Kafka the index of the segment that is being written keeps its room: a batch eight days later begins the next.
    other.put(1, step_ms=8 * 24 * 3_600_000)
    other.put(40, step_ms=1)
    assert other.segments()[:2] == [0, 40]
    assert len(other.segments()) > 6
    short.alter(segment_index_bytes="10485760")
    short.put(40, step_ms=1)
    assert before <= len(short.segments()) <= before + 1
    closed = short.segments()[: before - 1]
    assert max((short.directory / f"{base:020}.index").stat().st_size for base in closed) <= 64


def test_retention_ms(topics: Topics) -> None:
    """Segments go whose youngest record is older; without the setting (the broker's is for ever here) they stay."""
    short, other = topics("short"), topics("other")
    short.create(segment_ms="10000", retention_ms="3600000")
    other.create(segment_ms="10000")
    for topic in (other, short):
        topic.put(7, step_ms=5000)
    wait_until(lambda: 6 not in short.segments(), "everything is too old")
    assert other.segments() == [0, 3, 6]
    other.alter(retention_ms="3600000")
    wait_until(lambda: 6 not in other.segments(), "everything is too old")
    short.alter(retention_ms="-1")
    short.put(7, step_ms=5000)
    kept = short.segments()
    other.put(7, step_ms=5000)
    wait_until(lambda: other.segments() == [14], "the other's go on to be too old")
    assert short.segments() == kept


def test_retention_bytes(topics: Topics) -> None:
    """The first segments go as long as the rest is no less than so many bytes."""
    few, other = topics("few"), topics("other")
    few.create(segment_bytes=str(1 << 20), retention_bytes=str(2 << 20))
    other.create(segment_bytes=str(1 << 20))
    for topic in (other, few):
        topic.put(13, BIG)
    wait_until(lambda: few.segments() == [6, 9, 12], "what is too much is gone")
    assert other.segments() == [0, 3, 6, 9, 12]
    other.alter(retention_bytes="1")
    wait_until(lambda: other.segments() == [12], "what is too much is gone")
    few.alter(retention_bytes="-1")
    few.put(6, BIG)
    other.put(6, BIG)
    wait_until(lambda: other.segments() == [18], "the other's go on to be too much")
    assert few.segments() == [6, 9, 12, 15, 18]


def test_file_delete_delay_ms(topics: Topics) -> None:
    """The files of a deleted segment stay so long, renamed; a minute, if nothing is said."""
    quick, other = topics("quick"), topics("other")
    quick.create(segment_ms="10000", file_delete_delay_ms="0")
    other.create(segment_ms="10000")
    for topic in (other, quick):
        topic.put(7, step_ms=5000)
        topic.delete_before(4)
    wait_until(lambda: other.files(".log.deleted") == [0], "the first segment is deleted")
    wait_until(lambda: quick.segments() == [3, 6] and not quick.files(".deleted"), "and its files are gone")
    other.alter(file_delete_delay_ms="0")
    quick.alter(file_delete_delay_ms="60000")
    for topic in (quick, other):
        topic.delete_before(7)
    wait_until(lambda: quick.files(".log.deleted") == [3], "the second segment is deleted")
    wait_until(lambda: other.segments() == [6] and other.files(".log.deleted") == [0], "its files are gone at once")
