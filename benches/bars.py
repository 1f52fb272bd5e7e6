"""The figures Ottla wants to reach, and whether a run reached them: one row each, none left out.

A bar is a ratio taken in one run, beside Apache Kafka or beside the limit program, or a plain number where the figure
is one. A row that a run has no figures for says so, as does one whose bar was missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benches.comparison import LIMIT

OURS, KAFKA = "ottla", "kafka"
# What the bar of a restart is worded for; a run may have less, and says so.
FULL_GIB = 10.0
NOT_MEASURED = "not measured"
NOT_SETTLED = "\\*"
NOT_SETTLED_WORDS = f"{NOT_SETTLED} still changing by more than 5 % after six rounds of warm-up."
# What one broker or the limit had: median, lowest, highest, and 0 as `settled` if it was not; or one number.
Figure = dict[str, float] | float
Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class Bar:
    """What is wanted of a ratio: `most` of the other's figure, or `least`."""

    most: float | None = None
    least: float | None = None
    # Said beside it, not judged.
    aim: str = ""

    def words(self, unit: str = "x") -> str:
        sign, number = ("<=", self.most) if self.most is not None else (">=", self.least or 0.0)
        told = f"{sign} {fraction(number, unit)}"
        return f"{told} ({self.aim})" if self.aim else told

    def met(self, value: float) -> bool:
        """A figure at its bar is at it, whatever the last digit of a division says."""
        least, most = self.least or -math.inf, math.inf if self.most is None else self.most
        return least * (1 - 1e-9) <= value <= most * (1 + 1e-9)


def fraction(number: float, unit: str) -> str:
    """1/3, not 0.333."""
    if unit == "x" and number < 1 and abs(1 / number - round(1 / number)) < 1e-9:
        return f"1/{round(1 / number)}"
    return f"{number:g}{unit}"


@dataclass(frozen=True)
class Row:
    """One figure, and the bars it has."""

    title: str
    find: Callable[[list[dict[str, Any]]], Figures | None]
    digits: int = 2
    factor: float = 1.0
    beside_kafka: Bar | None = None
    beside_limit: Bar | None = None
    # Of our figure itself, in its unit.
    itself: Bar | None = None
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """A row of a run."""

    row: Row
    title: str
    figures: Figures
    to_kafka: float | None
    to_limit: float | None
    # None where the run has no figure for one of its bars.
    met: bool | None


def figure(workload: str, name: str, **where: object) -> Callable[[list[dict[str, Any]]], Figures | None]:
    """Finds a figure of the workload that has these values."""

    def find(workloads: list[dict[str, Any]]) -> Figures | None:
        for result in workloads:
            if result["workload"] == workload and all(result.get(key) == value for key, value in where.items()):
                found: Figures | None = result.get(name)
                return found and {peer: with_settled(told, peer, result) for peer, told in found.items()}
        return None

    return find


def with_settled(told: Figure, peer: str, result: Mapping[str, Any]) -> Figure:
    if not isinstance(told, dict) or result.get("settled", {}).get(peer, True):
        return told
    return {**told, "settled": 0.0}


def above_unpacking(case: str) -> Callable[[list[dict[str, Any]]], Figures | None]:
    """Processor time of a compressed produce without what decompression alone takes."""
    whole = figure("native-produce", "broker_cpu_s_per_gib", case=case)
    unpacking = figure("native-produce", "unpacking", case=case)

    def find(workloads: list[dict[str, Any]]) -> Figures | None:
        told, alone = whole(workloads), unpacking(workloads)
        if told is None or alone is None:
            return None
        less = alone["limit_cpu_s_per_gib"]
        assert isinstance(less, float)
        return {name: shifted(each, less) for name, each in told.items() if name != LIMIT}

    return find


def shifted(told: Figure, less: float) -> Figure:
    if isinstance(told, dict):
        return {name: value if name == "settled" else value - less for name, value in told.items()}
    return told - less


def most_of_all(name: str) -> Callable[[list[dict[str, Any]]], Figures | None]:
    """The highest of a figure over all workloads of the native generator that have it."""

    def find(workloads: list[dict[str, Any]]) -> Figures | None:
        told = [result[name] for result in workloads if name in result]
        names = dict.fromkeys(peer for each in told for peer in each)
        return {peer: max(each[peer] for each in told if peer in each) for peer in names} or None

    return find


def rows() -> list[Row]:
    """All of them, in the order of the table."""
    return [*of_produce(), *of_fetch(), *of_latency(), *of_durable(), *of_partitions(), *of_processes()]


def of_produce() -> list[Row]:
    third = Bar(most=1 / 3)
    cpu = "broker CPU, s per GiB"

    def per_gib(case: str) -> Callable[[list[dict[str, Any]]], Figures | None]:
        return figure("native-produce", "broker_cpu_s_per_gib", case=case)

    return [
        Row(
            f"produce, 1 KiB records, big batches: {cpu}",
            per_gib("1KiB"),
            beside_kafka=Bar(most=1 / 3, aim="aim 1/5"),
            beside_limit=Bar(most=1.5),
        ),
        Row(f"produce, 100 B records: {cpu}", per_gib("100B"), beside_kafka=third),
        Row(f"produce, 50 producers, 100 partitions, keyed, 100 B: {cpu}", per_gib("keyed"), beside_kafka=third),
        Row(f"produce, flights, lz4: {cpu}, above decompression", above_unpacking("lz4"), beside_kafka=Bar(most=1 / 2)),
        Row(f"produce, flights, zstd: {cpu}, above decompression", above_unpacking("zstd"), beside_kafka=third),
        Row("ProducerPerformance: MiB/s", figure("produce", "mib_per_s"), 0, beside_kafka=Bar(least=1.3)),
        Row(
            "native generator, produce: MiB/s",
            figure("native-produce", "mib_per_s", case="1KiB"),
            0,
            beside_kafka=Bar(least=2),
        ),
        Row("tiny requests: requests/s", figure("tiny", "requests_per_s"), 0, beside_kafka=Bar(least=2)),
    ]


def of_fetch() -> list[Row]:
    return [
        Row(
            "fetch from the page cache: broker CPU, s per GiB",
            figure("native-fetch", "broker_cpu_s_per_gib"),
            beside_kafka=Bar(most=1 / 5),
            beside_limit=Bar(most=1.5),
        ),
        Row("ConsumerPerformance: MiB/s", figure("consumer-performance", "mib_per_s"), 0, beside_kafka=Bar(least=1)),
        Row("native generator, fetch: MiB/s", figure("native-fetch", "mib_per_s"), 0, beside_kafka=Bar(least=2)),
    ]


def of_latency() -> list[Row]:
    half = Bar(most=1 / 2)
    # The tool tells its percentiles in whole milliseconds: 1 beside 1 is no ratio.
    pinged = Row(
        "EndToEndLatency: average, ms (its p50 is in whole ms)",
        figure("end-to-end-latency", "avg_ms"),
        beside_kafka=Bar(most=0.8),
    )
    return [
        pinged,
        *(
            Row(
                f"open loop, {rate:,} records/s: {words} {name}, ms",
                figure("open-loop", f"{kind}_{name}_us", rate=rate),
                factor=1e-3,
                beside_kafka=half,
            )
            for rate in (1_000, 20_000)
            for kind, words in (("produce", "produce"), ("end_to_end", "end to end"))
            for name in ("p99", "p99.9")
        ),
    ]


def of_durable() -> list[Row]:
    made = []
    for delay_ms, times, words in ((0.0, 3, "as the disk is"), (2.0, 5, "syncs 2 ms longer")):
        for title, name, digits, factor, bar in (
            ("records/s", "records_per_s", 0, 1.0, Bar(least=times)),
            ("p99, ms", "p99_us", 2, 1e-3, Bar(most=1 / 2)),
        ):
            find = figure("durable", name, sync_delay_ms=delay_ms)
            made.append(Row(f"durable, 50 producers, {words}: {title}", find, digits, factor, bar))
    return made


def of_partitions() -> list[Row]:
    return [
        Row(
            "created, 500 topics x 10 in a request: partitions/s",
            figure("partitions", "created_per_s"),
            0,
            itself=Bar(least=2_000),
        ),
        Row(
            "Metadata of 1,000 topics x 10: broker CPU, ms",
            figure("partitions", "metadata_cpu_ms"),
            itself=Bar(most=1),
            unit=" ms",
        ),
    ]


def of_processes() -> list[Row]:
    return [
        Row("start to first acknowledged record, s", figure("start", "first_record_s"), beside_kafka=Bar(most=1 / 8)),
        Row("restart after SIGKILL with {gib:g} GiB, s", figure("recovery", "restart_s"), beside_kafka=Bar(most=1 / 5)),
        Row("resident memory, idle, MiB", figure("start", "idle_rss_mib"), 0, itself=Bar(most=50), unit=" MiB"),
        Row("resident memory, most under load, MiB", most_of_all("peak_rss_mib"), 0, itself=Bar(most=150), unit=" MiB"),
        Row("idle connection, KiB", figure("connections", "kib_each"), 1, itself=Bar(most=12), unit=" KiB"),
    ]


def median(told: Figure) -> float:
    return float(told["median"] if isinstance(told, dict) else told)


def judge(row: Row, workloads: list[dict[str, Any]]) -> Verdict:
    """What a run says to a row."""
    figures = row.find(workloads) or {}
    ours = median(figures[OURS]) if OURS in figures else None

    def ratio(other: str) -> float | None:
        beside = median(figures[other]) if other in figures else 0.0
        return ours / beside if ours is not None and beside > 0 else None

    to_kafka, to_limit = ratio(KAFKA), ratio(LIMIT)
    asked = [
        (bar, value)
        for bar, value in (
            (row.beside_kafka, to_kafka),
            (row.beside_limit, to_limit),
            (row.itself, None if ours is None else ours * row.factor),
        )
        if bar is not None
    ]
    judged = [None if value is None else bar.met(value) for bar, value in asked]
    met = False if False in judged else None if None in judged else True
    gib = next((result["gib"] for result in workloads if "gib" in result), FULL_GIB)
    return Verdict(row, row.title.format(gib=gib), figures, to_kafka, to_limit, met)


def verdicts(results: Mapping[str, Any]) -> list[Verdict]:
    return [judge(row, results["workloads"]) for row in rows()]


def show(verdict: Verdict, name: str) -> str:
    """A figure with its spread."""
    row, told = verdict.row, verdict.figures.get(name)
    if told is None:
        return ""
    cell = f"{median(told) * row.factor:,.{row.digits}f}"
    if isinstance(told, dict):
        low, high = (f"{told[end] * row.factor:,.{row.digits}f}" for end in ("low", "high"))
        cell += f" ({low} to {high})"
        cell += "" if told.get("settled", 1.0) else f" {NOT_SETTLED}"
    return cell


def line(verdict: Verdict) -> str:
    """One row of the table."""
    row = verdict.row

    def beside(bar: Bar | None, ratio: float | None) -> list[str]:
        return ["" if ratio is None else f"{ratio:.2f}", "" if bar is None else bar.words()]

    kafka = beside(row.beside_kafka, verdict.to_kafka)
    if row.itself is not None:
        kafka[1] = row.itself.words(row.unit)
    cells = [verdict.title, show(verdict, OURS), show(verdict, KAFKA), *kafka]
    # The limit does not what a broker does where there is no bar for it: left to the table of all figures.
    limit = row.beside_limit is not None
    cells += [show(verdict, LIMIT), *beside(row.beside_limit, verdict.to_limit)] if limit else ["", "", ""]
    word = {True: "met", False: "**missed**", None: NOT_MEASURED}[verdict.met]
    return "| " + " | ".join([*cells, word]) + " |"


def table(results: Mapping[str, Any]) -> list[str]:
    """Every bar of ours, in Markdown."""
    return [
        "| median (lowest to highest) | Ottla | Kafka | ratio | bar | limit | ratio | bar | verdict |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
        *map(line, verdicts(results)),
    ]
