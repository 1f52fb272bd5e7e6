"""Keeps balances for whoever wants to ask: `python -m examples.accounts.balances BOOTSTRAP TOPIC GROUP DATABASE`.

A projection: what the fold makes of the events so far, in a database. Each account is kept with its version, in one
transaction with the entry that made it, so that events that come again after a crash find a higher version and change
nothing. It can be thrown away at any time; the log has it all.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from examples import children
from examples.accounts.events import Account, Event, applied
from examples.at_least_once import Reader, database

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import Message

SCHEMA = """
CREATE TABLE accounts (account TEXT PRIMARY KEY, cents INTEGER, version INTEGER);
CREATE TABLE entries (command TEXT PRIMARY KEY, account TEXT, version INTEGER, kind TEXT, cents INTEGER);
CREATE TABLE handled (records INTEGER, applied INTEGER);
INSERT INTO handled VALUES (0, 0);
"""


def keep(bootstrap: str, topic: str, group: str, path: Path) -> int:
    store = database(path, SCHEMA)

    def effect(messages: list[Message]) -> None:
        with store:
            for message in messages:
                event = Event.parse(message.value() or b"")
                query = "SELECT cents, version FROM accounts WHERE account = ?"
                found = store.execute(query, (event.account,)).fetchone()
                after = applied(Account(*found) if found else Account(), event)
                if after is not None:
                    row = event.account, after.cents, after.version
                    store.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?)", row)
                    entry = event.command, event.account, event.version, event.kind, event.cents
                    store.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", entry)
                changed = (after is not None,)
                store.execute("UPDATE handled SET records = records + 1, applied = applied + ?", changed)

    Reader(bootstrap, topic, group, effect, instance="balances").run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(keep, str, str, str, children.path))
