"""`kafka-console-consumer`: records of topics on stdout, through librdkafka.

Kafka: org.apache.kafka.tools.consumer.ConsoleConsumer. Without --partition it is a member of a group (of its own, whose
offsets are not committed, if --group names none). As there, a time-out is an ERROR on stderr and exit code 0. A broker
that cannot be reached ends the tool at once; Kafka's goes on trying.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from ottla.cli.kafka import words
from ottla.cli.kafka.client_settings import BadSetting
from ottla.cli.kafka.connection import NoFile, properties_of
from ottla.cli.kafka.formatters import FORMATTERS, PACKAGE, FormatError
from ottla.cli.kafka.options import Option, OptionError, OptionParser, Options, long
from ottla.cli.kafka.reading import LOGGER, NoConsumer, Reading
from ottla.cli.kafka.usage import (
    ToolExit,
    complain,
    help_or_version,
    key_values,
    log_line,
    not_both,
    one_of,
    required,
    say,
    usage_and_exit,
)
from ottla.errors import OttlaError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATTER_HELP = (
    "KEY=VALUE for the formatter, as often as needed: print.timestamp, print.key, print.offset, print.epoch, "
    "print.partition, print.headers, print.value (true or false), key.separator, line.separator, headers.separator, "
    "null.literal, key.deserializer, value.deserializer, headers.deserializer."
)

PARSER = OptionParser(
    Option("topic", "The topic to read.", "topic"),
    Option("include", "A regular expression for the names of topics to read.", "Java regex (String)"),
    Option(
        "partition", "Only this partition, from its end if --offset does not say otherwise.", "partition", "Integer"
    ),
    Option("offset", "With --partition: an offset, earliest or latest.", "consume offset", default="latest"),
    Option("consumer-property", "Older name of --command-property.", "consumer_prop"),
    Option("command-property", "KEY=VALUE: a setting of the consumer, as often as needed.", "consumer_prop"),
    Option("consumer.config", "Older name of --command-config.", "config file"),
    Option("command-config", "A file of settings of the consumer.", "config file"),
    Option("formatter", "The class that prints.", "class", default=f"{PACKAGE}DefaultMessageFormatter"),
    Option("property", "Older name of --formatter-property.", "prop"),
    Option("formatter-property", FORMATTER_HELP, "prop"),
    Option("formatter-config", "A file with properties of the formatter.", "config file"),
    Option("from-beginning", "From the first record, where the group has committed nothing."),
    Option("max-messages", "Stop after so many.", "num_messages", "Integer"),
    Option("timeout-ms", "Stop when nothing has come for so long.", "timeout_ms", "Long"),
    Option("skip-message-on-error", "Go on after a record that cannot be printed."),
    Option("bootstrap-server", "HOST:PORT,HOST:PORT. Needed.", "server to connect to"),
    Option("key-deserializer", "Class that makes text of keys.", "deserializer for key"),
    Option("value-deserializer", "Class that makes text of values.", "deserializer for values"),
    Option("enable-systest-events", "Print shutdown_complete at the end."),
    Option("isolation-level", "read_committed or read_uncommitted.", "", default="read_uncommitted"),
    Option("group", "The group to be a member of.", "consumer group id"),
)
DEPRECATED = (
    ("property", "formatter-property"),
    ("consumer-property", "command-property"),
    ("consumer.config", "command-config"),
)


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        options = PARSER.parse(arguments)
    except OptionError as error:
        usage_and_exit(PARSER, str(error))
    try:
        _check(options)
        settings = _settings(options)
        offset = _offset(options)
        timeout_ms = options.value("timeout-ms")
        formatter = _formatter(options)
        partition = options.value("partition")
    except OptionError as error:
        complain(f'Exception in thread "main" {error.kind}: {error}')
        return 1
    except NoFile as error:
        complain(f'Exception in thread "main" java.nio.file.NoSuchFileException: {error}')
        return 1
    except OttlaError as error:
        complain(f'Exception in thread "main" {words.exception(error)}')
        return 1
    try:
        reading = Reading(
            settings,
            formatter,
            max_messages=options.value("max-messages"),
            timeout_s=None if timeout_ms is None or timeout_ms < 0 else timeout_ms / 1000,
            skip_errors=options.has("skip-message-on-error"),
        )
        if partition is not None:
            reading.assign(options.value("topic"), partition, offset)
        elif options.has("topic"):
            reading.subscribe([options.value("topic")])
        else:
            reading.include(options.value("include"), settings)
        code = reading.run()
    except OptionError as error:
        complain("Processed a total of 0 messages")
        return _failed(f"{error.kind}: {error}")
    except NoConsumer as error:
        code = _failed("org.apache.kafka.common.KafkaException: Failed to construct kafka consumer")
        complain(f"Caused by: org.apache.kafka.common.errors.InvalidConfigurationException: {error}")
        return code
    except BadSetting as error:
        return _failed(f"{words.CONFIG_EXCEPTION}: {error}")
    except FormatError as error:
        return _failed(f"{error.kind}: {error}")
    except re.error as error:
        return _failed(f"java.util.regex.PatternSyntaxException: {error}: {options.value('include')}")
    except OttlaError as error:
        return _failed(words.exception(error))
    if options.has("enable-systest-events"):
        say("shutdown_complete")
    return code


def _failed(exception: str) -> int:
    log_line("ERROR", "Unknown error when running consumer: ", LOGGER)
    complain(exception)
    return 1


def _check(options: Options) -> None:
    help_or_version(options, "This tool helps to read data from Kafka topics and outputs it to standard output.")
    one_of(options, "topic", "include")
    if options.has("partition"):
        if not options.has("topic"):
            usage_and_exit(PARSER, "The topic is required when partition is specified.")
        if options.has("from-beginning") and options.has("offset"):
            usage_and_exit(PARSER, "Options from-beginning and offset cannot be specified together.")
    elif options.has("offset"):
        usage_and_exit(PARSER, "The partition is required when offset is specified.")
    required(options, "bootstrap-server")
    for old, new in DEPRECATED:
        not_both(options, new, old)
    for old, new in DEPRECATED:
        if options.has(old):
            say(f"Option --{old} is deprecated and will be removed in a future version. Use --{new} instead.")


def _settings(options: Options) -> dict[str, str]:
    settings: dict[str, str] = {}
    for name in ("consumer.config", "command-config"):
        if options.has(name):
            settings |= properties_of(options.value(name))
    extra = key_values(options.values("consumer-property") + options.values("command-property"))
    group = _group(options, settings.get("group.id"), extra.get("group.id"))
    settings |= extra
    if "auto.offset.reset" in settings:
        if options.has("from-beginning") and settings["auto.offset.reset"] != "earliest":
            complain(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset="
                f"{settings['auto.offset.reset']}', please remove one option"
            )
            raise ToolExit(1)
    else:
        settings["auto.offset.reset"] = "earliest" if options.has("from-beginning") else "latest"
    settings["bootstrap.servers"] = options.value("bootstrap-server")
    settings.setdefault("client.id", "console-consumer")
    if options.has("isolation-level") or "isolation.level" not in settings:
        settings["isolation.level"] = options.value("isolation-level")
    if group is None:
        settings["group.id"] = f"console-consumer-{random.randrange(100_000)}"
        settings.setdefault("enable.auto.commit", "false")
    else:
        settings["group.id"] = group
    return settings


def _group(options: Options, in_file: str | None, in_property: str | None) -> str | None:
    given = options.value("group") if options.has("group") else None
    found = list(dict.fromkeys(each for each in (given, in_file, in_property) if each is not None))
    if len(found) > 1:
        said = ", ".join(f"'{each}'" for each in found)
        usage_and_exit(
            PARSER,
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via "
            f"'--consumer.config') do not match. Detected group ids: {said}",
        )
    if found and options.has("partition"):
        usage_and_exit(PARSER, "Options group and partition cannot be specified together.")
    return found[0] if found else None


def _offset(options: Options) -> int | str:
    if not options.has("offset"):
        return "earliest" if options.has("from-beginning") else "latest"
    text = str(options.value("offset"))
    if text.lower() in ("earliest", "latest"):
        return text.lower()
    try:
        offset = long(text)
    except ValueError:
        offset = -1
    if offset < 0:
        usage_and_exit(
            PARSER,
            f"The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a "
            "non-negative long.",
        )
    return offset


def _formatter(options: Options) -> Any:
    name = options.value("formatter")
    if name not in FORMATTERS:
        usage_and_exit(PARSER, str(name))
    properties = properties_of(options.value("formatter-config")) if options.has("formatter-config") else {}
    for part in ("key", "value"):
        if options.value(f"{part}-deserializer"):
            properties[f"{part}.deserializer"] = options.value(f"{part}-deserializer")
    properties |= key_values(options.values("property") + options.values("formatter-property"))
    return FORMATTERS[name](properties)
