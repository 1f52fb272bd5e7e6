"""The programs with librdkafka, through confluent-kafka."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import confluent_kafka as ck

from tests.history import events
from tests.history.events import Place
from tests.history.programs.teller import Teller, arguments

COMMON: dict[str, Any] = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
# send_offsets_to_transaction of librdkafka 2.16 never returns if the connection to the group's coordinator is lost at
# the wrong moment, whatever time-out it is given (its issues 5456 and 5511): then the process ends, as after a crash.
TRIES_UNTIL_HUNG = 2
# If its assignment changes while a transaction holds an offset back (UNSTABLE_OFFSET_COMMIT), librdkafka 2.16 takes the
# partition for one without an offset (`rd_kafka_assignment_apply_offsets`), also on Apache Kafka. Who works in
# transactions must not begin anew then: the process ends, and the group has offsets from the start.
NO_RESET = {"auto.offset.reset": "error"}


class Fatal(Exception):
    """The client can do no more; the next instance goes on."""


def consumer_settings(bootstrap: str, options: dict[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        **COMMON,
        "bootstrap.servers": bootstrap,
        "group.id": options["group"],
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 100,
        # A round waits so long for a member that does not come, and a commit for its answer.
        "max.poll.interval.ms": 10_000,
        "socket.timeout.ms": 6_000,
        "group.protocol": options.get("protocol", "classic"),
    }
    if settings["group.protocol"] == "classic":
        settings["session.timeout.ms"] = int(options.get("session_ms", 6000))
        settings["heartbeat.interval.ms"] = 500
        settings["partition.assignment.strategy"] = options.get("assignor", "cooperative-sticky")
    return settings


def subscribed(teller: Teller, bootstrap: str, topic: str, options: dict[str, str], **more: Any) -> Any:
    consumer = ck.Consumer({**consumer_settings(bootstrap, options), **more})

    def telling(tell: Callable[[str, list[Place]], None]) -> Callable[[Any, Any], None]:
        return lambda _consumer, partitions: tell(
            options["group"], [(each.topic, each.partition) for each in partitions]
        )

    consumer.subscribe(
        [topic], on_assign=telling(teller.assigned), on_revoke=telling(teller.revoked), on_lost=telling(teller.lost)
    )
    return consumer


def given(consumer: Any, wait_s: float = 0.2) -> list[Any]:
    """The records of a poll. What the client mends by itself is not told; anything else is."""
    messages = consumer.consume(20, wait_s)
    for message in messages:
        error = message.error()
        if error is not None and (error.fatal() or error.code() == ck.KafkaError._AUTO_OFFSET_RESET):
            raise Fatal(str(error))
    return [message for message in messages if message.error() is None]


def positions(messages: list[Any], *, start: bool) -> list[events.Spot]:
    """By partition, the first offset of a batch, or the one behind its last."""
    found: dict[Place, int] = {}
    for message in messages:
        place = (message.topic(), message.partition())
        if start:
            found.setdefault(place, message.offset())
        else:
            found[place] = message.offset() + 1
    return [(topic, partition, offset) for (topic, partition), offset in found.items()]


def spots(messages: list[Any]) -> list[events.Read]:
    return [(each.topic(), each.partition(), each.offset(), (each.value() or b"").decode()) for each in messages]


def as_partitions(offsets: list[events.Spot]) -> list[Any]:
    return [ck.TopicPartition(topic, partition, offset) for topic, partition, offset in offsets]


class Transactions:
    """A transactional producer that tells what it does. Retriable errors are tried again, as librdkafka asks for."""

    def __init__(self, teller: Teller, bootstrap: str, options: dict[str, str]) -> None:
        self.teller = teller
        self.abort_every = int(options.get("abort_every", 0))
        # In this one it dies, when everything but the end has been asked for.
        self.dies_in = int(options.get("dies_in", 0))
        self.try_s = float(options.get("try_s", 5))
        self.number = 0
        self.producer: Any = ck.Producer(
            {
                **COMMON,
                "bootstrap.servers": bootstrap,
                "transactional.id": options["id"],
                "transaction.timeout.ms": int(options.get("timeout_ms", 10_000)),
                "linger.ms": 1,
            }
        )
        self._again(self.producer.init_transactions)
        teller.tell(events.Initialized, transactional_id=options["id"])

    @property
    def txn(self) -> str:
        return f"{self.teller.process}/{self.number}"

    def begin(self) -> None:
        self.number += 1
        self.teller.tell(events.Begin, txn=self.txn)
        self.producer.begin_transaction()

    def send(self, topic: str, partition: int, value: str, cause: events.Spot | None = None, effect: int = 0) -> None:
        self.teller.tell(
            events.Send, topic=topic, partition=partition, value=value, txn=self.txn, cause=cause, effect=effect
        )

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                self.teller.tell(events.Failed, topic=topic, value=value, error=str(error))
            else:
                self.teller.tell(
                    events.Sent, topic=topic, partition=message.partition(), offset=message.offset(), value=value
                )

        self.producer.produce(topic, value, partition=partition, on_delivery=delivered)

    def offsets(self, consumer: Any, group: str, offsets: list[events.Spot]) -> None:
        self.teller.tell(events.CommitOffsets, group=group, offsets=offsets, txn=self.txn)
        self._again(
            self.producer.send_offsets_to_transaction, as_partitions(offsets), consumer.consumer_group_metadata()
        )

    def end(self) -> bool:
        """Commits, or aborts if it is this one's turn; False if it was aborted."""
        if self.number == self.dies_in:
            self.producer.flush(self.try_s)
            self.teller.die()
        if self.abort_every and self.number % self.abort_every == 0:
            self.producer.flush(self.try_s)
            return self.abort()
        self.teller.tell(events.Commit, txn=self.txn)
        self._again(self.producer.commit_transaction)
        self.teller.tell(events.Committed, txn=self.txn)
        return True

    def abort(self) -> bool:
        self.teller.tell(events.Abort, txn=self.txn)
        self._again(self.producer.abort_transaction)
        self.teller.tell(events.Aborted, txn=self.txn)
        return False

    def _again(self, work: Callable[..., None], *given: Any) -> None:
        while True:
            hang = threading.Timer(TRIES_UNTIL_HUNG * self.try_s, self._hangs)
            hang.start()
            try:
                work(*given, self.try_s)
            except ck.KafkaException as error:
                if not error.args[0].retriable():
                    raise
            else:
                return
            finally:
                hang.cancel()

    def _hangs(self) -> None:
        self.teller.tell(events.Ended, error="a call did not return in time")
        os._exit(1)

    def run(self, work: Callable[[], bool]) -> bool:
        """What `work` says; False if the transaction had to be aborted."""
        try:
            return work()
        except ck.KafkaException as error:
            reason = error.args[0]
            if reason.txn_requires_abort():
                try:
                    return self.abort()
                except ck.KafkaException as second:
                    reason = second.args[0]
            self.teller.tell(events.Unsure, txn=self.txn, error=str(reason))
            raise Fatal(str(reason)) from error


def transform(teller: Teller, bootstrap: str, options: dict[str, str]) -> None:
    transactions = Transactions(teller, bootstrap, options)
    consumer = subscribed(teller, bootstrap, options["source"], options, **NO_RESET)
    target, group = options["target"], options["group"]
    try:
        while not teller.stopped.is_set():
            messages = given(consumer)
            if not messages:
                continue
            transactions.begin()
            teller.tell(events.Poll, isolation="committed", records=spots(messages), group=group, txn=transactions.txn)

            def work(messages: list[Any] = messages) -> bool:
                for topic, partition, offset, value in spots(messages):
                    transactions.send(target, partition, f"{value}~{transactions.txn}", (topic, partition, offset))
                transactions.offsets(consumer, group, positions(messages, start=False))
                return transactions.end()

            if not transactions.run(work):
                start = positions(messages, start=True)
                teller.tell(events.Seek, positions=start)
                for each in as_partitions(start):
                    try:
                        consumer.seek(each)
                    except ck.KafkaException as error:
                        if error.args[0].code() != ck.KafkaError._STATE:  # it is being taken away
                            raise
    finally:
        consumer.close()


def member(teller: Teller, bootstrap: str, options: dict[str, str]) -> None:
    consumer = subscribed(teller, bootstrap, options["topic"], options)
    group = options["group"]
    try:
        while not teller.stopped.is_set():
            messages = given(consumer)
            if not messages:
                continue
            teller.tell(events.Poll, isolation="committed", records=spots(messages), group=group)
            offsets = positions(messages, start=False)
            teller.tell(events.CommitOffsets, group=group, offsets=offsets)
            try:
                consumer.commit(offsets=as_partitions(offsets), asynchronous=False)
            except ck.KafkaException as error:
                teller.tell(events.OffsetsFailed, group=group, error=str(error.args[0]))
            else:
                teller.tell(events.OffsetsCommitted, group=group, offsets=offsets)
    finally:
        consumer.close()


def transfer(teller: Teller, bootstrap: str, options: dict[str, str]) -> None:
    transactions = Transactions(teller, bootstrap, options)
    chance, topic, partitions = random.Random(teller.process), options["topic"], int(options["partitions"])
    # In this one it does nothing until it is told a line.
    hangs_in = int(options.get("hangs_in", 0))
    while not teller.stopped.is_set():
        transactions.begin()

        def work() -> bool:
            amount = chance.randrange(1, 1000)
            for sign, partition in zip("-+", chance.sample(range(partitions), 2), strict=True):
                transactions.send(topic, partition, f"{sign}{amount}~{transactions.txn}")
            if transactions.number == hangs_in:
                transactions.producer.flush(transactions.try_s)
                sys.stdin.readline()
            return transactions.end()

        transactions.run(work)


def main() -> int:
    role, process, bootstrap, options = arguments()
    teller = Teller(process)
    try:
        {"transform": transform, "member": member, "transfer": transfer}[role](teller, bootstrap, options)
    except Fatal as error:
        teller.tell(events.Ended, error=str(error))
        return 1
    teller.tell(events.Ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
