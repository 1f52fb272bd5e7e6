"""Transactions in a whole broker, as a client library has them: what survives a kill, who is fenced, what time ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

import ottla
from ottla import _core

WAIT_S = 30
SETTINGS = {"transaction.state.log.num.partitions": "3", "offsets.topic.num.partitions": "3", "num.partitions": "2"}


def producer(broker: ottla.Broker, name: str = "x", **settings: str) -> Producer:
    conf = {"bootstrap.servers": broker.bootstrap_servers, "transactional.id": name, "log_level": 0, **settings}
    made = Producer(conf)
    made.init_transactions(WAIT_S)
    return made


def read(broker: ottla.Broker, topic: str, isolation: str = "read_committed") -> list[bytes]:
    """Everything a consumer of that isolation comes to, in both partitions."""
    conf = {
        "bootstrap.servers": broker.bootstrap_servers,
        "group.id": "reader",
        "isolation.level": isolation,
        "enable.partition.eof": True,
        # A broker on a clock that stands still would wait for more for ever.
        "fetch.wait.max.ms": 0,
        "log_level": 0,
    }
    consumer = Consumer(conf)
    try:
        consumer.assign([TopicPartition(topic, index, 0) for index in range(2)])
        found: list[bytes] = []
        ends = 0
        deadline = time.monotonic() + WAIT_S
        while ends < 2:
            assert time.monotonic() < deadline
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                ends += 1
            else:
                found.append(message.value() or b"")
        return sorted(found)
    finally:
        consumer.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline


CHILD = """
import os, signal, sys
import ottla
from tests.unit.broker.test_transactions import SETTINGS, producer

broker = ottla.Broker(sys.argv[1], config=SETTINGS).start()
# The decision is written, and then nobody is left to write the markers.
broker._running.coordinators.markers.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
writer = producer(broker)
writer.begin_transaction()
for index in range(2):
    writer.produce("t", b"v%d" % index, partition=index)
writer.flush()
(writer.commit_transaction if sys.argv[2] == "commit" else writer.abort_transaction)()
"""


@pytest.mark.parametrize("end, found", [("commit", [b"v0", b"v1"]), ("abort", [])])
def test_a_kill_between_decision_and_markers_is_completed_at_the_next_start(
    tmp_path: Path, end: str, found: list[bytes]
) -> None:
    """Readers of committed records get past it, and see what was decided; the next transaction finds nothing open."""
    command = [sys.executable, "-c", CHILD, str(tmp_path / "data"), end]
    root = Path(__file__).resolve().parents[3]
    path = os.pathsep.join([str(Path(ottla.__file__).parents[1]), str(root)])
    child = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": path}, timeout=120, capture_output=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    with ottla.Broker(tmp_path / "data", config=SETTINGS) as broker:
        until(lambda: read(broker, "t") == found)
        assert read(broker, "t", "read_uncommitted") == [b"v0", b"v1"]
        writer = producer(broker)
        writer.begin_transaction()
        writer.produce("t", b"w", partition=0)
        writer.commit_transaction(WAIT_S)
        # The answer comes with the decision; the markers follow.
        until(lambda: read(broker, "t") == [*found, b"w"])


def test_a_zombie_is_fenced() -> None:
    """A second producer of the same id aborts what the first has open; the first writes and ends nothing any more."""
    with ottla.Broker(config=SETTINGS) as broker:
        first = producer(broker)
        first.begin_transaction()
        first.produce("t", b"first", partition=0)
        first.flush()
        second = producer(broker)
        second.begin_transaction()
        second.produce("t", b"second", partition=0)
        second.commit_transaction(WAIT_S)
        with pytest.raises(KafkaException) as caught:
            first.commit_transaction(WAIT_S)
        assert caught.value.args[0].fatal()
        until(lambda: read(broker, "t") == [b"second"])
        # For each of the two: a producer, a partition, the decision and the end.
        assert broker.status().transactions.failed_appends == 0
        assert broker.status().transactions.appended_records >= 8


def test_time_ends_a_transaction_whose_producer_is_gone() -> None:
    """Readers get past it, and see nothing of it."""
    clock = _core.VirtualClock(time.time_ns() // 1_000_000)
    with ottla.Broker(config=SETTINGS, virtual_clock=clock) as broker:
        gone = producer(broker, "x", **{"transaction.timeout.ms": "10000"})
        gone.begin_transaction()
        gone.produce("t", b"gone", partition=0)
        gone.flush()
        other = producer(broker, "y")
        other.begin_transaction()
        other.produce("t", b"other", partition=0)
        other.commit_transaction(WAIT_S)
        assert read(broker, "t") == []
        broker.turn_clock(20_001)
        until(lambda: read(broker, "t") == [b"other"])


def test_many_transactions_over_restarts_lose_and_double_nothing(tmp_path: Path) -> None:
    """Every second one is aborted; each is there whole or not at all."""
    expected: list[bytes] = []

    def is_whole() -> bool:
        return read(broker, "t") == sorted(expected)

    for start in range(3):
        with ottla.Broker(tmp_path / "data", config=SETTINGS) as broker:
            writer = producer(broker)
            for number in range(10):
                writer.begin_transaction()
                values = [b"%d-%d-%d" % (start, number, index) for index in range(4)]
                for index, value in enumerate(values):
                    writer.produce("t", value, partition=index % 2)
                if number % 2:
                    writer.abort_transaction(WAIT_S)
                else:
                    writer.commit_transaction(WAIT_S)
                    expected += values
            until(is_whole)
