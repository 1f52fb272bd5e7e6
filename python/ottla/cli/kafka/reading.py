"""The consumer of kafka-console-consumer: what it subscribes to, prints and commits, and where it stops."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ottla.cli.kafka import words
from ottla.cli.kafka.client_settings import made, number, translated
from ottla.cli.kafka.connection import admin
from ottla.cli.kafka.formatters import FormatError, Record
from ottla.cli.kafka.usage import complain, log_line
from ottla.errors import ErrorCode, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGGER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
BATCH = 500
COMMITTED_TIMEOUT_S = 10
TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
POLL_S = 0.5
TIMESTAMP_TYPES = {1: "CreateTime", 2: "LogAppendTime"}
METADATA_MAX_AGE_MS_DEFAULT = 300_000
CLOSE_TIMEOUT_S = 30
CONSUMER_GROUP_HEARTBEAT = 68


class _Signalled(Exception):
    """SIGINT or SIGTERM."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class NoConsumer(Exception):
    """A consumer cannot be made; the text says why."""


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
        if not settings["group.id"].strip():
            # librdkafka would end the process.
            raise NoConsumer("The configured group.id should not be an empty string or whitespace.")
        self._ask = admin(settings["bootstrap.servers"], settings, client_id="console-consumer")
        with self._ask:
            self._ask.describe_cluster()
            self._unsupported = (
                translation.get("group.protocol") == "consumer"
                and CONSUMER_GROUP_HEARTBEAT not in self._ask.api_versions()
            )
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
        self._cooperative = translation.get("group.protocol") == "consumer" or "cooperative" in translation.get(
            "partition.assignment.strategy", ""
        )
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
        if self._group and self._unsupported:
            # librdkafka asks on and on, and says nothing.
            raise _Ended(
                f"{words.exception_class(ErrorCode.UNSUPPORTED_VERSION)}: The cluster does not support the new "
                "CONSUMER group protocol. Set group.protocol=classic on the consumer configs to revert to the "
                "CLASSIC protocol until the cluster is upgraded."
            )
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
