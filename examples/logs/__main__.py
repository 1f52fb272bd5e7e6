"""The run: `python -m examples.logs [--kill ship-web-2] [--bootstrap HOST:PORT]`."""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from examples.at_least_once import rows
from examples.logs.search import Found, search
from examples.logs.shipper import MARK_EVERY
from examples.stage import Stage, parser, run

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "logs"
PARTITIONS = 3
HOSTS = ("web-1", "web-2", "web-3")
SHIPPERS = tuple(f"ship-{host}" for host in HOSTS)
LEVELS = ("INFO", "WARNING", "ERROR")
VISITS = 50  # of pages on each host, three times; not a multiple of what a shipper notes, with the line before them
CRASHES = {"web-2": 7, "web-3": 2}  # what goes wrong in the incident


def arguments() -> argparse.Namespace:
    return parser("logs", "Logs of several hosts, by host and level, searched by time.", victims=SHIPPERS).parse_args()


class Visitor:
    """Asks the web servers for pages and knows which lines they must have logged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Each host logs that it listens.
        self.logged = {host: Counter({"INFO": 1}) for host in HOSTS}

    def visit(self, host: str, path: str, status: int) -> None:
        port = int((self.folder / f"{host}.port").read_text())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", path)
            if (answered := connection.getresponse().status) != status:
                raise SystemExit(f"{host} answers {answered} for {path}")
        finally:
            connection.close()
        self.logged[host][{200: "INFO", 404: "WARNING", 500: "ERROR"}[status]] += 1

    def ordinary_day(self) -> None:
        for number in range(VISITS):
            for host in HOSTS:
                self.visit(host, f"/page/{number}" if number % 10 else "/old", 200 if number % 10 else 404)

    def incident(self) -> None:
        for host, crashes in CRASHES.items():
            for _time in range(crashes):
                self.visit(host, "/crash", 500)

    def lines(self, *hosts: str) -> int:
        return sum(self.logged[host].total() for host in hosts or HOSTS)


def next_ms() -> int:
    """A time after everything that has been logged, and before everything that will be."""
    before = time.time_ns() // 1_000_000
    while (now := time.time_ns() // 1_000_000) <= before:
        time.sleep(0.0005)
    return now


def play() -> int:
    chosen = arguments()
    with Stage("logs", chosen) as stage:
        topic, database = stage.name(TOPIC), stage.folder / "archive.sqlite"
        visitor = Visitor(stage.folder)

        def ship(host: str) -> None:
            files = stage.folder / f"{host}.jsonl", stage.folder / f"{host}.mark"
            stage.start(f"ship-{host}", "examples.logs.shipper", topic, host, *files)

        def wait_for_archive(*hosts: str) -> None:
            wanted = {host: visitor.lines(host) for host in hosts or HOSTS}
            query = "SELECT host, count(*) FROM entries GROUP BY host"
            stage.wait(f"the archive has {wanted}", lambda: wanted.items() <= dict(rows(database, query)).items())

        stage.create({TOPIC: PARTITIONS})
        stage.start("archive", "examples.logs.archive", topic, stage.name("archive"), database)
        for host in HOSTS:
            files = stage.folder / f"{host}.jsonl", stage.folder / f"{host}.port"
            stage.start(host, "examples.logs.app", host, *files, knows_broker=False)
            ship(host)
        stage.wait("the hosts listen", lambda: all((stage.folder / f"{host}.port").exists() for host in HOSTS))
        visitor.ordinary_day()
        wait_for_archive()
        shipped_again = 0
        if chosen.kill:
            host = chosen.kill.removeprefix("ship-")
            noted = visitor.lines(host) // MARK_EVERY * MARK_EVERY
            stage.wait(f"{chosen.kill} has noted {noted} lines", lambda: mark(stage, host) == noted)
            stage.kill(chosen.kill)
            shipped_again = visitor.lines(host) - noted
        since_ms = next_ms()
        visitor.incident()
        until_ms = next_ms()
        if chosen.kill:
            wait_for_archive(*(name for name in HOSTS if name != host))
            stage.says(f"{host} logs on while nobody ships; {chosen.kill} is started again")
            ship(host)
        visitor.ordinary_day()
        stage.stop(*HOSTS)
        for name in HOSTS:
            visitor.logged[name]["INFO"] += 1  # that it has stopped
        wait_for_archive()
        stage.stop(*SHIPPERS)
        # A copy of a line may still be on its way to the archive when the line itself is there.
        repeats = "SELECT coalesce(sum(repeats), 0) FROM entries"
        stage.wait("the archive has read it all", lambda: rows(database, repeats) == [(shipped_again,)])
        stage.stop()
        errors = search(stage.bootstrap, topic, since_ms, until_ms, level="ERROR")
        outcome = tell(stage, database, since_ms, until_ms, errors)
        wrong = compare(stage, database, visitor, since_ms, until_ms, errors, shipped_again)
        if chosen.bootstrap:
            stage.says(
                f"python -m examples.logs.search {stage.bootstrap} {topic} --since {since_ms} --until {until_ms}"
            )
        return stage.verdict({**outcome, "topic": topic, "shipped_again": shipped_again}, wrong)


def mark(stage: Stage, host: str) -> int:
    """How many lines a shipper has noted as acknowledged."""
    path = stage.folder / f"{host}.mark"
    return int(json.loads(path.read_text())["lines"]) if path.exists() else 0


def tell(stage: Stage, database: Path, since_ms: int, until_ms: int, errors: Found) -> dict[str, Any]:
    """How many lines of each level each host has, and the errors of the incident."""
    counts = {(host, level): count for host, level, count in
              rows(database, "SELECT host, level, count(*) FROM entries GROUP BY host, level")}  # fmt: skip
    grid = Table("host", *LEVELS, box=SIMPLE)
    for column in grid.columns[1:]:
        column.justify = "right"
    for host in HOSTS:
        grid.add_row(host, *(str(counts.get((host, level), 0)) for level in LEVELS))
    stage.console.print(grid)
    window = f"{clock(since_ms)} to {clock(until_ms)}"
    stage.says(f"errors from {window}; {errors.read} of {errors.records} records had to be read:")
    for entry in errors.entries:
        *_frames, last = entry["traceback"].splitlines()
        stage.says(f"  {clock(entry['time_ms'])} {entry['host']} {entry['message']} {last}")
    return {
        "counts": {host: {level: counts.get((host, level), 0) for level in LEVELS} for host in HOSTS},
        "since_ms": since_ms,
        "until_ms": until_ms,
        "errors": errors.entries,
        "read": errors.read,
        "records": errors.records,
    }


def clock(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, tz=UTC):%H:%M:%S.%f}"[:-3]


def compare(
    stage: Stage, database: Path, visitor: Visitor, since_ms: int, until_ms: int, errors: Found, shipped_again: int
) -> list[str]:
    """The archive beside the files on the hosts, the search beside a search through everything."""
    wrong = []
    for host in HOSTS:
        lines = [json.loads(line) for line in (stage.folder / f"{host}.jsonl").read_text().splitlines()]
        in_file = [(e["time_ms"], e["level"], e["message"], e.get("traceback")) for e in lines]
        query = f"SELECT time_ms, level, message, traceback FROM entries WHERE host = '{host}' ORDER BY position"  # noqa: S608  # a name of ours
        if rows(database, query) != in_file:
            wrong.append(f"the archive does not have what {host} wrote")
        if Counter(level for _time, level, *_rest in in_file) != visitor.logged[host]:
            wrong.append(f"{host} wrote other lines than it was asked for")
    if Counter(entry["host"] for entry in errors.entries) != CRASHES:
        wrong.append("the search did not find the errors of the incident")
    everything = search(stage.bootstrap, stage.name(TOPIC), 0, 2**62)
    inside = [e for e in everything.entries if since_ms <= e["time_ms"] < until_ms and e["level"] == "ERROR"]
    if errors.entries != inside:
        wrong.append("by time other lines are found than by reading it all")
    if everything.records != visitor.lines() + shipped_again:
        wrong.append(f"{everything.records} records for {visitor.lines()} lines, {shipped_again} of them shipped twice")
    if not errors.read < errors.records - len(HOSTS) * VISITS // 2:
        wrong.append(f"{errors.read} records were read to search {errors.records}")
    return wrong


if __name__ == "__main__":
    sys.exit(run(play))
