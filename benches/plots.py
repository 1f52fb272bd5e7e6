"""Plots from the raw results: `python -m benches.plots RAW.json FOLDER` draws those of a run that is over.

Three: processor time per GiB, latency at a fixed rate, and how far each figure is from its bar. SVG, the same bytes for
the same results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches.bars import Verdict, median, verdicts
from benches.comparison import LIMIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Told apart without colour too: by order and label.
COLOURS = {"ottla": "#0072B2", "kafka": "#D55E00", LIMIT: "#999999", "kfake": "#009E73", "nisshi": "#CC79A7"}
LATENCIES = (("p50_us", "p50"), ("p99_us", "p99"), ("p99.9_us", "p99.9"), ("max_us", "max"))
CPU = "broker_cpu_s_per_gib"
BARS_HIGH = 0.28


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """The plots that these results have figures for."""
    import matplotlib as mpl  # noqa: PLC0415 - only who draws needs it

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "ottla", "svg.fonttype": "none", "font.size": 9})
    made = {
        "cpu": processor_time(results["workloads"]),
        "latency": latency(results["workloads"]),
        "bars": distance(verdicts(results)),
    }
    paths = []
    for name, figure in made.items():
        if figure is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.svg"
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        paths.append(path)
    return paths


def canvas(width_in: float, height_in: float, panels: int = 1) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - only who draws needs it

    figure = Figure(figsize=(width_in, height_in))
    axes = [figure.add_subplot(1, panels, number + 1) for number in range(panels)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.set_axisbelow(True)
    return figure, axes


def plain(axis: Axis) -> None:
    """1, 2, 5, 10, as numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415 - only who draws needs it

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def processor_time(workloads: list[dict[str, Any]]) -> Figure | None:
    """A group of bars for each workload."""
    known = [result for result in workloads if CPU in result and result["workload"].startswith("native")]
    if not known:
        return None
    names = list(dict.fromkeys(name for result in known for name in result[CPU]))
    figure, (axes,) = canvas(8, 0.6 + BARS_HIGH * len(names) * len(known))
    high = 0.8 / len(names)
    for order, name in enumerate(names):
        places = [place + order * high for place, result in enumerate(known) if name in result[CPU]]
        values = [median(result[CPU][name]) for result in known if name in result[CPU]]
        drawn = axes.barh(places, values, height=high, color=COLOURS.get(name), label=name)
        axes.bar_label(drawn, fmt="%.2f", padding=3)
    axes.set_yticks([place + high * (len(names) - 1) / 2 for place in range(len(known))])
    axes.set_yticklabels([result["title"] for result in known])
    axes.invert_yaxis()
    axes.set_xlabel("broker's processor time, seconds per GiB (less is better)")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(names))
    return figure


def latency(workloads: list[dict[str, Any]]) -> Figure | None:
    """Percentiles of each open loop, of the acknowledgement and from end to end."""
    known = [result for result in workloads if result["workload"] == "open-loop"]
    if not known:
        return None
    figure, axes = canvas(8, 3.4, 2)
    for each, (kind, words) in zip(axes, (("produce", "acknowledged"), ("end_to_end", "consumed")), strict=True):
        for result, style in zip(known, ("-", "--", ":"), strict=False):
            for name in result[f"{kind}_p50_us"]:
                values = [median(result[f"{kind}_{figure_name}"][name]) / 1000 for figure_name, _ in LATENCIES]
                label = f"{name}, {result['rate']:,}/s"
                each.plot(range(len(values)), values, style, marker="o", color=COLOURS.get(name), label=label)
        each.set_xticks(range(len(LATENCIES)), [label for _, label in LATENCIES])
        each.set_yscale("log")
        plain(each.yaxis)
        each.set_title(f"{words}, ms after it was due")
        each.grid(alpha=0.3)
    axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2 * len(known))
    return figure


def distance(told: Sequence[Verdict]) -> Figure | None:
    """Each ratio to Kafka as a share of its bar, on a log scale: left of the line is better than asked."""
    known: list[tuple[str, float]] = []
    for each in told:
        bar = each.row.beside_kafka
        if bar is None or each.to_kafka is None or each.to_kafka <= 0:
            continue
        share = each.to_kafka / bar.most if bar.most is not None else (bar.least or 0.0) / each.to_kafka
        known.append((f"{each.title} ({bar.words()})", share))
    if not known:
        return None
    figure, (axes,) = canvas(8, 0.6 + BARS_HIGH * len(known))
    places = range(len(known))
    colours = [COLOURS["ottla"] if share <= 1 else COLOURS["kafka"] for _, share in known]
    axes.hlines(places, 1, [share for _, share in known], colors=colours, alpha=0.5)
    axes.scatter([share for _, share in known], places, c=colours, zorder=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    plain(axes.xaxis)
    axes.set_yticks(places, [title for title, _ in known])
    axes.invert_yaxis()
    axes.set_xlabel("ratio to Kafka over the bar: left of 1 it is reached, right of it missed")
    axes.grid(axis="x", alpha=0.3)
    return figure


if __name__ == "__main__":
    raw, target = map(Path, sys.argv[1:])
    print("\n".join(map(str, draw(json.loads(raw.read_text()), target))))
