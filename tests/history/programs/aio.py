"""The transform program with aiokafka.

aiokafka commits the offsets of a transaction without its member's generation, so that a group of several of these could
do its work twice: it is run alone in its group.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError

from tests.history import events
from tests.history.programs.teller import Teller, arguments


class Fatal(Exception):
    """The client can do no more; the next instance goes on."""


def listener(teller: Teller, group: str) -> Any:
    class Listener(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
        def on_partitions_assigned(self, assigned: Any) -> None:
            teller.assigned(group, [(each.topic, each.partition) for each in assigned])

        def on_partitions_revoked(self, revoked: Any) -> None:
            teller.revoked(group, [(each.topic, each.partition) for each in revoked])

    return Listener()


async def transform(teller: Teller, bootstrap: str, options: dict[str, str]) -> None:
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=options["id"],
        transaction_timeout_ms=10_000,
        linger_ms=1,
        retry_backoff_ms=50,
    )
    await producer.start()
    teller.tell(events.Initialized, transactional_id=options["id"])
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=options["group"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        session_timeout_ms=int(options.get("session_ms", 6000)),
        heartbeat_interval_ms=300,
        fetch_max_wait_ms=100,
        retry_backoff_ms=50,
    )
    consumer.subscribe([options["source"]], listener=listener(teller, options["group"]))
    await consumer.start()
    number = 0
    try:
        while not teller.stopped.is_set():
            found = await consumer.getmany(timeout_ms=200, max_records=20)
            if not found:
                continue
            number += 1
            if not await one(teller, producer, options, found, number):
                start = {where: records[0].offset for where, records in found.items()}
                spots = [(where.topic, where.partition, offset) for where, offset in start.items()]
                teller.tell(events.Seek, positions=spots)
                for where, offset in start.items():
                    if where in consumer.assignment():
                        consumer.seek(where, offset)
    finally:
        await consumer.stop()
        await producer.stop()


async def one(teller: Teller, producer: Any, options: dict[str, str], found: dict[Any, list[Any]], number: int) -> bool:
    """One transaction; False if it was aborted."""
    txn, group, target = f"{teller.process}/{number}", options["group"], options["target"]
    every = int(options.get("abort_every", 0))
    records = [
        (where.topic, where.partition, each.offset, each.value.decode())
        for where, these in found.items()
        for each in these
    ]
    teller.tell(events.Begin, txn=txn)
    teller.tell(events.Poll, isolation="committed", records=records, group=group, txn=txn)
    try:
        await producer.begin_transaction()
        sent = []
        for topic, partition, offset, text in records:
            value = f"{text}~{txn}"
            cause = (topic, partition, offset)
            teller.tell(events.Send, topic=target, partition=partition, value=value, txn=txn, cause=cause)
            sent.append((value, await producer.send(target, value.encode(), partition=partition)))
        await producer.flush()
        for value, future in sent:
            told = await future
            teller.tell(events.Sent, topic=target, partition=told.partition, offset=told.offset, value=value)
        offsets = {where: these[-1].offset + 1 for where, these in found.items()}
        spots = [(where.topic, where.partition, offset) for where, offset in offsets.items()]
        teller.tell(events.CommitOffsets, group=group, offsets=spots, txn=txn)
        await producer.send_offsets_to_transaction(offsets, group)
        if number == int(options.get("dies_in", 0)):
            teller.die()
        if every and number % every == 0:
            return await abort(teller, producer, txn)
        teller.tell(events.Commit, txn=txn)
        await producer.commit_transaction()
    except KafkaError as error:
        try:
            return await abort(teller, producer, txn)
        except KafkaError as second:
            teller.tell(events.Unsure, txn=txn, error=f"{error}; {second}")
            raise Fatal(str(second)) from error
    teller.tell(events.Committed, txn=txn)
    return True


async def abort(teller: Teller, producer: Any, txn: str) -> bool:
    teller.tell(events.Abort, txn=txn)
    await producer.abort_transaction()
    teller.tell(events.Aborted, txn=txn)
    return False


def main() -> int:
    role, process, bootstrap, options = arguments()
    assert role == "transform", f"no role is called {role}"
    teller = Teller(process)
    try:
        asyncio.run(transform(teller, bootstrap, options))
    except (Fatal, KafkaError) as error:
        teller.tell(events.Ended, error=str(error))
        return 1
    teller.tell(events.Ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
