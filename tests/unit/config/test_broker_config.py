"""A server.properties becomes a configuration, or every problem in it at once."""

from __future__ import annotations

import pytest

from ottla.config import BrokerConfig, Endpoint, Given, given_in_file, load
from ottla.config.broker_config import topic_default
from ottla.config.dynamic import Dynamic
from ottla.config.listeners import advertised_of, parse_host_port
from ottla.config.topic_config import Source, describe, describe_broker, effective, unreadable, validate
from ottla.errors import ConfigError, ErrorCode, RequestError


def config_of(text: str, **more: str) -> BrokerConfig:
    given = given_in_file(text.encode(), "server.properties")
    return load([*given, *(Given(name.replace("_", "."), value, "--set") for name, value in more.items())])


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config_of(text)
    return caught.value.problems


def test_an_empty_file_is_a_working_broker() -> None:
    """Everything has a default."""
    config = config_of("")
    assert (config.node_id, config["num.partitions"], config.warnings) == (1, 1, ())
    assert config.listeners == (Endpoint("PLAINTEXT", "", 9092),)
    assert config.topic_defaults["retention.ms"] == 604_800_000


def test_kafkas_own_sample_file_starts_without_a_complaint_about_names() -> None:
    """The settings of Apache Kafka's config/server.properties: combined roles, a CONTROLLER listener, threads."""
    config = config_of(
        """
        process.roles=broker,controller
        node.id=1
        controller.quorum.bootstrap.servers=localhost:9093
        listeners=PLAINTEXT://:9092,CONTROLLER://:9093
        inter.broker.listener.name=PLAINTEXT
        advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
        controller.listener.names=CONTROLLER
        listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
        num.network.threads=3
        num.io.threads=8
        socket.send.buffer.bytes=102400
        log.dirs=/var/lib/ottla
        num.partitions=3
        offsets.topic.replication.factor=1
        transaction.state.log.replication.factor=1
        log.retention.hours=168
        log.segment.bytes=1073741824
        """
    )
    assert config.listeners == (Endpoint("PLAINTEXT", "", 9092),)
    assert config.advertised == (Endpoint("PLAINTEXT", "localhost", 9092),)
    assert config.data_dirs == ["/var/lib/ottla"]
    assert [warning.split(" ")[0] for warning in config.warnings] == [
        "controller.quorum.bootstrap.servers",
        "num.network.threads",
        "num.io.threads",
    ]
    assert all("has no effect: " in warning for warning in config.warnings)


def test_all_problems_come_at_once_with_name_value_and_range() -> None:
    """One look is enough to repair a file."""
    problems = problems_of("num.partitions=0\nlog.segment.bytes=x\n\nottla.durability=maybe\nlisteners=here")
    assert problems == (
        "num.partitions=0 (line 1 of server.properties): value must be at least 1 (allowed: 1 to 2147483647)",
        "log.segment.bytes=x (line 2 of server.properties): not a number of type INT (allowed: 1048576 to 2147483647)",
        (
            "ottla.durability=maybe (line 4 of server.properties): string must be one of: fsync, os "
            "(allowed: one of fsync, os)"
        ),
        "listeners (line 5 of server.properties): 'here' is not NAME://host:port with a port of 0 to 65535",
    )


def test_unknown_names_are_warned_of_with_their_line() -> None:
    """A misspelt name does not stop the broker, and does not pass in silence."""
    config = config_of("num.partition=3\nretention.ms=5\n")
    assert config.warnings == (
        "num.partition (line 1 of server.properties) is not known and has no effect",
        (
            "retention.ms (line 2 of server.properties) is not known and has no effect; it is a topic's setting, whose "
            "default is log.retention.ms"
        ),
    )


def test_a_name_set_twice_is_said_and_the_last_one_counts() -> None:
    """As in Java; what the command line sets over the file is no mistake."""
    config = config_of("num.partitions=2\nnum.partitions=3")
    assert config["num.partitions"] == 3
    assert config.warnings == (
        "num.partitions is set twice: line 2 of server.properties counts, line 1 of server.properties does not",
    )
    assert config_of("num.partitions=2", num_partitions="4")["num.partitions"] == 4
    assert config_of("num.partitions=2", num_partitions="4").warnings == ()


@pytest.mark.parametrize(
    "text, retention_ms",
    [
        ("", 604_800_000),
        ("log.retention.hours=1", 3_600_000),
        ("log.retention.hours=1\nlog.retention.minutes=2", 120_000),
        ("log.retention.minutes=2\nlog.retention.ms=3\nlog.retention.hours=1", 3),
        ("log.retention.hours=-1", -1),
        ("log.retention.ms=-1\nlog.retention.hours=1", -1),
    ],
)
def test_retention_is_taken_from_the_finest_unit_that_is_set(text: str, retention_ms: int) -> None:
    """Milliseconds before minutes before hours, whatever their order in the file."""
    assert topic_default(config_of(text), "retention.ms") == retention_ms


def test_zero_retention_is_refused_as_kafka_does() -> None:
    """It would delete everything at once."""
    assert "Value must not be 0".lower() in problems_of("log.retention.hours=0")[0].lower()


@pytest.mark.parametrize(
    "text, part",
    [
        ("listeners=SSL://:9093", "speaks SSL, which is not served"),
        ("listeners=INSIDE://:9093", "add INSIDE:PLAINTEXT to listener.security.protocol.map"),
        ("listeners=CONTROLLER://:9093", "none is left for clients"),
        ("listeners=PLAINTEXT://:9092,PLAINTEXT://:9093", "PLAINTEXT stands there twice"),
        (
            "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT\nlisteners=A://:9092,B://:9092",
            "port 9092 is used twice",
        ),
        ("listeners=PLAINTEXT://h:65536", "port of 0 to 65535"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "names no host clients can connect to"),
        ("advertised.listeners=OTHER://h:9092", "is none of the listeners; allowed names: PLAINTEXT"),
        ("inter.broker.listener.name=X", "allowed are the listeners PLAINTEXT"),
        ("listener.security.protocol.map=PLAINTEXT:NONE", "is not NAME:PROTOCOL"),
        ("listener.security.protocol.map=PLAINTEXT", "is not NAME:PROTOCOL"),
        ("listener.security.protocol.map=PLAINTEXT:SSL,PLAINTEXT:PLAINTEXT", "mapped to both SSL and PLAINTEXT"),
        ("process.roles=controller", "a controller without a broker"),
        ("node.id=1\nbroker.id=2", "must be equal"),
        ("controller.quorum.voters=1@a:9093,2@b:9093", "the only voter may be 1@host:port"),
        ("controller.quorum.bootstrap.servers=a:9093,b:9093", "runs a single node, which is its own controller"),
        ("controller.quorum.bootstrap.servers=a:9093\nprocess.roles=broker", "name one server at most, and both roles"),
        ("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "everybody would be let in"),
        ("group.min.session.timeout.ms=10\ngroup.max.session.timeout.ms=9", "must not be more than"),
        ("a=\\u12", "line 1: \\u12 is not a unicode escape"),
    ],
)
def test_what_cannot_be_served_is_refused(text: str, part: str) -> None:
    """Each problem says what is wrong and what would be right."""
    assert part in problems_of(text)[0]


def test_an_authorizer_that_lets_everybody_in_is_no_protection_to_miss() -> None:
    """With allow.everyone.if.no.acl.found=true Kafka's own authorizers refuse nobody until there is an ACL; another
    class, or the default of that setting, protects something and is refused.
    """
    name = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
    assert any("lets everybody in" in line for line in config_of(name + "allow.everyone.if.no.acl.found=true").warnings)
    assert "everybody would be let in" in problems_of(name + "allow.everyone.if.no.acl.found=false")[0]
    other = "authorizer.class.name=org.example.Mine\nallow.everyone.if.no.acl.found=true"
    assert "everybody would be let in" in problems_of(other)[0]


def test_broker_id_stands_for_node_id() -> None:
    """Files from before KRaft name it so."""
    config = config_of("broker.id=7\ncontroller.quorum.voters=7@here:9093")
    assert config.node_id == 7


def test_several_listeners_each_tell_their_own_address() -> None:
    """A listener without an advertised address tells its own, or the machine's name if it has none."""
    config = config_of(
        "listeners=INSIDE://10.0.0.1:9092,OUTSIDE://:9093,THIRD://[::1]:9094\n"
        "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,THIRD:PLAINTEXT\n"
        "advertised.listeners=INSIDE://example.org:19092"
    )
    told = [str(advertised_of(listener, list(config.advertised), "machine")) for listener in config.listeners]
    assert told == ["INSIDE://example.org:19092", "OUTSIDE://machine:9093", "THIRD://[::1]:9094"]


def test_an_advertised_address_without_a_host_tells_the_machines_name() -> None:
    """Apache Kafka 4.3.1 accepts it; the default of bitnami/kafka is written so."""
    config = config_of("listeners=PLAINTEXT://:9092\nadvertised.listeners=PLAINTEXT://:19092")
    assert str(advertised_of(config.listeners[0], list(config.advertised), "machine")) == "PLAINTEXT://machine:19092"


def test_protocols_ignore_case_and_may_be_said_twice() -> None:
    """As Apache Kafka 4.3.1 reads the map of protocols."""
    config = config_of(
        "listeners=PLAINTEXT://:9092,inside://:9093\n"
        "listener.security.protocol.map=inside:plaintext, PLAINTEXT:Plaintext, CONTROLLER:SSL, INSIDE:PLAINTEXT"
    )
    assert [endpoint.name for endpoint in config.listeners] == ["PLAINTEXT", "INSIDE"]


def test_host_and_port_of_the_command_line() -> None:
    """IPv6 addresses stand in brackets; anything else than HOST:PORT is refused with what was given."""
    assert parse_host_port("127.0.0.1:0") == ("127.0.0.1", 0)
    assert parse_host_port("[::1]:9092") == ("::1", 9092)
    assert parse_host_port(":9092") == ("", 9092)
    for wrong in ("9092", "localhost", "::1:9092", "h:70000", "h:x"):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            parse_host_port(wrong)


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"foo": "bar"}, "Unknown topic config name: foo"),
        ({"retention.ms": "abc", "foo": "x"}, "Unknown topic config name: foo"),
        ({"foo": None, "segment.ms": None}, "Null value not supported for topic configs: foo,segment.ms"),
        ({"retention.ms": None, "foo": "x"}, "Null value not supported for topic configs: retention.ms"),
        ({"retention.ms": "-5"}, "Invalid value -5 for configuration retention.ms: Value must be at least -1"),
        (
            {"preallocate": ""},
            "Invalid value  for configuration preallocate: Expected value to be either true or false",
        ),
        ({"cleanup.policy": ","}, "Configuration 'cleanup.policy' values must not be empty."),
        (
            {"min.compaction.lag.ms": "100", "max.compaction.lag.ms": "10"},
            "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (10)",
        ),
        (
            {"leader.replication.throttled.replicas": "x"},
            (
                "Invalid value [x] for configuration leader.replication.throttled.replicas: "
                "leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following "
                "format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            ),
        ),
        (
            {"remote.storage.enable": "true"},
            (
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log "
                "storage."
            ),
        ),
    ],
)
def test_topic_settings_are_refused_in_kafkas_words(overrides: dict[str, str | None], message: str) -> None:
    """Each message was answered by Apache Kafka 4.3.1 to the same CreateTopics."""
    with pytest.raises(RequestError) as caught:
        validate(overrides, load().topic_defaults)
    assert (caught.value.code, caught.value.message) == (ErrorCode.INVALID_CONFIG, message)


def test_effective_values_survive_an_override_that_no_longer_parses() -> None:
    """A record of a version with other bounds does not make the topic unusable."""
    values = effective({"retention.ms": "x", "gone": "1", "internal.segment.bytes": "1000"}, load().topic_defaults)
    assert (values["retention.ms"], values["segment.bytes"]) == (604_800_000, 1000)
    assert "gone" not in values


def test_an_override_that_no_longer_parses_is_not_shown_as_if_it_held() -> None:
    """What DescribeConfigs shows is what holds, and the log says what does not."""
    overrides = {"retention.ms": "x\ny", "segment.ms": "5", "gone": "1"}
    described = {entry.setting.name: entry for entry in describe(overrides, load())}
    held = effective(overrides, load().topic_defaults)
    for name in ("retention.ms", "segment.ms"):
        assert described[name].value == str(held[name])
    assert (described["retention.ms"].source, described["segment.ms"].source) == (Source.DEFAULT, Source.TOPIC)
    (sentence,) = unreadable(overrides)
    assert sentence.startswith(r"retention.ms='x\ny' does not hold, the default does (")


def test_sources_and_synonyms_are_kafkas() -> None:
    """As Apache Kafka 4.3.1 describes a topic with an override under a broker with log.retention.ms set."""
    config = config_of("log.retention.ms=86400000\nlog.segment.bytes=2000000000")
    described = {entry.setting.name: entry for entry in describe({"retention.ms": " 10 "}, config)}
    retention = described["retention.ms"]
    assert (retention.value, retention.source) == ("10", Source.TOPIC)
    assert retention.synonyms == (
        ("retention.ms", "10", Source.TOPIC),
        ("log.retention.ms", "86400000", Source.STATIC_BROKER),
        ("log.retention.hours", "168", Source.DEFAULT),
    )
    assert described["segment.bytes"].source is Source.STATIC_BROKER
    assert described["segment.bytes"].synonyms == (
        ("log.segment.bytes", "2000000000", Source.STATIC_BROKER),
        ("log.segment.bytes", "1073741824", Source.DEFAULT),
    )
    assert described["remote.storage.enable"].synonyms == ()
    assert "internal.segment.bytes" not in described
    broker = {entry.setting.name: entry for entry in describe_broker(config, Dynamic())}
    assert broker["log.retention.ms"].synonyms == retention.synonyms[1:]
    assert (broker["log.retention.hours"].value, broker["log.retention.hours"].source) == ("168", Source.DEFAULT)
    assert broker["broker.rack"].synonyms == ()
    assert broker["log.retention.minutes"].synonyms == ()


def test_a_default_in_another_unit_is_shown_once_somebody_sets_it() -> None:
    """Kafka never shows log.roll.hours beside segment.ms; neither do we, while it is nobody's choice."""

    def segment_ms(text: str) -> tuple[object, ...]:
        described = {entry.setting.name: entry for entry in describe({}, config_of(text))}["segment.ms"]
        return (described.value, described.source, described.synonyms)

    assert segment_ms("") == ("604800000", Source.DEFAULT, ())
    chain = (("log.roll.hours", "24", Source.STATIC_BROKER), ("log.roll.hours", "168", Source.DEFAULT))
    assert segment_ms("log.roll.hours=24") == ("86400000", Source.STATIC_BROKER, chain)


def test_a_default_that_kafka_lacks_is_no_synonym_of_what_is_set() -> None:
    """Kafka wants node.id to be given, so there is nothing behind it."""
    described = {entry.setting.name: entry for entry in describe_broker(config_of("node.id=4"), Dynamic())}["node.id"]
    assert described.synonyms == (("node.id", "4", Source.STATIC_BROKER),)
