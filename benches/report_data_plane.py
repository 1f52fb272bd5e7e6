"""The table of the data plane: the brokers and, in a column of its own, the limit."""

from __future__ import annotations

from typing import Any

from benches.bars import median
from benches.comparison import LIMIT
from benches.data_plane import LATENCIES

Rounds = dict[str, list[dict[str, float]]]
# Figure, words, digits, factor.
PRODUCED = (
    ("mib_per_s", "MiB/s", 0, 1.0),
    ("broker_cpu_s_per_gib", "broker CPU, s per GiB", 2, 1.0),
    ("machine_busy_s_per_gib", "machine busy, s per GiB", 2, 1.0),
    ("rss_mib", "resident memory after it, MiB", 0, 1.0),
    ("peak_rss_mib", "most of it since the start, MiB", 0, 1.0),
)
OPEN_LOOP = (
    *((f"produce_{name}", f"produce {name.removesuffix('_us')}, ms", 2, 1e-3) for name in LATENCIES),
    *((f"end_to_end_{name}", f"end to end {name.removesuffix('_us')}, ms", 2, 1e-3) for name in LATENCIES),
    ("broker_cpu_share", "broker CPU, of one core", 3, 1.0),
)
TINY = (
    ("requests_per_s", "requests/s", 0, 1.0),
    ("p99_us", "p99, ms", 2, 1e-3),
    ("broker_cpu_us", "broker CPU, us each", 1, 1.0),
)
DURABLE = (
    ("records_per_s", "records/s", 0, 1.0),
    ("p50_us", "p50, ms", 2, 1e-3),
    ("p99_us", "p99, ms", 2, 1e-3),
    ("broker_cpu_us", "broker CPU, us a record", 1, 1.0),
)
CONNECTIONS = (
    ("open_per_s", "opened/s", 0, 1.0),
    ("open_p99_us", "opened and answered p99, ms", 2, 1e-3),
    ("kib_each", "resident memory each, KiB", 1, 1.0),
)
CONSUMED = (
    ("mib_per_s", "MiB/s", 0, 1.0),
    ("overall_mib_per_s", "MiB/s with the time of its group", 0, 1.0),
    ("broker_cpu_s_per_gib", "broker CPU, s per GiB", 2, 1.0),
)
PINGED = (
    ("avg_ms", "average, ms", 3, 1.0),
    ("p50_ms", "p50, whole ms", 0, 1.0),
    ("p99_ms", "p99, whole ms", 0, 1.0),
    ("p99.9_ms", "p99.9, whole ms", 0, 1.0),
    ("broker_cpu_us", "broker CPU, us each", 0, 1.0),
)
TABLES = {
    "native-produce": PRODUCED,
    "native-fetch": PRODUCED,
    "open-loop": OPEN_LOOP,
    "tiny": TINY,
    "durable": DURABLE,
    "connections": CONNECTIONS,
    "consumer-performance": CONSUMED,
    "librdkafka": PRODUCED[:3],
    "end-to-end-latency": PINGED,
}


def table(workloads: list[dict[str, Any]], peers: list[str]) -> list[str]:
    """All rows of the workloads that are known here; nothing without any."""
    known = [result for result in workloads if result["workload"] in TABLES]
    if not known:
        return []
    heads = ["median (lowest to highest)", *peers, LIMIT]
    heads += [f"{peers[0]} / {other}" for other in (*peers[1:], LIMIT)]
    lines = ["", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for result in known:
        title = result["title"]
        if delay_ms := result.get("sync_delay_ms"):
            title += f", syncs {delay_ms:g} ms longer"
        for figure, words, digits, factor in TABLES[result["workload"]]:
            if figure in result:
                lines.append(row(f"{title}: {words}", result, figure, digits, factor, peers))
        if unpacking := result.get("unpacking"):
            lines.append(above_unpacking(title, result, unpacking, peers))
    return lines


def row(title: str, result: dict[str, Any], figure: str, digits: int, factor: float, peers: list[str]) -> str:
    """One figure: each broker's and the limit's, then the ratios."""
    told = result[figure]
    cells = [title]
    for name in (*peers, LIMIT):
        each = told.get(name)
        if each is None:
            cells.append("")
            continue
        cell = f"{median(each) * factor:,.{digits}f}"
        if isinstance(each, dict):
            cell += f" ({each['low'] * factor:,.{digits}f} to {each['high'] * factor:,.{digits}f})"
            cell += "" if result.get("settled", {}).get(name, True) else ", not settled"
        cells.append(cell)
    return "| " + " | ".join([*cells, *ratios(told, peers)]) + " |"


def ratios(told: dict[str, Any], peers: list[str]) -> list[str]:
    """The first broker as a multiple of the others, and of the limit."""

    def ratio(other: str) -> str:
        of_other = median(told[other]) if other in told else 0.0
        return f"{median(told[peers[0]]) / of_other:.2f}" if of_other else ""

    return [ratio(other) for other in (*peers[1:], LIMIT)]


def above_unpacking(title: str, result: dict[str, Any], unpacking: dict[str, Any], peers: list[str]) -> str:
    """Broker CPU without what decompression alone takes, and how far the codec presses."""
    alone = unpacking["limit_cpu_s_per_gib"]
    cpu = result["broker_cpu_s_per_gib"]
    told = {name: median(cpu[name]) - alone for name in peers if name in cpu}
    words = f"{title} (to {unpacking['compressed_to']:.2f}): broker CPU above unpacking alone ({alone:.2f}), s per GiB"
    cells = [words, *(f"{told[name]:.2f}" if name in told else "" for name in peers), ""]
    return "| " + " | ".join([*cells, *ratios(told, peers)]) + " |"
