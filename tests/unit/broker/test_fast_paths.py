"""The kernel's short cuts (`ottla.fast.paths`): a broker does the same without any of them, and says which it uses.

The core of the suite with each off is in `tests/fast_paths`; any test runs so with `pytest --fast-paths=NAMES`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

import ottla
from ottla.errors import ConfigError
from tests.page_cache import drop_page_cache

ALL = ("cachestat", "nowait", "sendfile", "sync_file_range")
# Each alone switched off, each pair, all; and none.
ALLOWED = ["cachestat,nowait,sendfile", "nowait,sendfile", "cachestat,sendfile", "cachestat,nowait", "sendfile", ""]
PATIENCE_S = 60
PARTITIONS = 3
RECORDS = 6000
BYTES = 2000


def value(number: int) -> bytes:
    """Long, and of no other record."""
    return b"%d " % number * (BYTES // len(b"%d " % number))


def produce(broker: ottla.Broker, numbers: range) -> None:
    failures: list[object] = []
    config = {"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 5, "batch.size": 30_000}
    producer = Producer(config)
    for number in numbers:
        producer.produce(
            "t",
            value(number),
            partition=number % PARTITIONS,
            on_delivery=lambda error, _message: failures.append(error) if error else None,
        )
        producer.poll(0)
    assert producer.flush(PATIENCE_S) == 0
    assert not failures


def consumer_of(broker: ottla.Broker) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": "g",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 60_000,
            "check.crcs": True,
        }
    )
    consumer.assign([TopicPartition("t", partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    return consumer


def consume(consumer: Consumer, count: int) -> list[bytes]:
    values: list[bytes] = []
    while len(values) < count:
        messages = consumer.consume(min(100, count - len(values)), PATIENCE_S)
        assert messages, f"nothing came after {len(values)}"
        for message in messages:
            assert message.error() is None, message.error()
            values.append(message.value() or b"")
    return values


@pytest.mark.parametrize("allowed", ALLOWED)
def test_the_same_without_short_cuts(allowed: str, tmp_path: Path) -> None:
    """What was written comes back whole: from memory, from the disk alone after a restart, and at the tail."""
    config = {
        "num.partitions": PARTITIONS,
        "ottla.fast.paths": allowed,
        "ottla.durability": "os",
        "log.segment.bytes": 1 << 20,
    }
    with ottla.Broker(tmp_path / "data", config=config) as broker:
        produce(broker, range(RECORDS))
        consumer = consumer_of(broker)
        assert sorted(consume(consumer, RECORDS)) == sorted(map(value, range(RECORDS)))
        consumer.close()
        states = broker.status().engine["fast_paths"]
        assert states.keys() == set(ALL)
        assert {name for name, state in states.items() if state == "switched off"} == set(ALL) - set(allowed.split(","))
    is_cold = drop_page_cache(tmp_path / "data")
    with ottla.Broker(tmp_path / "data", config=config) as broker:
        consumer = consumer_of(broker)
        assert sorted(consume(consumer, RECORDS)) == sorted(map(value, range(RECORDS)))
        engine = broker.status().engine
        if is_cold:
            assert engine["disk_reads_waited_for"] > 0
            assert engine["disk_lookups"] > 0
        # The consumer waits at the end for longer than this test takes: it is woken.
        tail = range(RECORDS, RECORDS + 30)
        produce(broker, tail)
        assert sorted(consume(consumer, len(tail))) == sorted(map(value, tail))
        consumer.close()


def test_there_are_none_in_memory() -> None:
    """Without files there is nothing to be short cut."""
    with ottla.Broker(config={"ottla.fast.paths": "nowait"}) as broker:
        assert broker.status().engine["fast_paths"] == {}


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError, match=r"ottla\.fast\.paths"):
        ottla.Broker(tmp_path, config={"ottla.fast.paths": "nowait,teleport"})
