"""Keeps every log line once: `python -m examples.logs.archive BOOTSTRAP TOPIC GROUP DATABASE`.

Host and position in the host's file are the primary key: a line that comes again is counted and otherwise ignored.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from examples import children
from examples.at_least_once import Reader, database, headers_of

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import Message

SCHEMA = """
CREATE TABLE entries (
    host TEXT, position INTEGER, time_ms INTEGER, level TEXT, message TEXT, traceback TEXT, repeats INTEGER DEFAULT 0,
    PRIMARY KEY (host, position)
);
"""
KEEP = """
INSERT INTO entries (host, position, time_ms, level, message, traceback) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (host, position) DO UPDATE SET repeats = repeats + 1
"""


def archive(bootstrap: str, topic: str, group: str, path: Path) -> int:
    store = database(path, SCHEMA)

    def effect(messages: list[Message]) -> None:
        with store:
            for message in messages:
                entry = json.loads(message.value() or b"{}")
                position = int(headers_of(message)["position"])
                host = (message.key() or b"").decode()
                told = entry["time_ms"], entry["level"], entry["message"], entry.get("traceback")
                store.execute(KEEP, (host, position, *told))

    Reader(bootstrap, topic, group, effect, instance="archive").run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(archive, str, str, str, children.path))
