"""One service: `python -m examples.orders.service BOOTSTRAP TOPIC GROUP DATABASE NAME`.

Each has a group of its own and so gets every event, in the order of its customer's key; none knows of the others. Each
keeps what it makes of the events in a database of its own, and in the same transaction the id of the event: an event
that comes a second time, because the shop sent it twice or because this service was killed before it had committed,
finds its id there and changes nothing. So at-least-once delivery has its effect exactly once.

Such a transaction cannot cover a mail. Whoever sends mail from the table `mails` hands the event's id to the mail
provider as the key by which the provider drops what it already has.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from examples import children
from examples.at_least_once import Reader, database
from examples.orders.events import PRODUCTS

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from confluent_kafka import Message

SEEN = """
CREATE TABLE seen (event TEXT PRIMARY KEY);
CREATE TABLE repeats (event TEXT);
"""
TABLES = {
    "inventory": "CREATE TABLE stock (product TEXT PRIMARY KEY, pieces INTEGER)",
    "notification": """
        CREATE TABLE mails (
            number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT, "order" TEXT, kind TEXT, customer TEXT, text TEXT
        )
    """,
    "analytics": """
        CREATE TABLE revenue (product TEXT, minute INTEGER, pieces INTEGER, cents INTEGER,
            PRIMARY KEY (product, minute))
    """,
}
TEXTS = {
    "placed": "We have your order {order}: {cents:.2f} euro.",
    "paid": "Your payment of {cents:.2f} euro for {order} has arrived.",
    "shipped": "{order} is on its way.",
    "cancelled": "{order} is cancelled.",
}


def take_stock(store: sqlite3.Connection, event: dict[str, Any]) -> None:
    """Pieces leave the shelf when an order is placed, and return when it is cancelled."""
    sign = {"placed": -1, "cancelled": 1}.get(event["kind"], 0)
    for product, pieces in event["lines"].items():
        store.execute("UPDATE stock SET pieces = pieces + ? WHERE product = ?", (sign * pieces, product))


def write_mail(store: sqlite3.Connection, event: dict[str, Any]) -> None:
    text = TEXTS[event["kind"]].format(order=event["order"], cents=event["cents"] / 100)
    mail = event["id"], event["order"], event["kind"], event["customer"], text
    store.execute('INSERT INTO mails (event, "order", kind, customer, text) VALUES (?, ?, ?, ?, ?)', mail)


def add_revenue(store: sqlite3.Connection, event: dict[str, Any]) -> None:
    """Revenue of what is shipped, by product and minute of the event (not of reading it)."""
    if event["kind"] != "shipped":
        return
    for product, pieces in event["lines"].items():
        row = product, event["time_ms"] // 60_000, pieces, pieces * PRODUCTS[product][0]
        store.execute(
            "INSERT INTO revenue VALUES (?, ?, ?, ?) ON CONFLICT (product, minute) DO UPDATE"
            " SET pieces = pieces + excluded.pieces, cents = cents + excluded.cents",
            row,
        )


EFFECTS = {"inventory": take_stock, "notification": write_mail, "analytics": add_revenue}


def serve(bootstrap: str, topic: str, group: str, path: Path, name: str) -> int:
    store = database(path, SEEN + TABLES[name])
    if name == "inventory":
        shelves = [(product, pieces) for product, (_cents, pieces) in PRODUCTS.items()]
        with store:
            store.executemany("INSERT OR IGNORE INTO stock VALUES (?, ?)", shelves)

    def effect(messages: list[Message]) -> None:
        with store:  # one transaction: ids and effects, all or nothing
            for message in messages:
                event = json.loads(message.value() or b"{}")
                if store.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event["id"],)).rowcount:
                    EFFECTS[name](store, event)
                else:
                    store.execute("INSERT INTO repeats VALUES (?)", (event["id"],))

    # A static member: started again after a crash it goes on at once, where it had committed.
    Reader(bootstrap, topic, group, effect, instance=name).run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(serve, str, str, str, children.path, str))
