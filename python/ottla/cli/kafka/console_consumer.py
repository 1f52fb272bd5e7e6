"""`kafka-console-consumer`: records of topics on stdout, through librdkafka.

Kafka: org.apache.kafka.tools.consumer.ConsoleConsumer. Without --partition it is a member of a group (of its own, whose
offsets are not committed, if --group names none). As there, a time-out is an ERROR on stderr and exit code 0. A broker
that cannot be reached ends the tool at once; Kafka's goes on trying.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ottla.cli.kafka import words
from ottla.cli.kafka.client_settings import BadSetting, made, number, translated
from ottla.cli.kafka.connection import NoFile, admin, properties_of
from ottla.cli.kafka.formatters import FORMATTERS, PACKAGE, FormatError, Record
from ottla.cli.kafka.options import Option, OptionError, OptionParser, Options, long
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
from ottla.errors import ErrorCode, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOGGER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
BATCH = 500
COMMITTED_TIMEOUT_S = 10
TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
POLL_S = 0.5
TIMESTAMP_TYPES = {1: "CreateTime", 2: "LogAppendTime"}
METADATA_MAX_AGE_MS_DEFAULT = 300_000
CLOSE_TIMEOUT_S = 30
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


class _Signalled(Exception):
    """SIGINT or SIGTERM."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class _Ended(Exception):
    """Reading cannot go on; the text is the exception Kafka's consumer would throw."""


class Reading:
    """A consumer and where it stops."""

    def __init__(
        self,
        settings: dict[str, str],
        formatter: Any,
        *,
        max_messages: int | None,
        timeout_s: float | None,
        skip_errors: bool,
    ) -> None:
        import logging

        from ottla.cli import librdkafka

        translation = translated(settings)
        self._ask = admin(settings["bootstrap.servers"], settings, client_id="console-consumer")
        with self._ask:
            self._ask.describe_cluster()
        quiet = logging.getLogger("ottla.librdkafka")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        self._librdkafka = librdkafka
        self._client = librdkafka.load()
        # As Kafka's consumer: it asks for topics in a way that creates them.
        translation.setdefault("allow.auto.create.topics", "true")
        translation["enable.auto.offset.store"] = False
        self._consumer = made(
            lambda config: self._client.Consumer(config | {"logger": quiet}), translation, self._client.KafkaException
        )
        self._formatter = formatter
        self._max_messages = None if max_messages is None or max_messages == -1 else max_messages
        self._timeout_s = timeout_s
        self._skip_errors = skip_errors
        self._group = True
        self._commits = translation.get("enable.auto.commit", "true") == "true"
        self._reset = translation["auto.offset.reset"]
        self._cooperative = "cooperative" in translation.get("partition.assignment.strategy", "")
        self._topics: list[str] = []
        self._pattern: re.Pattern[str] | None = None
        self._with_internal = False
        self._max_age_s = 0.0
        self._look_again_at = 0.0
        self._count = 0

    def subscribe(self, topics: list[str]) -> None:
        """Become a member of the group."""
        self._topics = topics
        # A name that no topic can have is refused in `run`; librdkafka would take one with a ^ for a pattern.
        if all(TOPIC_NAME.fullmatch(topic) for topic in topics):
            self._consumer.subscribe(topics, on_assign=self._assigned)

    def include(self, pattern: str, settings: Mapping[str, str]) -> None:
        """Become a member of the group, for topics by a pattern; raises `re.error`.

        As in Kafka's consumer the whole name has to fit, and what is there is looked at again every
        metadata.max.age.ms. (librdkafka's own patterns are POSIX's, without lookahead and short words for digits.)
        """
        self._pattern = re.compile(pattern)
        self._with_internal = settings.get("exclude.internal.topics", "true").strip().lower() == "false"
        self._max_age_s = number(settings, "metadata.max.age.ms", METADATA_MAX_AGE_MS_DEFAULT) / 1000
        self._look()

    def _look(self) -> None:
        assert self._pattern is not None
        self._look_again_at = time.monotonic() + self._max_age_s
        with self._ask:
            there = self._ask.list_topics()
        found = [
            topic.name
            for topic in there
            if (self._with_internal or not topic.internal) and self._pattern.fullmatch(topic.name)
        ]
        if found != self._topics and found:
            self.subscribe(found)

    def _look_again(self) -> None:
        if self._pattern is not None and time.monotonic() >= self._look_again_at:
            # A broker that is away does not end a consumer.
            with suppress(OttlaError):
                self._look()

    def _assigned(self, consumer: Any, places: list[Any]) -> None:
        """Settle where partitions begin of which the group has committed nothing.

        Kafka's consumer commits that too, so that the next member goes on there even if this one prints nothing of it.
        """
        if self._reset not in ("earliest", "latest"):
            return
        settled, begin = [], []
        for place in consumer.committed(places, COMMITTED_TIMEOUT_S):
            if place.offset < 0:
                first, last = consumer.get_watermark_offsets(place, COMMITTED_TIMEOUT_S)
                place.offset = first if self._reset == "earliest" else last
                settled.append(place)
            begin.append(place)
        (consumer.incremental_assign if self._cooperative else consumer.assign)(begin)
        if settled and self._commits:
            consumer.store_offsets(offsets=settled)

    def assign(self, topic: str, partition: int, offset: int | str) -> None:
        """Read one partition."""
        self._topics = [topic]
        self._group = False
        place = self._end(topic, partition, offset) if isinstance(offset, str) else offset
        self._consumer.assign([self._client.TopicPartition(topic, partition, place)])

    def _end(self, topic: str, partition: int, which: str) -> Any:
        """Ask for an offset here: librdkafka's own way of asking takes half a second."""
        from ottla.admin import EARLIEST, LATEST, TopicPartition

        place = TopicPartition(topic, partition)
        with self._ask:
            found = self._ask.list_offsets({place: EARLIEST if which == "earliest" else LATEST})[place]
        if isinstance(found, RequestError):
            return self._client.OFFSET_BEGINNING if which == "earliest" else self._client.OFFSET_END
        return found.offset

    def run(self) -> int:
        """Print until it is time to stop; gives the exit code."""
        before = {number: signal.signal(number, _signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        code = 0
        try:
            self._print()
        except _Signalled as told:
            code = 128 + told.number
        except _Ended as ended:
            log_line("ERROR", "Error processing message, terminating consumer process: ", LOGGER)
            complain(str(ended))
        except self._client.KafkaException as error:
            # Of what is asked while partitions are assigned.
            log_line("ERROR", "Error processing message, terminating consumer process: ", LOGGER)
            complain(f"org.apache.kafka.common.KafkaException: {error.args[0]}")
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            complain("Unable to write to standard out, closing consumer.")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._librdkafka.close_within(self._consumer, CLOSE_TIMEOUT_S)
            complain(f"Processed a total of {self._count} messages")
        return code

    def _print(self) -> None:
        if any(not TOPIC_NAME.fullmatch(topic) for topic in self._topics):
            raise self._invalid_topics()
        last = time.monotonic()
        while self._max_messages is None or self._count < self._max_messages:
            self._look_again()
            most = BATCH if self._max_messages is None else min(BATCH, self._max_messages - self._count)
            left_s = POLL_S
            if self._timeout_s is not None:
                left_s = min(POLL_S, max(0.0, last + self._timeout_s - time.monotonic()))
            first = self._consumer.poll(left_s)
            if first is None:
                if self._timeout_s is not None and time.monotonic() - last >= self._timeout_s:
                    raise _Ended("org.apache.kafka.common.errors.TimeoutException")
                continue
            messages = [first, *(self._consumer.consume(most - 1, 0) if most > 1 else ())]
            printed = [message for message in messages if self._wanted(message)]
            for message in printed:
                self._write(message)
            # What is committed must have been printed.
            sys.stdout.buffer.flush()
            if printed:
                last = time.monotonic()
                if self._group:
                    for message in printed:
                        # A partition that went to another member meanwhile: that one reads the record again.
                        with suppress(self._client.KafkaException):
                            self._consumer.store_offsets(message)

    def _invalid_topics(self) -> _Ended:
        name = words.exception_class(ErrorCode.INVALID_TOPIC_EXCEPTION)
        return _Ended(f"{name}: Invalid topics: [{', '.join(self._topics)}]")

    def _write(self, message: Any) -> None:
        self._count += 1
        try:
            sys.stdout.buffer.write(self._formatter.write(record_of(message)))
        except FormatError as error:
            if not self._skip_errors:
                raise
            log_line("ERROR", "Error processing message, skipping this message: ", LOGGER)
            complain(f"{error.kind}: {error}")

    def _wanted(self, message: Any) -> bool:
        error = message.error()
        if error is None:
            return True
        code = error.code()
        if code == ErrorCode.INVALID_TOPIC_EXCEPTION:
            raise self._invalid_topics()
        passing = {
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode.LEADER_NOT_AVAILABLE,
            self._client.KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the names librdkafka gives its own errors
            self._client.KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
            self._client.KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
            self._client.KafkaError._TRANSPORT,  # noqa: SLF001
            self._client.KafkaError._PARTITION_EOF,  # noqa: SLF001
        }
        if code in passing or error.retriable():
            return False
        if code > 0 and code in ErrorCode.__members__.values():
            raise _Ended(words.exception(RequestError(ErrorCode(code), error.str())))
        raise _Ended(f"org.apache.kafka.common.KafkaException: {error.str()} ({error.name()})")


def record_of(message: Any) -> Record:
    """Give what the formatters take."""
    kind, timestamp = message.timestamp()
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        TIMESTAMP_TYPES.get(kind),
        timestamp,
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
    )


def _signalled(number: int, _frame: Any) -> None:
    raise _Signalled(number)
