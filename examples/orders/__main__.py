"""The run: `python -m examples.orders [--kill inventory] [--bootstrap HOST:PORT]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from examples.at_least_once import rows
from examples.children import Failed
from examples.orders.events import PRODUCTS, Event, events
from examples.stage import Stage, parser, positive, run

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import KafkaError, Message, Producer

TOPIC = "orders"
PARTITIONS = 3
SERVICES = ("inventory", "notification", "analytics")
# The shop's own retry: a request that timed out, a button pressed twice. No producer setting can know these.
SENT_TWICE_EVERY = 40


def arguments() -> argparse.Namespace:
    made = parser("orders", "Order events for inventory, notification and analytics.", victims=SERVICES)
    made.add_argument("--orders", type=positive, default=1_000)
    made.add_argument("--seed", type=int, default=7)
    return made.parse_args()


class Shop:
    """Sends events; the key is the customer, so that what happens to a customer's orders stays in order."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        from confluent_kafka import Producer

        self.topic = topic
        self.sent = 0
        self.acknowledged = 0
        self.failed: list[str] = []
        # Idempotent: what the client repeats because an answer got lost is written once.
        self.producer: Producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 2})

    def send(self, some: list[Event]) -> None:
        """Returns when everything is acknowledged."""
        for event in some:
            value = json.dumps(event.as_json(), separators=(",", ":"))
            self.sent += 1
            for _time in range(2 if self.sent % SENT_TWICE_EVERY == 0 else 1):
                self.producer.produce(self.topic, value, event.customer, on_delivery=self._on_delivery)
            self.producer.poll(0)
        left = self.producer.flush(30)
        if left or self.failed:
            raise Failed(f"{left} events are not acknowledged, {len(self.failed)} failed: {self.failed[:1]}")

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failed.append(str(error))
        else:
            self.acknowledged += 1


def play() -> int:
    chosen = arguments()
    happened = list(events(chosen.orders, chosen.seed))
    half = len(happened) // 2
    with Stage("orders", chosen) as stage:
        databases = {name: stage.folder / f"{name}.sqlite" for name in SERVICES}
        again = dict.fromkeys(SERVICES, 0)
        shop = Shop(stage.bootstrap, stage.name(TOPIC))

        def open_for_business(name: str) -> None:
            words = stage.name(TOPIC), stage.name(name), databases[name], name
            stage.start(name, "examples.orders.service", *words)

        def all_are_done() -> bool:
            return all(handled(path) == shop.acknowledged + again[name] for name, path in databases.items())

        stage.create({TOPIC: PARTITIONS})
        for name in SERVICES:
            open_for_business(name)
        shop.send(happened[:half])
        stage.wait("every service has handled the first half", all_are_done)
        if chosen.kill:
            stage.kill(chosen.kill)
            again[chosen.kill] = shop.acknowledged - sum(stage.committed(chosen.kill, TOPIC).values())
            stage.says(f"{again[chosen.kill]} events it had handled, but not committed; it is started again")
            open_for_business(chosen.kill)
        shop.send(happened[half:])
        stage.says(f"{len(happened):,} events sent, {shop.acknowledged - len(happened)} of them twice by the shop")
        stage.wait("every service has handled everything", all_are_done)
        stage.stop()
        outcome = {"events": len(happened), "records": shop.acknowledged, "read_again": again}
        outcome |= tell(stage, databases)
        return stage.verdict(outcome, compare(stage, databases, happened, shop.acknowledged, again))


def handled(path: Path) -> int:
    """How many records a service has handled, repeats included."""
    found = rows(path, "SELECT (SELECT count(*) FROM seen) + (SELECT count(*) FROM repeats)")
    return int(found[0][0]) if found else -1


def tell(stage: Stage, databases: dict[str, Path]) -> dict[str, Any]:
    """Two tables, from the three databases, and the figures in them."""
    stock = dict(rows(databases["inventory"], "SELECT product, pieces FROM stock"))
    query = "SELECT product, sum(pieces), sum(cents) FROM revenue GROUP BY product"
    revenue = {product: (pieces, cents) for product, pieces, cents in rows(databases["analytics"], query)}
    grid = Table("product", "shelf before", "shelf now", "shipped", "revenue, euro", box=SIMPLE)
    for column in grid.columns[1:]:
        column.justify = "right"
    for product, (_price, before) in PRODUCTS.items():
        pieces, cents = revenue.get(product, (0, 0))
        grid.add_row(product, f"{before:,}", f"{stock[product]:,}", f"{pieces:,}", f"{cents / 100:,.2f}")
    stage.console.print(grid)
    mails = dict(rows(databases["notification"], "SELECT kind, count(*) FROM mails GROUP BY kind ORDER BY min(number)"))
    stage.says("mails: " + ", ".join(f"{count:,} {kind}" for kind, count in mails.items()))
    repeats = {name: rows(path, "SELECT count(*) FROM repeats")[0][0] for name, path in databases.items()}
    stage.says("events met a second time: " + ", ".join(f"{count} by {name}" for name, count in repeats.items()))
    return {"stock": stock, "revenue": revenue, "mails": mails, "repeats": repeats}


def compare(
    stage: Stage, databases: dict[str, Path], happened: list[Event], acknowledged: int, again: dict[str, int]
) -> list[str]:
    """What the services keep beside what a plain loop over the events gives."""
    stock = {product: pieces for product, (_price, pieces) in PRODUCTS.items()}
    shipped: Counter[str] = Counter()
    for event in happened:
        for product, pieces in event.lines.items():
            stock[product] += {"placed": -pieces, "cancelled": pieces}.get(event.kind, 0)
            shipped[product] += pieces if event.kind == "shipped" else 0
    wrong = []
    if dict(rows(databases["inventory"], "SELECT product, pieces FROM stock")) != stock:
        wrong.append("the shelves are not what the orders left on them")
    kept = rows(databases["analytics"], "SELECT product, sum(pieces), sum(cents) FROM revenue GROUP BY product")
    if kept != [(name, pieces, pieces * PRODUCTS[name][0]) for name, pieces in sorted(shipped.items())]:
        wrong.append("the revenue is not that of what was shipped")
    mails = rows(databases["notification"], 'SELECT "order", kind FROM mails ORDER BY "order", number')
    if mails != sorted(((e.order, e.kind) for e in happened), key=lambda mail: mail[0]):
        wrong.append("not one mail for each event, in the order of the events of each order")
    for name, path in databases.items():
        repeats = rows(path, "SELECT count(*) FROM repeats")[0][0]
        if repeats != acknowledged - len(happened) + again[name]:
            wrong.append(f"{name} met {repeats} events a second time")
        if (committed := sum(stage.committed(name, TOPIC).values())) != acknowledged:
            wrong.append(f"{name} has committed {committed} of {acknowledged} records")
    if (count := len(stage.records(TOPIC))) != acknowledged:
        wrong.append(f"{count} records in the topic, {acknowledged} acknowledged")
    return wrong


if __name__ == "__main__":
    sys.exit(run(play))
