"""What Kafka's tools have in common: checks of options, the ways to end, lines of the log.

Kafka: org.apache.kafka.server.util.CommandLineUtils. A complaint about options is its sentence and the help page on
stderr, and exit code 1; so is `--help`, and a tool without any word.
"""

from __future__ import annotations

import re
import sys
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from ottla.cli.kafka import KAFKA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ottla.cli.kafka.options import OptionParser, Options


class ToolExit(Exception):
    """A tool ends here, with this exit code; what there was to say is said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def say(*lines: str) -> None:
    """Print lines on stdout."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


def complain(*lines: str) -> None:
    """Print lines on stderr."""
    sys.stdout.flush()
    for line in lines:
        sys.stderr.write(f"{line}\n")


def log_line(level: str, text: str, logger: str) -> None:
    """Print a line as Kafka's tools log it (config/tools-log4j2.yaml)."""
    now = datetime.now().astimezone()
    complain(f"[{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03}] {level} {text} ({logger})")


def usage_and_exit(parser: OptionParser, sentence: str) -> NoReturn:
    """Print the sentence and the help page, and end with 1."""
    complain(sentence)
    sys.stderr.write(parser.help())
    raise ToolExit(1)


def help_or_version(options: Options, sentence: str) -> None:
    """Print the help page if it was asked for or nothing was, the version if that was."""
    if options.empty or options.has("help"):
        usage_and_exit(options.parser, sentence)
    if options.has("version"):
        say(KAFKA_VERSION)
        raise ToolExit(0)


def required(options: Options, *names: str) -> None:
    """Refuse if one is missing."""
    for name in names:
        if not options.has(name):
            usage_and_exit(options.parser, f'Missing required argument "[{name}]"')


def not_with(options: Options, name: str, others: Iterable[str]) -> None:
    """Refuse if the option stands beside one of the others."""
    if options.has(name):
        for other in others:
            if options.has(other):
                usage_and_exit(options.parser, f'Option "[{name}]" can\'t be used with option "[{other}]"')


def one_of(options: Options, *names: str) -> None:
    """Refuse unless exactly one was given."""
    if sum(options.has(name) for name in names) != 1:
        usage_and_exit(
            options.parser,
            f"Exactly one of the following arguments is required: {', '.join(f'[{name}]' for name in names)}",
        )


def not_both(options: Options, name: str, other: str) -> None:
    """Refuse a flag beside the older one it replaces."""
    if options.has(name) and options.has(other):
        usage_and_exit(options.parser, f"Options --{name} and --{other} cannot be specified together.")


def key_values(arguments: Sequence[str]) -> dict[str, str]:
    """Read KEY=VALUE words; a key alone has an empty value."""
    found = {}
    for word in arguments:
        key, _, value = word.partition("=")
        found[key] = value
    return found


class InvalidPattern(Exception):
    """A regular expression that cannot be read; the text is the tool's sentence."""


class TopicPattern:
    """Names of topics as the tools select them: a regular expression, where a comma means "or".

    Kafka: org.apache.kafka.tools.filter.TopicFilter.
    """

    def __init__(self, text: str) -> None:
        regex = text.strip().replace(",", "|").replace(" ", "")
        regex = re.sub(r"[\"']+$", "", re.sub(r"^[\"']+", "", regex))
        try:
            self._pattern = re.compile(regex)
        except re.error as error:
            raise InvalidPattern(f"{regex} is an invalid regex.") from error

    def allows(self, topic: str) -> bool:
        """Tell whether the whole name fits."""
        return self._pattern.fullmatch(topic) is not None
