"""A member of a group: `python -m examples.riders.reader BOOTSTRAP TOPIC GROUP DATABASE MEMBER TIMEOUT_MS WHAT`.

WHAT it does: `dispatch` keeps where each rider is now. An update replaces an older one, and only an older one, so that
an update read twice, or overtaken by a newer one from another partition, changes nothing. `trails` keeps every update:
rider and seq are the primary key, and reading twice inserts once.

Both also note what they read, who and where, for the example to show that groups share work and that a killed member's
records were read again.
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
CREATE TABLE readings (partition INTEGER, offset INTEGER, member TEXT);
CREATE TABLE positions (
    rider TEXT PRIMARY KEY, seq INTEGER, time_ms INTEGER, region TEXT, x_m INTEGER, y_m INTEGER
);
CREATE TABLE trails (
    rider TEXT, seq INTEGER, time_ms INTEGER, region TEXT, x_m INTEGER, y_m INTEGER, PRIMARY KEY (rider, seq)
);
"""
EFFECTS = {
    "dispatch": """
        INSERT INTO positions VALUES (:rider, :seq, :time_ms, :region, :x_m, :y_m) ON CONFLICT (rider) DO UPDATE
        SET seq = excluded.seq, time_ms = excluded.time_ms, region = excluded.region, x_m = excluded.x_m,
            y_m = excluded.y_m
        WHERE excluded.seq > positions.seq
    """,
    "trails": "INSERT OR IGNORE INTO trails VALUES (:rider, :seq, :time_ms, :region, :x_m, :y_m)",
}


def read(bootstrap: str, topic: str, group: str, path: Path, member: str, session_timeout_ms: int, what: str) -> int:
    store = database(path, SCHEMA)

    def effect(messages: list[Message]) -> None:
        with store:
            for message in messages:
                store.execute(EFFECTS[what], json.loads(message.value() or b"{}"))
                place = message.partition(), message.offset(), member
                store.execute("INSERT INTO readings VALUES (?, ?, ?)", place)

    Reader(bootstrap, topic, group, effect, session_timeout_ms=session_timeout_ms).run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(read, str, str, str, children.path, str, int, str))
