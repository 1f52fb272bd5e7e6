"""What `ottla.Log` costs: `python -m benches.embedded_log [DIRECTORY]`, one line for each measure, the best of three.

1,000,000 records of 100 bytes go in by `append_many` and as columns, and come out as objects (key, value, offset and
timestamp read of each) and as columns; then single appends, not waited for and durable, by one thread and by 32.
"""

from __future__ import annotations

import array
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ottla

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 1_000_000
VALUE = b"v" * 100
ROUNDS = 3
THREADS = 32


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def scan(log: ottla.Log) -> int:
    """Read all of it as a program would."""
    seen = 0
    for record in log.read(log.end_offset - COUNT):
        if record.value is not None and record.key is None and record.offset >= 0 and record.timestamp > 0:
            seen += 1
    return seen


def durable(log: ottla.Log, threads: int, seconds: float) -> float:
    """Appends per second, each waited for."""
    stop = time.perf_counter() + seconds
    counts = [0] * threads

    def append(place: int) -> None:
        while time.perf_counter() < stop:
            log.append(VALUE)
            counts[place] += 1

    workers = [threading.Thread(target=append, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / seconds


def main() -> None:
    """Measure and print."""
    parent = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    place = Path(tempfile.mkdtemp(prefix="ottla-bench-", dir=parent))
    try:
        with ottla.Log(place / "os", durability="os") as log:
            many = [VALUE] * COUNT
            print(f"append_many, {COUNT:,} records of 100 B: {best(lambda: log.append_many(many)):.3f} s")
            assert scan(log) == COUNT
            print(f"scan into objects: {COUNT / best(lambda: scan(log)):,.0f} records/s")
            column = (VALUE * COUNT, array.array("q", range(0, 100 * COUNT + 1, 100)))
            print(f"append_columns: {best(lambda: log.append_columns(column)):.3f} s")
            start = log.end_offset - COUNT
            print(f"read_columns: {COUNT / best(lambda: log.read_columns(start, max_bytes=1 << 30)):,.0f} records/s")

            def arrow() -> None:
                for batch in large.to_arrow():
                    assert batch.num_rows

            with ottla.Log(place / "large", durability="os") as large:
                large.append_many([b"v" * 1024] * (1 << 19))
                print(f"to Arrow, {1 << 19:,} records of 1 KiB: {0.5 / best(arrow):.2f} GiB/s")

            def singly() -> None:
                append = log.append
                for _ in range(100_000):
                    append(VALUE)

            print(f"single append, not synced: {best(singly) * 10:.2f} us")
        with ottla.Log(place / "fsync") as log:
            alone, together = durable(log, 1, 3), durable(log, THREADS, 3)
            print(
                f"durable appends: {alone:,.0f}/s by one thread, {together:,.0f}/s by {THREADS}: {together / alone:.1f}"
            )
        began = time.perf_counter()
        with ottla.Log(place / "os") as log:
            took = time.perf_counter() - began
            print(f"open, {log.status().bytes >> 20} MiB: {took * 1000:.0f} ms")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
