"""The run itself: who is started when, when the kills come, how the end is known. It tells an `Audience`."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from examples import children
from examples.children import Child, Failed, Follower
from examples.flights import check, table
from examples.flights.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from examples.children import Broker

TOPIC = "flights"
GROUP = "delays"
PARTITIONS = 6
READERS = 3
# When the kills come, as shares of the flights that have been read and acknowledged.
CONSUMER_DIES_AT = 0.25
BROKER_DIES_AT = 0.5
LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Plan:
    """What can be chosen."""

    sample: int | None = None  # None: the whole table
    rate: float = 50_000.0  # flights per second; 0 is as fast as it goes
    broker_away_s: float = 1.0
    timeout_s: float = 300.0


@dataclass
class Moment:
    """How far it was at a time after production began, for the picture."""

    seconds: float
    acked: int
    read_by: dict[str, int]


@dataclass
class Outcome:
    """What came out."""

    total: int
    seconds: float
    moments: list[Moment]
    rows: list[check.Row]
    wrong: list[str]
    reread: int
    killed_reader: str
    killed_reader_at: float
    broker_away: tuple[float, float]


class Audience(Protocol):
    """Told what happens."""

    def says(self, sentence: str) -> None: ...
    def progress(self, acked: int, read: int) -> None: ...


@dataclass
class Story:
    """One run. `play` may be called once; every process it starts is gone when it returns or raises."""

    plan: Plan
    broker: Broker
    folder: Path
    audience: Audience
    ledger: Ledger = field(default_factory=Ledger)
    moments: list[Moment] = field(default_factory=list)
    acked: int = 0
    _readers: dict[str, Child] = field(default_factory=dict)
    _journals: dict[str, Follower] = field(default_factory=dict)
    _producer: Child | None = None
    _began: float = 0.0
    _killed_reader: tuple[str, float] | None = None
    _broker_away: tuple[float, float] | None = None

    def play(self) -> Outcome:
        self._until = time.monotonic() + self.plan.timeout_s
        try:
            flights = table.flights(self.plan.sample)
            self.broker.start()
            self.audience.says(f"the broker runs at {self.broker.bootstrap} (pid {self.broker.pid})")
            create_topic(self.broker.bootstrap)
            self._start_readers()
            self._start_producer()
            self._watch(len(flights))
            seconds = time.monotonic() - self._began
            self._close(len(flights))
            rows = check.compare(self.ledger, self.plan.sample)
            wrong = check.everything(self.ledger, flights, self.acked, rows)
        finally:
            self._clean_up()
        if self._killed_reader is None or self._broker_away is None:
            raise Failed("it was over before both kills had come: lower the rate")
        name, at = self._killed_reader
        return Outcome(
            len(flights), seconds, self.moments, rows, wrong, self.ledger.reread, name, at, self._broker_away
        )

    # --- the cast --------------------------------------------------------------------------------------------------

    def _child(self, module: str, name: str, *arguments: str) -> Child:
        """A child with its own journal and output file; both bear its name."""
        journal = self.folder / f"{name}.jsonl"
        self._journals[name] = Follower(journal)
        words = [sys.executable, "-m", f"examples.flights.{module}", self.broker.bootstrap, TOPIC, str(journal)]
        return Child(name, [*words, *arguments], self.folder / f"{name}.log")

    def _start_readers(self) -> None:
        """All three are in the group, each with partitions, before the first flight is sent."""
        for number in range(1, READERS + 1):
            name = f"consumer-{number}"
            self._readers[name] = self._child("consumer", name, GROUP)
        waiting = set(self._readers)
        while waiting:
            self._look_after_children()
            for name in list(waiting):
                for entry in self._journals[name].news():
                    self.ledger.add(name, entry)
                    if entry.get("assigned"):
                        waiting.discard(name)
            time.sleep(LOOK_EVERY_S)
        pids = ", ".join(f"{name} (pid {child.pid})" for name, child in self._readers.items())
        self.audience.says(f"group `{GROUP}` has formed: {pids}")

    def _start_producer(self) -> None:
        sample = "" if self.plan.sample is None else str(self.plan.sample)
        self._producer = self._child("producer", "producer", str(self.plan.rate), sample)
        self._began = math.inf

    # --- what happens ----------------------------------------------------------------------------------------------

    def _watch(self, total: int) -> None:
        """Follows the journals until every flight has been read; kills when the time has come."""
        while self.acked < total or self.ledger.read < total:
            time.sleep(LOOK_EVERY_S)
            self._follow()
            self._look_after_children()
            if self._killed_reader is None and self.ledger.read >= CONSUMER_DIES_AT * total:
                self._kill_a_reader(total)
            if self._broker_away is None and self.acked >= BROKER_DIES_AT * total:
                self._kill_the_broker(total)

    def _follow(self) -> None:
        """Reads what is new in the journals."""
        for name, journal in self._journals.items():
            for entry in journal.news():
                if name == "producer":
                    self.acked = entry["acked"]
                    self._began = min(self._began, entry["time"])
                else:
                    self.ledger.add(name, entry)
        if self.acked:
            elapsed = time.monotonic() - self._began
            self.moments.append(Moment(elapsed, self.acked, dict(self.ledger.first_by)))
        self.audience.progress(self.acked, self.ledger.read)

    def _kill_a_reader(self, total: int) -> None:
        """SIGKILL for the reader that has read most: it has partitions, and is busy with them."""
        name = max(self._readers, key=lambda reader: self.ledger.first_by[reader])
        child = self._readers.pop(name)
        child.kill()
        self._killed_reader = name, time.monotonic() - self._began
        self.audience.says(f"{name} (pid {child.pid}) killed with {self.ledger.read:,} of {total:,} flights read")

    def _kill_the_broker(self, total: int) -> None:
        """SIGKILL for the broker, and a new one on the same port and data directory."""
        pid = self.broker.pid
        self.broker.kill()
        since = time.monotonic() - self._began
        self.audience.says(f"the broker (pid {pid}) killed with {self.acked:,} of {total:,} flights acknowledged")
        time.sleep(self.plan.broker_away_s)
        self.broker.start()
        self._broker_away = since, time.monotonic() - self._began
        self.audience.says(f"the broker runs again on the same port and data (pid {self.broker.pid})")

    def _look_after_children(self) -> None:
        """A child that ended by itself ends the story, and so does the clock."""
        if not self.broker.running:
            raise Failed("the broker ended by itself")
        for name, child in self._readers.items():
            if (code := child.ended()) is not None:
                raise Failed(f"{name} ended with {code}\n{children.tail(child.output)}")
        if self._producer is not None and self._producer.ended() not in {None, 0}:
            raise Failed(f"the producer failed\n{children.tail(self._producer.output)}")
        if time.monotonic() > self._until:
            raise Failed(
                f"not done after {self.plan.timeout_s:.0f} s: {self.acked:,} acknowledged, {self.ledger.read:,} read"
            )

    def _close(self, total: int) -> None:
        """Everybody leaves in order: the readers commit and go, then the group must stand at the end of the topic."""
        if self._producer is not None and (code := self._producer.process.wait(children.STOP_TIMEOUT_S)) != 0:
            raise Failed(f"the producer ended with {code}\n{children.tail(self._producer.output)}")
        for name, child in self._readers.items():
            if (code := child.stop()) != 0:
                raise Failed(f"{name} ended with {code}\n{children.tail(child.output)}")
        self._follow()
        committed, end = committed_and_end(self.broker.bootstrap)
        if committed != end or end != total:
            raise Failed(f"the group has committed {committed:,} of {end:,} records; {total:,} flights were sent")
        self.broker.stop()

    def _clean_up(self) -> None:
        for child in (*self._readers.values(), self._producer):
            if child is not None:
                child.kill()
        self.broker.kill()


def create_topic(bootstrap: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it does, unannounced

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    topic = NewTopic(TOPIC, num_partitions=PARTITIONS, replication_factor=1)
    admin.create_topics([topic], operation_timeout=30)[TOPIC].result(30)


def committed_and_end(bootstrap: str) -> tuple[int, int]:
    """How many records the group has committed, and how many there are, over all partitions."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "log_level": 2})
    try:
        partitions = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        committed = consumer.committed(partitions, timeout=30)
        ends = [consumer.get_watermark_offsets(partition, timeout=30)[1] for partition in partitions]
        return sum(max(0, one.offset) for one in committed), sum(ends)
    finally:
        consumer.close()
