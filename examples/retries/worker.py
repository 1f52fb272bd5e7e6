"""Charges payments: `python -m examples.retries.worker BOOTSTRAP TOPIC GROUP DATABASE NAME FIRST_DELAY_MS CLOCK`.

One consumer reads the topic and its retry topics. A payment that fails goes to the topic of its next attempt and the
one behind it is next: nobody waits for somebody else's trouble. A record of a retry topic that is not due yet stops its
partition (pause, and seek back to it) until the clock says so; the consumer goes on polling, as a member has to.

At least once: the copy into the next topic is acknowledged before the attempt is noted in the database, the note is
there before the offset is committed. Killed in between, this process or another does some of it again. Then there may
be two copies of the same attempt; both have the same origin, and the second is found in the database and left alone.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

from examples import children
from examples.at_least_once import database
from examples.retries.clock import clock
from examples.retries.headers import ATTEMPTS_MAX, Trail, dead_topic, retry_topic
from examples.retries.payments import Busy, Declined, Garbled, Payment, charge

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import Consumer, Message, Producer, TopicPartition

COMMIT_EVERY = 20
LOOK_EVERY_S = 0.05
SCHEMA = """
CREATE TABLE attempts (
    origin TEXT, attempt INTEGER, at_ms INTEGER, due_ms INTEGER, result TEXT, worker TEXT,
    PRIMARY KEY (origin, attempt)
);
CREATE TABLE charges (payment TEXT PRIMARY KEY, cents INTEGER, attempt INTEGER);
CREATE TABLE repeats (origin TEXT, attempt INTEGER);
"""


class Worker:
    """One member of the group, static: started again after a crash it goes on at once."""

    def __init__(
        self, bootstrap: str, topic: str, group: str, path: Path, name: str, first_delay_ms: int, clock_file: str
    ) -> None:
        from confluent_kafka import Consumer, Producer

        self.topic = topic
        self.name = name
        self.first_delay_ms = first_delay_ms
        self.clock = clock(clock_file)
        self.store = database(path, SCHEMA)
        self.due_ms: dict[tuple[str, int], int] = {}  # partitions that wait, and until when
        self.uncommitted: dict[tuple[str, int], int] = {}
        self.since_commit = 0
        self.stopping = False
        reader: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "group.instance.id": name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,  # a partition that wakes up waits for the fetch that is under way without it
            "log_level": 2,
        }
        writer: dict[str, Any] = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 2}
        self.producer: Producer = Producer(writer)
        self.consumer: Consumer = Consumer(reader)
        topics = [topic, *(retry_topic(topic, attempt) for attempt in range(2, ATTEMPTS_MAX + 1))]
        self.consumer.subscribe(topics, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._on_sigterm)
        while not self.stopping:
            self._wake_up()
            message = self.consumer.poll(LOOK_EVERY_S)
            if message is None or message.error() is not None:
                continue
            trail = Trail.of(message)
            if trail.due_ms > self.clock.now_ms():
                self._wait_for(message, trail.due_ms)
                continue
            self._attempt(message, trail)
            self.uncommitted[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
            self.since_commit += 1
            if self.since_commit >= COMMIT_EVERY:
                self._commit()
        self._commit()
        self.consumer.close()
        self.store.close()

    # --- one record ------------------------------------------------------------------------------------------------

    def _attempt(self, message: Message, trail: Trail) -> None:
        query = "SELECT 1 FROM attempts WHERE origin = ? AND attempt = ?"
        if self.store.execute(query, (trail.origin, trail.attempt)).fetchone():
            with self.store:
                self.store.execute("INSERT INTO repeats VALUES (?, ?)", (trail.origin, trail.attempt))
            return
        now_ms = self.clock.now_ms()
        charged: Payment | None = None
        try:
            payment = Payment.parse(message.value() or b"")
            charge(payment, trail.attempt)
            charged, result = payment, "charged"
        except Busy as error:
            if trail.attempt < ATTEMPTS_MAX:
                result = "again"
                next_trail = trail.again(error, now_ms, self.first_delay_ms)
                self._copy(message, retry_topic(self.topic, next_trail.attempt), next_trail)
            else:
                result = "dead"
                self._bury(message, trail.dead(error, now_ms, "attempts used up"))
        except Declined as error:
            result = "dead"
            self._bury(message, trail.dead(error, now_ms, "refused for good"))
        except Garbled as error:
            result = "dead"
            self._bury(message, trail.dead(error, now_ms, "cannot be read"))
        with self.store:
            note = trail.origin, trail.attempt, now_ms, trail.due_ms, result, self.name
            self.store.execute("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?)", note)
            if charged is not None:
                row = charged.id, charged.cents, trail.attempt
                self.store.execute("INSERT OR IGNORE INTO charges VALUES (?, ?, ?)", row)

    def _bury(self, message: Message, trail: Trail) -> None:
        self._copy(message, dead_topic(self.topic), trail)

    def _copy(self, message: Message, topic: str, trail: Trail) -> None:
        """Key and value as they came, headers of ours. Returns when the copy is acknowledged."""
        errors: list[object] = []
        self.producer.produce(
            topic,
            message.value(),
            message.key(),
            headers=list(trail.as_headers()),
            on_delivery=lambda error, _message: errors.append(error),
        )
        if self.producer.flush(30) or errors != [None]:
            raise SystemExit(f"{trail.origin} did not get into {topic}: {errors}")  # started again, it is tried again

    # --- waiting ---------------------------------------------------------------------------------------------------

    def _wait_for(self, message: Message, due_ms: int) -> None:
        """The first record of the partition that is not due: none behind it is."""
        from confluent_kafka import TopicPartition

        here = TopicPartition(message.topic() or "", message.partition() or 0, message.offset() or 0)
        self.consumer.pause([here])
        self.consumer.seek(here)
        self.due_ms[here.topic, here.partition] = due_ms

    def _wake_up(self) -> None:
        from confluent_kafka import TopicPartition

        if not self.due_ms:
            return
        now_ms = self.clock.now_ms()
        for place in [place for place, due_ms in self.due_ms.items() if due_ms <= now_ms]:
            del self.due_ms[place]
            self.consumer.resume([TopicPartition(*place)])

    # --- the group -------------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        if not self.uncommitted:
            return
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in self.uncommitted.items()]
        try:
            self.consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException:
            return  # a later commit covers these, or they are read again
        self.uncommitted.clear()
        self.since_commit = 0

    def _on_revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._commit()
        self._on_lost(_consumer, _partitions)

    def _on_lost(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """Whoever has these partitions next finds out by itself what is due when."""
        self.uncommitted.clear()
        self.due_ms.clear()

    def _on_sigterm(self, _signal: int, _frame: object) -> None:
        self.stopping = True


def work(bootstrap: str, topic: str, group: str, path: Path, name: str, first_delay_ms: int, clock_file: str) -> int:
    Worker(bootstrap, topic, group, path, name, first_delay_ms, clock_file).run()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(work, str, str, str, children.path, str, int, str))
