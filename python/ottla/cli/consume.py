"""`ottla consume`: the records of a topic, through librdkafka.

Without --group nobody notices: partitions are read from where was said, and nothing is committed. With --group this is
a member like any other, and what was printed is committed, at the latest when the command ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ottla.cli.options import ExampleCommand, admin, assignment, connected, seconds, topic_name, whole
from ottla.cli.output import note
from ottla.cli.times import moment
from ottla.errors import ErrorCode, OttlaError, RequestError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from ottla.admin import Admin, Topic
    from ottla.cli.records import In

FORMATS = "value, long, json, or a template: %t topic, %p partition, %o offset, %k key, %s value, %h headers, ..."
POLL_S = 0.5
BATCH = 500
# A topic that is deleted while it is read is noticed when librdkafka asks for metadata; on its own every five minutes.
METADATA_REFRESH_MS = 10_000
# What librdkafka tells beside the records; everything else it gets over by trying again.
_GONE = frozenset({"UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"})
_FINAL = frozenset({"_AUTHENTICATION", "_SSL", "TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"})
_TIMESTAMP_TYPES = {1: "CreateTime", 2: "LogAppendTime"}


class ConsumeFailed(OttlaError):
    """The broker does not let us go on reading."""


@click.command(
    cls=ExampleCommand,
    examples="""
ottla consume orders --from-beginning
ottla consume orders --group billing --max-messages 100
ottla consume orders --time 15m --format '%T %k: %s\\n'
ottla consume orders --partition 0 --offset -10 --until-end --json
""",
)
@click.argument("topic", type=topic_name, metavar="TOPIC")
@click.option("--from-beginning", is_flag=True, help="From the first record; with --group where nothing is committed.")
@click.option("-g", "--group", metavar="GROUP", help="Be a member of this group, and commit what was printed.")
@click.option("-p", "--partition", "partitions", type=whole(0, 2**31 - 1), multiple=True, help="Only this partition.")
@click.option(
    "-o", "--offset", metavar="OFFSET", help="From an offset, earliest, latest, or -N: the last N of each partition."
)
@click.option(
    "--time", "since", type=moment, metavar="TIME", help="From the first record since then: 15m, 2026-11-21, ..."
)
@click.option("-n", "--max-messages", type=whole(1, 2**63 - 1), help="Stop after so many.")
@click.option("-e", "--until-end", is_flag=True, help="Stop at what is the end when the command starts.")
@click.option("--idle", type=seconds, metavar="SECONDS", help="Stop when nothing has come for so long.")
@click.option("-f", "--format", "form", default="value", show_default=True, metavar="FORMAT", help=FORMATS)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per record; short for --format json.")
@click.option("-K", "--key-separator", metavar="TEXT", help="Print key, TEXT and value; \\t is a tab.")
@click.option("--read-uncommitted", is_flag=True, help="Records of transactions too that are open or were aborted.")
@click.option(
    "-X",
    "properties",
    type=assignment,
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting of librdkafka, such as fetch.wait.max.ms=100.",
)
@connected
def consume(
    topic: str,
    from_beginning: bool,
    group: str | None,
    partitions: tuple[int, ...],
    offset: str | None,
    since: int | None,
    max_messages: int | None,
    until_end: bool,
    idle: float | None,
    form: str,
    as_json: bool,
    key_separator: str | None,
    read_uncommitted: bool,
    properties: tuple[tuple[str, str], ...],
    server: str,
    timeout: float,
) -> None:
    """Print the records of a topic.

    New ones as they come, until Ctrl-C, if nothing else is said.
    """
    from ottla.cli import librdkafka

    starts = [name for name, given in _starts(from_beginning, offset, since) if given]
    if len(starts) > 1:
        raise click.UsageError(f"{' and '.join(starts)} contradict each other: give one of them.")
    if group is not None and (partitions or offset is not None or since is not None):
        raise click.UsageError(
            "--group goes on where the group stopped, in the partitions it is given: leave --partition, --offset and "
            "--time out, or set the group first with `ottla group reset`."
        )
    if group is not None and until_end:
        raise click.UsageError("--until-end needs all partitions, a member of a group has some: use --idle SECONDS.")
    if any(name == "group.id" for name, _ in properties):
        raise click.UsageError("-X group.id: --group GROUP names the group.")
    if group == "":
        raise click.UsageError("--group is empty: a group has a name.")
    start = Start.parse("earliest" if from_beginning else offset, since)
    line = line_of(form, as_json=as_json, key_separator=key_separator)
    client = librdkafka.load()

    with admin(server, timeout) as ask:
        found = ask.describe_topics([topic])[topic]
        if isinstance(found, RequestError):
            raise RequestError(found.code, f"topic {topic}: {found.message}")
        places = {} if group is not None else start.places(ask, found, sorted(set(partitions)))
        ends = end_offsets(ask, topic, places, read_committed=not read_uncommitted) if until_end else None

    config = librdkafka.client_config(
        server,
        properties,
        # Without a group nothing is joined or committed under this name.
        group_id=group if group is not None else "ottla-consume",
        enable_auto_commit=group is not None,
        enable_auto_offset_store=False,
        # Without a group: records that retention takes away under the reader are skipped, not those after them.
        auto_offset_reset="earliest" if from_beginning or group is None else "latest",
        isolation_level="read_uncommitted" if read_uncommitted else "read_committed",
        # Where the last offsets are markers of transactions no record comes, but this event does.
        enable_partition_eof=until_end,
        topic_metadata_refresh_interval_ms=METADATA_REFRESH_MS,
    )

    def exists() -> bool:
        """Whether the topic is still there, as far as anybody can tell."""
        try:
            with admin(server, timeout) as ask:
                found = ask.describe_topics([topic])[topic]
        except (RequestError, Unreachable):
            return True
        return not isinstance(found, RequestError) or found.code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    reading = Reading(
        client, topic, max_messages=max_messages, idle_s=idle, join_s=timeout, ends=ends, topic_exists=exists
    )
    left = True
    reading.open(config, group is not None, places)
    with told_to_stop(reading.stop):
        try:
            for batch in reading.batches():
                for record in batch:
                    sys.stdout.buffer.write(line(record))
                # What is committed must have been printed.
                sys.stdout.buffer.flush()
                reading.printed(batch)
        except BrokenPipeError:
            # Whoever read the output has had enough (`| head`); what is still buffered has no reader either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            left = reading.close(timeout)
    note(f"{reading.count} record{'' if reading.count == 1 else 's'}")
    if not left and group is not None:
        raise ConsumeFailed(
            f"the broker did not answer within {timeout:.0f} s: what was printed last may not be committed for {group}"
        )


@contextmanager
def told_to_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM stop between two batches, so that all that was printed is committed.

    A second one ends the process at once.
    """
    before: dict[int, Any] = {}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _starts(from_beginning: bool, offset: str | None, since: int | None) -> list[tuple[str, bool]]:
    return [
        ("--from-beginning", from_beginning),
        ("--offset", offset is not None),
        ("--time", since is not None),
    ]


class Start:
    """Where each partition is read from, without a group."""

    def __init__(
        self, *, offset: int | None = None, end: str = "latest", since: int | None = None, last: int = 0
    ) -> None:
        self._offset = offset
        self._end = end
        self._since = since
        self._last = last

    @classmethod
    def parse(cls, text: str | None, since: int | None) -> Start:
        """Read --offset."""
        if since is not None:
            return cls(since=since)
        if text is None or text in ("earliest", "latest"):
            return cls(end=text or "latest")
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or abs(number) > 2**63 - 1:
            raise click.UsageError(
                f"--offset '{text}': write a whole number, earliest, latest, or -N for the last N of each partition."
            )
        return cls(last=-number) if number < 0 else cls(offset=number)

    def places(self, ask: Admin, topic: Topic, partitions: list[int]) -> dict[int, int]:
        """Give the first offset to read of each partition; refuses one that does not exist."""
        from ottla.admin import EARLIEST, LATEST

        there = [partition.index for partition in topic.partitions]
        absent = [index for index in partitions if index not in there]
        if absent:
            raise click.UsageError(f"topic {topic.name} has partitions 0 to {len(there) - 1}, and no {absent[0]}.")
        wanted = partitions or there
        if self._offset is not None:
            first, last = (_offsets(ask, topic.name, wanted, moment) for moment in (EARLIEST, LATEST))
            outside = [index for index in wanted if not first[index] <= self._offset <= last[index]]
            # In all partitions at once an offset is a lower bound; in one that was named it is meant.
            if outside and partitions:
                index = outside[0]
                raise click.UsageError(
                    f"partition {index} of {topic.name} holds offsets {first[index]} to {last[index]} (the next one), "
                    f"and no {self._offset}."
                )
            return {index: min(max(self._offset, first[index]), last[index]) for index in wanted}
        if self._since is not None:
            found, last = (_offsets(ask, topic.name, wanted, moment) for moment in (self._since, LATEST))
            return {index: found[index] if found[index] >= 0 else last[index] for index in wanted}
        if self._last:
            first, last = (_offsets(ask, topic.name, wanted, moment) for moment in (EARLIEST, LATEST))
            return {index: max(first[index], last[index] - self._last) for index in wanted}
        return _offsets(ask, topic.name, wanted, EARLIEST if self._end == "earliest" else LATEST)


def _offsets(
    ask: Admin, topic: str, partitions: list[int], moment: int, *, read_committed: bool = False
) -> dict[int, int]:
    from ottla.admin import TopicPartition, required

    wanted = {TopicPartition(topic, index): moment for index in partitions}
    found = ask.list_offsets(wanted, read_committed=read_committed)
    return {place.partition: required(at).offset for place, at in found.items()}


def end_offsets(ask: Admin, topic: str, places: dict[int, int], *, read_committed: bool) -> dict[int, int]:
    """Give the end of each partition as it is now."""
    from ottla.admin import LATEST

    return _offsets(ask, topic, list(places), LATEST, read_committed=read_committed)


def line_of(form: str, *, as_json: bool, key_separator: str | None) -> Callable[[In], bytes]:
    """Give what makes the bytes to print of a record."""
    from ottla.cli import records

    if as_json and form not in ("value", "json"):
        raise click.UsageError(f"--json and --format {form} contradict each other: give one of them.")
    if as_json:
        form = "json"
    if key_separator is not None:
        if form != "value":
            raise click.UsageError(f"--key-separator and --format {form} contradict each other: give one of them.")
        between = key_separator.replace("\\t", "\t").encode()
        return lambda record: (record.key or b"") + between + (record.value or b"") + b"\n"
    if form == "value":
        return lambda record: (record.value or b"") + b"\n"
    if form == "long":
        return lambda record: records.long_form(record) + b"\n"
    if form == "json":
        return lambda record: records.json_line(record) + b"\n"
    if "%" not in form:
        raise click.UsageError(f"--format '{form}': write {FORMATS}")
    try:
        return records.compiled(form)
    except ValueError as error:
        raise click.UsageError(f"--format: {error}.") from error


class Reading:
    """A consumer that stops where it was told to."""

    def __init__(
        self,
        client: Any,
        topic: str,
        *,
        max_messages: int | None,
        idle_s: float | None,
        join_s: float,
        ends: dict[int, int] | None,
        topic_exists: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._topic_exists = topic_exists
        # What librdkafka has said since the last poll, and whether a person knows that no broker answers.
        self._errors: list[Any] = []
        self._told_down = False
        self._topic = topic
        self._max_messages = max_messages
        self._idle_s = idle_s
        self._join_s = join_s
        # When the last record came; before that, when there was something to read from.
        self._last_came: float | None = None
        self._ends = ends
        self._consumer: Any = None
        self._bootstrap = ""
        self._in_group = False
        self._places: dict[int, int] = {}
        self._stopped = False
        self.count = 0

    def stop(self) -> None:
        """Stop before the next batch."""
        self._stopped = True

    def open(self, config: dict[str, Any], in_group: bool, places: dict[int, int]) -> None:
        """Make the consumer, and join the group or take the partitions."""
        from ottla.cli.librdkafka import refused_setting

        self._bootstrap = str(config.get("bootstrap.servers", ""))
        try:
            self._consumer = self._client.Consumer({**config, "error_cb": self._on_error})
        except (self._client.KafkaException, ValueError, TypeError) as error:
            raise click.UsageError(refused_setting(error)) from error
        self._in_group = in_group
        self._places = dict(places)
        if in_group:
            self._consumer.subscribe([self._topic], on_assign=self._on_assign)
        else:
            self._consumer.assign(
                [self._client.TopicPartition(self._topic, index, offset) for index, offset in places.items()]
            )

    def _on_assign(self, _consumer: Any, _places: Any) -> None:
        self._last_came = time.monotonic()

    def batches(self) -> Iterator[list[In]]:
        """Give records, as many as are there at a time, until it is time to stop."""
        started = time.monotonic()
        if not self._in_group:
            self._last_came = started
        while not self._done():
            most = BATCH if self._max_messages is None else min(BATCH, self._max_messages - self.count)
            first = self._consumer.poll(POLL_S if self._idle_s is None else min(POLL_S, self._idle_s))
            self._hear()
            if first is None:
                if self._idle_s is not None and self._is_idle(self._idle_s, started):
                    return
                continue
            self._last_came = time.monotonic()
            messages = [first, *(self._consumer.consume(most - 1, 0) if most > 1 else ())]
            batch = [record for message in messages if (record := self._wanted(message)) is not None]
            self.count += len(batch)
            yield batch

    def _on_error(self, error: Any) -> None:
        if len(self._errors) < BATCH:
            self._errors.append(error)

    def _hear(self) -> None:
        """Act on what librdkafka tells beside the records."""
        errors, self._errors = self._errors, []
        for error in errors:
            if error.name() == "_ALL_BROKERS_DOWN":
                self._tell_down()
            elif error.name() in _GONE:
                if not self._topic_exists():
                    raise ConsumeFailed(f"topic {self._topic} was deleted while it was read")
            elif error.fatal() or error.name() in _FINAL:
                raise ConsumeFailed(f"reading {self._topic}: {error.str()} ({error.name()})")

    def _tell_down(self) -> None:
        # librdkafka's own words count brokers it has only heard of, or none yet: "0/2 brokers are down".
        if not self._told_down:
            self._told_down = True
            note(f"ottla: no broker answers ({self._bootstrap}); still trying")

    def _is_idle(self, idle_s: float, started: float) -> bool:
        """Joining a group does not count as being idle, but has its own bound."""
        now = time.monotonic()
        if self._last_came is not None:
            return now - self._last_came >= idle_s
        if now - started >= idle_s + self._join_s:
            raise ConsumeFailed(f"the group gave this member no partitions within {idle_s + self._join_s:.0f} s")
        return False

    def _wanted(self, message: Any) -> In | None:
        if message.error() is not None and message.error().name() == "_PARTITION_EOF":
            self._places[message.partition()] = message.offset()
            return None
        if message.error() is not None:
            self._refuse(message.error())
            return None
        self._told_down = False
        index, offset = message.partition(), message.offset()
        self._places[index] = offset + 1
        return None if self._ends is not None and offset >= self._ends[index] else _record(message)

    def printed(self, batch: list[In]) -> None:
        """Let the group commit what was printed."""
        if not self._in_group:
            return
        following = {record.partition: record.offset + 1 for record in batch}
        for index, offset in following.items():
            try:
                self._consumer.store_offsets(offsets=[self._client.TopicPartition(self._topic, index, offset)])
            except self._client.KafkaException:
                # The partition went to another member meanwhile, which reads these records again.
                note(f"ottla: partition {index} has gone to another member; its last records are not committed")

    def _done(self) -> bool:
        if self._stopped:
            return True
        if self._max_messages is not None and self.count >= self._max_messages:
            return True
        return self._ends is not None and all(self._places.get(index, 0) >= end for index, end in self._ends.items())

    def _refuse(self, error: Any) -> None:
        if error.fatal() or not error.retriable():
            code = error.name()
            if code in ("_ALL_BROKERS_DOWN", "_TRANSPORT", "_RESOLVE", "_TIMED_OUT"):
                # librdkafka goes on trying, as it does while a broker restarts.
                self._tell_down()
                return
            raise ConsumeFailed(f"reading {self._topic}: {error.str()} ({code})")

    def close(self, timeout_s: float) -> bool:
        """Commit what was printed, leave the group; False if nobody answers that in time."""
        from ottla.cli.librdkafka import close_within

        return self._consumer is None or close_within(self._consumer, timeout_s)


def _record(message: Any) -> In:
    from ottla.cli.records import In

    kind, timestamp = message.timestamp()
    return In(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp_ms=timestamp,
        timestamp_type=_TIMESTAMP_TYPES.get(kind),
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
    )
