"""A log's directory is a broker's: what one writes the other serves, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import ottla

if TYPE_CHECKING:
    from pathlib import Path


def consumed(broker: ottla.Broker, topic: str, count: int) -> list[tuple[int | None, bytes | None, bytes | None]]:
    settings = {"bootstrap.servers": broker.bootstrap_servers, "group.id": "g", "enable.auto.commit": False}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[int | None, bytes | None, bytes | None]] = []
    while len(found) < count:
        for message in consumer.consume(count - len(found), timeout=10):
            assert message.error() is None
            found.append((message.offset(), message.key(), message.value()))
    consumer.close()
    return found


def test_a_broker_serves_what_a_log_wrote(tmp_path: Path) -> None:
    """The directory's name is the topic's; what the broker's clients append the log reads, at the next opening."""
    with ottla.Log(tmp_path / "orders", compression="zstd") as log:
        log.append_many([(b"%d" % number, b"value %d" % number) for number in range(100)])
        log.append(b"with a cursor", cursors={"c": 1})
    with ottla.Broker(tmp_path / "orders") as broker:
        found = consumed(broker, "orders", 101)
        assert found[:100] == [(number, b"%d" % number, b"value %d" % number) for number in range(100)]
        assert found[100] == (100, None, b"with a cursor")
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        producer.produce("orders", b"from a client", headers={"h": b"1"})
        assert producer.flush(30) == 0
    with ottla.Log(tmp_path / "orders") as log:
        assert log.status().clean_start
        (record,) = log.read(101)
        assert (record.value, record.headers) == (b"from a client", (("h", b"1"),))
        assert log.append(b"and on") == 102


def test_a_log_opens_a_broker_s_topic(tmp_path: Path) -> None:
    """A topic of one partition that a broker made is a log, whose transactions are seen as a consumer sees them."""
    with ottla.Broker(tmp_path / "d") as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": "t"})
        producer.init_transactions()
        for word, commits in ((b"a", True), (b"lost", False), (b"b", True)):
            producer.begin_transaction()
            producer.produce("orders", word)
            producer.flush()
            if commits:
                producer.commit_transaction()
            else:
                producer.abort_transaction()
        # A commit is answered before its marker is written.
        assert [value for _, _, value in consumed(broker, "orders", 2)] == [b"a", b"b"]
    with ottla.Log(tmp_path / "d", topic="orders") as log:
        assert [record.value for record in log.read()] == [b"a", b"b"]
        log.append(b"c")
        assert [record.value for record in log.read()] == [b"a", b"b", b"c"]
    with ottla.Broker(tmp_path / "d") as broker:
        assert broker.status().clean_start


def test_a_log_that_was_not_closed_is_opened_by_a_broker(tmp_path: Path) -> None:
    """An unclean stop is recovered by either."""
    with ottla.Log(tmp_path / "orders") as log:
        log.append(b"v")
    (tmp_path / "orders" / ".kafka_cleanshutdown").unlink()
    with ottla.Broker(tmp_path / "orders") as broker:
        assert not broker.status().clean_start
        assert consumed(broker, "orders", 1) == [(0, None, b"v")]


def test_several_topics_ask_which(tmp_path: Path) -> None:
    """A directory of a broker with several topics names them, and takes one by name."""
    with ottla.Broker(tmp_path / "d") as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for topic in ("one", "two"):
            producer.produce(topic, b"v")
        assert producer.flush(30) == 0
    with pytest.raises(ottla.OttlaError, match="one, two"):
        ottla.Log(tmp_path / "d")
    with ottla.Log(tmp_path / "d", topic="two") as log:
        assert [record.value for record in log.read()] == [b"v"]
