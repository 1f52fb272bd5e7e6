"""Start to the first answered ApiVersions, and the memory of a broker that does nothing.

A start is that of a broker which was stopped cleanly: its directory exists and holds no records. Time runs from the
call that makes the process to the answer; the broker is asked every few milliseconds.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from benches.peers import Peer
from benches.rounds import interleaved, summary
from tests.processes import answers

ROUNDS = 5
ASK_EVERY_S = 0.002
IDLE_S = 5.0


def one_start(peer: Peer) -> float:
    """Seconds from launch to the first answer."""
    process = peer.process
    begun = time.perf_counter()
    process.launch()
    while not answers(process.host, process.port, timeout_s=60):
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"{peer.name} ended with {process.wait_ended(ASK_EVERY_S)}:\n{process.tail()}")
    return time.perf_counter() - begun


def run(peers: Sequence[Peer]) -> dict[str, Any]:
    """Starts and stops each peer in turn; leaves all of them running."""
    starts: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    for peer in peers:  # the directory is made, pages and byte code are in memory
        one_start(peer)
        peer.process.stop()
    for peer in interleaved(peers, ROUNDS):
        starts[peer.name].append({"start_s": one_start(peer)})
        peer.process.stop()
    for peer in peers:
        one_start(peer)
    time.sleep(IDLE_S)
    return {
        "workload": "start",
        "rounds": starts,
        "start_s": {name: summary(rounds, "start_s") for name, rounds in starts.items()},
        "idle_rss_mib": {peer.name: peer.process.resident_bytes() / (1 << 20) for peer in peers},
        "idle_after_s": IDLE_S,
    }
