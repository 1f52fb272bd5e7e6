"""From the raw results to the table: everything that is printed is read from the JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Show = Callable[[float], str]


def row(title: str, figures: dict[str, Any], show: Show, settled: dict[str, bool] | None = None) -> str:
    """One line: median and spread of each peer, and the first as a multiple of the second."""
    cells = [title]
    medians = []
    for peer, figure in figures.items():
        if isinstance(figure, dict):
            medians.append(figure["median"])
            cell = f"{show(figure['median'])} ({show(figure['low'])} to {show(figure['high'])})"
        else:
            medians.append(figure)
            cell = show(figure)
        cells.append(cell if settled is None or settled[peer] else f"{cell}, not settled")
    if len(medians) == 2 and medians[1]:
        cells.append(f"{medians[0] / medians[1]:.2f}")
    return "| " + " | ".join(cells) + " |"


def markdown(results: dict[str, Any]) -> str:
    """The table of one run."""
    machine = results["machine"]
    heads = ["median (lowest to highest)", *(f"{name} {peer['version']}" for name, peer in results["peers"].items())]
    if len(results["peers"]) == 2:
        heads.append("ratio")
    lines = [
        (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
            f"{results['clients']['java']}; {results['begun']}"
        ),
        "",
        "| " + " | ".join(heads) + " |",
        "|---|" + "---:|" * (len(heads) - 1),
    ]
    for result in results["workloads"]:
        if result["workload"] == "start":
            lines.append(row("start to first ApiVersions, s", result["start_s"], "{:.2f}".format))
            lines.append(row("resident memory idle, MiB", result["idle_rss_mib"], "{:.0f}".format))
        if result["workload"] == "rebalance":
            kind = f"rebalance of {result['members']} members"
            lines.append(row(f"{kind}, ms", result["rebalance_ms"], "{:.2f}".format, result["settled"]))
            lines.append(row("broker CPU of it, ms", result["broker_cpu_ms_per_rebalance"], "{:.2f}".format))
        if result["workload"] == "produce":
            kind = f"produce {result['record_bytes']} B, acks={result['producer']['acks']}, un-synced"
            lines.append(row(f"{kind}: MiB/s", result["mib_per_s"], "{:.0f}".format, result["settled"]))
            lines.append(row("broker CPU, s per GiB", result["broker_cpu_s_per_gib"], "{:.2f}".format))
            lines.append(row("machine busy, s per GiB", result["machine_busy_s_per_gib"], "{:.2f}".format))
            lines.append(row("resident memory after it, MiB", result["rss_mib"], "{:.0f}".format))
    return "\n".join(lines)
