"""Kafka Streams 4.3.1: word count with a state store, its changelog and a repartition topic, in two instances, of which
one is killed in the middle, and the broker too. Under exactly_once_v2 every count is exact, and what is visible at
read_committed only grows; under at_least_once no word is forgotten.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from tests.clients.drivers import DRIVERS, QUIET, wait_until
from tests.conftest import TEST_SETTINGS, MakeBroker
from tests.history.served import TRANSACTIONS, need
from tests.processes import Process
from tests.streams.application import APPLICATION, COUNTS, LINES, WAIT_S, Instance

pytestmark = pytest.mark.kafka
PARTITIONS = 4
SETTINGS = {**TEST_SETTINGS, "transaction.state.log.num.partitions": "4"}


class Writer:
    """Writes lines of four words until it is stopped: one word of its own, three of few."""

    def __init__(self, broker: Process, per_s: int = 200) -> None:
        self.words: Counter[str] = Counter()
        self._per_s = per_s
        self._stopped = threading.Event()
        self._failed: list[Any] = []
        self._producer: Any = ck.Producer(
            {
                "bootstrap.servers": broker.bootstrap,
                "enable.idempotence": True,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                **QUIET,
            }
        )
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(1 / self._per_s):
            words = [f"line{number}", f"a{number % 7}", f"b{number % 11}", f"c{number % 13}"]
            self.words.update(words)
            self._producer.produce(LINES, " ".join(words), partition=number % PARTITIONS, on_delivery=self._delivered)
            self._producer.poll(0)
            number += 1
        if left := self._producer.flush(WAIT_S):
            self._failed.append(f"{left} lines were never answered")

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(error)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        self._stopped.set()
        self._thread.join(2 * WAIT_S)
        assert not self._failed, self._failed


class Reader:
    """Every count that was visible at read_committed, by word, in its order."""

    def __init__(self, broker: Process) -> None:
        self.seen: defaultdict[str, list[int]] = defaultdict(list)
        self._consumer: Any = ck.Consumer(
            {
                "bootstrap.servers": broker.bootstrap,
                "group.id": "unused",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                **QUIET,
            }
        )
        self._consumer.assign([ck.TopicPartition(COUNTS, partition, 0) for partition in range(PARTITIONS)])

    def total(self) -> int:
        """How many words have been counted, as far as is known after one more poll."""
        for message in self._consumer.consume(1000, 0.5):
            if message.error() is None:
                self.seen[message.key().decode()].append(int(message.value()))
        return sum(max(values) for values in self.seen.values())

    def has_counted(self, words: Counter[str]) -> bool:
        """Whether every word was counted as often as it was written, or more often."""
        self.total()
        return all(max(self.seen.get(word, [0])) >= count for word, count in words.items())

    def last(self) -> dict[str, int]:
        return {word: values[-1] for word, values in self.seen.items()}

    def close(self) -> None:
        self._consumer.close()


@contextmanager
def instances(broker: Process, folder: Path, guarantee: str) -> Iterator[list[Instance]]:
    found = [Instance(broker, folder, name, guarantee) for name in ("one", "two")]
    try:
        yield found
    finally:
        for each in found:
            each.stop(signal.SIGKILL)


def play(make_broker: MakeBroker, folder: Path, guarantee: str, kills: int) -> tuple[Reader, Counter[str]]:
    """Kills an instance, starts it again, kills the broker, as often as asked; returns what was counted, and what was
    written.
    """
    broker = make_broker(SETTINGS)
    if guarantee == "exactly_once_v2":
        need(broker, TRANSACTIONS)
    driver = DRIVERS["librdkafka"](broker.bootstrap)
    for topic in (LINES, COUNTS):
        driver.create_topic(topic, partitions=PARTITIONS)
    writer, reader = Writer(broker), Reader(broker)

    def counted(more: int) -> None:
        goal = reader.total() + more
        wait_until(lambda: reader.total() >= goal, f"{more} words more are counted", WAIT_S)

    with instances(broker, folder, guarantee) as living:
        writer.start()
        for each in living:
            each.wait_until_running()
        for at in range(kills):
            counted(200)
            victim = at % 2
            living[victim].stop(signal.SIGKILL)
            counted(200)
            living[victim] = Instance(broker, folder, ["one", "two"][victim], guarantee)
            living[victim].wait_until_running()
            counted(200)
            broker.kill()
            broker.start()
            counted(200)
        writer.finish()
        wait_until(lambda: reader.has_counted(writer.words), "every word is counted", WAIT_S)
        for each in living:
            code = each.stop()
            assert code == 0, f"it did not close in time: {each.tail()}"
        reader.total()
    topics = topics_of(broker)
    assert {f"{APPLICATION}-counts-changelog", f"{APPLICATION}-by-word-repartition"} <= topics, topics
    reader.close()
    return reader, writer.words


def topics_of(broker: Process) -> set[str]:
    client: Any = ck.Producer({"bootstrap.servers": broker.bootstrap, **QUIET})
    return set(client.list_topics(timeout=30).topics)


def exact(reader: Reader, words: Counter[str]) -> None:
    """Each count is the true one, and none was ever shown twice or too low."""
    assert reader.last() == dict(words)
    backward = {word: values for word, values in reader.seen.items() if values != sorted(set(values))}
    assert not backward, backward


def nothing_forgotten(reader: Reader, words: Counter[str]) -> None:
    found = reader.last()
    assert not {word: (found.get(word), count) for word, count in words.items() if found.get(word, 0) < count}
    assert found.keys() == words.keys()


def test_exactly_once(make_broker: MakeBroker, tmp_path: Path) -> None:
    """One kill of an instance, one of the broker."""
    exact(*play(make_broker, tmp_path, "exactly_once_v2", kills=1))


def test_at_least_once(make_broker: MakeBroker, tmp_path: Path) -> None:
    """One kill of an instance, one of the broker."""
    nothing_forgotten(*play(make_broker, tmp_path, "at_least_once", kills=1))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_exactly_once_through_many_kills(make_broker: MakeBroker, tmp_path: Path) -> None:
    """Eight kills of instances in turn, and of the broker."""
    exact(*play(make_broker, tmp_path, "exactly_once_v2", kills=8))
