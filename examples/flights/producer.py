"""The producing process: `python -m examples.flights.producer BOOTSTRAP TOPIC JOURNAL RATE SAMPLE`.

Each flight is one record: key the carrier, value the row as JSON. The producer is idempotent and waits for all replicas
(`acks=all`); a flight counts when its delivery report says so. While the broker is away the client keeps trying, with
the sequence numbers it had: what was written but not acknowledged before the crash is not written again.

The journal says every tenth of a second how many flights have been acknowledged: {"time": ..., "acked": ...}, first
with 0 just before the first flight is sent. A flight that fails for good ends the process with 1.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from examples import children
from examples.flights import table

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import KafkaError, Message

REPORT_EVERY_S = 0.1


class Deliveries:
    """Counts delivery reports and writes the journal."""

    def __init__(self, journal: Path) -> None:
        self.journal = children.Journal(journal)
        self.acked = 0
        self.failed: list[str] = []
        self.reported = 0.0

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acked += 1
        else:
            self.failed.append(f"{message.topic()}-{message.partition()}: {error}")

    def report(self, *, now: bool = False) -> None:
        moment = time.monotonic()
        if now or moment - self.reported >= REPORT_EVERY_S:
            self.reported = moment
            self.journal.write({"time": moment, "acked": self.acked})


def produce(bootstrap: str, topic: str, journal: Path, rate: float, sample: int | None) -> int:
    """Sends the table, `rate` flights per second at most (0: as fast as it goes). Returns the exit code."""
    from confluent_kafka import Producer

    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 10,
        "compression.type": "lz4",
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
        "error_cb": lambda _error: None,  # "broker down" is part of the story; what fails for good comes as a report
        "log_level": 2,
    }
    flights = table.flights(sample)
    producer = Producer(settings)
    deliveries = Deliveries(journal)
    deliveries.report(now=True)
    start = time.monotonic()
    for sent, flight in enumerate(flights):
        value = json.dumps(flight, separators=(",", ":")).encode()
        while True:
            try:
                producer.produce(topic, value, key=str(flight["carrier"]), on_delivery=deliveries.on_delivery)
                break
            except BufferError:  # the client's queue is full: the broker is slower than we are, or away
                producer.poll(0.05)
                deliveries.report()
        if sent % 256 == 0:
            ahead = sent / rate - (time.monotonic() - start) if rate else 0.0
            producer.poll(max(0.0, ahead))
            deliveries.report()
        if deliveries.failed:
            break
    while producer.flush(REPORT_EVERY_S) and not deliveries.failed:
        deliveries.report()
    deliveries.report(now=True)
    for line in deliveries.failed[:10]:
        print("not delivered:", line, file=sys.stderr)
    return 1 if deliveries.failed else 0


if __name__ == "__main__":
    sys.exit(children.main(produce, str, str, children.path, float, children.optional_int))
