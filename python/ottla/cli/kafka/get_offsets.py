"""`kafka-get-offsets`: offsets of partitions, as topic:partition:offset.

Kafka: org.apache.kafka.tools.GetOffsetShell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ottla.cli.kafka import words
from ottla.cli.kafka.connection import NoFile, admin, command_config
from ottla.cli.kafka.options import INT_MAX, Option, OptionError, OptionParser, Options, integer, long
from ottla.cli.kafka.usage import (
    InvalidPattern,
    TopicPattern,
    complain,
    help_or_version,
    required,
    say,
    usage_and_exit,
)
from ottla.errors import InvalidInput, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.admin import Admin

TITLE = "An interactive shell for getting topic-partition offsets."
TIMES = {
    "latest": -1,
    "earliest": -2,
    "max-timestamp": -3,
    "earliest-local": -4,
    "latest-tiered": -5,
    "earliest-pending-upload": -6,
}
RULE = re.compile(r"([^:,]*)(?::(?:([0-9]*)|(?:([0-9]*)-([0-9]*))))?")

PARSER = OptionParser(
    Option("bootstrap-server", "HOST:PORT,HOST:PORT. Needed.", "HOST1:PORT1,...,HOST3:PORT3"),
    Option(
        "topic-partitions",
        "Patterns, separated by commas: TOPIC, TOPIC:N, TOPIC:N-M (without M), TOPIC:N-, TOPIC:-M; TOPIC is a regular "
        "expression, without it all topics are meant.",
        "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
    ),
    Option("topic", "A regular expression for the names of topics.", "topic"),
    Option("partitions", "Numbers of partitions, separated by commas.", "partition ids"),
    Option("time", f"Milliseconds since 1970, or one of {', '.join(TIMES)} (-1 to -6).", "timestamp", default="latest"),
    Option("command-config", "A file of client settings.", "config file"),
    Option("exclude-internal-topics", "Leave internal topics out."),
)


class Refused(Exception):
    """What was asked for cannot be; the text is the tool's sentence."""


class Rule(NamedTuple):
    """Topics by pattern, and of those which partitions: a set, or from a first up to (without) a last."""

    pattern: TopicPattern
    partitions: frozenset[int] | None
    first: int = 0
    last: int = INT_MAX

    def allows(self, topic: str, partition: int) -> bool:
        """Tell whether a partition is meant."""
        if not self.pattern.allows(topic):
            return False
        if self.partitions is not None:
            return partition in self.partitions
        return self.first <= partition < self.last


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        if not arguments:
            usage_and_exit(PARSER, TITLE)
        options = PARSER.parse(arguments)
        _check(options)
        if options.has("topic-partitions") and (options.has("topic") or options.has("partitions")):
            raise Refused("--topic-partitions cannot be used with --topic or --partitions")
        moment = _moment(options.value("time"))
        rules = _rules(options)
        with admin(options.value("bootstrap-server"), command_config(options), client_id="GetOffsetShell") as client:
            _print(client, rules, moment, internal=not options.has("exclude-internal-topics"))
    except (OptionError, Refused, InvalidPattern) as error:
        complain(f"Error occurred: {error}")
        return 1
    except NoFile as error:
        complain(f"Error occurred: {error}", f"java.nio.file.NoSuchFileException: {error}")
        return 1
    except OttlaError as error:
        said = words.exception(error)
        complain(f"Error occurred: {said}", f"java.util.concurrent.ExecutionException: {said}")
        return 1
    return 0


def _check(options: Options) -> None:
    from ottla.admin import parse_bootstrap

    help_or_version(options, TITLE)
    required(options, "bootstrap-server")
    try:
        parse_bootstrap(options.value("bootstrap-server"))
    except InvalidInput:
        usage_and_exit(PARSER, "Please provide valid host:port like host1:9091,host2:9092")


def _moment(text: str) -> int:
    if text in TIMES:
        return TIMES[text]
    try:
        return long(text)
    except ValueError as error:
        said = " / ".join(f"{number} or {name}" for name, number in TIMES.items())
        raise Refused(
            f"Malformed time argument {text}. Please use {said}, or a specified long format timestamp"
        ) from error


def _rules(options: Options) -> list[Rule]:
    if options.has("topic-partitions"):
        return [_rule(text) for text in options.value("topic-partitions").split(",")]
    text = options.value("partitions")
    try:
        numbers = frozenset(integer(number) for number in text.split(",")) if text else None
    except ValueError as error:
        raise Refused(
            f"--partitions expects a comma separated list of numeric partition ids, but received: {text}"
        ) from error
    return [Rule(TopicPattern(options.value("topic") or ".*"), numbers)]


def _rule(text: str) -> Rule:
    match = RULE.fullmatch(text)
    if match is None:
        raise Refused(f"Invalid rule specification: {text}")
    pattern = TopicPattern(match[1] or ".*")
    try:
        if match[2]:
            return Rule(pattern, frozenset({integer(match[2])}))
        return Rule(pattern, None, integer(match[3] or "0"), integer(match[4] or str(INT_MAX)))
    except ValueError as error:
        raise Refused(f'For input string: "{error.args[0]}"') from error


def _print(client: Admin, rules: list[Rule], moment: int, *, internal: bool) -> None:
    from ottla.admin import TopicPartition

    places = [
        TopicPartition(topic.name, index)
        for topic in client.list_topics()
        if internal or not topic.internal
        for index in range(topic.partitions)
        if any(rule.allows(topic.name, index) for rule in rules)
    ]
    if not places:
        raise Refused("Could not match any topic-partitions with the specified filters")
    found = client.list_offsets(dict.fromkeys(places, moment))
    # Kafka's tool orders them as text: partition 10 before partition 2.
    for place, at in sorted(found.items(), key=lambda row: str(row[0])):
        if isinstance(at, RequestError):
            complain(f"Skip getting offsets for topic-partition {place} due to error: {words.exception(at)}")
        elif at.offset >= 0:
            say(f"{place.topic}:{place.partition}:{at.offset}")
