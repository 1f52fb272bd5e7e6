"""One teller: `python -m examples.accounts.teller BOOTSTRAP TOPIC NAME ACCOUNTS COMMANDS`.

It reads the log from offset 0 and so knows every account. For each command: decide on the account as known, write the
event with the next version, read on until one's own event comes by. If it was applied, done; if another teller's event
had the version first, decide again on what is true now (there may no longer be enough to withdraw).

Each line on standard input is how many of its commands are to be done by then. A teller that was killed finds in the
log which commands are done, its last one included: whether that was written in time, the log knows and nobody else.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from examples import children
from examples.accounts.events import Account, Command, Event, commands, fold

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, Producer

WAIT_S = 30.0


class Log:
    """The topic, from its beginning on, folded as far as read."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        from confluent_kafka import Consumer, Producer, TopicPartition

        common: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 2}
        # No group: everybody who needs all accounts reads all partitions.
        reading = {"group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 50}
        self.topic = topic
        self.consumer: Consumer = Consumer({**common, **reading})
        self.producer: Producer = Producer({**common, "enable.idempotence": True, "linger.ms": 0})
        self.accounts: dict[str, Account] = {}
        self.done: set[str] = set()
        numbers = sorted(self.consumer.list_topics(topic, timeout=WAIT_S).topics[topic].partitions)
        ends = {number: self._end(number) for number in numbers}
        self.next = dict.fromkeys(numbers, 0)
        self.consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        for number, end in ends.items():
            self.read_until(number, end)

    def _end(self, partition: int) -> int:
        """Where the partition ends now. All of it must be there; asked before anything is read of it."""
        from confluent_kafka import TopicPartition

        first, end = self.consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=WAIT_S)
        if first:
            self.consumer.close()
            raise SystemExit(
                f"{self.topic}-{partition} begins at {first}: what came before is gone, and with it the accounts"
            )
        return int(end)

    def read_until(self, partition: int, offset: int) -> None:
        """Reads and folds until everything in front of the offset is known."""
        while self.next[partition] < offset:
            message = self.consumer.poll(WAIT_S)
            if message is None:
                raise SystemExit(f"nothing came in {WAIT_S:.0f} s")
            if message.error() is not None:
                continue
            event = Event.parse(message.value() or b"")
            if fold(self.accounts, event):
                self.done.add(event.command)
            self.next[message.partition() or 0] = (message.offset() or 0) + 1

    def append(self, event: Event) -> tuple[int, int]:
        """Where the event is, once that is acknowledged."""
        places: list[tuple[int, int]] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                raise SystemExit(f"not delivered: {error}")
            places.append((message.partition() or 0, message.offset() or 0))

        self.producer.produce(self.topic, event.as_bytes(), event.account, on_delivery=on_delivery)
        if self.producer.flush(WAIT_S):
            raise SystemExit(f"not acknowledged in {WAIT_S:.0f} s")
        return places[0]


def carry_out(log: Log, command: Command) -> None:
    """Until an event of this command has been applied, by this writer or by its predecessor that was killed."""
    while command.id not in log.done:
        event = command.decide(log.accounts.get(command.account, Account()))
        partition, offset = log.append(event)
        log.read_until(partition, offset + 1)


def work(bootstrap: str, topic: str, name: str, accounts: str, count: int) -> int:
    log = Log(bootstrap, topic)
    day = commands(name, accounts.split(","), count)
    for line in sys.stdin:
        for command in day[: int(line)]:
            carry_out(log, command)
    log.consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(work, str, str, str, str, int, told_by_lines=True))
