"""`ottla produce`: lines, files or JSON to a topic, through librdkafka."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ottla.cli.options import ExampleCommand, admin, as_json, assignment, connected, topic_name, whole
from ottla.cli.output import note, print_json
from ottla.errors import ErrorCode, InvalidInput, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ottla.admin import Topic
    from ottla.cli.records import Out

# A record is refused by the broker long before it is this large; here it bounds what a line without an end may take.
RECORD_BYTES_MAX = 64 << 20
LINES, WHOLE, JSON = "lines", "whole", "json"
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


class ProduceFailed(OttlaError):
    """Records were not taken by the broker."""


class ReadFailed(OttlaError):
    """A file, or stdin, could not be read, or not to its end."""


@click.command(
    cls=ExampleCommand,
    examples="""
echo hello | ottla produce greetings
ottla produce orders --key-separator : < orders.txt
ottla produce pictures --format whole --key cat -H type=png cat.png
ottla consume orders --json --until-end | ottla produce orders-copy --format json
""",
)
@click.argument("topic", type=topic_name, metavar="TOPIC")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--format",
    "form",
    type=click.Choice([LINES, WHOLE, JSON]),
    default=LINES,
    show_default=True,
    help="A record is a line, a whole file, or a line of JSON as `consume --json` prints it.",
)
@click.option("-K", "--key-separator", metavar="TEXT", help="What stands between key and value; \\t is a tab.")
@click.option("-k", "--key", metavar="TEXT", help="The key of every record.")
@click.option(
    "-H", "--header", "headers", type=assignment, metavar="NAME=VALUE", multiple=True, help="A header of every record."
)
@click.option("--null-value", metavar="TEXT", help="A value that means null: a tombstone on a compacted topic.")
@click.option("-p", "--partition", type=whole(0, 2**31 - 1), help="The partition of every record. [by key]")
@click.option("-z", "--compression", type=click.Choice(COMPRESSIONS), default="none", show_default=True)
@click.option(
    "--acks", type=click.Choice(["all", "1", "0"]), default="all", show_default=True, help="Who has to have them."
)
@click.option(
    "-X",
    "properties",
    type=assignment,
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting of librdkafka, such as linger.ms=100.",
)
@as_json
@connected
def produce(
    topic: str,
    files: tuple[str, ...],
    form: str,
    key_separator: str | None,
    key: str | None,
    headers: tuple[tuple[str, str], ...],
    null_value: str | None,
    partition: int | None,
    compression: str,
    acks: str,
    properties: tuple[tuple[str, str], ...],
    as_json: bool,
    server: str,
    timeout: float,
) -> None:
    """Send lines, files or JSON to a topic.

    Reads FILEs, or what comes in on stdin. FILEs with keys or JSON are read through before the first record is sent.
    """
    from ottla.cli import librdkafka

    if key_separator is not None and (key is not None or form != LINES):
        other = "--key" if key is not None else f"--format {form}"
        raise click.UsageError(f"--key-separator and {other} contradict each other: both say where the key is.")
    if key_separator == "":
        raise click.UsageError("--key-separator is empty: write at least one character, such as --key-separator :.")
    if form == JSON and (key is not None or null_value is not None):
        raise click.UsageError("--format json has keys and nulls of its own: leave --key and --null-value out.")
    for name, _ in headers:
        # The library ends the process where a name does not become UTF-8; `main` says what is wrong.
        name.encode()
    for file in files:
        if file != "-" and not Path(file).is_file():
            raise click.UsageError(f"'{file}' is no file that can be read.")
        with _reading(file):
            pass
    client = librdkafka.load()
    reader = Reader(
        form=form,
        separator=None if key_separator is None else key_separator.replace("\\t", "\t").encode(),
        key=None if key is None else key.encode(),
        null_value=None if null_value is None else null_value.encode(),
        headers=tuple((name, value.encode()) for name, value in headers),
    )
    for file in files:
        if file != "-" and (form == JSON or key_separator is not None):
            with _reading(file) as source:
                for _ in reader.records(source, file):
                    pass
    _check_place(topic, partition, server, timeout)
    sender = Sender(client, topic, partition, timeout)
    sender.start(
        librdkafka.client_config(
            server,
            properties,
            acks=acks,
            compression_type=compression,
            message_timeout_ms=max(1000, round(timeout * 1000)),
            message_max_bytes=RECORD_BYTES_MAX,
            # As Kafka's own clients choose, so that a key finds its earlier records.
            partitioner="murmur2_random",
            enable_idempotence=acks == "all",
        )
    )
    problem: OttlaError | None = None
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for file in files or ("-",):
            if file == "-" and sys.stdin.isatty():
                note(f"each line goes to {topic}; Ctrl-D ends")
            with _reading(file) as source:
                sender.send(reader.records(source, "stdin" if file == "-" else file))
    except KeyboardInterrupt:
        note("")
    except (InvalidInput, ReadFailed) as error:
        # What was read before it is sent, and accounted for.
        problem = error
    finally:
        signal.signal(signal.SIGTERM, before)
    sender.finish()
    if as_json:
        print_json(sender.report())
    else:
        note(sender.sentence())
    if problem is not None:
        raise problem


@contextmanager
def _reading(file: str) -> Iterator[IO[bytes]]:
    """Open a file ("-": stdin); raises `ReadFailed` if that, or reading on, fails."""
    try:
        if file == "-":
            yield sys.stdin.buffer
        else:
            with Path(file).open("rb") as source:
                yield source
    except OSError as error:
        name = "stdin" if file == "-" else f"'{file}'"
        raise ReadFailed(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _check_place(topic: str, partition: int | None, server: str, timeout: float) -> None:
    """A dead port answers at once, and a partition that does not exist before anything is sent."""
    with admin(server, timeout) as client:
        found: Topic | RequestError = client.describe_topics([topic])[topic]
    if isinstance(found, RequestError):
        # The broker may create it when the first record comes.
        if found.code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            raise found
    elif partition is not None and partition >= len(found.partitions):
        raise click.UsageError(
            f"topic {topic} has partitions 0 to {len(found.partitions) - 1}, and no partition {partition}."
        )


class Reader:
    """Makes records of what is read."""

    def __init__(
        self,
        *,
        form: str = LINES,
        separator: bytes | None = None,
        key: bytes | None = None,
        null_value: bytes | None = None,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        self._form = form
        self._separator = separator
        self._key = key
        self._null_value = null_value
        self._headers = headers

    def records(self, source: IO[bytes], name: str) -> Iterator[Out]:
        """Give the records of a file or stream; raises `InvalidInput` that names the line."""
        from ottla.cli.records import Out

        if self._form == WHOLE:
            content = source.read(RECORD_BYTES_MAX + 1)
            if len(content) > RECORD_BYTES_MAX:
                raise InvalidInput(f"{name}: more than {RECORD_BYTES_MAX >> 20} MiB are no record")
            yield Out(self._key, self._value(content), self._headers)
            return
        number = 0
        while line := source.readline(RECORD_BYTES_MAX + 1):
            number += 1
            if len(line) > RECORD_BYTES_MAX:
                raise InvalidInput(f"{name}, line {number}: longer than {RECORD_BYTES_MAX >> 20} MiB")
            # Kafka's console producer takes both ends of a line.
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            try:
                record = self._record(text)
            except ValueError as error:
                raise InvalidInput(f"{name}, line {number}: {error}") from error
            if record is not None:
                yield record

    def _record(self, line: bytes) -> Out | None:
        from ottla.cli.records import Out, from_json_line

        if self._form == JSON:
            if not line.strip():
                return None
            record = from_json_line(line)
            return record._replace(headers=(*record.headers, *self._headers))
        if self._separator is None:
            return Out(self._key, self._value(line), self._headers)
        key, found, value = line.partition(self._separator)
        if not found:
            raise ValueError(f"there is no '{self._separator.decode()}' between key and value")
        return Out(key, self._value(value), self._headers)

    def _value(self, value: bytes) -> bytes | None:
        return None if value == self._null_value else value


class Sender:
    """A producer, with an account of what became of each record."""

    def __init__(self, client: Any, topic: str, partition: int | None, timeout: float) -> None:
        self._client = client
        self._topic = topic
        self._partition = partition
        self._timeout = timeout
        self._producer: Any = None
        # First and last offset by partition.
        self.spans: dict[int, tuple[int, int]] = {}
        self.delivered = 0
        self.failed = 0
        self.first_error: Any = None

    def start(self, config: dict[str, Any]) -> None:
        """Make the producer."""
        from ottla.cli.librdkafka import refused_setting

        try:
            self._producer = self._client.Producer(config)
        except (self._client.KafkaException, ValueError, TypeError) as error:
            raise click.UsageError(refused_setting(error)) from error

    def send(self, records: Iterator[Out]) -> None:
        """Hand the records over; stops with the first one the broker has refused."""
        for record in records:
            self._retrying(lambda record=record: self._produce(record))  # type: ignore[misc]
            self._producer.poll(0)
            if self.first_error is not None:
                return

    def _produce(self, record: Out) -> None:
        more: dict[str, Any] = {}
        partition = self._partition if self._partition is not None else record.partition
        if partition is not None:
            more["partition"] = partition
        if record.timestamp_ms is not None:
            more["timestamp"] = record.timestamp_ms
        if record.headers:
            more["headers"] = list(record.headers)
        self._producer.produce(self._topic, key=record.key, value=record.value, on_delivery=self._on_delivery, **more)

    def _retrying(self, hand_over: Callable[[], None]) -> None:
        """While librdkafka's queue is full there are answers to wait for."""
        while True:
            try:
                hand_over()
            except BufferError:
                self._producer.poll(0.1)
                if self.first_error is not None:
                    return
            except self._client.KafkaException as error:
                self.failed += 1
                self.first_error = self.first_error or error.args[0]
                return
            else:
                return

    def _on_delivery(self, error: Any, message: Any) -> None:
        if error is not None:
            self.failed += 1
            self.first_error = self.first_error or error
            return
        self.delivered += 1
        offset = message.offset()
        if offset is not None and offset >= 0:
            first, last = self.spans.get(message.partition(), (offset, offset))
            self.spans[message.partition()] = (min(first, offset), max(last, offset))

    def finish(self) -> None:
        """Wait for every answer; raises `ProduceFailed` if the broker has not taken all."""
        why = "no answer in time"
        try:
            left = self._producer.flush(self._timeout + 1)
        except KeyboardInterrupt:
            left, why = len(self._producer), "stopped before the broker had answered"
        if self.first_error is not None or left:
            lost = self.failed + left
            why = self.first_error.str() if self.first_error is not None else why
            name = f" ({self.first_error.name()})" if self.first_error is not None else ""
            raise ProduceFailed(
                f"{lost} of {lost + self.delivered} records were not written to {self._topic}: {why}{name}"
            )

    def report(self) -> dict[str, Any]:
        """What was written, for programs."""
        return {
            "topic": self._topic,
            "records": self.delivered,
            "partitions": [
                {"partition": partition, "first_offset": first, "last_offset": last}
                for partition, (first, last) in sorted(self.spans.items())
            ],
        }

    def sentence(self) -> str:
        """What was written, for people."""
        where = ", ".join(
            f"partition {partition} at {first}" + (f" to {last}" if last > first else "")
            for partition, (first, last) in sorted(self.spans.items())
        )
        count = f"{self.delivered} record" + ("" if self.delivered == 1 else "s")
        return f"{count} written to {self._topic}" + (f": {where}" if where else "")
