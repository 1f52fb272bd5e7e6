"""Tables and JSON on stdout: for people when it is a terminal, for programs when it is not.

A table that is piped is plain text in aligned columns, never cut to a width; on a terminal rich folds and colours it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What stands where there is nothing.
NONE = "-"


class Cell(NamedTuple):
    """A cell that is marked on a terminal: `style` is rich's."""

    text: str
    style: str


def print_json(value: object) -> None:
    """Print one JSON document, indented."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns; those of numbers are aligned to the right, None is a dash."""
    cells = [[cell if isinstance(cell, Cell) else Cell(_text(cell), "") for cell in row] for row in rows]
    numbers = [bool(cells) and all(_is_number(row[index].text) for row in cells) for index in range(len(headers))]
    if sys.stdout.isatty():
        _print_rich(headers, cells, numbers)
        return
    widths = [max([len(header), *(len(row[index].text) for row in cells)]) for index, header in enumerate(headers)]
    for line in [list(headers), *([cell.text for cell in row] for row in cells)]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numbers, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[Cell]], numbers: Sequence[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header, right in zip(headers, numbers, strict=True):
        table.add_column(header, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    Console(highlight=False).print(table)


def _text(value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return ",".join(str(each) for each in value) or NONE
    return str(value)


def _is_number(text: str) -> bool:
    return text == NONE or text.removeprefix("-").isdigit()


def title(text: str) -> None:
    """Print a line that heads what follows, bold on a terminal."""
    click.echo(click.style(text, bold=True))


def note(text: str) -> None:
    """Print a line for people beside the output: on stderr, so that a pipe does not get it."""
    click.echo(text, err=True)
