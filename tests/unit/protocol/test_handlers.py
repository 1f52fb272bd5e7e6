"""Handlers answer what Apache Kafka 4.3.1 answers: each expectation was asked of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ottla import messages as m
from ottla.config import TOPIC_SETTINGS
from ottla.config.dynamic import effective
from ottla.controller.group_config import group_config
from ottla.errors import ErrorCode, StorageError
from ottla.protocol.background import Background
from tests.unit.protocol.world import World

# Kafka lists the first one only when it is set, and does not have the other.
UNSHOWN = {"internal.segment.bytes", "ottla.durability"}


def create(*names: str, **more: Any) -> m.CreateTopicsRequest:
    topics = [
        m.CreateTopicsRequestCreatableTopic(
            name=name,
            num_partitions=-1,
            replication_factor=-1,
            configs=[m.CreateTopicsRequestCreatableTopicConfig(name="retention.ms", value=" 10 ")],
        )
        for name in names
    ]
    return m.CreateTopicsRequest(topics=topics, **more)


def describe(*resources: tuple[int, str, list[str] | None], **more: Any) -> m.DescribeConfigsRequest:
    return m.DescribeConfigsRequest(
        resources=[
            m.DescribeConfigsRequestResource(resource_type=kind, resource_name=name, configuration_keys=keys)
            for kind, name, keys in resources
        ],
        **more,
    )


def test_create_topics_answers_counts_settings_and_id() -> None:
    """Settings the request gave are shown as given; all others with their source."""
    world = World(log_segment_bytes="2000000000")
    topic = world.call(19, 7, create("a")).topics[0]
    assert (topic.error_code, topic.error_message, topic.num_partitions, topic.replication_factor) == (0, None, 1, 1)
    assert topic.topic_id == world.services.image.topics["a"].topic_id
    shown = {entry.name: (entry.value, entry.config_source) for entry in topic.configs}
    assert set(shown) == set(TOPIC_SETTINGS) - UNSHOWN
    assert shown["retention.ms"] == (" 10 ", 1)
    assert shown["segment.bytes"] == ("2000000000", 4)
    assert shown["cleanup.policy"] == ("delete", 5)


def test_create_topics_times_out_and_creates_all_the_same() -> None:
    """What was appended when time ran out comes to be; the answer has no sentence."""
    world = World()
    world.journal.commit_at_once = False
    world.ask(7, 19, 7, create("a", timeout_ms=100))
    world.turn()
    world.clock.advance(100)
    world.turn()
    (topic,) = world.bridge.answers[7].topics
    assert (topic.error_code, topic.error_message) == (ErrorCode.REQUEST_TIMED_OUT, None)
    world.journal.commit()
    assert "a" in world.services.image.topics


@pytest.mark.parametrize("timeout_ms", [0, -1])
def test_create_topics_without_any_time_creates_nothing(timeout_ms: int) -> None:
    """Apache Kafka answers REQUEST_TIMED_OUT at once, and the topic does not exist afterwards."""
    world = World()
    topic = world.call(19, 7, create("a", timeout_ms=timeout_ms)).topics[0]
    assert (topic.error_code, topic.error_message) == (ErrorCode.REQUEST_TIMED_OUT, None)
    assert "a" not in world.services.image.topics


def test_create_partitions() -> None:
    """The new ones are there when the answer leaves."""
    world = World()
    world.call(19, 7, create("a"))
    request = m.CreatePartitionsRequest(
        topics=[
            m.CreatePartitionsRequestTopic(name="a", count=3, assignments=None),
            m.CreatePartitionsRequestTopic(name="b", count=3, assignments=None),
        ],
        timeout_ms=1000,
    )
    results = world.call(37, 3, request).results
    assert [(r.name, r.error_code, r.error_message) for r in results] == [("a", 0, None), ("b", 3, None)]
    assert len(world.services.image.topics["a"].partitions) == 3


def test_delete_topics_by_name_and_by_id() -> None:
    """Version 6 takes both and answers both; earlier ones know names only, and no sentences before 5."""
    world = World()
    world.call(19, 7, create("a", "b", "c"))
    topic_id = world.services.image.topics["a"].topic_id
    state = m.DeleteTopicsRequestDeleteTopicState
    request = m.DeleteTopicsRequest(topics=[state(topic_id=topic_id), state(name="nope")], timeout_ms=1000)
    first, second = world.call(20, 6, request).responses
    assert (first.name, first.topic_id, first.error_code) == ("a", topic_id, 0)
    assert (second.name, second.topic_id, second.error_code) == ("nope", bytes(16), 3)
    request = m.DeleteTopicsRequest(topic_names=["b", "nope"], timeout_ms=1000)
    first, second = world.call(20, 4, request).responses
    assert (first.topic_id, first.error_code) == (bytes(16), 0)
    assert (second.error_code, second.error_message) == (3, None)
    assert list(world.services.image.topics) == ["c"]


@pytest.mark.parametrize("version, code", [(6, ErrorCode.TOPIC_DELETION_DISABLED), (2, ErrorCode.INVALID_REQUEST)])
def test_deletion_may_be_switched_off(version: int, code: ErrorCode) -> None:
    """delete.topic.enable=false; clients before version 3 do not know the code."""
    world = World(delete_topic_enable="false")
    world.call(19, 7, create("a"))
    state = m.DeleteTopicsRequestDeleteTopicState(name="a")
    request = m.DeleteTopicsRequest(topics=[state], topic_names=["a"], timeout_ms=1000)
    assert [r.error_code for r in world.call(20, version, request).responses] == [code]
    assert "a" in world.services.image.topics


def test_describe_configs_of_topics() -> None:
    """All keys for null and for none, chosen ones otherwise; unknown keys are left out."""
    world = World()
    world.call(19, 7, create("a"))
    some = ["retention.ms", "nope", "segment.ms"]
    request = describe((2, "a", None), (2, "a", []), (2, "a", some), (2, "x", None), (2, "x x", None))
    every, none, chosen, unknown, invalid = world.call(32, 4, request).results
    assert {entry.name for entry in every.configs} == set(TOPIC_SETTINGS) - UNSHOWN
    assert none.configs == every.configs
    assert {entry.name: entry.value for entry in chosen.configs} == {"retention.ms": "10", "segment.ms": "604800000"}
    assert (unknown.error_code, unknown.error_message, unknown.configs) == (3, "", [])
    assert (invalid.error_code, invalid.error_message[:21]) == (17, "Topic name is invalid")


def test_describe_configs_shows_synonyms_and_prose_on_request() -> None:
    """Where a value comes from and what would hold without it, strongest first."""
    world = World(log_retention_ms="86400000")
    world.call(19, 7, create("a"))
    request = describe((2, "a", ["retention.ms"]), include_synonyms=True, include_documentation=True)
    (entry,) = world.call(32, 4, request).results[0].configs
    assert [(s.name, s.value, s.source) for s in entry.synonyms] == [
        ("retention.ms", "10", 1),
        ("log.retention.ms", "86400000", 4),
        ("log.retention.hours", "168", 5),
    ]
    assert (entry.config_type, entry.read_only, entry.is_sensitive) == (5, False, False)
    assert entry.documentation.endswith(".")
    request = describe((2, "a", ["retention.ms"]))
    (entry,) = world.call(32, 4, request).results[0].configs
    assert (entry.synonyms, entry.documentation) == ([], None)


def test_describe_configs_of_the_broker() -> None:
    """Its own id has settings, the empty name what was altered for all; other ids and words are refused."""
    world = World(log_retention_ms="5")
    keys = ["log.retention.ms", "ottla.durability"]
    request = describe((4, "1", keys), (4, "", None), (4, "2", None), (4, "x", None))
    own, dynamic, other, word = world.call(32, 4, request).results
    assert {entry.name: (entry.value, entry.config_source) for entry in own.configs} == {
        "log.retention.ms": ("5", 4),
        "ottla.durability": ("fsync", 5),
    }
    assert (dynamic.error_code, dynamic.configs) == (0, [])
    assert other.error_message == "Unexpected broker id, expected 1 or empty string, but received 2"
    assert word.error_message == "Broker id must be an integer, but it is: x"


def test_one_unknown_resource_type_refuses_the_whole_request() -> None:
    """As in Kafka."""
    results = World().call(32, 4, describe((4, "1", None), (99, "a", None))).results
    assert [(r.error_code, r.configs) for r in results] == [(ErrorCode.INVALID_REQUEST, [])] * 2


def test_describe_cluster_gives_addresses_of_the_listener_asked_through() -> None:
    """Each listener tells its own addresses."""
    world = World()
    inside = world.call(60, 2, m.DescribeClusterRequest(include_cluster_authorized_operations=True))
    outside = world.call(60, 2, m.DescribeClusterRequest(), listener="OTHER")
    assert [(b.broker_id, b.host, b.port, b.rack) for b in inside.brokers] == [(1, "here", 9092, "r1")]
    assert [(b.host, b.port) for b in outside.brokers] == [("there", 9093)]
    assert (inside.cluster_id, inside.controller_id, inside.error_message) == ("cluster", 1, None)
    assert (inside.cluster_authorized_operations, outside.cluster_authorized_operations) == (8096, -(2**31))


@pytest.mark.parametrize(
    "endpoint_type, code",
    [(2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (3, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)],
)
def test_describe_cluster_is_asked_of_brokers(endpoint_type: int, code: ErrorCode) -> None:
    """A controller's client that comes to a broker is told so."""
    response = World().call(60, 1, m.DescribeClusterRequest(endpoint_type=endpoint_type))
    assert (response.error_code, response.cluster_id, response.brokers) == (code, "", [])


@pytest.mark.parametrize(
    "transactional_id, producer_id, producer_epoch, code",
    [
        (None, -1, -1, ErrorCode.NONE),
        (None, 5, 3, ErrorCode.NONE),
        (None, 5, -1, ErrorCode.INVALID_REQUEST),
        (None, -1, 3, ErrorCode.INVALID_REQUEST),
        ("", -1, -1, ErrorCode.INVALID_REQUEST),
        # Nobody has asked for its coordinator, so the topic is not there.
        ("tx", -1, -1, ErrorCode.NOT_COORDINATOR),
    ],
)
def test_init_producer_id(transactional_id: str | None, producer_id: int, producer_epoch: int, code: ErrorCode) -> None:
    """Idempotent producers get an id, contradictions are refused as in Kafka."""
    request = m.InitProducerIdRequest(
        transactional_id=transactional_id,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transaction_timeout_ms=1000,
    )
    response = World().call(22, 4, request)
    expected = (code, -1, -1) if code is not ErrorCode.NONE else (code, 0, 0)
    assert (response.error_code, response.producer_id, response.producer_epoch) == expected


def test_producer_ids_are_not_to_be_had_while_the_log_fails() -> None:
    """Clients come back for it."""
    world = World()
    world.journal.fail_with = StorageError("disk full")
    response = world.call(22, 5, m.InitProducerIdRequest(transactional_id=None))
    assert (response.error_code, response.producer_id) == (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, -1)


def test_a_topic_named_twice_is_altered_neither_time() -> None:
    """Both entries are refused, in their places. Apache Kafka 4.3.1 never answers AlterConfigs of this kind."""
    world = World()
    world.call(19, 7, create("a", "b"))
    resources = [
        m.AlterConfigsRequestResource(
            resource_type=2,
            resource_name=name,
            configs=[m.AlterConfigsRequestAlterableConfig(name="retention.ms", value="7")],
        )
        for name in ("a", "b", "a")
    ]
    response = world.call(33, 2, m.AlterConfigsRequest(resources=resources))
    found = [(entry.resource_name, ErrorCode(entry.error_code)) for entry in response.responses]
    assert found == [("a", ErrorCode.INVALID_REQUEST), ("b", ErrorCode.NONE), ("a", ErrorCode.INVALID_REQUEST)]
    assert world.services.image.topic_config("b") == {"retention.ms": "7"}
    assert world.services.image.topic_config("a") == {"retention.ms": " 10 "}


@pytest.mark.parametrize("kind, name, advice", [(4, "1", "restart it"), (8, "1", "--log-level")])
def test_what_cannot_be_altered_says_what_to_do_instead(kind: int, name: str, advice: str) -> None:
    """Settings of brokers and loggers: refused, with a sentence that helps."""
    world = World()
    resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[m.IncrementalAlterConfigsRequestAlterableConfig(name="x", config_operation=0, value="1")],
    )
    (entry,) = world.call(44, 1, m.IncrementalAlterConfigsRequest(resources=[resource])).responses
    assert entry.error_code == ErrorCode.INVALID_REQUEST
    assert advice in entry.error_message


def alter_group(
    *changes: tuple[str, int, str | None], name: str = "g", kind: int = 32
) -> m.IncrementalAlterConfigsRequest:
    configs = [
        m.IncrementalAlterConfigsRequestAlterableConfig(name=key, config_operation=how, value=value)
        for key, how, value in changes
    ]
    resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(
        resource_type=kind, resource_name=name, configs=configs
    )
    return m.IncrementalAlterConfigsRequest(resources=[resource])


SET, DELETE, APPEND = 0, 1, 2


def test_bounds_of_connections_are_altered_for_one_broker_and_for_all() -> None:
    """What is this broker's own counts over what is all brokers', and that over its file; each may be taken back."""
    world = World(max_connections="10")
    name, rate = "max.connections", "max.connection.creation.rate"

    def alter(broker: str, *changes: tuple[str, int, str | None]) -> None:
        (entry,) = world.call(44, 1, alter_group(*changes, name=broker, kind=4)).responses
        assert (entry.error_code, entry.error_message) == (0, None)

    def told(broker: str) -> dict[str, tuple[object, ...]]:
        request = describe((4, broker, [name, rate]), include_synonyms=True)
        entries = world.call(32, 4, request).results[0].configs
        return {
            entry.name: (entry.value, entry.config_source, [(each.value, each.source) for each in entry.synonyms])
            for entry in entries
        }

    def holds() -> tuple[object, object]:
        altered, _ = effective(world.services.config, world.services.image.dynamic_of(1))
        return altered[name], altered[rate]

    unbounded = 2**31 - 1
    assert told("1")[name] == ("10", 4, [("10", 4), (str(unbounded), 5)])
    alter("", (name, SET, "20"), (rate, SET, " 7 "))
    alter("1", (name, SET, "30"))
    assert holds() == (30, 7)
    assert told("1") == {
        name: ("30", 2, [("30", 2), ("20", 3), ("10", 4), (str(unbounded), 5)]),
        rate: ("7", 3, [(" 7 ", 3), (str(unbounded), 5)]),
    }
    assert told("") == {name: ("20", 3, [("20", 3)]), rate: (" 7 ", 3, [(" 7 ", 3)])}
    alter("1", (name, DELETE, None), ("log.retention.ms", DELETE, None))
    assert holds() == (20, 7)
    alter("", (name, DELETE, None), (rate, DELETE, None))
    assert (holds(), told("")) == ((10, unbounded), {})


@pytest.mark.parametrize(
    "broker, name, how, value, code, words",
    [
        ("1", "max.connections", SET, "0", 42, "Invalid value 0 for configuration max.connections"),
        ("", "max.connection.creation.rate", SET, "0", 42, "Invalid value 0"),
        ("1", "max.connections", SET, "many", 42, "Not a number of type INT"),
        ("1", "max.connections.per.ip.overrides", SET, "host", 42, "host:count"),
        ("1", "max.connections.per.ip", SET, "0", 42, "only if max.connections.per.ip.overrides property is set"),
        ("1", "max.connections", APPEND, "1", 40, "append is not allowed"),
        ("", "nothing", APPEND, "1", 40, "Unknown config name: nothing"),
        ("1", "log.dirs", SET, "/x", 42, "Cannot update these configs dynamically: [log.dirs]"),
        ("2", "max.connections", SET, "1", 42, "Unexpected broker id, expected 1, but received 2"),
        ("one", "max.connections", SET, "1", 42, "Node id must be an integer, but it is: one"),
    ],
)
def test_what_a_broker_cannot_alter(broker: str, name: str, how: int, value: str, code: int, words: str) -> None:
    """Refused with Kafka's codes, and nothing is kept of the request."""
    world = World()
    request = alter_group(("max.connections", SET, "5"), (name, how, value), name=broker, kind=4)
    if name == "max.connections":
        request = alter_group((name, how, value), name=broker, kind=4)
    (entry,) = world.call(44, 1, request).responses
    assert (entry.error_code, words in entry.error_message) == (code, True), entry.error_message
    assert world.services.image.configs == {}


def test_groups_have_settings_of_their_own() -> None:
    """Set, shown with what would hold without them, and given back; whether the group exists is no question."""
    world = World(group_consumer_heartbeat_interval_ms="7000")
    session, heartbeat = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"
    (entry,) = world.call(44, 1, alter_group((session, 0, "50000"))).responses
    assert entry.error_code == 0
    assert group_config(world.services.image, "g") == {session: 50_000}
    request = describe((32, "g", [session, heartbeat]), include_synonyms=True)
    own, theirs = sorted(world.call(32, 4, request).results[0].configs, key=lambda each: each.name, reverse=True)
    assert [(each.name, each.value, each.source) for each in own.synonyms] == [
        (session, "50000", 8),
        (f"group.{session}", "45000", 5),
    ]
    assert (theirs.value, theirs.config_source, theirs.config_type) == ("7000", 4, 3)
    world.call(44, 1, alter_group((session, 1, None)))
    assert group_config(world.services.image, "g") == {}


@pytest.mark.parametrize("text", [" 50000 ", "+50000", "050000"])
def test_what_a_group_sets_counts_as_it_is_read(text: str) -> None:
    """Text that is a number to Kafka's parser is one to the coordinator, too; it is kept as it came."""
    world = World()
    session = "consumer.session.timeout.ms"
    (entry,) = world.call(44, 1, alter_group((session, 0, text))).responses
    assert entry.error_code == 0
    assert group_config(world.services.image, "g") == {session: 50_000}
    assert world.services.image.configs[32, "g"] == {session: text}


@pytest.mark.parametrize(
    "change, words",
    [
        (("consumer.session.timeout.ms", 0, "1000"), "group.consumer.min.session.timeout.ms"),
        (("consumer.heartbeat.interval.ms", 0, "20000"), "group.consumer.max.heartbeat.interval.ms"),
        (("consumer.heartbeat.interval.ms", 0, "soon"), "Not a number"),
        (("consumer.assignment.interval.ms", 0, "-1"), "at least 0"),
        (("consumer.assignment.interval.ms", 2, "1"), "LIST"),
        (("retention.ms", 0, "1"), "Unknown group config name"),
    ],
)
def test_settings_of_groups_stay_within_the_broker_s(change: tuple[str, int, str | None], words: str) -> None:
    """INVALID_CONFIG with the bound that is broken; nothing is set."""
    world = World()
    (entry,) = world.call(44, 1, alter_group(change)).responses
    assert entry.error_code == ErrorCode.INVALID_CONFIG
    assert words in entry.error_message
    assert group_config(world.services.image, "g") == {}


def test_a_group_without_a_name_has_no_settings() -> None:
    """There are no defaults of all groups but the broker's settings."""
    world = World()
    (entry,) = world.call(44, 1, alter_group(("consumer.session.timeout.ms", 0, "50000"), name="")).responses
    assert entry.error_code == ErrorCode.INVALID_REQUEST
    assert world.call(32, 4, describe((32, "", None))).results[0].error_code == ErrorCode.INVALID_REQUEST


def test_a_setting_that_changes_nothing_yet_is_said_when_it_is_altered(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody who turns compaction on believes that it happens; validation and deletion say nothing."""
    world = World()
    world.call(19, 7, create("a"))

    def alter(operation: int, *, validate_only: bool = False) -> list[str]:
        caplog.clear()
        config = m.IncrementalAlterConfigsRequestAlterableConfig(
            name="preallocate", config_operation=operation, value="true"
        )
        resource = m.IncrementalAlterConfigsRequestAlterConfigsResource(
            resource_type=2, resource_name="a", configs=[config]
        )
        request = m.IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
        assert world.call(44, 1, request).responses[0].error_code == 0
        return [record.getMessage() for record in caplog.records]

    (said,) = alter(0)
    assert said.startswith("topic a: preallocate")
    assert alter(0, validate_only=True) == []
    assert alter(1) == []


def test_directories_are_described_off_the_control_plane() -> None:
    """Not only the disk is waited for elsewhere: an answer of many partitions is also put together there."""
    world = World()
    threads: set[str] = set()

    class Partitions:
        """So many that going through them takes its time."""

        def __iter__(self) -> Iterator[tuple[str, int, int]]:
            threads.add(threading.current_thread().name)
            return iter([("a", 0, 10), ("a", 1, 20), ("b", 0, 30)])

    storage: Any = SimpleNamespace(usage=lambda: [("/data", 0, (100, 50), Partitions())])
    world.services.storage = storage
    woken = threading.Semaphore(0)
    world.services.background = Background("background", woken.release)
    world.ask(1, 35, 4, m.DescribeLogDirsRequest(topics=None))
    world.turn()
    assert woken.acquire(timeout=30)
    world.turn()
    (described,) = world.bridge.answers[1].results
    found = {topic.name: [each.partition_size for each in topic.partitions] for topic in described.topics}
    assert (found, described.total_bytes) == ({"a": [10, 20], "b": [30]}, 100)
    assert threads == {"background"}
    world.services.background.stop()
