"""The run: `python -m examples.meters [--kill meter-3] [--bootstrap HOST:PORT]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from examples.at_least_once import rows
from examples.meters.meter import CLIENTS, MARK_EVERY, measured
from examples.stage import Stage, parser, run

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "meter-readings"
PARTITIONS = 3
METERS = tuple(f"meter-{number}" for number in range(1, 9))
CLIENT_OF = {name: tuple(CLIENTS)[number % len(CLIENTS)] for number, name in enumerate(METERS)}
# How many readings each meter takes each time it is told to. Not a multiple of what it notes: a kill leaves a rest.
ROUNDS = (130, 170, 200)


def arguments() -> argparse.Namespace:
    return parser("meters", "Many producers into one topic.", victims=METERS).parse_args()


def play() -> int:
    chosen = arguments()
    with Stage("meters", chosen) as stage:
        database = stage.folder / "collector.sqlite"
        topic = stage.name(TOPIC)
        stage.create({TOPIC: PARTITIONS})
        stage.start("collector", "examples.meters.collector", topic, stage.name("collector"), database)

        def switch_on(name: str) -> None:
            stage.start(name, "examples.meters.meter", topic, stage.folder / f"{name}.sqlite", name, CLIENT_OF[name])

        for name in METERS:
            switch_on(name)
        taken = 0
        for number, readings in enumerate(ROUNDS):
            for name in METERS:
                stage.children[name].tell(str(readings))
            taken += readings
            stage.wait(f"{taken} readings of each meter", lambda: counted(database) == dict.fromkeys(METERS, taken))  # noqa: B023  # called before the next turn
            if chosen.kill and number == 0:
                mark = taken // MARK_EVERY * MARK_EVERY
                stage.wait(f"{chosen.kill} has noted {mark}", lambda: noted(stage, chosen.kill) == mark)  # noqa: B023
                stage.kill(chosen.kill)
                switch_on(chosen.kill)
        stage.finish(*METERS)
        records = stage.records(TOPIC)
        stage.wait("the collector has read it all", lambda: handled(database) == len(records))
        stage.stop()
        stage.says(f"{len(METERS)} producers, {len(records):,} records in {PARTITIONS} partitions")
        repeats = tell(stage, database)
        outcome = {"readings": taken * len(METERS), "records": len(records), "repeats": repeats}
        return stage.verdict(outcome, compare(stage, database, taken, repeats))


def noted(stage: Stage, name: str) -> int:
    """Up to which reading a meter remembers that it was acknowledged."""
    return int(rows(stage.folder / f"{name}.sqlite", "SELECT acknowledged FROM mark")[0][0])


def counted(database: Path) -> dict[str, int]:
    return dict(rows(database, "SELECT meter, last FROM totals"))


def handled(database: Path) -> int:
    return int(rows(database, "SELECT coalesce(sum(last + repeats), 0) FROM totals")[0][0])


def tell(stage: Stage, database: Path) -> dict[str, int]:
    """The table; returns the readings that came a second time, by meter."""
    grid = Table("meter", "client", "readings", "came twice", "kWh", box=SIMPLE)
    for column in grid.columns[2:]:
        column.justify = "right"
    found = rows(database, "SELECT meter, last, repeats, watt_hours FROM totals ORDER BY meter")
    for meter, last, repeats, watt_hours in found:
        grid.add_row(meter, CLIENT_OF[meter], f"{last:,}", f"{repeats:,}", f"{watt_hours / 1000:,.3f}")
    stage.console.print(grid)
    return {meter: repeats for meter, _last, repeats, _watt_hours in found}


def compare(stage: Stage, database: Path, taken: int, repeats: dict[str, int]) -> list[str]:
    """The totals beside what the meters show, and the topic beside what was sent."""
    wrong = []
    totals = {meter: (last, watt_hours) for meter, last, watt_hours in
              rows(database, "SELECT meter, last, watt_hours FROM totals")}  # fmt: skip
    for name in METERS:
        wanted = taken, sum(measured(name, number) for number in range(1, taken + 1))
        if totals.get(name) != wanted:
            wrong.append(f"{name} took {wanted[0]} readings of {wanted[1]} Wh, counted are {totals.get(name)}")
    if gaps := rows(database, "SELECT sum(gaps) FROM totals")[0][0]:
        wrong.append(f"{gaps} readings came before the one in front of them")
    homes: dict[str, set[int]] = {}
    copies: Counter[tuple[str, int]] = Counter()
    for message in stage.records(TOPIC):
        reading: dict[str, Any] = json.loads(message.value() or b"")
        homes.setdefault(reading["meter"], set()).add(message.partition() or 0)
        copies[reading["meter"], reading["number"]] += 1
    wrong += [f"{name} is in partitions {sorted(home)}" for name, home in homes.items() if len(home) != 1]
    extra = Counter(dict.fromkeys(METERS, 0))
    for (name, _number), count in copies.items():
        extra[name] += count - 1
    if dict(extra) != repeats:
        wrong.append(f"in the topic twice: {dict(extra)}; the collector met {repeats}")
    return wrong


if __name__ == "__main__":
    sys.exit(run(play))
