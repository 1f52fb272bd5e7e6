"""The table of `ottla.Log` beside others: every case, every store, the bars, and whether they were reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benches.bars import Bar
from benches.embedded_log import CASES, THREADS
from benches.embedded_stores import STORES, SYNCED, TITLES

OURS, SLOW = "ottla", "persist-queue"


@dataclass(frozen=True)
class Row:
    """A line: which figure of which case, and what is wanted of ours."""

    case: str
    figure: str
    title: str
    digits: int = 0
    bar: Bar | None = None
    unit: str = ""
    # Ours is to be better than all of these.
    ahead_of: Sequence[str] = ()
    is_less_better: bool = False


OTHERS = tuple(name for name in STORES if name != OURS)


def rows() -> list[Row]:
    """All, in the order of the table."""

    def of(case: str, **more: Any) -> Row:
        return Row(case, CASES[case].figure, CASES[case].title, **more)

    threads = f"the same, {THREADS} threads"
    return [
        of("append-many", bar=Bar(least=1_000_000), ahead_of=OTHERS),
        of("append-many-synced", ahead_of=OTHERS),
        of("append", digits=2, bar=Bar(most=3), unit=" us", ahead_of=OTHERS, is_less_better=True),
        of("append-alone"),
        Row("append-alone", "together_per_s", f"{threads}: records/s", ahead_of=OTHERS),
        Row("append-alone", "times", f"{threads}: times one thread", digits=1, bar=Bar(least=14)),
        of("scan", bar=Bar(least=1_200_000), ahead_of=("sqlite",)),
        of("columns", ahead_of=OTHERS),
        of("columns-1KiB", digits=2, bar=Bar(least=1), unit=" GiB/s", ahead_of=OTHERS),
        of("open", digits=1),
        of("open-large", digits=1, bar=Bar(most=50), unit=" ms"),
    ]


def judged(row: Row, told: Mapping[str, Mapping[str, float]]) -> bool | None:
    """Whether ours reached what is wanted; None: nothing is, or it was not measured."""
    if OURS not in told:
        return None
    ours = told[OURS]["median"]
    asked = [] if row.bar is None else [row.bar.met(ours)]
    for name in row.ahead_of:
        if name in told:
            theirs = told[name]["median"]
            asked.append(ours < theirs if row.is_less_better else ours > theirs)
    return all(asked) if asked else None


def wanted(row: Row) -> str:
    words = [] if row.bar is None else [bar_words(row.bar, row.unit)]
    if row.ahead_of:
        names = "all" if row.ahead_of == OTHERS else ", ".join(TITLES[name] for name in row.ahead_of)
        words.append(f"ahead of {names}")
    return "; ".join(words)


def bar_words(bar: Bar, unit: str) -> str:
    sign, number = ("<=", bar.most) if bar.most is not None else (">=", bar.least or 0.0)
    return f"{sign} {number:,g}{unit}" if number < 1000 else f"{sign} {number:,.0f}{unit}"


def line(row: Row, told: Mapping[str, Mapping[str, float]]) -> str:
    cells = [f"{row.title}, {CASES[row.case].promise}"]
    for name in STORES:
        one = told.get(name)
        shown = ("median", "low", "high")
        median, low, high = ("" if one is None else f"{one[end]:,.{row.digits}f}" for end in shown)
        cells.append("" if one is None else f"{median} ({low} to {high})")
    verdict = {True: "met", False: "**missed**", None: ""}[judged(row, told)]
    return "| " + " | ".join([*cells, wanted(row), verdict]) + " |"


def table(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those rows that were measured."""
    cases = {each["case"]: each for each in results if each["workload"] == "embedded-log" and "failed" not in each}
    if not cases:
        return []
    lines = [
        "",
        "| " + " | ".join(["median (lowest to highest)", *TITLES.values(), "bar", "verdict"]) + " |",
        "|---|" + "---:|" * (len(TITLES) + 1) + "---|",
    ]
    lines += [line(row, cases[row.case][row.figure]) for row in rows() if row.case in cases]
    fewer = {each["counts"][SLOW] for each in cases.values() if SLOW in each["counts"]}
    return [*lines, "", words(fewer)]


def words(fewer: set[int]) -> str:
    """What the columns mean."""
    said = (
        '"written": an append returns when the operating system has the record (SQLite synchronous=NORMAL, LMDB sync '
        f'off); "{SYNCED}": when it is on the disk (synchronous=FULL, sync on).'
    )
    counts = ", ".join(f"{count:,}" for count in sorted(fewer))
    return f"{said} {TITLES[SLOW]} gets {counts} records, and syncs by no promise." if fewer else said
