"""Tables: plain and whole in a pipe, folded and coloured on a terminal."""

from __future__ import annotations

import sys

import pytest

from ottla.cli.output import Cell, print_table

LONG = "x" * 300
ROWS: list[list[object]] = [["a", 1, None, ["p", "q"]], [Cell(LONG, "red"), 1000, True, []]]
HEADERS = ["NAME", "N", "MAYBE", "LIST"]


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Aligned, numbers to the right, nothing cut at any width, no colours."""
    print_table(HEADERS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "N", "MAYBE", "LIST"],
        ["a", "1", "-", "p,q"],
        [LONG, "1000", "yes", "-"],
    ]
    assert lines[1].index("1") == lines[2].index("1000") + 3
    assert all(line == line.rstrip() for line in lines)


def test_a_table_without_rows_still_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    """So that nothing found is not mistaken for nothing done."""
    print_table(HEADERS, [])
    assert capsys.readouterr().out == "NAME  N  MAYBE  LIST\n"


def test_a_terminal_gets_what_fits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Long cells fold, and markup in a name is a name."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    print_table(HEADERS, [*ROWS, ["[bold]b", 2, False, []]])
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if "\x1b" not in line) <= 60
    assert out.count("x") == 300
    assert "[bold]b" in out
