"""`ottla container`: the commands of the image. Nothing is imported before one of them runs."""

from __future__ import annotations

import os

import click


@click.group(hidden=True)
def container() -> None:
    """What the container image runs: settings come from KAFKA_* variables. See docs/container.md."""


_words = click.argument("words", nargs=-1, metavar="[VARIABLE=value]...")
_overrides = click.option(
    "--override", "overrides", multiple=True, metavar="NAME=VALUE", help="One setting, over everything else."
)


@container.command()
@_words
@_overrides
def run(words: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Run the broker the environment describes.

    For example: docker run -p 9092:9092 -e KAFKA_NUM_PARTITIONS=6 ottla
    """
    from ottla.cli.container.run import run as start

    start(words, overrides, os.environ)


@container.command()
@_words
@_overrides
def show(words: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Print the settings the environment describes, with where each is from, and start nothing.

    For example: docker run --rm --env-file kafka.env ottla container show
    """
    from ottla.cli.container.run import show as tell

    tell(words, overrides, os.environ)


@container.command()
def health() -> None:
    """Ask the broker of this container whether it answers; ends with 0 or 1."""
    from ottla.cli.container.health import check
    from ottla.errors import NotReady

    if problem := check():
        raise NotReady(problem)
