"""`ottla container`: the commands of the image. Nothing is imported before one of them runs."""

from __future__ import annotations

import os

import click

from ottla.cli.options import ExampleCommand


@click.group()
def container() -> None:
    """Run what the container image runs.

    Settings come from KAFKA_* variables, as in the known Kafka images; see docs/container.md.
    """


_words = click.argument("words", nargs=-1, metavar="[VARIABLE=value]...")
_overrides = click.option(
    "--override", "overrides", multiple=True, metavar="NAME=VALUE", help="One setting, over everything else."
)


@container.command(
    cls=ExampleCommand,
    examples="""
docker run -p 9092:9092 -e KAFKA_NUM_PARTITIONS=6 ottla
ottla container run KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://kafka:9092 --override num.partitions=6
""",
)
@_words
@_overrides
def run(words: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Run the broker the environment describes."""
    from ottla.cli.container.run import run as start

    start(words, overrides, os.environ)


@container.command(
    cls=ExampleCommand,
    examples="""
docker run --rm --env-file kafka.env ottla container show
""",
)
@_words
@_overrides
def show(words: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Print the settings the environment describes, with where each is from, and start nothing."""
    from ottla.cli.container.run import show as tell

    tell(words, overrides, os.environ)


@container.command(cls=ExampleCommand, examples="docker exec kafka ottla container health")
def health() -> None:
    """Ask the broker of this container whether it answers; ends with 0 or 1."""
    from ottla.cli.container.health import check
    from ottla.errors import NotReady

    if problem := check():
        raise NotReady(problem)
