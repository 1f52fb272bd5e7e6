"""`kafka-console-producer`: the lines of stdin as records of a topic, through librdkafka.

Kafka: org.apache.kafka.tools.ConsoleProducer. As there, a record that is not delivered is an ERROR on stderr and the
exit code stays 0, unless --sync asks for one record after the other. A broker that cannot be reached ends the tool at
once (Kafka's waits for max.block.ms with every line).
"""

from __future__ import annotations

import io
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ottla.cli.kafka import words
from ottla.cli.kafka.client_settings import BadSetting, made, number, translated
from ottla.cli.kafka.connection import NoFile, admin, properties_of
from ottla.cli.kafka.line_reader import CODEC, Line, LineReader, ReaderError
from ottla.cli.kafka.options import Option, OptionError, OptionParser, Options
from ottla.cli.kafka.usage import (
    complain,
    help_or_version,
    key_values,
    log_line,
    not_both,
    required,
    say,
    usage_and_exit,
)
from ottla.errors import ErrorCode, InvalidInput, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LINE_READERS = ("org.apache.kafka.tools.LineMessageReader", "kafka.tools.ConsoleProducer$LineMessageReader")
REPORTS_POLL_S = 0.05
FLUSH_STEP_S = 0.5
# What the Java producer has where nothing is said.
BUFFER_BYTES_DEFAULT, BUFFER_KIB_MAX = 32 << 20, 2**31 - 1
REQUEST_BYTES_DEFAULT = 1 << 20
# A batch without its records, and the most of a record that is neither key, value nor header.
BATCH_BYTES, RECORD_BYTES_MAX = 61, 21
DELIVERY_TIMEOUT_MS_DEFAULT = 120_000
IN_FLIGHT, IN_FLIGHT_DEFAULT = "max.in.flight.requests.per.connection", 5
RETRIES_DEFAULT = 2**31 - 1
CALLBACK_LOGGER = "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback"
READER_HELP = (
    "KEY=VALUE for the reader of lines, as often as needed: parse.key, key.separator (a tab), parse.headers, "
    "headers.delimiter (a tab), headers.separator (,), headers.key.separator (:), ignore.error, null.marker. "
    "With both keys and headers a line is h1:v1,h2:v2 TAB key TAB value."
)

PARSER = OptionParser(
    Option("topic", "The topic to write to. Needed.", "topic"),
    Option("bootstrap-server", "HOST:PORT,HOST:PORT. Needed.", "server to connect to"),
    Option("sync", "Wait for each record before the next one is read."),
    Option(
        "compression-codec", "none, gzip, snappy, lz4 or zstd; alone it is gzip.", "compression-codec", optional=True
    ),
    Option("batch-size", "batch.size of the producer.", "size", "Integer", default=16384),
    Option("message-send-max-retries", "retries of the producer.", "", "Integer", default=3),
    Option("retry-backoff-ms", "retry.backoff.ms of the producer.", "", "Long", default=100),
    Option("timeout", "linger.ms of the producer.", "timeout_ms", "Long", default=1000),
    Option("request-required-acks", "acks of the producer.", "request required acks", default="-1"),
    Option("request-timeout-ms", "request.timeout.ms of the producer.", "request timeout ms", "Integer", default=1500),
    Option("metadata-expiry-ms", "metadata.max.age.ms of the producer.", "metadata age", "Long", default=300000),
    Option("max-block-ms", "How long a line may wait for room.", "max block on send", "Long", default=60000),
    Option("max-memory-bytes", "buffer.memory of the producer.", "total memory in bytes", "Long", default=33554432),
    Option(
        "max-partition-memory-bytes",
        "Older name of --batch-size.",
        "memory in bytes per partition",
        "Integer",
        default=16384,
    ),
    Option("line-reader", "The class that reads lines; there is one.", "reader_class", default=LINE_READERS[0]),
    Option("socket-buffer-size", "send.buffer.bytes of the producer.", "size", "Integer", default=102400),
    Option("property", "Older name of --reader-property.", "prop"),
    Option("reader-property", READER_HELP, "prop"),
    Option("reader-config", "A file with properties of the reader.", "config file"),
    Option("producer-property", "Older name of --command-property.", "producer_prop"),
    Option("command-property", "KEY=VALUE: a setting of the producer, as often as needed.", "producer_prop"),
    Option("producer.config", "Older name of --command-config.", "config file"),
    Option("command-config", "A file of settings of the producer.", "config file"),
)

# Which flag stands for which setting. A flag counts over the file, its default does not.
FLAGS = {
    "linger.ms": "timeout",
    "acks": "request-required-acks",
    "request.timeout.ms": "request-timeout-ms",
    "retries": "message-send-max-retries",
    "retry.backoff.ms": "retry-backoff-ms",
    "send.buffer.bytes": "socket-buffer-size",
    "buffer.memory": "max-memory-bytes",
    "batch.size": "batch-size",
    "metadata.max.age.ms": "metadata-expiry-ms",
    "max.block.ms": "max-block-ms",
}
DEPRECATED = (
    ("property", "reader-property"),
    ("producer-property", "command-property"),
    ("producer.config", "command-config"),
)


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        options = PARSER.parse(arguments)
    except OptionError as error:
        usage_and_exit(PARSER, str(error))
    try:
        _check(options)
        reader = _reader(options)
        settings = _settings(options)
        return _send(options, reader, settings)
    except OptionError as error:
        complain(str(error))
    except ReaderError as error:
        complain(f"org.apache.kafka.common.KafkaException: {error}")
    except NoFile as error:
        complain(f"java.nio.file.NoSuchFileException: {error}")
    except BadSetting as error:
        complain(f"{words.CONFIG_EXCEPTION}: {error}")
    except OttlaError as error:
        complain(words.exception(error))
    return 1


def _check(options: Options) -> None:
    help_or_version(options, "This tool helps to read data from standard input and publish it to Kafka.")
    required(options, "topic")
    for old, new in DEPRECATED:
        not_both(options, new, old)
    for old, new in DEPRECATED:
        if options.has(old):
            say(f"Warning: --{old} is deprecated and will be removed in a future version. Use --{new} instead.")
    if options.has("max-partition-memory-bytes"):
        say(
            "Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache Kafka 5.0. "
            "Use --batch-size instead."
        )
    server = options.value("bootstrap-server")
    if not server:
        usage_and_exit(PARSER, "Error while validating the bootstrap address")
    if not all(_host_port(word) for word in server.split(",")):
        usage_and_exit(PARSER, "Please provide valid host:port like host1:9091,host2:9092")


def _host_port(word: str) -> bool:
    from ottla.admin import parse_bootstrap

    try:
        parse_bootstrap(word)
    except InvalidInput:
        return False
    return True


def _reader(options: Options) -> LineReader:
    name = options.value("line-reader")
    if name not in LINE_READERS:
        # Kafka's tool says only that it has no such class.
        complain(f"java.lang.ClassNotFoundException: {name}")
        raise _ended()
    properties = properties_of(options.value("reader-config")) if options.has("reader-config") else {}
    properties |= key_values(options.values("property") + options.values("reader-property"))
    return LineReader(properties)


def _ended() -> Exception:
    from ottla.cli.kafka.usage import ToolExit

    return ToolExit(1)


def _settings(options: Options) -> dict[str, str]:
    settings: dict[str, str] = {}
    for name in ("producer.config", "command-config"):
        if options.has(name):
            settings |= properties_of(options.value(name))
    settings |= key_values(options.values("producer-property") + options.values("command-property"))
    settings["bootstrap.servers"] = options.value("bootstrap-server")
    settings["compression.type"] = _codec(options)
    settings.setdefault("client.id", "console-producer")
    for setting, flag in FLAGS.items():
        if options.has(flag) or setting not in settings:
            settings[setting] = str(options.value(flag))
    if options.has("max-partition-memory-bytes"):
        settings["batch.size"] = str(options.value("max-partition-memory-bytes"))
    return settings


def _codec(options: Options) -> str:
    if not options.has("compression-codec"):
        return "none"
    return options.value("compression-codec") or "gzip"


def _send(options: Options, reader: LineReader, settings: dict[str, str]) -> int:
    translation = translated(settings)
    max_block_s = number(settings, "max.block.ms", 60_000) / 1000
    with admin(settings["bootstrap.servers"], settings, client_id="console-producer") as client:
        client.describe_cluster()
    sending = Sending(options.value("topic"), translation | like_java(settings), max_block_s=max_block_s)
    try:
        prompt = sys.stdin.isatty() and sys.stdout.isatty()
        lines = io.TextIOWrapper(sys.stdin.buffer, encoding=CODEC[0], errors=CODEC[1], newline=None)
        try:
            while True:
                if prompt:
                    sys.stdout.write(">")
                    sys.stdout.flush()
                text = lines.readline()
                if not text:
                    break
                error = sending.send(reader.read(text.removesuffix("\n")), wait=options.has("sync"))
                if error is not None:
                    complain(f"java.util.concurrent.ExecutionException: {error}")
                    return 1
        finally:
            lines.detach()
    finally:
        sending.close()
    return 0


def like_java(settings: Mapping[str, str]) -> dict[str, Any]:
    """Give what librdkafka has to be told so that it sends as the Java producer does; raises `BadSetting`.

    Keys go to the partitions the Java client picks, --max-memory-bytes bounds what waits, and a record is given up
    after two minutes. The producer is idempotent unless a setting does not allow it; nothing is said then, but where
    enable.idempotence asks for it (ProducerConfig.postProcessAndValidateIdempotenceConfigs).
    """
    found: dict[str, Any] = {
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 0,
        "queue.buffering.max.kbytes": min(
            max(1, number(settings, "buffer.memory", BUFFER_BYTES_DEFAULT) >> 10), BUFFER_KIB_MAX
        ),
    }
    if not settings.keys() & {"delivery.timeout.ms", "message.timeout.ms"}:
        waiting_ms = number(settings, "linger.ms", 0) + number(settings, "request.timeout.ms", 0)
        found["message.timeout.ms"] = max(DELIVERY_TIMEOUT_MS_DEFAULT, waiting_ms)
    in_flight = number(settings, IN_FLIGHT, IN_FLIGHT_DEFAULT)
    found[IN_FLIGHT] = in_flight
    asked = settings.get("enable.idempotence", "").strip().lower()
    against = None
    if number(settings, "retries", RETRIES_DEFAULT) == 0:
        against = "Must set retries to non-zero when using the idempotent producer."
    elif settings.get("acks", "all") not in ("all", "-1"):
        against = (
            "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence."
        )
    elif in_flight > IN_FLIGHT_DEFAULT:
        against = (
            f"To use the idempotent producer, {IN_FLIGHT} must be set to at most {IN_FLIGHT_DEFAULT}. "
            f"Current value is {in_flight}."
        )
    if asked not in ("", "true", "false"):
        raise BadSetting(
            f"Invalid value {settings['enable.idempotence']} for configuration enable.idempotence: "
            "Expected value to be either true or false"
        )
    if against is not None and asked == "true":
        raise BadSetting(against)
    found["enable.idempotence"] = asked != "false" and against is None
    return found


def serialized_bytes(line: Line) -> int:
    """Give the bytes a record may take at most, alone in a batch, as the Java producer reckons them."""

    def part(content: bytes | None) -> int:
        # A length, in zigzag and seven bits to a byte, and the content.
        return 1 if content is None else varint(len(content)) + len(content)

    def varint(size: int) -> int:
        return max(1, -(-(size << 1).bit_length() // 7))

    headers = sum(part(name.encode()) + part(value) for name, value in line.headers)
    return BATCH_BYTES + RECORD_BYTES_MAX + part(line.key) + part(line.value) + varint(len(line.headers)) + headers


class Sending:
    """A producer, and what becomes of its records."""

    def __init__(self, topic: str, settings: dict[str, Any], *, max_block_s: float) -> None:
        import logging

        from ottla.cli import librdkafka

        quiet = logging.getLogger("ottla.librdkafka")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        client = librdkafka.load()
        self._exception_class = client.KafkaException
        self._request_bytes_max = int(settings.get("message.max.bytes", REQUEST_BYTES_DEFAULT))
        self._topic = topic
        self._max_block_s = max_block_s
        self._producer = made(
            lambda config: client.Producer(config | {"logger": quiet}), settings, client.KafkaException
        )
        self._failure: str | None = None
        self._closing = threading.Event()
        # Reports of what failed come while the next line is waited for.
        self._reports = threading.Thread(target=self._poll, daemon=True)
        self._reports.start()

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(REPORTS_POLL_S)

    def send(self, line: Any, *, wait: bool) -> str | None:
        """Send a record; with `wait` give what Kafka answered if it was not taken."""
        deadline = time.monotonic() + self._max_block_s
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    line.value,
                    line.key,
                    headers=line.headers,
                    on_delivery=lambda error, _: self._delivered(error, line, log=not wait),
                )
                break
            except BufferError:
                if time.monotonic() > deadline:
                    self._delivered(None, line, log=True, sentence="there was no room for the record in max.block.ms")
                    return None
                time.sleep(0.01)
            except self._exception_class as error:
                # What librdkafka does not even take: too large, above all.
                return self._not_sent(error.args[0], line, wait=wait)
        if wait:
            while self._producer.flush(FLUSH_STEP_S):
                pass
            failure, self._failure = self._failure, None
            return failure
        return None

    def _not_sent(self, error: Any, line: Any, *, wait: bool) -> str | None:
        said = self._exception(error)
        if error.code() == ErrorCode.MESSAGE_TOO_LARGE:
            said = (
                f"{words.exception_class(ErrorCode.MESSAGE_TOO_LARGE)}: The message is {serialized_bytes(line)} bytes "
                f"when serialized which is larger than {self._request_bytes_max}, which is the value of the "
                "max.request.size configuration."
            )
        if wait:
            return said
        self._log(line, said)
        return None

    def _delivered(self, error: Any, line: Any, *, log: bool, sentence: str | None = None) -> None:
        if error is None and sentence is None:
            return
        said = (
            f"org.apache.kafka.common.errors.TimeoutException: {sentence}" if error is None else self._exception(error)
        )
        if not log:
            self._failure = said
            return
        self._log(line, said)

    def _log(self, line: Any, said: str) -> None:
        key, value = ("null" if part is None else f"{len(part)} bytes" for part in (line.key, line.value))
        log_line(
            "ERROR",
            f"Error when sending message to topic {self._topic} with key: {key}, value: {value} with error:",
            CALLBACK_LOGGER,
        )
        complain(said)

    def _exception(self, error: Any) -> str:
        if error.code() == ErrorCode.INVALID_TOPIC_EXCEPTION:
            return f"{words.exception_class(ErrorCode.INVALID_TOPIC_EXCEPTION)}: Invalid topics: [{self._topic}]"
        if error.code() in ErrorCode.__members__.values() and error.code() > 0:
            return words.exception(RequestError(ErrorCode(error.code())))
        return f"org.apache.kafka.common.KafkaException: {error.str()} ({error.name()})"

    def close(self) -> None:
        """Wait for the records under way; in steps, between which Ctrl-C is heard."""
        # Reports are served by flushing, so the thread may end meanwhile.
        self._closing.set()
        while self._producer.flush(FLUSH_STEP_S):
            pass
        self._reports.join()
