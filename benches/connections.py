"""Ten thousand connections that do nothing: how fast they are opened, in bursts of 256, and the memory of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches import generator
from benches.effort import EFFORT
from benches.peers import Peer
from benches.rounds import Round, interleaved, summary

COUNT = 10_000
ROUNDS = 3
SETTLING_S = 1.0
FIGURES = ("open_per_s", "open_p99_us", "kib_each")


def one_round(peer: Peer, program: Path, count: int) -> Round:
    """Opened, held, closed."""
    before = peer.process.resident_bytes()
    idle = generator.Running(program, "idle", {"bootstrap": peer.process.bootstrap, "connections": count, "hold": True})
    try:
        time.sleep(SETTLING_S)
        held = peer.process.resident_bytes()
        told = idle.finish()
    finally:
        idle.kill()
    if told["lost"]:
        raise generator.Failed(f"{peer.name} closed {told['lost']} of {count} connections")
    return {
        "open_per_s": told["open_per_s"],
        "open_p99_us": told["open_latency"]["p99_us"],
        "kib_each": (held - before) / 1024 / count,
        "resident_mib": held / (1 << 20),
        "generator": told,
    }


def run(peers: Sequence[Peer], program: Path) -> dict[str, Any]:
    """The memory is that of the first round: a process seldom gives back what it has taken."""
    count = EFFORT.records(COUNT)
    rounds: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for peer in interleaved(peers, ROUNDS):
        rounds[peer.name].append(one_round(peer, program, count))
    told = {figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in FIGURES[:2]}
    return {
        "workload": "connections",
        "title": f"{count:,} idle connections",
        "rounds": rounds,
        **told,
        "kib_each": {name: done[0]["kib_each"] for name, done in rounds.items()},
    }
