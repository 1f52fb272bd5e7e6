"""What a person sees: `python -m examples.flights [--sample N] [--rate N] [--out DIR]`."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.children import Failed, OttlaServe
from examples.flights import picture, table
from examples.flights.story import Outcome, Plan, Story

if TYPE_CHECKING:
    from rich.progress import TaskID


class Screen:
    """Two bars, and a line for each thing that happens."""

    def __init__(self, total: int, console: Console) -> None:
        columns = TextColumn("{task.description:14}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn()
        self.bars = Progress(*columns, console=console)
        self.acked: TaskID = self.bars.add_task("acknowledged", total=total)
        self.read: TaskID = self.bars.add_task("read", total=total)

    def says(self, sentence: str) -> None:
        self.bars.console.print(sentence, highlight=False)

    def progress(self, acked: int, read: int) -> None:
        self.bars.update(self.acked, completed=acked)
        self.bars.update(self.read, completed=read)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.flights", description="Flights through two crashes.")
    parser.add_argument("--sample", type=int, help="so many flights, drawn with a fixed seed (default: all)")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="flights per second at most; 0: no limit")
    parser.add_argument("--out", type=Path, default=Path("target/flights"), help="where the picture goes")
    parser.add_argument("--timeout", type=float, default=Plan.timeout_s, help="seconds after which it gives up")
    parser.add_argument("--keep", action="store_true", help="keep the broker's data and the journals, and say where")
    return parser.parse_args()


def show(outcome: Outcome, console: Console) -> None:
    """The result, and whether pandas has the same."""
    grid = Table("", "carrier", "flights", "mean arrival delay", "pandas", box=SIMPLE)
    grid.columns[2].justify = "right"
    for row in outcome.rows:
        pandas = "equal" if row.equal else f"[red]{row.pandas_flights:,} {row.pandas_mean_delay!r}"
        grid.add_row(row.carrier, row.name, f"{row.flights:,}", repr(row.mean_delay), pandas)
    console.print(grid)
    again = "None was read a second time."
    if outcome.reread:
        again = f"{outcome.reread:,} were read a second time, behind the last acknowledged commit, and counted once."
    console.print(f"{outcome.total:,} flights in {outcome.seconds:.1f} s. {again}", highlight=False, soft_wrap=True)
    for sentence in outcome.wrong:
        console.print(f"[red]{sentence}")


def main() -> int:
    chosen = arguments()
    console = Console()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))  # so that the children are cleaned up
    plan = Plan(sample=chosen.sample, rate=chosen.rate, timeout_s=chosen.timeout)
    folder = Path(tempfile.mkdtemp(prefix="ottla-flights-"))
    total = len(table.flights(plan.sample))
    screen = Screen(total, console)
    try:
        with screen.bars:
            outcome = Story(plan, OttlaServe(folder), folder, screen).play()
        show(outcome, console)
        chosen.out.mkdir(parents=True, exist_ok=True)
        picture.draw(outcome, chosen.out / "flights.png")
        console.print(f"picture: {chosen.out / 'flights.png'}", highlight=False)
    except Failed as error:
        console.print(f"[red]{error}")
        return 1
    finally:
        if chosen.keep:
            console.print(f"kept: {folder}", highlight=False)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
