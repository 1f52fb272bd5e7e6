"""Is the limit of fetch one? Beside iperf3, which others wrote to find out what a machine's network stack takes.

`iperf3 -Z` sends by sendfile over loopback, as `ottla-load limit fetch` does, through socket buffers of the same size;
both tell the processor time of their sending side. What iperf3's receiver takes is told too: no broker can take less to
receive. Not measured where iperf3 is not installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benches import generator
from benches.comparison import LIMIT
from benches.effort import EFFORT
from benches.meters import GIB
from benches.rounds import Round, interleaved, summary
from tests.processes import free_port

SECONDS = 5
SEND_BUFFER = "256K"
IPERF = "iperf3"
HOST = "127.0.0.1"


def seconds() -> int:
    """Whole ones: iperf3 knows no others."""
    return max(1, round(EFFORT.seconds(SECONDS)))


def client(port: int) -> list[str]:
    return [IPERF, "-c", HOST, "-p", str(port), "-Z", "-w", SEND_BUFFER, "-t", str(seconds()), "-J"]


def of_iperf(told: dict[str, Any]) -> Round:
    """Seconds of processor time per GiB, of either side."""
    if error := told.get("error"):
        raise generator.Failed(f"iperf3: {error}")
    end = told["end"]
    sent, shares = end["sum_sent"], end["cpu_utilization_percent"]
    gib = sent["bytes"] / GIB
    return {
        "send_s_per_gib": shares["host_total"] / 100 * sent["seconds"] / gib,
        "receive_s_per_gib": shares["remote_total"] / 100 * sent["seconds"] / gib,
        "mib_per_s": gib * 1024 / sent["seconds"],
    }


def one_round() -> Round:
    """A server for one test, and the test."""
    port = free_port()
    words = [IPERF, "-s", "-1", "-B", HOST, "-p", str(port), "--forceflush"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            while "listening" not in (said := server.stdout.readline()):
                if not said:
                    raise generator.Failed("iperf3 -s does not listen")
            done = subprocess.run(client(port), stdout=subprocess.PIPE, text=True, timeout=60, check=False)
            return of_iperf(json.loads(done.stdout))
        finally:
            server.kill()


def run(program: Path, folder: Path) -> dict[str, Any]:
    """Interleaved rounds of both."""
    if shutil.which(IPERF) is None:
        raise generator.Failed("iperf3 not found (on Debian: apt-get install iperf3)")
    values = {"seconds": seconds(), "folder": folder}
    rounds: dict[str, list[Round]] = {LIMIT: [], IPERF: []}
    for name in interleaved([*rounds], EFFORT.rounds):
        if name == IPERF:
            rounds[name].append(one_round())
        else:
            told = generator.run(program, "limit fetch", values)
            rounds[name].append({"send_s_per_gib": told["limit_cpu_s_per_gib"], "generator": told})
    return {
        "workload": "limit",
        "title": "the limit of fetch beside iperf3",
        "command": client(5201),
        "rounds": rounds,
        "send_s_per_gib": {name: summary(done, "send_s_per_gib") for name, done in rounds.items()},
        "receive_s_per_gib": {IPERF: summary(rounds[IPERF], "receive_s_per_gib")},
    }


def words(result: dict[str, Any]) -> str:
    """A sentence for below the tables."""
    sent = {name: f"{told['median']:.3f}" for name, told in result["send_s_per_gib"].items()}
    received = result["receive_s_per_gib"][IPERF]["median"]
    return (
        f"To send a GiB by sendfile takes the limit program {sent[LIMIT]} s, iperf3 -Z {sent[IPERF]} s of processor "
        f"time; to receive it takes iperf3 {received:.3f} s."
    )
