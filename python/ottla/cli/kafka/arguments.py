"""Words with subcommands, for the tools that argparse4j reads in Kafka: Python's argparse is where it comes from.

What is wrong is said below a line of usage on stderr, with exit code 1 where Python's own would be 2.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from ottla.cli.kafka.usage import ToolExit, complain

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Parser(argparse.ArgumentParser):
    tool = ""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with 1."""
        # argparse4j names one at a time, the last first.
        _, several, names = message.partition("the following arguments are required: ")
        if several:
            message = f"argument {names.rpartition(', ')[2]} is required"
        complain(self.format_usage().rstrip(), f"{self.tool}: error: {message}")
        raise ToolExit(1)


class Arguments:
    """A tool with subcommands. `help_code` is what it ends with after its own help page."""

    def __init__(self, tool: str, title: str, *, help_code: int = 0) -> None:
        _Parser.tool = tool
        self._help_code = help_code
        self._parser = _Parser(prog=tool, description=title, allow_abbrev=False)
        self._commands = self._parser.add_subparsers(dest="command")

    def option(self, *names: str, **described: Any) -> None:
        """Add an option that stands in front of the subcommand."""
        self._parser.add_argument(*names, **described)

    def command(self, name: str, said: str) -> Any:
        """Add a subcommand."""
        return self._commands.add_parser(name, help=said, description=said, allow_abbrev=False)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Read the words."""
        if not arguments:
            self._parser.error("too few arguments")
        try:
            told, unknown = self._parser.parse_known_args(list(arguments))
        except SystemExit as ended:
            # After a help page.
            sys.stdout.flush()
            raise ToolExit(self._help_code) from ended
        if unknown:
            self._parser.error(f"unrecognized arguments: '{' '.join(unknown)}'")
        if told.command is None:
            self._parser.error("too few arguments")
        return told
