"""Where everybody went, and where they are, as one PNG: drawn from what the two groups keep."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from examples.riders.world import CENTRE_M, REGIONS, SIZE_M

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

INK, FAINT = "#1f2933", "#cbd2d9"
COLOURS = dict(zip(REGIONS, ("#c1292e", "#0b6e4f", "#2a7f9e", "#d9a21b", "#7b5ea7"), strict=True))


def draw(trails: Sequence[tuple[Any, ...]], positions: Sequence[tuple[Any, ...]], path: Path) -> None:
    """`trails`: (rider, seq, region, x, y) in that order; `positions`: (rider, region, x, y)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.4, 7.6), layout="constrained")
    low, high = SIZE_M / 2 - CENTRE_M, SIZE_M / 2 + CENTRE_M
    for x, y in ((0, 0), (0, SIZE_M), (SIZE_M, 0), (SIZE_M, SIZE_M)):
        axes.plot((x, low if x == 0 else high), (y, low if y == 0 else high), color=FAINT, linewidth=1)
    axes.plot((low, high, high, low, low), (low, low, high, high, low), color=FAINT, linewidth=1)
    for _rider, walk in groupby(trails, key=lambda row: row[0]):
        steps = list(walk)
        for region, part in groupby(enumerate(steps), key=lambda pair: pair[1][2]):
            indices = [index for index, _step in part]
            piece = steps[max(0, indices[0] - 1) : indices[-1] + 1]
            axes.plot([s[3] for s in piece], [s[4] for s in piece], color=COLOURS[region], linewidth=0.9, alpha=0.75)
    for region in REGIONS:
        here = [row for row in positions if row[1] == region]
        label = f"{region}: {len(here)}"
        axes.scatter([row[2] for row in here], [row[3] for row in here], s=34, color=COLOURS[region], label=label,
                     edgecolors="white", linewidths=0.8, zorder=3)  # fmt: skip
    axes.set(xlim=(0, SIZE_M), ylim=(0, SIZE_M), aspect="equal", xticks=(), yticks=())
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    axes.set_title(
        "Lines: every update, kept by the group trails.  Dots: where riders are now, kept by dispatch",
        loc="left", fontsize=10, color=INK,
    )  # fmt: skip
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=5, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
