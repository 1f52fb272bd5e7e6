"""Adds up what the meters send: `python -m examples.meters.collector BOOTSTRAP TOPIC GROUP DATABASE`.

All readings of a meter are in one partition, since its name is the key, and in the order of sending. So the last number
of each meter is all one has to remember: a reading up to it is a repeat, one beyond the next would be a gap. Totals and
last numbers are written in one transaction, and the offsets are committed after it.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from examples import children
from examples.at_least_once import Reader, database

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import Message

SCHEMA = """
CREATE TABLE totals (
    meter TEXT PRIMARY KEY, last INTEGER, watt_hours INTEGER, repeats INTEGER, gaps INTEGER
);
"""
NEW = "INSERT OR IGNORE INTO totals VALUES (:meter, 0, 0, 0, 0)"
REPEAT = "UPDATE totals SET repeats = repeats + 1 WHERE meter = :meter AND :number <= last"
GAP = "UPDATE totals SET gaps = gaps + 1 WHERE meter = :meter AND :number > last + 1"
COUNT = (
    "UPDATE totals SET last = :number, watt_hours = watt_hours + :watt_hours WHERE meter = :meter AND :number > last"
)


def collect(bootstrap: str, topic: str, group: str, path: Path) -> int:
    store = database(path, SCHEMA)

    def effect(messages: list[Message]) -> None:
        with store:
            for message in messages:
                reading = json.loads(message.value() or b"{}")
                for statement in (NEW, REPEAT, GAP, COUNT):
                    store.execute(statement, reading)

    Reader(bootstrap, topic, group, effect, instance="collector").run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(collect, str, str, str, children.path))
