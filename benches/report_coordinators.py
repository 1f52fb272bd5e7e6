"""The rows of groups and transactions, from the raw results."""

from __future__ import annotations

import statistics
from typing import Any

from benches.report_rows import row, shower

Result = dict[str, Any]


def rows(result: Result) -> list[str]:
    """Of one workload beside Apache Kafka; none if it is another's."""
    made = ROWS.get(result["workload"])
    return made(result) if made else []


def rebalance(result: Result) -> list[str]:
    joins = ", a member joins" if result["protocol"] == "consumer" else ""
    kind = f"rebalance of {result['members']} members, {result['protocol']} protocol{joins}"
    return [
        row(f"{kind}, ms", result["rebalance_ms"], "{:.2f}".format, result["settled"]),
        row("broker CPU of it, ms", result["broker_cpu_ms_per_rebalance"], "{:.2f}".format),
        row("and for each member, us", result["broker_cpu_us_per_join"], "{:.0f}".format),
        row("the generator's share of the time", result["generator_share"], "{:.2f}".format),
    ]


def rolling(result: Result) -> list[str]:
    return [
        row(
            f"partitions moved, {result['members']} members restarted in turn, {kind}",
            of_kind["moved"],
            "{:.0f}".format,
        )
        for kind, of_kind in result["kinds"].items()
    ]


def requests(result: Result) -> list[str]:
    kind = f"{result['kind']}s, {result['connections']} members, {named(result)}: per s"
    return [
        row(kind, result["per_s"], "{:,.0f}".format, result["settled"]),
        row("broker CPU of each, us", result["broker_cpu_us"], "{:.1f}".format),
        row("the generator's share of the time", result["generator_share"], "{:.2f}".format),
    ]


def transactions(result: Result) -> list[str]:
    many = f"{result['producers']} producer{'s' if result['producers'] > 1 else ''}"
    kind = f"transactions of {many}, {result['generator']}, {named(result)}: per s"
    return [
        row(kind, result["per_s"], "{:,.0f}".format, result["settled"]),
        row("broker CPU of each, us", result["broker_cpu_us"], "{:.0f}".format),
    ]


def recovery(result: Result) -> list[str]:
    kind = f"restart after SIGKILL, {result['count']:,} groups and {result['count']:,} transactional ids"
    return [
        row(f"{kind}, s", result["restart_s"], "{:.2f}".format),
        row("of which since a coordinator first answered, s", result["after_first_answer_s"], "{:.2f}".format),
    ]


def named(result: Result) -> str:
    """The durability of both sides."""
    return "un-synced" if result["durability"] == "os" else "synced (fsync, flush.messages=1)"


ROWS = {
    "rebalance": rebalance,
    "rolling": rolling,
    "requests": requests,
    "transactions": transactions,
    "coordinator-recovery": recovery,
}


def alone(result: Result) -> list[str]:
    """The table of what needs no second broker."""
    lines = ["", "| coordinators alone, median (lowest to highest) | Ottla | bar |", "|---|---:|---:|"]
    for of_one in result["assignments"]:
        show = shower(of_one["rounds"])
        alike = "alike" if of_one["alike"] else "different"
        kind = f"{of_one['assignor']}, {result['partitions']:,} partitions, {result['members']} members, {alike}"
        lines.append(f"| {kind}: ms | {show('first_ms', 0)} | < 200 |")
        lines.append(f"| with one member more: ms | {show('one_more_ms', 0)} | < 200 |")
    for of_one in result["loads"]:
        show = shower(of_one["rounds"])
        where = f"{of_one['partitions']} partition{'s' if of_one['partitions'] > 1 else ''}"
        kind = f"loading of {result['commits']:,} commits over {result['keys']:,} keys, {where}"
        lines.append(f"| {kind}: s | {show('took_s', 2)} | about 4 |")
        first = statistics.median(each["first_s"] for each in of_one["rounds"])
        longest = max(each["longest_turn_ms"] for each in of_one["rounds"])
        lines.append(f"| its first shard serves after, s; longest turn, ms | {first:.2f}; {longest:.0f} | |")
    return lines
