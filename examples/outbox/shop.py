"""Takes orders: `python -m examples.outbox.shop DATABASE COUNT`.

An order and the event that tells of it are one transaction: there is no order nobody hears of, and no event of an
order that was rolled back.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

from examples import children

# AUTOINCREMENT: ids of events that were deleted are not given again. The relay counts on it.
SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, customer TEXT NOT NULL, cups INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, event TEXT NOT NULL);
"""
CUSTOMERS = ("ann", "bob", "eve")
CUPS_MAX = 6


def open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=30)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(SCHEMA)
    return database


def take_order(database: sqlite3.Connection, number: int) -> None:
    customer, cups = CUSTOMERS[number % len(CUSTOMERS)], number % CUPS_MAX + 1
    with database:
        database.execute("INSERT INTO orders VALUES (?, ?, ?)", (number, customer, cups))
        event = json.dumps({"order": number, "cups": cups})
        database.execute("INSERT INTO outbox (key, event) VALUES (?, ?)", (customer, event))


def shop(path: Path, count: int) -> int:
    database = open_database(path)
    for number in range(count):
        take_order(database, number)
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(shop, children.path, int))
