"""Clients of a chaos run that live in the test's own process, and that nothing is done to."""

from __future__ import annotations

import threading
import time
from typing import Any, Self

import confluent_kafka as ck

from tests.history import events
from tests.history.run import PROGRESS_WAIT_S, QUIET, Run


class Feed:
    """An idempotent producer in the test's own process, which writes "name-0", "name-1", ... in turn to the partitions
    until it is stopped. It goes no faster than `per_s`, so that a run stays small enough to be read.
    """

    def __init__(self, run: Run, topic: str, partitions: int, name: str = "feed", per_s: int = 400) -> None:
        self.run = run
        self.topic = topic
        self.partitions = partitions
        self.name = name
        self.per_s = per_s
        self.count = 0
        self._answered = 0
        self._stopped = threading.Event()
        self._failed: list[str] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(2 * PROGRESS_WAIT_S)
        assert not self._thread.is_alive(), "the feed does not end"
        assert not self._failed, self._failed

    def _run(self) -> None:
        producer: Any = ck.Producer(
            {"bootstrap.servers": self.run.bootstrap, "enable.idempotence": True, "linger.ms": 1, **QUIET}
        )

        def delivered(error: Any, message: Any) -> None:
            self._answered += 1
            value = message.value().decode()
            if error is not None:
                self.run.tell(events.Failed, self.name, topic=self.topic, value=value, error=str(error))
                return
            place = {"topic": self.topic, "partition": message.partition(), "offset": message.offset()}
            self.run.tell(events.Sent, self.name, **place, value=value)

        begun = time.monotonic()
        try:
            while not self._stopped.is_set():
                if self.count >= self.per_s * (time.monotonic() - begun) or self.count - self._answered >= self.per_s:
                    producer.poll(0.01)
                    continue
                value, partition = f"{self.name}-{self.count}", self.count % self.partitions
                self.run.tell(events.Send, self.name, topic=self.topic, partition=partition, value=value)
                producer.produce(self.topic, value, partition=partition, on_delivery=delivered)
                self.count += 1
                producer.poll(0)
            left = producer.flush(PROGRESS_WAIT_S)
            if left:
                self._failed.append(f"{left} records were never answered")
        except ck.KafkaException as error:
            self._failed.append(str(error))


class Watch:
    """Reads a topic at read_committed while the run goes on, and tells what it is given."""

    def __init__(self, run: Run, topic: str, partitions: int) -> None:
        self.run = run
        self.topic = topic
        # Each with its partition.
        self.values: list[tuple[int, str]] = []
        self._consumer: Any = ck.Consumer(
            {
                "bootstrap.servers": run.broker.bootstrap,
                "group.id": "unused",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                **QUIET,
            }
        )
        self._consumer.assign([ck.TopicPartition(topic, partition, 0) for partition in range(partitions)])
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {topic}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(PROGRESS_WAIT_S)
        self._consumer.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            found = [message for message in self._consumer.consume(200, 0.2) if message.error() is None]
            records = [(self.topic, each.partition(), each.offset(), each.value().decode()) for each in found]
            if records:
                self.values += [(partition, value) for _, partition, _, value in records]
                self.run.tell(events.Poll, f"watch {self.topic}", isolation="committed", records=records)
