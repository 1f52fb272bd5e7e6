"""What a sync before each answer costs: 50 producers, 6 partitions, 1 KiB records, `fsync` against `flush.messages=1`.

Measured twice: on the disk as it is, and with 2 ms more for each sync of either broker (`slow_sync`). The limit program
syncs a file once for all that came for it while it synced before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benches import generator, slow_sync
from benches.comparison import compare
from benches.data_plane import PARTITIONS, faultless, numbers
from benches.effort import EFFORT
from benches.link import create_topic, delete_topic
from benches.meters import Meter
from benches.peers import SYNCED, Peer, make_peers
from benches.rounds import Round

SECONDS = 6
VALUES = {"connections": 50, "record-bytes": 1024, "batch-records": 1, "in-flight": 5, "acks": "all"}
FIGURES = ("records_per_s", "p50_us", "p99_us", "broker_cpu_us")


def make(folder: Path, names: Sequence[str], delay_ms: float) -> list[Peer]:
    """Brokers that sync, on a disk that is so much slower; not yet started."""
    # Go calls the kernel itself: no library comes between.
    slowed = [name for name in names if name != "kfake"] if delay_ms else names
    peers = make_peers(folder, slowed, SYNCED)
    if delay_ms:
        for peer in peers:
            peer.process.variables.update(slow_sync.environment(delay_ms))
    return peers


def figures(told: dict[str, Any]) -> Round:
    """What the generator tells of a round."""
    latency = told["latency"]
    rates = {"records_per_s": told["records_per_s"], "p50_us": latency["p50_us"], "p99_us": latency["p99_us"]}
    return {**rates, "generator": told}


def run(peers: Sequence[Peer], program: Path, folder: Path, delay_ms: float) -> dict[str, Any]:
    """These brokers, and the limit beside them."""
    values = {**VALUES, "seconds": EFFORT.seconds(SECONDS)}

    def one_round(peer: Peer) -> Round:
        topic = f"load-{next(numbers)}"
        create_topic(peer.process, topic, PARTITIONS)
        meter = Meter(peer.process)
        told = generator.run(program, "produce", {"bootstrap": peer.process.bootstrap, "topics": topic, **values})
        usage = meter.stop()
        delete_topic(peer.process, topic)
        faultless(told)
        if told["latency"]["p50_us"] < delay_ms * 1000:
            raise generator.Failed(f"{peer.name} answers sooner than a sync takes: nothing slows its syncs down")
        return {**figures(told), **asdict(usage), "broker_cpu_us": usage.broker_cpu_s * 1e6 / told["records"]}

    def limit() -> Round:
        of_limit = {**values, "folder": folder, "partitions": PARTITIONS, "sync": True, "sync-delay-ms": delay_ms}
        told = generator.run(program, "limit produce", of_limit)
        return {**figures(told), "broker_cpu_us": told["limit_cpu_s"] * 1e6 / told["records"]}

    return {
        "workload": "durable",
        "title": "50 producers, 6 partitions, 1 KiB, each answer synced",
        "sync_delay_ms": delay_ms,
        "peers": {peer.name: peer.describe() for peer in peers},
        "command": ["ottla-load", "produce", *generator.flags(values)],
        **compare(peers, one_round, ("records_per_s",), FIGURES, limit),
    }
