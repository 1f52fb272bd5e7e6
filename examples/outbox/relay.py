"""From the outbox into the log: `python -m examples.outbox.relay DATABASE LOG`. It may be killed at any moment.

How far it is, is a cursor of the log, committed together with the events: after a crash both are there or neither. So
events are neither lost nor doubled, although the database and the log know nothing of each other's transactions.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import ottla
from examples import children
from examples.outbox.shop import open_database

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

CURSOR = "outbox"
AT_ONCE = 20
LOOK_EVERY_S = 0.005


def forward(database: sqlite3.Connection, log: ottla.Log) -> int:
    """Some events; how many."""
    sent = log.cursor(CURSOR) or 0
    query = "SELECT id, key, event FROM outbox WHERE id > ? ORDER BY id LIMIT ?"
    rows = database.execute(query, (sent, AT_ONCE)).fetchall()
    if rows:
        events = [(key.encode(), event.encode()) for _id, key, event in rows]
        sent = rows[-1][0]
        log.append_many(events, atomic=True, cursors={CURSOR: sent})
    # Killed before this it is done the next time: these are not sent again, the cursor is behind them.
    with database:
        database.execute("DELETE FROM outbox WHERE id <= ?", (sent,))
    return len(rows)


def relay(database_path: Path, log_path: Path) -> int:
    database = open_database(database_path)
    with ottla.Log(log_path) as log:
        while True:
            if forward(database, log) == 0:
                time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(children.main(relay, children.path, children.path))
