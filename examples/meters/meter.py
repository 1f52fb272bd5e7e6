"""One meter: `python -m examples.meters.meter BOOTSTRAP TOPIC STORE NAME CLIENT`.

Each line on standard input is a number of readings to take. A reading is stored before it is sent (the outbox pattern)
and stays until it is acknowledged; how far that is, is noted every MARK_EVERY readings, because a note costs a write.
A meter that loses its power goes on with what is stored: it measures nothing twice, but it sends a second time what had
been acknowledged after the last note. The producer's own idempotence cannot help there, since after the restart it is
another producer. So every reading carries the meter's name and a number that grows by one, and readers go by that.

`confluent-kafka` and `kafka-python` do the same here; a topic does not care who writes to it.
"""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Any, Protocol

from examples import children
from examples.at_least_once import database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MARK_EVERY = 50
SCHEMA = """
CREATE TABLE readings (number INTEGER PRIMARY KEY, watt_hours INTEGER);
CREATE TABLE mark (only INTEGER PRIMARY KEY CHECK (only = 1), acknowledged INTEGER);
INSERT INTO mark VALUES (1, 0);
"""


class Sender(Protocol):
    """What a meter wants from a client library."""

    def send(self, value: bytes, acknowledged: Callable[[], None]) -> None: ...
    def flush(self) -> None: ...


class Confluent:
    """librdkafka: idempotent, acks=all."""

    def __init__(self, bootstrap: str, topic: str, key: str) -> None:
        from confluent_kafka import Producer

        settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 2}
        self.producer: Producer = Producer(settings)
        self.topic = topic
        self.key = key

    def send(self, value: bytes, acknowledged: Callable[[], None]) -> None:
        def on_delivery(error: object, _message: object) -> None:
            if error is not None:
                raise SystemExit(f"not delivered: {error}")
            acknowledged()

        self.producer.produce(self.topic, value, self.key, on_delivery=on_delivery)
        self.producer.poll(0)

    def flush(self) -> None:
        if left := self.producer.flush(30):
            raise SystemExit(f"{left} readings are not acknowledged")


class KafkaPython:
    """kafka-python: idempotent, acks=all. Its futures are looked at where we wait anyhow."""

    def __init__(self, bootstrap: str, topic: str, key: str) -> None:
        from kafka import KafkaProducer

        self.producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all", linger_ms=5)
        self.topic = topic
        self.key = key.encode()
        self.waiting: list[tuple[Any, Callable[[], None]]] = []

    def send(self, value: bytes, acknowledged: Callable[[], None]) -> None:
        self.waiting.append((self.producer.send(self.topic, value, self.key), acknowledged))

    def flush(self) -> None:
        self.producer.flush(30)
        for future, acknowledged in self.waiting:
            future.get(30)  # raises what went wrong
            acknowledged()
        self.waiting.clear()


CLIENTS: dict[str, Callable[[str, str, str], Sender]] = {"confluent-kafka": Confluent, "kafka-python": KafkaPython}


def measured(name: str, number: int) -> int:
    """What the meter shows for one interval. The same each time one asks, so that the run can be checked."""
    return random.Random(f"{name}/{number}").randrange(20, 900)


def meter(bootstrap: str, topic: str, path: Path, name: str, client: str) -> int:
    store = database(path, SCHEMA)
    sender = CLIENTS[client](bootstrap, topic, name)
    (acknowledged,) = store.execute("SELECT acknowledged FROM mark").fetchone()
    sent = acknowledged

    def on_acknowledged() -> None:
        nonlocal acknowledged
        acknowledged += 1  # those of one key are acknowledged in the order they were sent
        if acknowledged % MARK_EVERY == 0:
            with store:
                store.execute("UPDATE mark SET acknowledged = ?", (acknowledged,))

    def send_what_is_stored() -> None:
        nonlocal sent
        query = "SELECT number, watt_hours FROM readings WHERE number > ? ORDER BY number"
        for number, watt_hours in store.execute(query, (sent,)).fetchall():
            reading = {"meter": name, "number": number, "watt_hours": watt_hours}
            sender.send(json.dumps(reading).encode(), on_acknowledged)
            sent = number
        sender.flush()

    send_what_is_stored()
    for line in sys.stdin:
        with store:
            (last,) = store.execute("SELECT coalesce(max(number), 0) FROM readings").fetchone()
            new = [(number, measured(name, number)) for number in range(last + 1, last + 1 + int(line))]
            store.executemany("INSERT INTO readings VALUES (?, ?)", new)
        send_what_is_stored()
    with store:
        store.execute("UPDATE mark SET acknowledged = ?", (acknowledged,))
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(meter, str, str, children.path, str, str, told_by_lines=True))
