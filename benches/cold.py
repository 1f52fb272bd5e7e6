"""`python -m benches.cold`: what a consumer of old records does to everybody else.

A topic of some GiB is read from its beginning at a fixed rate, while a producer sends at a fixed rate to another topic
and a consumer reads that one at its tail. Once with the old records in the page cache, once with all of them dropped
from it (which is checked), in turns; the latencies of producer and tail consumer, from when each record was due. Both
brokers in one run, un-synced. The load is that of the native generator.

With `--read-mib N` the broker's reads are throttled to N MiB/s by the kernel's block controller (cgroup v1, root), so
that a disk of the usual kind is seen where the machine has a fast one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

from benches import generator
from benches.meters import empty_page_cache
from benches.peers import Peer, make_peers
from tests.processes import Process

BLKIO = Path("/sys/fs/cgroup/blkio")
MIB = 1 << 20
COLD, LIVE = "old", "live"
# Whether the old records that are read are on the disk only; None: nobody reads them.
KINDS = {"alone": None, "resident": False, "cold": True}
FIGURES = ("p50_us", "p99_us", "p99.9_us", "max_us")


def files_of(broker: Process, topic: str) -> list[Path]:
    """Those of records: Kafka maps its indexes into memory, where they stay."""
    return [path for path in broker.data_dir.glob(f"{topic}-*/*.log") if path.stat().st_size]


def resident_share(paths: list[Path]) -> float:
    """How much of the files is in the page cache, by a byte of every 128 KiB that is read only if it is there."""
    asked = found = 0
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        for position in range(0, path.stat().st_size, 128 * 1024):
            asked += 1
            with contextlib.suppress(BlockingIOError):
                found += os.preadv(descriptor, [bytearray(1)], position, os.RWF_NOWAIT)
        os.close(descriptor)
    return found / asked


def make_resident(paths: list[Path]) -> None:
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass


@contextlib.contextmanager
def throttled(broker: Process, read_mib: float | None) -> Iterator[None]:
    """The broker reads no faster from the disk its data lies on."""
    if read_mib is None:
        yield
        return
    device = broker.data_dir.stat().st_dev
    group = BLKIO / f"ottla-bench-{os.getpid()}"
    group.mkdir()
    limit = f"{os.major(device)}:{os.minor(device)} {int(read_mib * MIB)}\n"
    (group / "blkio.throttle.read_bps_device").write_text(limit)
    try:
        (group / "cgroup.procs").write_text(f"{broker.pid}\n")
        yield
    finally:
        (BLKIO / "cgroup.procs").write_text(f"{broker.pid}\n")
        group.rmdir()


def round_of(program: Path, broker: Process, options: argparse.Namespace, *, cold: bool | None) -> dict[str, Any]:
    """One measurement."""
    paths = files_of(broker, COLD)
    if cold:
        # A byte that is asked for may bring its neighbours: what was looked at is dropped once more.
        for _ in range(3):
            empty_page_cache([path.parent for path in paths])
        share = resident_share(paths)
        empty_page_cache([path.parent for path in paths])
    else:
        make_resident(paths)
        share = resident_share(paths)
    if (share > 0.01) if cold else (share < 0.99):
        raise SystemExit(f"{share:.0%} of the old records are in the page cache, for a round that is to be {cold=}")
    cpu_s = broker.cpu_seconds()
    seconds = options.seconds
    to = {"bootstrap": broker.bootstrap}
    at_tail = {"topics": LIVE, "from": "end", "latency": True, "seconds": seconds + 2, "ready": True}
    tail = generator.Running(program, "fetch", {**to, **at_tail})
    reader = None
    with throttled(broker, options.read_mib if cold else None):
        if cold is not None:
            old = {"topics": COLD, "rate-mib": options.rate_mib, "seconds": seconds + 1, "ready": True}
            reader = generator.Running(program, "fetch", {**to, **old})
        load = {"rate": options.rate, "record-bytes": 1024, "seconds": seconds, "connections": 2, "acks": 1}
        sent = generator.run(program, "produce", {**to, "topics": LIVE, **load})
        read = reader.finish() if reader else None
        seen = tail.finish()
    return {
        "resident": round(share, 4),
        "broker_cpu_s": round(broker.cpu_seconds() - cpu_s, 2),
        "produce": sent,
        "tail": seen,
        "old": read,
    }


def latency(result: Mapping[str, Any], who: str) -> dict[str, float]:
    figures = result[who]["latency"]
    return {name: figures[name] for name in FIGURES}


def fill(program: Path, broker: Process, options: argparse.Namespace) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for future in admin.create_topics([NewTopic(COLD, options.partitions, 1), NewTopic(LIVE, 1, 1)]).values():
        future.result(60)
    load = {"records": int(options.gib * (1 << 30)) // 1024, "record-bytes": 1000, "seconds": 300, "connections": 2}
    generator.run(program, "produce", {"bootstrap": broker.bootstrap, "topics": COLD, **load})


def measure(program: Path, peers: list[Peer], options: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, list[dict[str, Any]]] = {}
    for peer in peers:
        peer.process.start()
        fill(program, peer.process, options)
    for number in range(-1, options.rounds):
        for kind in options.kinds.split(","):
            for peer in peers if number % 2 else peers[::-1]:
                result = round_of(program, peer.process, options, cold=KINDS[kind])
                line = f"{peer.name:6} {kind:8}" + ("  (warming)" if number < 0 else "")
                for who in ("produce", "tail"):
                    line += f"  {who} " + " ".join(f"{value:9.0f}" for value in latency(result, who).values())
                mib = result["old"]["mib_per_s"] if result["old"] else 0
                print(f"{line} us  old {mib:5.0f} MiB/s  cpu {result['broker_cpu_s']:.2f} s", flush=True)
                if number >= 0:
                    results.setdefault(f"{peer.name} {kind}", []).append(result)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.cold", description=__doc__)
    parser.add_argument("--brokers", default="ottla,kafka")
    parser.add_argument("--gib", type=float, default=2.5)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rate", type=float, default=1000, help="records per second of the live producer")
    parser.add_argument("--rate-mib", type=float, default=100, help="of the reader of old records")
    parser.add_argument("--read-mib", type=float, default=None, help="throttle the disk in cold rounds")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of both brokers")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    more = dict(word.split("=", 1) for word in options.set)
    program = generator.build()
    with tempfile.TemporaryDirectory(prefix="ottla-cold-", dir=options.folder) as folder:
        peers = make_peers(Path(folder), options.brokers.split(","), more)
        try:
            results = measure(program, peers, options)
        finally:
            for peer in peers:
                if peer.process.running:
                    peer.process.kill()
    if options.json:
        options.json.write_text(json.dumps(results))
    print(f"confluent-kafka {ck.__version__}; medians over {options.rounds} rounds, p99 in us")
    for name in sorted({name.split()[0] for name in results}):
        for who in ("produce", "tail"):
            p99 = {
                kind: statistics.median(latency(result, who)["p99_us"] for result in results[f"{name} {kind}"])
                for kind in options.kinds.split(",")
            }
            ratio = f"{p99['cold'] / p99['resident']:.2f}" if {"cold", "resident"} <= set(p99) else "-"
            print(f"{name:6} {who:8} {p99}  cold / resident {ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
