"""One line of a table: medians, spread, ratio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benches.rounds import summary

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
    if len(medians) == 2:
        cells.append(f"{medians[0] / medians[1]:.2f}" if medians[1] else "")
    return "| " + " | ".join(cells) + " |"


def shower(rounds: list[dict[str, float]]) -> Callable[[str, int], str]:
    """Prints a figure of some rounds with so many digits: median and spread."""

    def show(figure: str, digits: int) -> str:
        told = summary(rounds, figure)
        return f"{told['median']:,.{digits}f} ({told['low']:,.{digits}f} to {told['high']:,.{digits}f})"

    return show
