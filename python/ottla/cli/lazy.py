"""A group whose commands are loaded when they are run: `ottla --help` and `ottla topic list` pay for nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Lazy(NamedTuple):
    """Where a command is defined, and the line it has in its group's help (the first of its own)."""

    place: str
    help: str


class LazyGroup(click.Group):
    """A group of commands known by name and line of help alone."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names: those that are here, then the others, in the order of the table."""
        return [*super().list_commands(ctx), *(name for name in self.lazy if name not in self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command."""
        found = self.lazy.get(cmd_name)
        if found is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = found.place.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading them."""
        rows: list[tuple[str, str]] = []
        of_kafka: list[tuple[str, str]] = []
        for name in self.list_commands(ctx):
            if name in self.lazy:
                (of_kafka if name.startswith("kafka-") else rows).append((name, self.lazy[name].help))
            else:
                command = self.commands[name]
                if not command.hidden:
                    rows.append((name, command.get_short_help_str(limit=100)))
        for title, commands in (("Commands", rows), ("Kafka's commands, with its flags and output", of_kafka)):
            if commands:
                with formatter.section(title):
                    formatter.write_dl(commands)
