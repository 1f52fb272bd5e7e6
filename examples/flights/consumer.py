"""A consuming process: `python -m examples.flights.consumer BOOTSTRAP TOPIC JOURNAL GROUP`.

At least once, as it is done with any Kafka: read some records, make their effect durable (here: a line in this
process's own journal), and only then commit the offsets behind them. A crash between the two makes another member read
the same records again, so whoever adds up the journals looks at the flight's identity.

Lines of the journal, each written whole:
    {"assigned": [partition, ...], "time": ...}
    {"partition": p, "offsets": [...], "flights": [[time_hour, carrier, flight, arr_delay], ...], "time": ...}
    {"committed": {partition: next offset}, "time": ...}     the broker has acknowledged this commit
Times are of the system's monotonic clock, which all processes share.

SIGTERM: commit, leave the group, end.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from examples import children

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import Consumer, Message, TopicPartition

BATCH_RECORDS = 2_000
BATCH_S = 0.1
SESSION_TIMEOUT_MS = 6_000


class Reader:
    """One member of the group."""

    def __init__(self, bootstrap: str, topic: str, group: str, journal: Path) -> None:
        from confluent_kafka import Consumer

        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": 1_000,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "error_cb": lambda _error: None,  # the client finds the broker again by itself
            "log_level": 2,
        }
        self.topic = topic
        self.journal = children.Journal(journal)
        self.read: dict[int, list[Message]] = {}
        self.uncommitted: dict[int, int] = {}
        self.stopping = False
        self.consumer: Consumer = Consumer(settings)
        self.consumer.subscribe([topic], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)

    def run(self) -> None:
        """Until SIGTERM: a batch, its lines, its commit."""
        while not self.stopping:
            until = time.monotonic() + BATCH_S
            count = 0
            while count < BATCH_RECORDS and (left := until - time.monotonic()) > 0 and not self.stopping:
                message = self.consumer.poll(left)
                if message is None or message.error() is not None:
                    continue
                self.read.setdefault(message.partition() or 0, []).append(message)
                count += 1
            self.write_down()
            self.commit()
        self.write_down()
        self.commit()
        self.consumer.close()

    def write_down(self) -> None:
        """Makes the effect of what was read durable: it is in the journal before any commit covers it."""
        for partition, messages in self.read.items():
            rows = [json.loads(message.value() or b"") for message in messages]
            offsets = [message.offset() or 0 for message in messages]
            line = {
                "partition": partition,
                "offsets": offsets,
                "flights": [[row["time_hour"], row["carrier"], row["flight"], row["arr_delay"]] for row in rows],
                "time": time.monotonic(),
            }
            self.journal.write(line)
            self.uncommitted[partition] = offsets[-1] + 1
        self.read.clear()

    def commit(self) -> None:
        """Tries to commit. A broker that is away or a rebalance may refuse: then a later one covers them, or none."""
        from confluent_kafka import KafkaException, TopicPartition

        if not self.uncommitted:
            return
        wanted = [TopicPartition(self.topic, partition, offset) for partition, offset in self.uncommitted.items()]
        try:
            answered = self.consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException:
            return
        done = {one.partition: one.offset for one in answered if one.error is None}
        self.journal.write({"committed": done, "time": time.monotonic()})
        for partition in done:
            self.uncommitted.pop(partition, None)

    def on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.journal.write({"assigned": sorted(one.partition for one in partitions), "time": time.monotonic()})

    def on_revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """Hands over cleanly: what was read is committed before another member starts."""
        self.write_down()
        self.commit()
        self.uncommitted.clear()

    def on_lost(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """The group went on without us: our offsets are not ours to commit any more."""
        self.write_down()
        self.uncommitted.clear()


def consume(bootstrap: str, topic: str, journal: Path, group: str) -> int:
    reader = Reader(bootstrap, topic, group, journal)

    def stop(_signal: int, _frame: object) -> None:
        reader.stopping = True

    signal.signal(signal.SIGTERM, stop)
    reader.run()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(consume, str, str, children.path, str))
