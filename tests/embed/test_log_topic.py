"""What opening a log decides about its topic, over a metadata log in memory: the same fold as a broker's."""

from __future__ import annotations

from typing import cast

import pytest

from ottla import _core
from ottla.embed.topic import LogTopic, find_or_make
from ottla.errors import InvalidInput, NewerFormat, RequestError
from ottla.messages import FeatureLevelRecord, PartitionChangeRecord, RegisterBrokerRecord, RemoveTopicRecord
from ottla.testing.metadata import MemoryMetadataJournal


class Directory(MemoryMetadataJournal):
    """A data directory that was closed cleanly, unless it is told otherwise."""

    node_id = 1

    def __init__(self) -> None:
        super().__init__()
        self.clean_shutdown = False

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic_ms(self) -> int:
        return 0

    def write(self, *records: object) -> None:
        codec = _core.Codec()
        self.append([codec.encode_metadata_record(cast("RemoveTopicRecord", record), 0) for record in records], 0)

    def kinds(self, since: int = 0) -> list[type]:
        codec = _core.Codec()
        values = [value for _, batch in self.history[since:] for value in batch]
        return [type(codec.decode_metadata_record(value)) for value in values]


def opened(directory: Directory, name: str | None = None, **asked: str) -> LogTopic:
    settings = {key.replace("_", "."): text for key, text in asked.items()}
    return find_or_make(cast("_core.LogDirectory", directory), _core.Codec(), name, "orders", settings)


def test_a_new_directory_gets_features_a_registration_and_the_topic() -> None:
    """In batches that are whole or not there: who is killed in between finds less, not half."""
    directory = Directory()
    topic = opened(directory, segment_bytes="2000000")
    assert (topic.name, topic.leader_epoch) == ("orders", 0)
    settings = dict(topic.settings)
    assert (settings["segment.bytes"], settings["retention.ms"]) == ("2000000", "-1")
    assert len(directory.history) == 2
    assert RegisterBrokerRecord in directory.kinds()


def test_a_clean_opening_writes_nothing() -> None:
    """The id stays, and the name need not be given again."""
    directory = Directory()
    first = opened(directory, "other")
    directory.clean_shutdown = True
    batches = len(directory.history)
    assert opened(directory) == first
    assert len(directory.history) == batches


def test_settings_that_differ_are_altered_and_stay() -> None:
    """Only what differs is written."""
    directory = Directory()
    opened(directory, compression_type="zstd", retention_ms="5")
    directory.clean_shutdown = True
    batches = len(directory.history)
    found = opened(directory, retention_ms="7", compression_type="zstd")
    assert dict(found.settings)["retention.ms"] == "7"
    assert len(directory.kinds(batches)) == 1
    settings = dict(opened(directory).settings)
    assert (settings["retention.ms"], settings["compression.type"]) == ("7", "zstd")


def test_an_unclean_opening_begins_a_leader_epoch() -> None:
    """Readers that saw what a power cut took back can tell (KIP-320)."""
    directory = Directory()
    assert opened(directory).leader_epoch == 0
    batches = len(directory.history)
    assert opened(directory).leader_epoch == 1
    assert PartitionChangeRecord in directory.kinds(batches)


def test_a_topic_that_was_deleted_is_made_anew() -> None:
    """Under another id, so that records of the old one are not taken for its own."""
    directory = Directory()
    first = opened(directory)
    directory.clean_shutdown = True
    directory.write(RemoveTopicRecord(topic_id=first.topic_id))
    assert opened(directory).topic_id != first.topic_id


@pytest.mark.parametrize("name", ["", "a/b", "x" * 250])
def test_names_no_topic_may_have(name: str) -> None:
    """Refused in Kafka's words, and nothing is written."""
    directory = Directory()
    with pytest.raises(RequestError, match="Topic name is invalid"):
        opened(directory, name)
    assert directory.history == []


def test_settings_that_are_wrong() -> None:
    """Nothing is written for them."""
    directory = Directory()
    for asked in ({"segment_bytes": "1"}, {"no_such": "1"}, {"ottla_durability": "hope"}):
        with pytest.raises(RequestError):
            opened(directory, **asked)
    assert directory.history == []


def test_several_topics_ask_which() -> None:
    """A directory with two names them."""
    directory = Directory()
    opened(directory, "one")
    opened(directory, "two")
    with pytest.raises(InvalidInput, match="one, two"):
        opened(directory)
    assert opened(directory, "two").name == "two"


def test_features_of_a_later_version() -> None:
    """Records that would be misread keep the directory closed."""
    directory = Directory()
    opened(directory)
    directory.write(FeatureLevelRecord(name="metadata.version", feature_level=1000))
    with pytest.raises(NewerFormat, match=r"metadata\.version=1000"):
        opened(directory)
