"""The run: `python -m examples.accounts [--kill teller-2] [--bootstrap HOST:PORT]`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from examples.accounts.events import EFFECT, Account, Event, commands
from examples.accounts.replay import replay
from examples.at_least_once import rows
from examples.children import Failed
from examples.stage import Stage, parser, run

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "account-events"
PARTITIONS = 4
ACCOUNTS = ["anna", "bruno", "chiara", "dario", "elena", "fabio"]
OPENING_CENTS = 50_000
TELLERS = ("teller-1", "teller-2", "teller-3")
# How many of its commands each teller has done after each round.
ROUNDS = (30, 70, 100)


def arguments() -> argparse.Namespace:
    victims = (*TELLERS, "balances")
    return parser("accounts", "Event-sourced accounts, replayed from offset 0.", victims=victims).parse_args()


def play() -> int:
    chosen = arguments()
    with Stage("accounts", chosen) as stage:
        database = stage.folder / "balances.sqlite"

        def open_teller(name: str) -> None:
            words = stage.name(TOPIC), name, ",".join(ACCOUNTS), ROUNDS[-1]
            stage.start(name, "examples.accounts.teller", *words)

        def keep_balances() -> None:
            words = stage.name(TOPIC), stage.name("balances"), database
            stage.start("balances", "examples.accounts.balances", *words)

        def done(teller: str) -> int:
            query = f"SELECT count(*) FROM entries WHERE command LIKE '{teller}/%'"  # noqa: S608  # a name of ours
            found = rows(database, query)
            return int(found[0][0]) if found else 0

        stage.create({TOPIC: PARTITIONS}, keep=True)
        keep_balances()
        open_accounts(stage)
        for name in TELLERS:
            open_teller(name)
        read_again = 0
        for before, count in zip((0, *ROUNDS), ROUNDS, strict=False):
            for name in TELLERS:
                stage.children[name].tell(str(count))
            if chosen.kill and count == ROUNDS[1]:
                stage.wait("the second round is under way", lambda: min(map(done, TELLERS)) > before)  # noqa: B023  # called at once
                stage.kill(chosen.kill)
                if chosen.kill == "balances":
                    read_again = handled(database) - sum(stage.committed("balances", TOPIC).values())
                    stage.says(f"{read_again} events it had read, but not committed; it is started again")
                    keep_balances()
                else:
                    open_teller(chosen.kill)
                    stage.children[chosen.kill].tell(str(count))
            stage.wait(f"{count} commands of each teller", lambda: {done(name) for name in TELLERS} == {count})  # noqa: B023
        stage.finish(*TELLERS)
        total = sum(stage.ends(TOPIC).values())
        stage.wait("balances has read it all", lambda: handled(database) == total + read_again)
        stage.stop()
        rebuilt, events, kept = replay(stage.bootstrap, stage.name(TOPIC))
        outcome = {**tell(stage, database, rebuilt, events, kept), "read_again": read_again}
        if chosen.bootstrap:
            stage.says(f"python -m examples.accounts.replay {stage.bootstrap} {stage.name(TOPIC)}")
        return stage.verdict(outcome, compare(stage, database, rebuilt, total))


def open_accounts(stage: Stage) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": stage.bootstrap, "enable.idempotence": True, "log_level": 2})
    for name in ACCOUNTS:
        event = Event(f"open/{name}", name, 1, "opened", OPENING_CENTS)
        producer.produce(stage.name(TOPIC), event.as_bytes(), name)
    if producer.flush(30):
        raise Failed("the accounts could not be opened in 30 s")


def handled(database: Path) -> int:
    return int(rows(database, "SELECT records FROM handled")[0][0])


def kept_accounts(database: Path) -> dict[str, Account]:
    return {name: Account(cents, version) for name, cents, version in
            rows(database, "SELECT account, cents, version FROM accounts")}  # fmt: skip


def tell(stage: Stage, database: Path, rebuilt: dict[str, Account], events: int, kept: int) -> dict[str, Any]:
    """Balances kept and rebuilt, side by side."""
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, kind in rows(database, "SELECT account, kind FROM entries"):
        kinds[name][kind] += 1
    grid = Table("account", "deposits", "withdrawals", "refused", "kept, euro", "rebuilt, euro", box=SIMPLE)
    for column in grid.columns[1:]:
        column.justify = "right"
    balances = kept_accounts(database)
    for name in ACCOUNTS:
        counts = [str(kinds[name][kind]) for kind in ("deposited", "withdrawn", "refused")]
        both = (f"{side.get(name, Account()).cents / 100:,.2f}" for side in (balances, rebuilt))
        grid.add_row(name, *counts, *both)
    stage.console.print(grid)
    stage.says(f"{events} events in the log, {kept} applied; {events - kept} came second and were decided again")
    return {
        "balances": {name: account.cents for name, account in balances.items()},
        "rebuilt": {name: account.cents for name, account in rebuilt.items()},
        "events": events,
        "applied": kept,
        "handled": handled(database),
        "topic": stage.name(TOPIC),
    }


def compare(stage: Stage, database: Path, rebuilt: dict[str, Account], total: int) -> list[str]:
    """Kept beside rebuilt, entries beside balances, commands beside entries."""
    wrong = []
    if kept_accounts(database) != rebuilt:
        wrong.append(f"kept {kept_accounts(database)}, rebuilt {rebuilt}")
    entries = rows(database, "SELECT command, account, version, kind, cents FROM entries ORDER BY account, version")
    asked = {command.id for name in TELLERS for command in commands(name, ACCOUNTS, ROUNDS[-1])}
    if {command for command, *_rest in entries} != asked | {f"open/{name}" for name in ACCOUNTS}:
        wrong.append("not every command has its entry")
    running: defaultdict[str, list[int]] = defaultdict(lambda: [0])
    for _command, name, version, kind, cents in entries:
        if version != len(running[name]):
            wrong.append(f"{name} has version {version} after {len(running[name]) - 1}")
        running[name].append(running[name][-1] + EFFECT[kind] * cents)
        if kind == "refused" and cents <= running[name][-1]:
            wrong.append(f"{name} was refused {cents} cents and had {running[name][-1]}")
    if {name: balances[-1] for name, balances in running.items()} != {n: a.cents for n, a in rebuilt.items()}:
        wrong.append("the entries do not add up to the balances")
    wrong += [f"{name} was overdrawn" for name, balances in running.items() if min(balances) < 0]
    if sum(stage.committed("balances", TOPIC).values()) != total:
        wrong.append("balances has not committed the end of the topic")
    return wrong


if __name__ == "__main__":
    sys.exit(run(play))
