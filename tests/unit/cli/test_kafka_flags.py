"""Flags of Kafka's tools: joptsimple's rules, each as its own small case."""

from __future__ import annotations

import re
import socket
import time

import pytest

from ottla.admin import apis
from ottla.cli.kafka import door
from ottla.cli.kafka.client_settings import BadSetting, translated
from ottla.cli.kafka.connection import WAIT_VARIABLE
from ottla.cli.kafka.first_snapshot import crc32c
from ottla.cli.kafka.line_reader import Line, LineReader, ReaderError
from ottla.cli.kafka.names import TOOLS
from ottla.cli.kafka.options import Option, OptionError, OptionParser
from ottla.cli.kafka.reset_offsets import _duration_ms, _moment
from ottla.cli.kafka.storage import random_uuid
from ottla.cli.kafka.usage import TopicPattern, key_values
from ottla.cli.main import main
from tests.unit.admin.fake_broker import KAFKA_2_0, FakeBroker

PARSER = OptionParser(
    Option("topic", "A topic.", "topic"),
    Option("count", "A number.", "n", "Integer", default=7),
    Option("size", "A number.", "n", "Long"),
    Option("state", "May have a value.", "", optional=True, only_with=("list",)),
    Option("list", "An action."),
    Option("keys", "Several.", "", separator=","),
)


@pytest.mark.parametrize("words", [["--topic", "a"], ["--topic=a"], ["-topic", "a"], ["-topic=a"]])
def test_ways_to_write_an_option(words: list[str]) -> None:
    """One dash or two, a blank or an equals sign."""
    assert PARSER.parse(words).value("topic") == "a"


def test_values() -> None:
    """The next word is the argument whatever it looks like; `=` alone is the empty text; defaults; lists."""
    options = PARSER.parse(["--topic", "--list", "--keys", "a,b", "--keys=c", "stray", "--size=", "--", "--nosuch"])
    assert options.value("topic") == "--list"
    assert not options.has("list")
    assert options.value("count") == 7
    assert not options.has("count")
    assert options.values("keys") == ["a", "b", "c"]
    assert PARSER.parse(["--topic="]).value("topic") == ""


def test_an_argument_that_may_be_left_out() -> None:
    """It is the next word unless that begins with a dash."""
    assert PARSER.parse(["--list", "--state", "Empty"]).value("state") == "Empty"
    assert PARSER.parse(["--state", "--list"]).value("state") is None
    assert PARSER.parse(["--state", "--list"]).has("state")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--nosuch"], "nosuch is not a recognized option"),
        (["--top", "a"], "top is not a recognized option"),
        (["-xyz"], "x is not a recognized option"),
        (["--topic"], "Option topic requires an argument"),
        (["--state"], "Option(s) [state] are unavailable given other options on the command line"),
    ],
)
def test_words_that_do_not_fit(words: list[str], said: str) -> None:
    """The sentences of joptsimple."""
    with pytest.raises(OptionError, match=re.escape(said)):
        PARSER.parse(words)


@pytest.mark.parametrize(
    "words, name, said",
    [
        (["--count", "x"], "count", "Cannot parse argument 'x' of option count"),
        (["--count", "2147483648"], "count", "Cannot parse argument '2147483648' of option count"),
        (["--count", "1_000"], "count", "Cannot parse argument '1_000' of option count"),
        (["--size", "9223372036854775808"], "size", "Cannot parse argument '9223372036854775808' of option size"),
        (
            ["--topic", "a", "--topic", "b"],
            "topic",
            "Found multiple arguments for option topic, but you asked for only one",
        ),
    ],
)
def test_values_that_do_not_fit(words: list[str], name: str, said: str) -> None:
    """Complained about where the value is asked for, as the tools do."""
    options = PARSER.parse(words)
    with pytest.raises(OptionError, match=re.escape(said)):
        options.value(name)


def test_help_is_two_columns_of_eighty() -> None:
    """Long texts are folded, every option is there."""
    page = PARSER.help()
    assert all(len(line) <= 80 for line in page.splitlines())
    assert [line.split()[0] for line in page.splitlines() if line.startswith("--") and line[2] != "-"] == [
        *("--count", "--help", "--keys", "--list", "--size", "--state", "--topic", "--version"),
    ]


def test_every_name_is_a_tool() -> None:
    """The table of names and the door agree."""
    for name, lazy in TOOLS.items():
        assert getattr(door, lazy.place.partition(":")[2]).name == name


@pytest.mark.parametrize("kind", ["users", "clients", "ips", "client-metrics", "broker-loggers"])
def test_other_entity_types_say_what_is_missing(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 1, and no broker is asked."""
    words = ["--bootstrap-server", "127.0.0.1:1", "--describe", "--entity-type", kind]
    assert main(["kafka-configs", *words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert kind in captured.err


@pytest.mark.parametrize(
    "tool, words",
    [
        ("kafka-topics", ["--list"]),
        ("kafka-configs", ["--describe", "--topic", "a"]),
        ("kafka-get-offsets", []),
        ("kafka-broker-api-versions", []),
        ("kafka-log-dirs", ["--describe"]),
        ("kafka-cluster", ["cluster-id"]),
        ("kafka-console-producer", ["--topic", "a"]),
        ("kafka-console-consumer", ["--topic", "a"]),
    ],
)
def test_a_dead_port_is_told_at_once(tool: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Where Kafka's tools try for a minute: the address and what is wrong with it, exit code 1."""
    front = words[:1] if tool == "kafka-cluster" else []
    rest = words[len(front) :]
    assert main([tool, *front, "--bootstrap-server", "127.0.0.1:1", *rest]) == 1
    captured = capsys.readouterr()
    assert "127.0.0.1:1" in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_a_port_that_refuses_is_waited_for_where_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OTTLA_TOOLS_WAIT_S: a broker that comes up meanwhile is asked; a name that does not resolve is told at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    brokers: list[FakeBroker] = []

    def pause(_seconds: float) -> None:
        assert len(brokers) < 1, "the broker is up and not asked"
        broker = FakeBroker(KAFKA_2_0, {}, port)
        broker.answers[apis.METADATA.key] = broker.metadata()
        brokers.append(broker)

    monkeypatch.setenv(WAIT_VARIABLE, "60")
    monkeypatch.setattr(time, "sleep", pause)
    try:
        assert main(["kafka-topics", "--bootstrap-server", f"127.0.0.1:{port}", "--list"]) == 0
        assert len(brokers) == 1
        assert main(["kafka-topics", "--bootstrap-server", "nosuch.invalid:1", "--list"]) == 1
    finally:
        for broker in brokers:
            broker.close()
    capsys.readouterr()
    monkeypatch.setenv(WAIT_VARIABLE, "soon")
    assert main(["kafka-broker-api-versions", "--bootstrap-server", f"127.0.0.1:{port}"]) == 1
    assert "OTTLA_TOOLS_WAIT_S=soon: write a whole number of seconds from 0 to 3600" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["kafka-topics", "kafka-configs"])
def test_an_encrypted_connection_is_refused(tool: str, tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings that ask for more than these tools can do are not passed over."""
    path = f"{tmp_path}/client.properties"
    with open(path, "w") as file:  # noqa: PTH123
        file.write("security.protocol=SASL_SSL\n")
    words = ["--bootstrap-server", "127.0.0.1:1", "--command-config", path]
    words += ["--list"] if tool == "kafka-topics" else ["--describe", "--topic", "a"]
    assert main([tool, *words]) == 1
    assert "security.protocol=SASL_SSL" in capsys.readouterr().err


def test_a_number_is_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Moments and durations as Java reads them."""
    assert _moment("1970-01-01T00:00:01.5") == 1005, "milliseconds are a number, as SimpleDateFormat reads them"
    assert _moment("1970-01-01T01:00:00.000+01:00") == 0
    assert _moment("1970-01-02T00:00:00Z") == 86_400_000
    assert _moment("0001-01-01T00:00:00+10:00") == _moment("0001-01-01T00:00:00Z") - 36_000_000
    assert _duration_ms("P1DT2H3M4.5S") == 93_784_500
    assert _duration_ms("-PT1S") == -1000
    for text in ("1h", "P", "PT", "", "P-99999999999999999999D"):
        with pytest.raises(Exception, match="cannot be parsed"):
            _duration_ms(text)


def test_patterns_of_topics() -> None:
    """A comma is an alternative, quotes around it fall off, the whole name has to fit."""
    assert TopicPattern("a.*,b").allows("abc")
    assert TopicPattern("'b'").allows("b")
    assert not TopicPattern("a").allows("ab")


def test_lines_become_records() -> None:
    """What the fixtures do not show: bytes that are no text, separators of several characters, broken headers."""
    reader = LineReader({"parse.key": "TRUE ", "key.separator": "->"})
    line = b"k->\xff\xfe".decode("utf-8", "surrogateescape")
    assert reader.read(line) == Line(b"k", b"\xff\xfe", [])
    reader = LineReader({"parse.headers": "true", "ignore.error": "true", "null.marker": "N"})
    assert reader.read("a:N,b\tv") == Line(None, b"v", [("a", None), ("b", None)])
    header = b"h\xff:1\tv".decode("utf-8", "surrogateescape")
    assert LineReader({"parse.headers": "true"}).read(header) == Line(None, b"v", [("h\ufffd", b"1")])
    with pytest.raises(ReaderError, match="can't be null"):
        LineReader({"parse.headers": "true", "null.marker": "N"}).read("N:1\tv")
    with pytest.raises(ReaderError, match=r"null\.marker and key\.separator may not be equal"):
        LineReader({"null.marker": "\t"})


def test_settings_for_librdkafka() -> None:
    """Other names, names without meaning, values that cannot be."""
    assert translated(
        {
            "fetch.max.wait.ms": "5",
            "key.serializer": "x",
            "partition.assignment.strategy": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
            "auto.offset.reset": "none",
        }
    ) == {
        "fetch.wait.max.ms": "5",
        "partition.assignment.strategy": "cooperative-sticky",
        "auto.offset.reset": "error",
        # The Java clients' own.
        "reconnect.backoff.ms": "50",
        "reconnect.backoff.max.ms": "1000",
    }
    least = translated({"send.buffer.bytes": "-1", "retry.backoff.ms": "0"})
    assert (least["socket.send.buffer.bytes"], least["retry.backoff.ms"]) == ("0", "1")
    assert translated({"reconnect.backoff.ms": "7"})["reconnect.backoff.ms"] == "7"
    for name, value in (("acks", "2"), ("isolation.level", "x"), ("partition.assignment.strategy", "Mine")):
        with pytest.raises(BadSetting, match=f"Invalid value {value} for configuration {name}"):
            translated({name: value})


def test_small_things() -> None:
    """KEY=VALUE words, ids, the checksum of batches (its published check value)."""
    assert key_values(["a=b=c", "d"]) == {"a": "b=c", "d": ""}
    assert re.fullmatch(r"[\w][\w-]{21}", random_uuid())
    assert crc32c(b"123456789") == 0xE3069283
