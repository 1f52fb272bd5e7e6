"""The run: `python -m examples.retries [--kill worker-1] [--bootstrap HOST:PORT] [--delay-ms N] [--clock FILE]`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from examples.at_least_once import rows
from examples.children import Failed
from examples.retries.headers import ATTEMPTS_MAX, Trail, dead_topic, delay_ms, retry_topic
from examples.retries.payments import Payment, payments
from examples.stage import Stage, parser, positive, run

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

TOPIC = "payments"
PARTITIONS = 3
WORKERS = ("worker-1", "worker-2")
BUSY, DECLINED = "gateway busy (503)", "insufficient funds"


def arguments() -> argparse.Namespace:
    made = parser("retries", "Payments with retry topics and a dead-letter queue.", victims=WORKERS)
    made.add_argument("--payments", type=positive, default=200)
    made.add_argument("--seed", type=int, default=5)
    made.add_argument(
        "--delay-ms", type=positive, default=300, help="before the second attempt; then twice as long each"
    )
    made.add_argument("--clock", type=Path, metavar="FILE", help="time is what this file says, in ms, not the wall's")
    return made.parse_args()


def play() -> int:
    chosen = arguments()
    asked = payments(chosen.payments, chosen.seed)
    topics = [TOPIC, *(retry_topic(TOPIC, attempt) for attempt in range(2, ATTEMPTS_MAX + 1)), dead_topic(TOPIC)]
    with Stage("retries", chosen) as stage:
        database = stage.folder / "payments.sqlite"

        def start(name: str) -> None:
            words = stage.name(TOPIC), stage.name("charge"), database, name, chosen.delay_ms, chosen.clock or ""
            stage.start(name, "examples.retries.worker", *words)

        stage.create(dict.fromkeys(topics, 1) | {TOPIC: PARTITIONS})
        for name in WORKERS:
            start(name)
        stage.wait_for_members("charge", len(WORKERS))
        origins = send(stage, asked)
        stage.says(f"{len(asked)} payments sent")
        read_again = 0
        if chosen.kill:
            first = "SELECT count(*) FROM attempts WHERE attempt = 1"
            stage.wait("every payment has been tried", lambda: rows(database, first) == [(len(asked),)])
            stage.kill(chosen.kill)
            read_again = uncommitted(stage, database, chosen.kill)
            stage.says(f"{read_again} attempts it had made, but not committed; it is started again")
            start(chosen.kill)
        over = "SELECT count(*) FROM attempts WHERE result IN ('charged', 'dead')"
        stage.wait("every payment is charged or given up", lambda: rows(database, over) == [(len(asked),)])
        everything = sum(sum(stage.ends(topic).values()) for topic in topics[:-1]) + read_again
        stage.wait("everything is read", lambda: rows(database, HANDLED) == [(everything,)])
        stage.stop()
        dead = dead_letters(stage)
        outcome = {**tell(stage, database, dead, asked, origins), "read_again": read_again}
        return stage.verdict(outcome, compare(stage, database, dead, asked, origins, chosen.delay_ms))


HANDLED = "SELECT (SELECT count(*) FROM attempts) + (SELECT count(*) FROM repeats)"


def send(stage: Stage, asked: list[Payment]) -> dict[str, Payment]:
    """Sends the payments, keyed by account; returns them by where they are, in the form of the header `origin`."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": stage.bootstrap, "enable.idempotence": True, "log_level": 2})
    origins: dict[str, Payment] = {}

    def noting(payment: Payment) -> Any:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is None:
                origins[Trail.of(message).origin] = payment

        return on_delivery

    for payment in asked:
        producer.produce(stage.name(TOPIC), payment.as_bytes(), payment.account, on_delivery=noting(payment))
    producer.flush(30)
    if len(origins) != len(asked):
        raise Failed(f"{len(asked) - len(origins)} payments were not acknowledged")
    return origins


def uncommitted(stage: Stage, database: Path, worker: str) -> int:
    """How many attempts a worker has made beyond what it has committed."""
    made: dict[int, Counter[int]] = {attempt: Counter() for attempt in range(1, ATTEMPTS_MAX + 1)}
    for origin, attempt, by in rows(database, "SELECT origin, attempt, worker FROM attempts"):
        if by == worker:
            # A payment's first attempt is made where it was sent to; a retry topic has one partition.
            made[attempt][int(origin.rpartition("-")[2].partition("@")[0]) if attempt == 1 else 0] += 1
    beyond = 0
    for attempt, counts in made.items():
        if counts:
            committed = stage.committed("charge", TOPIC if attempt == 1 else retry_topic(TOPIC, attempt))
            beyond += sum(count - committed[partition] for partition, count in counts.items())
    return beyond


def dead_letters(stage: Stage) -> dict[str, Message]:
    """By origin: a worker killed between copy and note makes a second copy, which is the same letter."""
    return {Trail.of(message).origin: message for message in stage.records(dead_topic(TOPIC))}


def tell(
    stage: Stage, database: Path, dead: dict[str, Message], asked: list[Payment], origins: dict[str, Payment]
) -> dict[str, Any]:
    """The dead letters, each explained by its headers, and how the others fared."""
    grid = Table("payment", "attempts after", "reason", "last error", box=SIMPLE)
    for origin, message in sorted(dead.items(), key=lambda item: origins[item[0]].id):
        trail = Trail.of(message)
        start = trail.failures[0]["at_ms"]
        times = " ".join(f"{(failure['at_ms'] - start) / 1000:.1f}" for failure in trail.failures) + " s"
        grid.add_row(origins[origin].id, times, trail.reason, trail.failures[-1]["error"].partition(": ")[0])
    stage.console.print(grid)
    by_attempt = dict(rows(database, "SELECT attempt, count(*) FROM charges GROUP BY attempt ORDER BY attempt"))
    stage.says("charged " + ", ".join(f"{count} at attempt {attempt}" for attempt, count in by_attempt.items()))
    repeats = int(rows(database, "SELECT count(*) FROM repeats")[0][0])
    if repeats:
        stage.says(f"{repeats} records were met a second time and left alone")
    letters = [
        {"payment": origins[o].id, "reason": (t := Trail.of(m)).reason, "failures": t.failures} for o, m in dead.items()
    ]
    return {"payments": len(asked), "charged": by_attempt, "dead": letters, "repeats": repeats}


def fate(payment: Payment) -> tuple[int, str, list[str]]:
    """How it must end: attempts, why it was given up ("" if charged), the errors on the way."""
    if payment.mood == "declined":
        return 1, "refused for good", [DECLINED]
    if payment.mood == "garbled":
        return 1, "cannot be read", ["not a payment"]
    busy = int(payment.mood.partition("-")[2] or 0)
    if busy >= ATTEMPTS_MAX:
        return ATTEMPTS_MAX, "attempts used up", [BUSY] * ATTEMPTS_MAX
    return busy + 1, "", [BUSY] * busy


def compare(
    stage: Stage,
    database: Path,
    dead: dict[str, Message],
    asked: list[Payment],
    origins: dict[str, Payment],
    first_delay_ms: int,
) -> list[str]:
    """Each payment beside its fate, each dead letter beside its story, each attempt beside the time it was due."""
    wrong = []
    charged = [(one.id, one.cents, fate(one)[0]) for one in asked if not fate(one)[1]]
    if rows(database, "SELECT payment, cents, attempt FROM charges ORDER BY payment") != charged:
        wrong.append("charged is not what should be")
    if {origins[origin].id for origin in dead} != {one.id for one in asked if fate(one)[1]}:
        wrong.append("given up is not what should be")
    for origin, message in dead.items():
        trail, payment = Trail.of(message), origins[origin]
        _attempts, reason, errors = fate(payment)
        if (message.key(), message.value()) != (payment.account.encode(), payment.as_bytes()):
            wrong.append(f"{payment.id} was changed on the way")
        told = [failure["error"].partition(": ")[0] for failure in trail.failures]
        if trail.reason != reason or told != [error.partition(": ")[0] for error in errors]:
            wrong.append(f"{payment.id}: headers tell {trail}")
        for earlier, later in pairwise(trail.failures):
            if later["at_ms"] < earlier["at_ms"] + delay_ms(earlier["attempt"], first_delay_ms):
                wrong.append(f"{payment.id} was tried too early: {trail.failures}")
    for origin, attempt, at_ms, due_ms in rows(database, "SELECT origin, attempt, at_ms, due_ms FROM attempts"):
        if at_ms < due_ms:
            wrong.append(f"attempt {attempt} of {origin} was at {at_ms}, due at {due_ms}")
    wrong += [
        f"the group has not committed the end of {topic}"
        for topic in (TOPIC, *(retry_topic(TOPIC, attempt) for attempt in range(2, ATTEMPTS_MAX + 1)))
        if stage.committed("charge", topic) != stage.ends(topic)
    ]
    return wrong[:10]


if __name__ == "__main__":
    sys.exit(run(play))
