"""`python -m benches`: the headline figures beside Apache Kafka's and the machine's limits, in one run.

With `--full` everything there is. The raw results go to target/bench/<time>.json (or --output), the table to the
screen.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benches import (
    connections,
    consumer_rebalance,
    coordinator_recovery,
    coordinators,
    data_plane,
    durable,
    generator,
    produce,
    rebalance,
    recovery,
    requests,
    rolling,
    start,
    storage,
    transactions,
)
from benches.meters import machine
from benches.peers import SYNCED, Peer, client_versions, make_peers
from benches.report import markdown
from tests.kafka import jars

HEADLINE = ("start", "rebalance", "requests", "transactions", "produce", "storage", "recovery")
# Those on brokers that run already, in this order; then those on brokers or programs of their own.
DATA_PLANE = ("native-produce", "native-fetch", "open-loop", "tiny", "connections")
ON_PEERS = ("rebalance", "rolling", "requests", "transactions", "produce", *DATA_PLANE)
WORKLOADS = ("start", *ON_PEERS, "durable", "storage", "recovery", "coordinators", "coordinator-recovery")
Results = Iterator[dict[str, Any]]


def say(what: str) -> None:
    print(f"{what} ...", file=sys.stderr)


def on_peers(wanted: Sequence[str], peers: Sequence[Peer], options: argparse.Namespace) -> Results:
    """What is measured on brokers that keep running, un-synced."""
    if "rebalance" in wanted:
        for protocol, sizes in (("classic", (3, 50)), ("consumer", (50,))):
            play = rebalance.run if protocol == "classic" else consumer_rebalance.run
            for size in rebalance.REBALANCES if options.full else sizes:
                say(f"rebalance of {size} members, {protocol} protocol")
                yield play(peers, size)
    if "rolling" in wanted:
        say(f"rolling restart of {rolling.MEMBERS} members")
        yield rolling.run(peers)
    if "requests" in wanted:
        for kind in requests.KINDS:
            say(f"{kind}s")
            yield requests.run(peers, kind, "os")
    if "transactions" in wanted:
        yield from of_transactions(peers, options, "os")
    if "produce" in wanted:
        say("produce: warm-up, then interleaved rounds")
        yield produce.run(peers, options.records)
    yield from of_data_plane(wanted, peers, options)


def of_data_plane(wanted: Sequence[str], peers: Sequence[Peer], options: argparse.Namespace) -> Results:
    """What the native generator measures, un-synced."""
    if "native-produce" in wanted:
        cases = options.cases.split(",") if options.cases else data_plane.SATURATIONS
        for case in cases if options.full or options.cases else data_plane.HEADLINE:
            say(f"native generator: {data_plane.SATURATIONS[case].title}")
            yield data_plane.saturate(peers, options.generator, case, options.scratch)
    if "native-fetch" in wanted:
        say("native generator: fetch")
        yield data_plane.fetch(peers, options.generator, options.scratch)
    if "open-loop" in wanted:
        for rate in data_plane.RATES if options.full else data_plane.RATES[:1]:
            say(f"open loop at {rate} records per s")
            yield data_plane.open_loop(peers, options.generator, rate)
    if "tiny" in wanted:
        say("tiny requests")
        yield data_plane.tiny(peers, options.generator)
    if "connections" in wanted:
        say("idle connections")
        yield connections.run(peers, options.generator)


def of_durable(folder: Path, names: Sequence[str], options: argparse.Namespace) -> Results:
    """On the disk as it is, and on a slower one."""
    for delay_ms in (0.0, 2.0) if options.full else (2.0,):
        say(f"durable, syncs {delay_ms:g} ms longer")
        peers = durable.make(folder / f"durable-{delay_ms:g}", names, delay_ms)
        yield from on_running(peers, durable.run(peers, options.generator, options.scratch, delay_ms))


def on_synced_peers(wanted: Sequence[str], peers: Sequence[Peer], options: argparse.Namespace) -> Results:
    """What a sync before each answer costs."""
    if "requests" in wanted:
        say("OffsetCommits, synced")
        yield requests.run(peers, "OffsetCommit", "fsync")
    if "transactions" in wanted:
        yield from of_transactions(peers, options, "fsync")


def of_transactions(peers: Sequence[Peer], options: argparse.Namespace, durability: str) -> Results:
    for by in transactions.GENERATORS if options.full else ("protocol-level",):
        for size in transactions.SIZES:
            say(f"transactions of {size} producers, {by}, {durability}")
            yield transactions.run(peers, by, size, durability)


def without_peers(
    wanted: Sequence[str], names: Sequence[str], programs: dict[str, Path], folder: Path, options: argparse.Namespace
) -> Results:
    """What starts its own brokers, or needs none."""
    if "storage" in wanted:
        say("the storage engine alone")
        yield storage.run(folder, programs, options.storage.split(","), large=options.large)
    if "recovery" in wanted:
        say("restart after SIGKILL")
        yield recovery.run(folder / "killed", names, options.recovery_gib)
    if "coordinators" in wanted:
        say("coordinators alone")
        yield coordinators.run(folder)
    if "coordinator-recovery" in wanted:
        say("restart of the coordinators after SIGKILL")
        yield coordinator_recovery.run(folder / "killed", names)


def measure(
    wanted: Sequence[str], programs: dict[str, Path], folder: Path, peers: Sequence[Peer], options: argparse.Namespace
) -> Results:
    """Everything that is wanted, result by result."""
    if "start" in wanted:
        say("start and idle memory")
        yield start.run(peers)
    if set(ON_PEERS) & set(wanted):
        yield from on_running(peers, on_peers(wanted, peers, options))
    for peer in peers:
        peer.process.kill()
    names = [peer.name for peer in peers]
    if options.full and {"requests", "transactions"} & set(wanted):
        synced = make_peers(folder / "synced", names, SYNCED)
        yield from on_running(synced, on_synced_peers(wanted, synced, options))
    if "durable" in wanted:
        yield from of_durable(folder, names, options)
    yield from without_peers(wanted, names, programs, folder, options)


def on_running(peers: Sequence[Peer], results: Results) -> Results:
    """The results, while these peers run."""
    try:
        for peer in peers:
            if not peer.process.running:
                peer.process.start()
        yield from results
    finally:
        for peer in peers:
            peer.process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benches", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=3_000_000, help="records of 1 KiB in each round (%(default)s)")
    parser.add_argument("--peers", default="ottla,kafka", help="which brokers, of ottla, kafka, kfake (%(default)s)")
    parser.add_argument(
        "--workloads",
        help=f"which workloads (of {', '.join(WORKLOADS)}; {', '.join(HEADLINE)}, or with --full all)",
    )
    parser.add_argument("--full", action="store_true", help="every size, generator and durability of each workload")
    parser.add_argument("--storage", default=",".join(storage.PROGRAMS), help="which of storage (%(default)s)")
    parser.add_argument("--large", action="store_true", help="storage with as much data as its bars are worded for")
    parser.add_argument("--recovery-gib", type=float, default=2, help="what brokers are killed over (%(default)s)")
    parser.add_argument("--cases", help=f"which of native-produce (of {', '.join(data_plane.SATURATIONS)})")
    parser.add_argument("--output", type=Path, help="where the raw results go")
    parser.add_argument("--folder", type=Path, help="where the brokers keep their data: the disk that is measured")
    options = parser.parse_args()
    wanted = options.workloads.split(",") if options.workloads else WORKLOADS if options.full else HEADLINE
    if unknown := set(wanted) - set(WORKLOADS) or set(options.storage.split(",")) - storage.PROGRAMS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if options.cases and (unknown := set(options.cases.split(",")) - data_plane.SATURATIONS.keys()):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if absent := jars.missing():
        sys.exit(absent)
    # What is installed has its byte code; with this set, each start from a fresh tree would compile every module.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Before anything is measured: it takes minutes and both cores.
    programs = storage.build() if "storage" in wanted else {}
    options.generator = generator.build() if {*DATA_PLANE, "durable"} & set(wanted) else None
    begun = datetime.datetime.now(datetime.UTC)
    began_s = time.monotonic()
    output: Path = options.output or jars.ROOT / "target" / "bench" / f"{begun:%Y%m%d-%H%M%S}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder or output.parent))
    options.scratch = folder  # of the limit program
    peers = make_peers(folder, options.peers.split(","))
    results: dict[str, Any] = {
        "begun": begun.isoformat(timespec="seconds"),
        "machine": machine(),
        "clients": client_versions(),
        "peers": {peer.name: peer.describe() for peer in peers},
        "workloads": [],
    }
    try:
        before_s = began_s
        for result in measure(wanted, programs, folder, peers, options):
            now_s = time.monotonic()
            results["workloads"].append({**result, "took_s": round(now_s - before_s)})
            before_s = now_s
    finally:
        for peer in peers:
            peer.process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        results["took_s"] = round(time.monotonic() - began_s)
        output.write_text(json.dumps(results, indent=2) + "\n")
    print(markdown(results))
    print(f"\nraw results: {output}")


if __name__ == "__main__":
    main()
