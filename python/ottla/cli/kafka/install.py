"""`ottla install-tools`: Kafka's commands as scripts, for shells, scripts and images that look for them by name."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from ottla.cli.kafka.names import TOOLS
from ottla.cli.options import ExampleCommand
from ottla.cli.output import note
from ottla.errors import InvalidInput

MARK = "Written by `ottla install-tools`"


@click.command(
    cls=ExampleCommand,
    examples="""
ottla install-tools ~/.local/bin
ottla install-tools /opt/kafka/bin && /opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:9092 --list
""",
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--force", is_flag=True, help="Replace files of these names that something else has put there.")
def install_tools(directory: Path, force: bool) -> None:
    """Write Kafka's commands, kafka-topics.sh and others, into a directory.

    Each as NAME, NAME.sh and NAME.bat: a few lines that run this Python's ottla.
    """
    scripts = {
        directory / f"{name}{ending}": text
        for name in TOOLS
        for ending, text in (("", shell_script(name)), (".sh", shell_script(name)), (".bat", batch_script(name)))
    }
    strange = [path for path in scripts if not force and path.exists() and not _is_ours(path)]
    if strange:
        raise InvalidInput(
            f"{strange[0]} is there already and not from `ottla install-tools`: nothing was written; choose another "
            "directory, or replace it with --force"
        )
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in scripts.items():
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text, newline="")
        partial.chmod(0o755)
        partial.replace(path)
    note(f"{len(TOOLS)} commands in {directory}: {', '.join(TOOLS)}")


def shell_script(name: str) -> str:
    """Give the script for a POSIX shell. -P: no module is taken from the directory it is called in."""
    return f'#!/bin/sh\n# {MARK}.\nexec {shlex.quote(sys.executable)} -P -m ottla {name} "$@"\n'


def batch_script(name: str) -> str:
    """Give the script for Windows."""
    interpreter = sys.executable.replace("%", "%%")
    return f'@echo off\r\nrem {MARK}.\r\n"{interpreter}" -P -m ottla {name} %*\r\n'


def _is_ours(path: Path) -> bool:
    try:
        return MARK in path.read_text(errors="replace")[:2000]
    except OSError:
        return False
