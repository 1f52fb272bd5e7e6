"""`python -m benches`: the headline figures beside Apache Kafka's and the machine's limits, in one run.

With `--full` everything there is, further brokers among it where they can be built. The raw results go to
target/bench/<time>.json (or --output), tables to the screen, plots beside the raw results. What fails is said in the
results and on the screen, is a row without figures, and makes the run end with 1; the rest goes on.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benches import (
    bridge,
    connections,
    consumer_rebalance,
    coordinator_recovery,
    coordinators,
    data_plane,
    durable,
    embedded_log,
    generator,
    iperf,
    kafka_tools,
    librdkafka,
    many_partitions,
    produce,
    rebalance,
    recovery,
    requests,
    rolling,
    start,
    storage,
    transactions,
)
from benches.bars import table as table_of_bars
from benches.effort import EFFORT
from benches.meters import machine
from benches.peers import PEERS, SETTINGS, SYNCED, WHOLE, Peer, client_versions, make_peers
from benches.plots import draw
from benches.report import markdown
from tests.kafka import jars
from tests.processes import BrokerFailed

HEADLINE = ("start", "produce", "native-produce", "native-fetch", "open-loop", "durable")
# Those on brokers that run already, in this order; then those on brokers or programs of their own.
DATA_PLANE = ("native-produce", "native-fetch", "open-loop", "tiny", "connections", "consumer-performance")
BRIDGE = ("bridge-control", "bridge-embedded")
ON_PEERS = (
    "rebalance",
    "rolling",
    "requests",
    "transactions",
    "produce",
    *DATA_PLANE,
    "end-to-end-latency",
    "librdkafka",
    "bridge-control",
)
ALONE = ("limit", "storage", "embedded-log", "recovery", "coordinators", "coordinator-recovery", "partitions")
WORKLOADS = ("start", *ON_PEERS, "durable", "bridge-embedded", *ALONE)
RECOVERY_GIB, RECOVERY_FULL_GIB = 2.0, 10.0
Results = Iterator[dict[str, Any]]


def attempt(workload: str, title: str, play: Callable[[], dict[str, Any]]) -> Results:
    """One result; or what went wrong, in the place of it."""
    print(f"{title} ...", file=sys.stderr)
    try:
        yield play()
    except Exception as error:  # noqa: BLE001 - an hour's other figures are worth more than the kind of a failure
        traceback.print_exc()
        yield {"workload": workload, "title": title, "failed": f"{type(error).__name__}: {error}"}


def on_peers(wanted: Sequence[str], peers: Sequence[Peer], options: argparse.Namespace) -> Results:
    """What is measured on brokers that keep running, un-synced."""
    whole = [peer for peer in peers if peer.name in WHOLE]
    if "rebalance" in wanted:
        for protocol, sizes in (("classic", (3, 50)), ("consumer", (50,))):
            play = rebalance.run if protocol == "classic" else consumer_rebalance.run
            for size in rebalance.REBALANCES if options.full else sizes:
                title = f"rebalance of {size} members, {protocol} protocol"
                yield from attempt("rebalance", title, partial(play, whole, size))
    if "rolling" in wanted:
        title = f"rolling restart of {rolling.MEMBERS} members"
        yield from attempt("rolling", title, partial(rolling.run, whole))
    if "requests" in wanted:
        for kind in requests.KINDS:
            yield from attempt("requests", f"{kind}s", partial(requests.run, whole, kind, "os"))
    if "transactions" in wanted:
        yield from of_transactions(whole, options, "os")
    if "produce" in wanted:
        yield from attempt(
            "produce", "ProducerPerformance", partial(produce.run, whole, EFFORT.records(options.records))
        )
    yield from of_data_plane(wanted, peers, whole, options)
    if "end-to-end-latency" in wanted:
        yield from attempt("end-to-end-latency", "EndToEndLatency", partial(kafka_tools.ping, whole))
    if "librdkafka" in wanted:
        for kind in librdkafka.KINDS:
            title = f"librdkafka, {kind}"
            yield from attempt("librdkafka", title, partial(librdkafka.run, whole, kind))
    if "bridge-control" in wanted:
        for peer in whole:
            title = f"{peer.name} beside a busy control plane"
            yield from attempt("bridge-control", title, partial(bridge.control, peer, options.generator))


def of_data_plane(
    wanted: Sequence[str], peers: Sequence[Peer], whole: Sequence[Peer], options: argparse.Namespace
) -> Results:
    """What the native generator measures or prepares, un-synced. Further brokers have a part in the headline rows."""
    program: Path = options.generator
    if "native-produce" in wanted:
        cases = options.cases.split(",") if options.cases else data_plane.SATURATIONS
        for case in cases if options.full or options.cases else data_plane.HEADLINE:
            title = f"native generator: {data_plane.SATURATIONS[case].title}"
            among = peers if case in data_plane.HEADLINE else whole
            play = partial(data_plane.saturate, among, program, case, options.scratch)
            yield from attempt("native-produce", title, play)
    if "native-fetch" in wanted:
        play = partial(data_plane.fetch, peers, program, options.scratch)
        yield from attempt("native-fetch", "native generator: fetch", play)
    if "open-loop" in wanted:
        for rate in data_plane.RATES if options.full else data_plane.RATES[:1]:
            among = peers if rate == data_plane.RATES[0] else whole
            title = f"open loop at {rate} records per s"
            yield from attempt("open-loop", title, partial(data_plane.open_loop, among, program, rate))
    if "tiny" in wanted:
        yield from attempt("tiny", "tiny requests", partial(data_plane.tiny, peers, program))
    if "connections" in wanted:
        yield from attempt("connections", "idle connections", partial(connections.run, whole, program))
    if "consumer-performance" in wanted:
        play = partial(kafka_tools.consume, whole, program)
        yield from attempt("consumer-performance", "ConsumerPerformance", play)


def of_durable(folder: Path, names: Sequence[str], options: argparse.Namespace) -> Results:
    """On the disk as it is, and on a slower one."""
    for delay_ms in (0.0, 2.0) if options.full else (2.0,):
        title = f"durable, syncs {delay_ms:g} ms longer"
        peers = durable.make(folder / f"durable-{delay_ms:g}", names, delay_ms)
        play = partial(durable.run, peers, options.generator, options.scratch, delay_ms)
        yield from on_running(peers, attempt("durable", title, play))


def on_synced_peers(wanted: Sequence[str], peers: Sequence[Peer], options: argparse.Namespace) -> Results:
    """What a sync before each answer costs."""
    if "requests" in wanted:
        play = partial(requests.run, peers, "OffsetCommit", "fsync")
        yield from attempt("requests", "OffsetCommits, synced", play)
    if "transactions" in wanted:
        yield from of_transactions(peers, options, "fsync")


def of_transactions(peers: Sequence[Peer], options: argparse.Namespace, durability: str) -> Results:
    for by in transactions.GENERATORS if options.full else ("protocol-level",):
        for size in transactions.SIZES:
            title = f"transactions of {size} producers, {by}, {durability}"
            yield from attempt("transactions", title, partial(transactions.run, peers, by, size, durability))


def without_peers(
    wanted: Sequence[str], names: Sequence[str], programs: dict[str, Path], folder: Path, options: argparse.Namespace
) -> Results:
    """What starts its own brokers, or needs none."""
    if "limit" in wanted:
        play = partial(iperf.run, options.generator, options.scratch)
        yield from attempt("limit", "the limit of fetch beside iperf3", play)
    if "storage" in wanted:
        play = partial(storage.run, folder, programs, options.storage.split(","), large=options.large)
        yield from attempt("storage", "the storage engine alone", play)
    if "embedded-log" in wanted:
        for case, about in embedded_log.CASES.items():
            yield from attempt("embedded-log", about.title, partial(embedded_log.run, folder, case))
    if "recovery" in wanted:
        gib = options.recovery_gib or EFFORT.share * (RECOVERY_FULL_GIB if options.full else RECOVERY_GIB)
        title = f"restart after SIGKILL with {gib:g} GiB"
        yield from attempt("recovery", title, partial(recovery.run, folder / "killed", names, gib))
    if "coordinators" in wanted:
        yield from attempt("coordinators", "coordinators alone", partial(coordinators.run, folder))
    if "coordinator-recovery" in wanted:
        title = "restart of the coordinators after SIGKILL"
        yield from attempt("coordinator-recovery", title, partial(coordinator_recovery.run, folder / "killed", names))
    if "partitions" in wanted:
        yield from attempt("partitions", "many partitions", partial(many_partitions.run, folder / "many", names))


def measure(
    wanted: Sequence[str], programs: dict[str, Path], folder: Path, peers: Sequence[Peer], options: argparse.Namespace
) -> Results:
    """Everything that is wanted, result by result."""
    names = [peer.name for peer in peers if peer.name in WHOLE]
    if "start" in wanted:
        whole = [peer for peer in peers if peer.name in WHOLE]
        yield from attempt("start", "start and idle memory", partial(start.run, whole))
    if set(ON_PEERS) & set(wanted):
        yield from on_running(peers, on_peers(wanted, peers, options))
    for peer in peers:
        peer.process.kill()
    if options.full and {"requests", "transactions"} & set(wanted):
        synced = make_peers(folder / "synced", names, SYNCED)
        yield from on_running(synced, on_synced_peers(wanted, synced, options))
    if "durable" in wanted:
        yield from of_durable(folder, names, options)
    if "bridge-embedded" in wanted:
        play = partial(bridge.embedded, folder / "embedded", options.generator, SETTINGS)
        yield from attempt("bridge-embedded", "a broker in a program that computes", play)
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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benches", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=2_000_000, help="records of 1 KiB in each round (%(default)s)")
    parser.add_argument(
        "--peers",
        help=f"which brokers (of {', '.join(PEERS)}; {', '.join(WHOLE)}, with --full the others too if they are there)",
    )
    parser.add_argument(
        "--workloads",
        help=f"which workloads (of {', '.join(WORKLOADS)}; {', '.join(HEADLINE)}, or with --full all)",
    )
    parser.add_argument("--full", action="store_true", help="every size, generator and durability of each workload")
    parser.add_argument("--quick", action="store_true", help="a fifth of everything, to see that it works")
    parser.add_argument("--storage", default=",".join(storage.PROGRAMS), help="which of storage (%(default)s)")
    parser.add_argument("--large", action="store_true", help="storage with as much data as its bars are worded for")
    gib = f"what brokers are killed over ({RECOVERY_GIB:g}, with --full {RECOVERY_FULL_GIB:g})"
    parser.add_argument("--recovery-gib", type=float, help=gib)
    parser.add_argument("--cases", help=f"which of native-produce (of {', '.join(data_plane.SATURATIONS)})")
    parser.add_argument("--output", type=Path, help="where the raw results go (NAME.json; the plots go into NAME)")
    parser.add_argument("--folder", type=Path, help="where the brokers keep their data: the disk that is measured")
    options = parser.parse_args()
    options.wanted = options.workloads.split(",") if options.workloads else WORKLOADS if options.full else HEADLINE
    for given, known in (
        (options.wanted, WORKLOADS),
        (options.storage.split(","), storage.PROGRAMS),
        (options.cases.split(",") if options.cases else (), data_plane.SATURATIONS),
        (options.peers.split(",") if options.peers else (), PEERS),
    ):
        if unknown := set(given) - set(known):
            parser.error(f"there is no {', '.join(sorted(unknown))}")
    if options.output and options.output.suffix != ".json":
        parser.error(f"--output {options.output}: it must end in .json, the plots go into a folder without")
    return options


def chosen(folder: Path, options: argparse.Namespace) -> tuple[list[Peer], dict[str, str]]:
    """The brokers of this run, and why others are not among them: one that is not asked for by name may be absent."""
    names = options.peers.split(",") if options.peers else PEERS if options.full else WHOLE
    peers, absent = [], {}
    for name in names:
        try:
            made = make_peers(folder, [name])
            if name not in WHOLE:
                made[0].process.start()
                made[0].process.kill()
        except (RuntimeError, OSError, BrokerFailed, subprocess.SubprocessError) as error:
            if options.peers or name in WHOLE:
                raise
            print(f"without {name}: {error}", file=sys.stderr)
            absent[name] = str(error)
            continue
        peers += made
    return peers, absent


def main() -> None:
    options = arguments()
    wanted = options.wanted
    if options.quick:
        EFFORT.hurry()
    if absent := jars.missing():
        sys.exit(absent)
    # What is installed has its byte code; with this set, each start from a fresh tree would compile every module.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Before anything is measured: it takes minutes and both cores.
    programs = storage.build() if "storage" in wanted else {}
    options.generator = generator.build() if {*DATA_PLANE, *BRIDGE, "durable", "limit"} & set(wanted) else None
    begun = datetime.datetime.now(datetime.UTC)
    began_s = time.monotonic()
    output: Path = options.output or jars.ROOT / "target" / "bench" / f"{begun:%Y%m%d-%H%M%S}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder or output.parent))
    options.scratch = folder  # of the limit program
    peers, not_measured = chosen(folder, options)
    results: dict[str, Any] = {
        "begun": begun.isoformat(timespec="seconds"),
        "command": ["python", "-m", "benches", *sys.argv[1:]],
        "effort": asdict(EFFORT),
        "machine": machine(),
        "clients": client_versions(),
        "peers": {peer.name: peer.describe() for peer in peers},
        "not_measured": not_measured,
        "workloads": [],
    }

    def save() -> None:
        results["took_s"] = round(time.monotonic() - began_s)
        output.write_text(json.dumps(results, indent=2) + "\n")

    try:
        before_s = began_s
        for result in measure(wanted, programs, folder, peers, options):
            now_s = time.monotonic()
            results["workloads"].append({**result, "took_s": round(now_s - before_s)})
            before_s = now_s
            save()  # an hour's figures are not lost to what comes after them
    finally:
        for peer in peers:
            peer.process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        save()
    print(markdown(results))
    print("\n".join(["", *table_of_bars(results)]))
    drawn = draw(results, output.with_suffix(""))
    print(f"\nraw results: {output}\nplots: {', '.join(map(str, drawn))}")
    if failed := [result for result in results["workloads"] if "failed" in result]:
        sys.exit("\n".join(f"failed: {result['title']}: {result['failed']}" for result in failed))


if __name__ == "__main__":
    main()
