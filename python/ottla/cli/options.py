"""Options that several commands share, and types that say what would be right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.admin import Admin

F = TypeVar("F", bound="Callable[..., Any]")

SERVER_DEFAULT = "localhost:9092"
SERVER_VARIABLE = "OTTLA_BOOTSTRAP_SERVER"
TIMEOUT_S_DEFAULT = 15.0
TIMEOUT_S_MAX = 3600.0

TOPIC_NAME_LENGTH_MAX = 249
_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]+")


# Types of options are functions: click names the option in front of what they say.


def whole(least: int, most: int) -> Callable[[Any], int]:
    """Give a type for whole numbers between two bounds."""

    def convert(value: Any) -> int:
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise click.BadParameter(f"'{value}' is no whole number from {least} to {most}.")
        return number

    convert.__name__ = "N"
    return convert


def seconds(value: Any) -> float:
    """Read a number of seconds, parts of one too."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number <= TIMEOUT_S_MAX:
        raise click.BadParameter(f"'{value}' is no number of seconds above 0 and up to {TIMEOUT_S_MAX:.0f}.")
    return number


def servers(value: Any) -> str:
    """Check HOST:PORT,HOST:PORT."""
    from ottla.admin import parse_bootstrap
    from ottla.errors import InvalidInput

    try:
        parse_bootstrap(value)
    except InvalidInput as error:
        raise click.BadParameter(f"{error}.") from error
    return str(value)


def topic_name(value: Any) -> str:
    """Check a name by Kafka's rules, here, so that nothing is sent with a name that cannot be."""
    if not _TOPIC_NAME.fullmatch(value) or value in (".", "..") or len(value) > TOPIC_NAME_LENGTH_MAX:
        raise click.BadParameter(
            f"'{value}' is no name of a topic: 1 to {TOPIC_NAME_LENGTH_MAX} letters, digits, '.', '_' and '-', "
            "and neither '.' nor '..'."
        )
    return str(value)


def assignment(value: Any) -> tuple[str, str]:
    """Split NAME=VALUE at the first equals sign."""
    if isinstance(value, tuple):
        return value
    name, equals, text = str(value).partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"'{value}' is not NAME=VALUE.")
    return name.strip(), text


def connected(command: F) -> F:
    """Add where to connect and how long to wait: `server` and `timeout` in seconds."""
    command = click.option(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        default=TIMEOUT_S_DEFAULT,
        show_default=True,
        help="How long the broker may take to answer.",
    )(command)
    return click.option(
        "-b",
        "--bootstrap-server",
        "server",
        type=servers,
        metavar="HOST:PORT",
        default=SERVER_DEFAULT,
        show_default=True,
        envvar=SERVER_VARIABLE,
        show_envvar=True,
        help="Where the cluster is found; several, separated by commas.",
    )(command)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")


def admin(server: str, timeout: float) -> Admin:
    """Give the client for a command."""
    from ottla.admin import CONNECT_TIMEOUT_MS, Admin

    timeout_ms = max(1, round(timeout * 1000))
    return Admin(server, timeout_ms=timeout_ms, connect_timeout_ms=min(CONNECT_TIMEOUT_MS, timeout_ms))


def no_doubles(kind: str) -> Callable[[click.Context, click.Parameter, tuple[Any, ...]], tuple[Any, ...]]:
    """Give a callback that refuses a value that stands there twice."""

    def check(ctx: click.Context, param: click.Parameter, values: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [value[0] if isinstance(value, tuple) else value for value in values]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise click.BadParameter(f"{kind} '{twice}' stands there twice.", ctx, param)
        return values

    return check


def settings_option(*names: str, said: str) -> Callable[[F], F]:
    """Give an option that takes NAME=VALUE as often as it is written, each name once."""
    return click.option(
        *names, type=assignment, metavar="NAME=VALUE", multiple=True, callback=no_doubles("setting"), help=said
    )


def names_option(*names: str, said: str) -> Callable[[F], F]:
    """Give an option that takes the name of a setting as often as it is written, each once."""
    return click.option(*names, metavar="NAME", multiple=True, callback=no_doubles("setting"), help=said)


class ExampleCommand(click.Command):
    """A command whose help ends with examples, as typed."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples.strip("\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.splitlines():
                    formatter.write(f"  {line}\n")
