"""The run: `python -m examples.outbox [--orders 1000] [--kills 5]`."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from typing import TYPE_CHECKING

import ottla
from examples.outbox.shop import open_database
from examples.scene import Scene, play, verdict

if TYPE_CHECKING:
    from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.outbox", description="An outbox beside SQLite.")
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=5, help="how often the relay gets SIGKILL (default: 5)")
    chosen = parser.parse_args()
    with Scene("outbox") as scene:
        database, place = scene.folder / "shop.sqlite", scene.folder / "orders"
        # Made here, so that they are there for whoever comes first.
        open_database(database).close()
        ottla.Log(place).close()
        scene.start("shop", "examples.outbox.shop", database, chosen.orders)
        relay = scene.start("relay", "examples.outbox.relay", database, place)
        with ottla.Log(place, read_only=True) as log:
            for kill in range(chosen.kills):
                part = chosen.orders * (kill + 1) // (chosen.kills + 1)
                scene.wait(f"event {part}", lambda: log.end_offset >= part, relay)  # noqa: B023 - not kept
                relay.kill()
                print(f"relay killed with {log.end_offset} events in the log")
                relay = scene.start("relay", "examples.outbox.relay", database, place)
            scene.wait("the last event", lambda: log.end_offset >= chosen.orders and is_empty(database), relay)
            relay.kill()
            print(f"{chosen.orders} orders, {log.end_offset} events")
            return verdict(compare(database, log))


def is_empty(path: Path) -> bool:
    with sqlite3.connect(path, timeout=30) as database:
        (left,) = database.execute("SELECT count(*) FROM outbox").fetchone()
    return int(left) == 0


def compare(path: Path, log: ottla.Log) -> list[str]:
    """The database beside the log: the same orders in the same order, each once."""
    with sqlite3.connect(path) as database:
        orders = database.execute("SELECT number, customer, cups FROM orders ORDER BY number").fetchall()
    told = []
    for record in log.read():
        event = json.loads(record.value or b"{}")
        told.append((event["order"], (record.key or b"").decode(), event["cups"]))
    wrong = []
    if len(set(told)) != len(told):
        wrong.append(f"{len(told) - len(set(told))} events are in the log twice")
    if missing := set(orders) - set(told):
        wrong.append(f"{len(missing)} orders are not in the log")
    if invented := set(told) - set(orders):
        wrong.append(f"{len(invented)} events are of no order")
    if not wrong and told != orders:
        wrong.append("events are in another order than what they tell of")
    return wrong


if __name__ == "__main__":
    sys.exit(play(main))
