"""`ottla.Log` beside what keeps records in a Python program today (`embedded_stores.py` has who, and how).

    python -m benches.embedded_log [--cases append-many,scan] [--stores ottla,lmdb] [--folder DIRECTORY]

The same rows come from `python -m benches --workloads embedded-log`. Each measurement is a process of its own, rounds
take turns among the stores, and what was written is counted when it is read. Records have 100 bytes, or 1 KiB where
that is said; a store that is slow gets fewer of them. Durable appends go to a disk whose syncs take 2 ms longer
(`slow_sync.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benches.effort import EFFORT
from benches.embedded_stores import STORES, SYNCED, WRITTEN, Store
from benches.rounds import interleaved, summary
from benches.slow_sync import environment

SMALL, LARGE = b"v" * 100, b"v" * 1024
COUNT, SINGLES, LARGE_COUNT = 1_000_000, 100_000, 1 << 18
# persist-queue renames a file for each record.
SLOW_COUNT = 10_000
THREADS, SYNC_MS, DURABLE_S = 32, 2.0, 1.5
LOG_GIB = 10.0
_PIECE_BYTES = 256 << 20


@dataclass(frozen=True)
class Case:
    """What is measured. `play` gets an opener, and gives figures by their names."""

    title: str
    play: Callable[[Callable[[], Store], int], dict[str, float]]
    # Of the figures, the one that the row shows.
    figure: str
    promise: str = WRITTEN
    count: int = COUNT
    sync_ms: float = 0.0
    # In place of all stores.
    only: Sequence[str] = tuple(STORES)

    @property
    def stores(self) -> list[str]:
        without = {"persist-queue"} if self.promise == SYNCED else set()
        return [name for name in self.only if name not in without]

    def count_of(self, store: str) -> int:
        return min(self.count, SLOW_COUNT) if store == "persist-queue" else EFFORT.records(self.count)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def filled(opened: Callable[[], Store], value: bytes, count: int) -> None:
    store = opened()
    store.append_many([value] * count)
    store.close()


def append_many(opened: Callable[[], Store], count: int) -> dict[str, float]:
    values = [SMALL] * count
    store = opened()
    took_s = timed(lambda: store.append_many(values))
    assert store.scan() == count
    store.close()
    return {"per_s": count / took_s}


def append_singly(opened: Callable[[], Store], count: int) -> dict[str, float]:
    store = opened()

    def work() -> None:
        append = store.append
        for _ in range(count):
            append(SMALL)

    took_s = timed(work)
    assert store.scan() == count
    store.close()
    return {"us": took_s / count * 1e6}


def append_durably(opened: Callable[[], Store], _count: int) -> dict[str, float]:
    """Appends per second of one thread, and of many."""
    store = opened()
    alone, together = (rate(store, threads) for threads in (1, THREADS))
    store.close()
    if alone > 1000 / SYNC_MS:
        raise RuntimeError(f"{alone:.0f} appends in a second were not each synced in {SYNC_MS} ms")
    return {"alone_per_s": alone, "together_per_s": together, "times": together / alone}


def rate(store: Store, threads: int) -> float:
    stop = time.perf_counter() + EFFORT.seconds(DURABLE_S)
    counts = [0] * threads

    def work(place: int) -> None:
        while time.perf_counter() < stop:
            store.append(SMALL)
            counts[place] += 1

    began = time.perf_counter()
    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)


def scan(opened: Callable[[], Store], count: int) -> dict[str, float]:
    filled(opened, SMALL, count)
    store = opened()
    took_s = timed(lambda: check(store.scan(), count))
    store.close()
    return {"per_s": count / took_s}


def check(seen: int, count: int) -> None:
    assert seen == count, f"{seen} records of {count}"


def columns_of(value: bytes) -> Callable[[Callable[[], Store], int], dict[str, float]]:
    def columns(opened: Callable[[], Store], count: int) -> dict[str, float]:
        filled(opened, value, count)
        import_module("pyarrow.compute")  # now: it is nobody's scan

        store = opened()
        took_s = timed(lambda: check(sum(batch.num_rows for batch in store.columns()), count))
        store.close()
        return {"per_s": count / took_s, "gib_per_s": count * len(value) / took_s / (1 << 30)}

    return columns


def reopened(opened: Callable[[], Store], count: int) -> dict[str, float]:
    filled(opened, SMALL, count)
    stores = []
    took_s = timed(lambda: stores.append(opened()))
    stores[0].close()
    return {"ms": took_s * 1000}


def reopened_large(opened: Callable[[], Store], count: int) -> dict[str, float]:
    """A log of `count` records of 1 KiB, closed cleanly."""
    store = opened()
    piece = [LARGE] * (_PIECE_BYTES // len(LARGE))
    for first in range(0, count, len(piece)):
        store.append_many(piece[: count - first])
    store.close()
    stores = []
    took_s = timed(lambda: stores.append(opened()))
    stores[0].close()
    return {"ms": took_s * 1000}


CASES = {
    "append-many": Case(f"append_many, {COUNT:,} records: records/s", append_many, "per_s"),
    "append-many-synced": Case(f"append_many, {COUNT:,} records: records/s", append_many, "per_s", promise=SYNCED),
    "append": Case("single append: us", append_singly, "us", count=SINGLES),
    "append-alone": Case(
        f"single append, one thread, syncs {SYNC_MS:g} ms longer: records/s",
        append_durably,
        "alone_per_s",
        promise=SYNCED,
        sync_ms=SYNC_MS,
    ),
    "scan": Case("scan into Python objects: records/s", scan, "per_s"),
    "columns": Case("scan into Arrow's columns: records/s", columns_of(SMALL), "per_s"),
    "columns-1KiB": Case("the same, records of 1 KiB: GiB/s", columns_of(LARGE), "gib_per_s", count=LARGE_COUNT),
    "open": Case(f"open with {COUNT:,} records: ms", reopened, "ms"),
    "open-large": Case(
        f"open a log of {LOG_GIB:g} GiB: ms",
        reopened_large,
        "ms",
        count=round(LOG_GIB * (1 << 20)),
        only=("ottla",),
    ),
}


def once(case: str, store: str, folder: Path) -> dict[str, float]:
    """One measurement, in a process of its own."""
    chosen = CASES[case]
    command = [sys.executable, "-m", "benches.embedded_log", "--once", case, store, str(chosen.count_of(store))]
    there = {**os.environ, **(environment(chosen.sync_ms) if chosen.sync_ms else {})}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        said = subprocess.run(
            [*command, place], stdout=subprocess.PIPE, text=True, check=True, timeout=300, env=there
        ).stdout
    figures: dict[str, float] = json.loads(said)
    return figures


def run(folder: Path, case: str, stores: Sequence[str] = tuple(STORES)) -> dict[str, Any]:
    """All rounds of a case."""
    chosen = CASES[case]
    names = [name for name in chosen.stores if name in stores]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for name in interleaved(names, EFFORT.rounds):
        rounds[name].append(once(case, name, folder))
    figures = {figure: {name: summary(told, figure) for name, told in rounds.items()} for figure in rounds[names[0]][0]}
    return {
        "workload": "embedded-log",
        "case": case,
        "promise": chosen.promise,
        "counts": {name: chosen.count_of(name) for name in names},
        "rounds": rounds,
        **figures,
    }


def main() -> None:
    if sys.argv[1:2] == ["--once"]:
        case, store, count, place = sys.argv[2:]
        figures = CASES[case].play(lambda: STORES[store](Path(place) / "store", CASES[case].promise), int(count))
        print(json.dumps(figures))
        return
    from benches.report_embedded import table  # noqa: PLC0415 - it has the cases from here

    parser = argparse.ArgumentParser(
        prog="benches.embedded_log", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", default=",".join(CASES), help="(%(default)s)")
    parser.add_argument("--stores", default=",".join(STORES), help="(%(default)s)")
    parser.add_argument("--folder", type=Path, help="the disk that is measured")
    parser.add_argument("--rounds", type=int, default=EFFORT.rounds, help="(%(default)s)")
    parser.add_argument("--output", type=Path, help="where the raw results go, with those of runs before")
    options = parser.parse_args()
    EFFORT.rounds = options.rounds
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder))
    results: list[Mapping[str, Any]] = []
    if options.output and options.output.exists():
        again = set(options.cases.split(","))
        results = [each for each in json.loads(options.output.read_text()) if each["case"] not in again]
    try:
        for case in options.cases.split(","):
            results.append(run(folder, case, options.stores.split(",")))
            if options.output:
                options.output.write_text(json.dumps(results, indent=2) + "\n")
    finally:
        shutil.rmtree(folder)
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
