"""`python -m benches`: the headline figures beside Apache Kafka's and the machine's limits, in one run.

The raw results go to target/bench/<time>.json (or --output), the table to the screen.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benches import produce, rebalance, recovery, start, storage
from benches.meters import machine
from benches.peers import client_versions, make_peers
from benches.report import markdown
from tests.kafka import jars

WORKLOADS = ("start", "rebalance", "produce", "storage", "recovery")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benches", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=3_000_000, help="records of 1 KiB in each round (%(default)s)")
    parser.add_argument("--peers", default="ottla,kafka", help="which brokers (%(default)s)")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="which workloads (%(default)s)")
    parser.add_argument("--storage", default=",".join(storage.PROGRAMS), help="which of storage (%(default)s)")
    parser.add_argument("--large", action="store_true", help="storage with as much data as its bars are worded for")
    parser.add_argument("--recovery-gib", type=float, default=2, help="what brokers are killed over (%(default)s)")
    parser.add_argument("--output", type=Path, help="where the raw results go")
    parser.add_argument("--folder", type=Path, help="where the brokers keep their data: the disk that is measured")
    options = parser.parse_args()
    wanted = options.workloads.split(",")
    if unknown := set(wanted) - set(WORKLOADS) or set(options.storage.split(",")) - storage.PROGRAMS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if absent := jars.missing():
        sys.exit(absent)
    # Before anything is measured: it takes minutes and both cores.
    programs = storage.build() if "storage" in wanted else {}
    begun = datetime.datetime.now(datetime.UTC)
    began_s = time.monotonic()
    output: Path = options.output or jars.ROOT / "target" / "bench" / f"{begun:%Y%m%d-%H%M%S}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder or output.parent))
    peers = make_peers(folder, options.peers.split(","))
    results: dict[str, Any] = {
        "begun": begun.isoformat(timespec="seconds"),
        "machine": machine(),
        "clients": client_versions(),
        "peers": {peer.name: peer.describe() for peer in peers},
        "workloads": [],
    }
    try:
        if "start" in wanted:
            print("start and idle memory ...", file=sys.stderr)
            results["workloads"].append(start.run(peers))
        for peer in peers:
            if not peer.process.running and {"rebalance", "produce"} & set(wanted):
                peer.process.start()
        if "rebalance" in wanted:
            for size in rebalance.SIZES:
                print(f"rebalance of {size} members ...", file=sys.stderr)
                results["workloads"].append(rebalance.run(peers, size))
        if "produce" in wanted:
            print("produce: warm-up, then interleaved rounds ...", file=sys.stderr)
            results["workloads"].append(produce.run(peers, options.records))
        for peer in peers:
            peer.process.kill()
        if "storage" in wanted:
            print("the storage engine alone ...", file=sys.stderr)
            names = options.storage.split(",")
            results["workloads"].append(storage.run(folder, programs, names, large=options.large))
        if "recovery" in wanted:
            print("restart after SIGKILL ...", file=sys.stderr)
            results["workloads"].append(recovery.run(folder / "killed", peers, options.recovery_gib))
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
