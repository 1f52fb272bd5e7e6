"""The run and its result as one PNG: on the left what happened over time, on the right what pandas says as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from examples.flights.story import Outcome

INK, FAINT = "#1f2933", "#9aa5b1"
READER_COLOURS = ("#0b6e4f", "#3fa796", "#a3d9c9")
LATE, EARLY, CRASH = "#d1603d", "#2a7f9e", "#c1292e"


def draw(outcome: Outcome, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    style: dict[Any, Any] = {
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 6.4), width_ratios=(1.15, 1), layout="constrained")
        timeline(left, outcome)
        delays(right, outcome)
        lost = "none lost, none counted twice" if not outcome.wrong else "NOT ALL IS RIGHT"
        title = f"{outcome.total:,} flights, one consumer and the broker killed on the way: {lost}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold")
        figure.savefig(path, dpi=130)
        pyplot.close(figure)


def timeline(axes: Axes, outcome: Outcome) -> None:
    """Acknowledged flights as a line over what each consumer had read, with the two crashes."""
    seconds = [moment.seconds for moment in outcome.moments]
    readers = sorted({name for moment in outcome.moments for name in moment.read_by})
    layers = [[moment.read_by.get(name, 0) for moment in outcome.moments] for name in readers]
    labels = [name + (" (killed)" if name == outcome.killed_reader else "") for name in readers]
    axes.stackplot(seconds, layers, labels=labels, colors=READER_COLOURS, alpha=0.95, linewidth=0)
    acked = [moment.acked for moment in outcome.moments]
    axes.plot(seconds, acked, color=INK, linewidth=1.8, label="acknowledged to the producer")

    since, until = outcome.broker_away
    axes.axvspan(since, until, color=CRASH, alpha=0.18, linewidth=0)
    at = outcome.killed_reader_at
    axes.axvline(at, color=CRASH, linewidth=1.4, linestyle=(0, (4, 2)))
    # Notes above the curves, on the side where the other crash is not.
    earlier = at < (since + until) / 2
    note: dict[str, Any] = {"fontsize": 9, "color": CRASH, "va": "top"}
    gap = outcome.seconds * 0.008
    reader, height = f"{outcome.killed_reader}\nkilled", outcome.total * 1.12
    axes.text(at - gap if earlier else at + gap, height, reader, ha="right" if earlier else "left", **note)
    broker = f"broker killed,\nback after {until - since:.1f} s"
    axes.text(until + gap if earlier else since - gap, height, broker, ha="left" if earlier else "right", **note)

    axes.set_title("Flights acknowledged (line) and read, by consumer (areas)", loc="left", fontsize=11)
    axes.set_xlabel("seconds since the first flight was sent")
    axes.set_xlim(0, outcome.seconds)
    axes.set_ylim(0, outcome.total * 1.14)
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=4, frameon=False, fontsize=9)


def delays(axes: Axes, outcome: Outcome) -> None:
    """Mean arrival delay by carrier, the latest on top."""
    rows = outcome.rows[::-1]
    values = [row.mean_delay for row in rows]
    axes.barh(range(len(rows)), values, color=[LATE if value > 0 else EARLY for value in values], height=0.72)
    axes.set_yticks(range(len(rows)), [f"{row.name.removesuffix(' Inc.').removesuffix(' Co.')}" for row in rows])
    for position, row in enumerate(rows):
        text = f"{row.mean_delay:+.1f} min   {row.flights:,} flights"
        axes.text(max(row.mean_delay, 0) + 0.25, position, text, va="center", fontsize=9, color=INK)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.set_title("Mean arrival delay, equal to pandas in every bit", loc="left", fontsize=11)
    axes.set_xlabel("minutes late")
    axes.set_xlim(min(*values, 0) * 1.15, max(values) * 1.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
