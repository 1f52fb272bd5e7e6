"""The consoles without a broker: what the client library is told, and what the consumer does when that has bad news."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import confluent_kafka
import pytest

from ottla.admin.results import TopicListing
from ottla.cli import librdkafka
from ottla.cli.kafka import reading as reading_module
from ottla.cli.kafka.client_settings import BadSetting
from ottla.cli.kafka.console_producer import like_java
from ottla.cli.kafka.formatters import FORMATTERS, PACKAGE, FormatError, Record
from ottla.cli.kafka.reading import Reading
from ottla.cli.main import main
from ottla.errors import Unreachable

SETTINGS = {"bootstrap.servers": "127.0.0.1:1", "auto.offset.reset": "earliest", "group.id": "g"}


class Message:
    def __init__(self, offset: int) -> None:
        self._offset = offset

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return b"v%d" % self._offset

    def headers(self) -> None:
        return None


class Consumer:
    """Hands out what it was given, and loses its partition after the first record."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.subscribed: list[list[str]] = []
        self.waiting = [Message(0), Message(1)]
        self.stored: list[int] = []

    def subscribe(self, topics: list[str], on_assign: object) -> None:
        assert on_assign is not None
        self.subscribed.append(topics)

    def poll(self, _timeout_s: float) -> Message | None:
        return self.waiting.pop(0) if self.waiting else None

    def consume(self, most: int, _timeout_s: float) -> list[Message]:
        found, self.waiting = self.waiting[:most], self.waiting[most:]
        return found

    def store_offsets(self, message: Message) -> None:
        if message.offset() == 0:
            raise confluent_kafka.KafkaException(confluent_kafka.KafkaError(confluent_kafka.KafkaError._STATE))
        self.stored.append(message.offset())

    def close(self) -> None:
        pass


class Cluster:
    """An admin client that knows these topics, or reaches nobody."""

    def __init__(self) -> None:
        self.topics = ["events", "orders-1", "orders-x"]
        self.down = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def describe_cluster(self) -> None:
        pass

    def list_topics(self) -> list[TopicListing]:
        if self.down:
            raise Unreachable("nobody")
        internal = TopicListing("__consumer_offsets", None, True, 50, 1)
        return [internal, *(TopicListing(name, None, False, 1, 1) for name in self.topics)]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """What the consumer asks, and a client library without sockets."""
    found = Cluster()
    library = SimpleNamespace(**{**vars(confluent_kafka), "Consumer": Consumer})
    monkeypatch.setattr(librdkafka, "load", lambda: library)
    monkeypatch.setattr(reading_module, "admin", lambda *_args, **_more: found)
    return found


def reading(settings: dict[str, str], max_messages: int | None = None) -> tuple[Reading, Consumer]:
    formatter = FORMATTERS[f"{PACKAGE}DefaultMessageFormatter"]({})
    found = Reading(SETTINGS | settings, formatter, max_messages=max_messages, timeout_s=0.0, skip_errors=False)
    return found, found._consumer


@pytest.mark.usefixtures("cluster")
def test_a_partition_that_is_lost_does_not_end_the_consumer(capsys: pytest.CaptureFixture[str]) -> None:
    """A rebalance in the middle of a batch: what was printed of it is not committed here, and reading goes on."""
    consuming, consumer = reading({}, max_messages=2)
    consuming.subscribe(["t"])
    assert consuming.run() == 0
    captured = capsys.readouterr()
    assert captured.out == "v0\nv1\n"
    assert captured.err == "Processed a total of 2 messages\n"
    assert consumer.stored == [1]


def test_patterns_are_looked_up_again(cluster: Cluster) -> None:
    """What Java's patterns can say that POSIX's cannot; new topics join; a broker that is away ends nothing."""
    consuming, consumer = reading({})
    consuming.include(r"(?!e)\w+-\d+", {"metadata.max.age.ms": "0"})
    assert consumer.subscribed == [["orders-1"]]
    consuming._look_again()
    cluster.topics.append("orders-2")
    cluster.down = True
    consuming._look_again()
    assert consumer.subscribed == [["orders-1"]], "asked only when something has changed"
    cluster.down = False
    consuming._look_again()
    assert consumer.subscribed == [["orders-1"], ["orders-1", "orders-2"]]


@pytest.mark.usefixtures("cluster")
def test_internal_topics(capsys: pytest.CaptureFixture[str]) -> None:
    """A pattern leaves them out unless it is told not to; a name never does."""
    consuming, consumer = reading({})
    consuming.include("__.*", {})
    assert consumer.subscribed == []
    consuming.include("__.*", {"exclude.internal.topics": "false"})
    assert consumer.subscribed == [["__consumer_offsets"]]
    assert "topic.blacklist" not in consumer.config
    assert capsys.readouterr().err == ""


def test_how_the_producer_is_made() -> None:
    """As Kafka's ProducerConfig has it; --max-memory-bytes bounds what waits."""
    plain = like_java({"acks": "-1", "retries": "3", "buffer.memory": "65536"})
    assert plain["enable.idempotence"] is True
    assert plain["max.in.flight.requests.per.connection"] == 5
    assert plain["queue.buffering.max.kbytes"] == 64
    assert plain["message.timeout.ms"] == 120_000
    assert "message.timeout.ms" not in like_java({"delivery.timeout.ms": "5000"})
    against = ({"acks": "1"}, {"retries": "0"}, {"max.in.flight.requests.per.connection": "6"})
    for setting in ({"enable.idempotence": "false"}, *against):
        assert like_java(setting)["enable.idempotence"] is False
    for setting in against:
        with pytest.raises(BadSetting, match="the idempotent producer"):
            like_java({"enable.idempotence": "true", **setting})
    with pytest.raises(
        BadSetting, match=r"Invalid value x for configuration buffer\.memory: Not a number of type LONG"
    ):
        like_java({"buffer.memory": "x"})


@pytest.mark.parametrize(
    "kind, number, said",
    [
        (">f", 3.14, "3.14"),
        (">f", 1e10, "1.0E10"),
        (">f", 3.4028235e38, "3.4028235E38"),
        (">f", 1.4e-45, "1.4E-45"),
        (">d", 0.1, "0.1"),
        (">d", 100.0, "100.0"),
        (">d", 9999999.0, "9999999.0"),
        (">d", 1e7, "1.0E7"),
        (">d", 0.001, "0.001"),
        (">d", 0.00012, "1.2E-4"),
        (">d", -2.5, "-2.5"),
        (">d", -0.0, "-0.0"),
        (">d", 1.7976931348623157e308, "1.7976931348623157E308"),
        (">d", float("inf"), "Infinity"),
        (">d", float("-inf"), "-Infinity"),
        (">d", float("nan"), "NaN"),
    ],
)
def test_fractions_are_written_as_java_does(kind: str, number: float, said: str) -> None:
    """Float.toString and Double.toString."""
    name = {">f": "FloatDeserializer", ">d": "DoubleDeserializer"}[kind]
    formatter = FORMATTERS[f"{PACKAGE}DefaultMessageFormatter"]({"value.deserializer": f"x.{name}"})
    record = Record("t", 0, 0, None, 0, None, struct.pack(kind, number), ())
    assert formatter.write(record) == said.encode() + b"\n"


def test_a_record_that_is_no_record_of_a_group() -> None:
    """It says which one it is, under the exception Kafka's tool would have."""
    formatter = FORMATTERS[f"{PACKAGE}OffsetsMessageFormatter"]({})
    for key in (b"", b"\0", b"\0\1\0\5abc"):
        with pytest.raises(FormatError, match="Could not read record at offset 7 due to: ") as raised:
            formatter.write(Record("t", 0, 7, None, 0, key, b"", ()))
        assert raised.value.kind == "java.lang.RuntimeException"


@pytest.mark.usefixtures("cluster")
def test_a_pattern_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """Said under the name of Java's exception, exit code 1, no traceback."""
    assert main(["kafka-console-consumer", "--bootstrap-server", "127.0.0.1:1", "--include", "["]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[1].startswith("java.util.regex.PatternSyntaxException: ")
    assert "Traceback" not in captured.err


def test_a_file_that_is_nested_too_deeply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON that no parser follows is no JSON."""
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    words = ["--bootstrap-server", "127.0.0.1:1", "--offset-json-file", str(path)]
    assert main(["kafka-delete-records", *words]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "The input string is not a valid JSON"


@pytest.mark.usefixtures("cluster")
def test_what_would_end_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Librdkafka's binding aborts on an empty group and on text that is no UTF-8: both are refused before."""
    words = ["kafka-console-consumer", "--bootstrap-server", "127.0.0.1:1", "--topic", "t", "--group"]
    assert main([*words, " "]) == 1
    assert "The configured group.id should not be an empty string or whitespace." in capsys.readouterr().err
    assert main([*words, "\udcff"]) == 1
    assert "Invalid value '\\udcff' for configuration group.id: it is not UTF-8" in capsys.readouterr().err
    with pytest.raises(UnicodeEncodeError):
        librdkafka.client_config("127.0.0.1:1", (), group_id="\udcff")


def test_a_broker_without_the_new_protocol(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """group.protocol=consumer is refused in words; librdkafka would ask on and on."""
    monkeypatch.setattr(cluster, "api_versions", dict, raising=False)
    words = ["--bootstrap-server", "127.0.0.1:1", "--topic", "t", "--command-property", "group.protocol=CONSUMER"]
    assert main(["kafka-console-consumer", *words]) == 0
    assert "The cluster does not support the new CONSUMER group protocol." in capsys.readouterr().err
