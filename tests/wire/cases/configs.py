"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs."""

from __future__ import annotations

import time
from typing import Any

from tests.wire.client import Plain
from tests.wire.differential import WAIT_S, Talk, case

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
# Named one by one, since Ottla does not have every broker setting of Kafka; all topic settings are compared.
BROKER_NAMES = [
    *("num.partitions", "auto.create.topics.enable", "log.segment.bytes", "log.retention.hours", "log.retention.bytes"),
    *("message.max.bytes", "group.initial.rebalance.delay.ms", "offsets.topic.num.partitions", "node.id"),
    *("socket.request.max.bytes", "compression.type", "log.roll.hours", "log.cleanup.policy", "min.insync.replicas"),
    *(
        "log.message.timestamp.type",
        "log.index.interval.bytes",
        "offset.metadata.max.bytes",
        "default.replication.factor",
    ),
]


@case(range(1, 5))
def describe_configs(talk: Talk, version: int) -> None:
    """All settings of a topic with their source, synonyms, types; some of the broker; what is not there."""
    talk.create(configs={"retention.ms": "1000", "cleanup.policy": "compact"})

    def ask(label: str, kind: int, name: str, keys: list[str] | None = None, **more: Any) -> None:
        resources = [{"resource_type": kind, "resource_name": name, "configuration_keys": keys}]
        answer = talk.quietly("describe_configs", version, resources=resources, **more)
        for result in answer["results"]:
            result["configs"].sort(key=lambda each: each["name"])
        talk.note(label, answer)

    ask("topic", TOPIC, talk.topic())
    ask("topic with synonyms", TOPIC, talk.topic(), include_synonyms=True)
    if version >= 3:
        ask("topic with documentation", TOPIC, talk.topic(), ["retention.ms"], include_documentation=True)
    ask("some settings of a topic", TOPIC, talk.topic(), ["retention.ms", "segment.bytes", "no.such"])
    ask("no settings of a topic", TOPIC, talk.topic(), [])
    ask("unknown topic", TOPIC, talk.topic("-none"))
    ask("ill-named topic", TOPIC, "not a name")
    ask("some settings of the broker", BROKER, "1", BROKER_NAMES)
    ask("some settings of the broker with synonyms", BROKER, "1", BROKER_NAMES, include_synonyms=True)
    ask("unknown broker", BROKER, "7", ["num.partitions"])
    ask("a broker that is no number", BROKER, "one", ["num.partitions"])
    ask("default of all brokers", BROKER, "", ["num.partitions"])
    ask("no such kind", 99, "x")
    ask("kind 0", 0, "x")
    twice = {"resource_type": TOPIC, "resource_name": talk.topic(), "configuration_keys": ["retention.ms"]}
    talk.ask("twice", "describe_configs", version, resources=[twice, twice])
    talk.ask("nothing", "describe_configs", version, resources=[])


SET, DELETE, APPEND, SUBTRACT = range(4)
# Entries twice, with blanks, and empty ones: the only list of a topic that takes them.
REPLICA_LISTS = (
    (SET, "0:1,0:1,1:1"),
    (SUBTRACT, "0:1"),
    (APPEND, "0:1,2:2,2:2"),
    (APPEND, " 3:3 ,4:4"),
    (SUBTRACT, "3:3"),
    (APPEND, ""),
    (SUBTRACT, ""),
    (APPEND, ","),
    (SET, "0:1,,1:1,"),
    (APPEND, "5:5"),
    (SET, "*"),
    (APPEND, "5:5"),
    (SET, ","),
)
Change = tuple[str, int, str | None]


def settings_of(talk: Talk, label: str, name: str) -> None:
    """Keeps what the topic itself sets, once the broker shows it."""
    resources = [{"resource_type": TOPIC, "resource_name": name, "configuration_keys": None}]
    answer = talk.quietly("describe_configs", 4, resources=resources)
    own = {each["name"]: each["value"] for each in answer["results"][0]["configs"] if each["config_source"] == 1}
    talk.note(label, own)


@case(range(2))
def incremental_alter_configs(talk: Talk, version: int) -> None:
    """Settings of a topic set, deleted, added to and taken from; and every reason for which they are not."""
    name = talk.topic()
    talk.create(configs={"retention.ms": "1000"})

    def resource(*changes: Change, kind: int = TOPIC, of: str = name) -> Plain:
        configs = [{"name": key, "config_operation": how, "value": value} for key, how, value in changes]
        return {"resource_type": kind, "resource_name": of, "configs": configs}

    def ask(label: str, *resources: Plain, validate_only: bool = False) -> None:
        talk.ask(label, "incremental_alter_configs", version, resources=resources, validate_only=validate_only)

    def shown(label: str) -> None:
        settle_configs(talk, name)
        settings_of(talk, f"after {label}", name)

    ask("set", resource(("retention.bytes", SET, "7"), ("segment.bytes", SET, "2097152")))
    shown("set")
    ask("delete", resource(("retention.bytes", DELETE, None), ("segment.bytes", DELETE, "whatever")))
    ask("delete what is not set", resource(("retention.bytes", DELETE, None)))
    ask("delete an unknown setting", resource(("no.such", DELETE, None)))
    shown("delete")
    ask("append", resource(("cleanup.policy", APPEND, "compact")))
    ask("append again", resource(("cleanup.policy", APPEND, "compact")))
    shown("append")
    ask("subtract", resource(("cleanup.policy", SUBTRACT, "delete")))
    ask("subtract what is not there", resource(("cleanup.policy", SUBTRACT, "delete")))
    shown("subtract")
    ask("append two", resource(("cleanup.policy", APPEND, "delete, compact")))
    shown("append two")
    ask("subtract all", resource(("cleanup.policy", SUBTRACT, "delete,compact")))
    shown("subtract all")
    for how, value in REPLICA_LISTS:
        label = f"replica list {how} '{value}'"
        ask(label, resource(("leader.replication.throttled.replicas", how, value)))
        shown(label)
    long = ",".join(f"{number}:{number}" for number in range(2800))
    ask("a long list", resource(("leader.replication.throttled.replicas", SET, long)))
    settle_configs(talk, name)
    more = long.replace(":", ":7")
    ask("more than a value may hold", resource(("leader.replication.throttled.replicas", APPEND, more)))
    ask("the list deleted", resource(("leader.replication.throttled.replicas", DELETE, None)))
    ask("append to a number", resource(("retention.ms", APPEND, "1")))
    ask("append what is no choice", resource(("cleanup.policy", APPEND, "burn")))
    ask("append to an unknown setting", resource(("no.such", APPEND, "1")))
    ask("append nothing", resource(("cleanup.policy", APPEND, "")))
    ask("unknown setting", resource(("no.such", SET, "1")))
    ask("bad number", resource(("retention.ms", SET, "soon")))
    ask("out of range", resource(("segment.bytes", SET, "1")))
    ask("contradiction", resource(("min.compaction.lag.ms", SET, "10"), ("max.compaction.lag.ms", SET, "5")))
    ask("null", resource(("retention.ms", SET, None)))
    ask("null appended", resource(("cleanup.policy", APPEND, None)))
    ask("setting twice", resource(("retention.ms", SET, "1"), ("retention.ms", SET, "2")))
    ask("no such operation", resource(("retention.ms", 9, "1")))
    ask("one good, one bad setting", resource(("retention.ms", SET, "5"), ("segment.bytes", SET, "x")))
    ask("no settings", resource())
    ask("unknown topic", resource(("retention.ms", SET, "1"), of=talk.topic("-none")))
    ask("ill-named topic", resource(("retention.ms", SET, "1"), of="not a name"))
    ask("topic without a name", resource(("retention.ms", SET, "1"), of=""))
    ask("topic twice", resource(("retention.ms", SET, "1")), resource(("retention.ms", SET, "2")))
    ask("no such kind", resource(("retention.ms", SET, "1"), kind=99))
    ask("kind 0", resource(("retention.ms", SET, "1"), kind=0))
    ask("good and bad", resource(("retention.ms", SET, "77")), resource(("a", SET, "1"), of=talk.topic("-none")))
    shown("good and bad")
    ask("validated only", resource(("retention.ms", SET, "99")), validate_only=True)
    ask("validated only, bad", resource(("retention.ms", SET, "x")), validate_only=True)
    shown("validated only")
    ask("nothing")


@case(range(3))
def alter_configs(talk: Talk, version: int) -> None:
    """All settings of a topic replaced; and every reason for which they are not."""
    name = talk.topic()
    talk.create(configs={"retention.ms": "1000", "cleanup.policy": "compact"})

    def resource(*changes: tuple[str, str | None], kind: int = TOPIC, of: str = name) -> Plain:
        configs = [{"name": key, "value": value} for key, value in changes]
        return {"resource_type": kind, "resource_name": of, "configs": configs}

    def ask(label: str, *resources: Plain, validate_only: bool = False) -> None:
        talk.ask(label, "alter_configs", version, resources=resources, validate_only=validate_only)

    def shown(label: str) -> None:
        settle_configs(talk, name)
        settings_of(talk, f"after {label}", name)

    ask("replace", resource(("retention.bytes", "7")))
    shown("replace")
    ask("unknown setting", resource(("no.such", "1")))
    ask("bad number", resource(("retention.ms", "soon")))
    ask("null", resource(("retention.ms", None)))
    ask("setting twice", resource(("retention.ms", "1"), ("retention.ms", "2")))
    ask("unknown topic", resource(("retention.ms", "1"), of=talk.topic("-none")))
    ask("ill-named topic", resource(("retention.ms", "1"), of="not a name"))
    # A topic named twice is left out: Kafka 4.3.1 never answers that.
    ask("no such kind", resource(("retention.ms", "1"), kind=99))
    shown("all that")
    ask("validated only", resource(("retention.ms", "99")), validate_only=True)
    shown("validated only")
    ask("good and bad", resource(("retention.ms", "77")), resource(("a", "1"), of=talk.topic("-none")))
    ask("no settings", resource())
    shown("no settings")
    ask("nothing")


def settle_configs(talk: Talk, name: str) -> None:
    """In Kafka a change is answered a moment before the broker shows it: a marker that is shown stands behind it."""
    marker = {"name": "flush.ms", "config_operation": SET, "value": str(1000 + len(talk.transcript))}
    for change in (marker, {**marker, "config_operation": DELETE}):
        resource = {"resource_type": TOPIC, "resource_name": name, "configs": [change]}
        answer = talk.quietly("incremental_alter_configs", 1, resources=[resource])
        assert answer["responses"][0]["error_code"] == "none", answer
        deadline = time.monotonic() + WAIT_S
        while True:
            resources = [{"resource_type": TOPIC, "resource_name": name, "configuration_keys": ["flush.ms"]}]
            found = talk.quietly("describe_configs", 4, resources=resources)["results"][0]["configs"][0]
            if (found["config_source"] == 1, found["value"] == marker["value"]) == ((change is marker),) * 2:
                break
            assert time.monotonic() < deadline, found


GROUP_NAMES = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "consumer.assignment.interval.ms")


@case(range(2))
def incremental_alter_configs_of_groups(talk: Talk, version: int) -> None:
    """What a consumer group may set for itself, within the broker's bounds, whether it exists or not."""
    group = talk.topic()

    def alter(label: str, *changes: tuple[str, int, str | None], name: str = group) -> None:
        configs = [{"name": key, "config_operation": how, "value": value} for key, how, value in changes]
        resource = {"resource_type": GROUP, "resource_name": name, "configs": configs}
        talk.ask(label, "incremental_alter_configs", version, resources=[resource], validate_only=False)

    def describe(label: str) -> None:
        asked = {"resource_type": GROUP, "resource_name": group, "configuration_keys": GROUP_NAMES}
        answer = talk.quietly("describe_configs", 4, resources=[asked], include_synonyms=True)
        (result,) = answer["results"]
        talk.note(label, {**result, "configs": sorted(result["configs"], key=lambda entry: str(entry["name"]))})

    describe("untouched")
    alter("session and heartbeat", (GROUP_NAMES[0], 0, "50000"), (GROUP_NAMES[1], 0, " 6000 "))
    talk.wait_for_config(GROUP, group, GROUP_NAMES[0], "50000")
    describe("set")
    alter("too short", (GROUP_NAMES[0], 0, "1000"))
    alter("too long", (GROUP_NAMES[0], 0, "100000"))
    alter("too rare", (GROUP_NAMES[1], 0, "20000"))
    alter("no number", (GROUP_NAMES[1], 0, "often"))
    alter("below every bound", (GROUP_NAMES[1], 0, "0"))
    alter("too far apart", (GROUP_NAMES[2], 0, "60000"))
    alter("no such setting", ("group.size", 0, "1"))
    alter("a setting of the next version", ("consumer.assignor.offload.enable", 0, "false"))
    alter("no list", (GROUP_NAMES[0], 2, "1"))
    alter("no name", (GROUP_NAMES[0], 0, "50000"), name="")
    alter("no value", (GROUP_NAMES[0], 0, None))
    alter("back to the broker's", (GROUP_NAMES[0], 1, None), (GROUP_NAMES[1], 1, None))
    talk.wait_for_config(GROUP, group, GROUP_NAMES[0], "3000")
    describe("as before")


CONNECTION_LIMITS = ("max.connections", "max.connections.per.ip", "max.connection.creation.rate")
OVERRIDES = "max.connections.per.ip.overrides"


@case([1])
def incremental_alter_configs_of_brokers(talk: Talk, version: int) -> None:
    """Bounds on connections, of this broker and of all; with one conversation alone, since all share the broker."""

    def alter(label: str, broker: str, *changes: tuple[str, int, str | None], validate_only: bool = False) -> None:
        configs = [{"name": key, "config_operation": how, "value": value} for key, how, value in changes]
        resource = {"resource_type": BROKER, "resource_name": broker, "configs": configs}
        talk.ask(label, "incremental_alter_configs", version, resources=[resource], validate_only=validate_only)

    def described(broker: str) -> Plain:
        asked = {
            "resource_type": BROKER,
            "resource_name": broker,
            "configuration_keys": [*CONNECTION_LIMITS, OVERRIDES],
        }
        answer = talk.quietly("describe_configs", 4, resources=[asked], include_synonyms=True)
        (result,) = answer["results"]
        return {**result, "configs": sorted(result["configs"], key=lambda entry: str(entry["name"]))}

    def shown(label: str, broker: str, name: str, value: str | None) -> None:
        """Keeps what the broker shows, once it shows this value."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found = described(broker)
            if {each["name"]: each["value"] for each in found["configs"]}.get(name) == value:
                break
            assert time.monotonic() < deadline, found
        talk.note(f"{label} of {broker!r}", found)

    def may_be_altered(broker: str, *changes: tuple[str, int, str | None]) -> None:
        """Returns once it would be taken: Kafka judges by what its broker has applied, a moment after the answer."""
        configs = [{"name": key, "config_operation": how, "value": value} for key, how, value in changes]
        resource = {"resource_type": BROKER, "resource_name": broker, "configs": configs}
        deadline = time.monotonic() + WAIT_S
        while True:
            found = talk.quietly("incremental_alter_configs", version, resources=[resource], validate_only=True)
            if found["responses"][0]["error_code"] == "none":
                return
            assert time.monotonic() < deadline, found

    most, of_host, rate = CONNECTION_LIMITS
    unbounded = str(2**31 - 1)
    talk.note("untouched", described("1"))
    talk.note("untouched, of all", described(""))
    alter(
        "of all",
        "",
        (most, SET, "20000"),
        (rate, SET, " 7000 "),
        (of_host, SET, "9000"),
        (OVERRIDES, SET, "10.0.0.1:7"),
    )
    shown("of all", "", OVERRIDES, "10.0.0.1:7")
    shown("of all", "1", OVERRIDES, "10.0.0.1:7")
    for broker in ("", "1"):
        alter(f"none at all, {broker!r}", broker, (most, SET, "0"))
        alter(f"none in a second, {broker!r}", broker, (rate, SET, "0"))
        alter(f"too few, {broker!r}", broker, (most, SET, "-1"))
        alter(f"no number, {broker!r}", broker, (most, SET, "many"))
        alter(f"no count, {broker!r}", broker, (OVERRIDES, SET, "10.0.0.1"))
        alter(f"no value, {broker!r}", broker, (most, SET, None))
        alter(f"added to, {broker!r}", broker, (most, APPEND, "1"))
        alter(f"taken from, {broker!r}", broker, ("no.such", SUBTRACT, "1"))
        alter(f"not while it runs, {broker!r}", broker, ("log.dirs", SET, "/x"), (most, SET, "5000"))
        alter(f"twice, {broker!r}", broker, (most, SET, "5"), (most, SET, "6"))
    alter("of one", "1", (most, SET, "30000"), (OVERRIDES, SET, ""))
    shown("of one", "1", most, "30000")
    shown("of one", "", most, "20000")
    alter("only looked at", "1", (most, SET, "40000"), validate_only=True)
    # Kafka looks only at what this broker would have: its own value hides the other. Elsewhere that ends a start.
    alter("hidden by one's own", "", (OVERRIDES, SET, "10.0.0.1"))
    alter("hidden by one's own, back", "", (OVERRIDES, SET, "10.0.0.1:7"))
    may_be_altered("1", (OVERRIDES, DELETE, None))
    alter("another broker", "2", (most, SET, "5000"))
    alter("no broker", "one", (most, SET, "5000"))
    alter("of one, back", "1", (most, DELETE, None), (OVERRIDES, DELETE, None))
    shown("of one, back", "1", most, "20000")
    alter("of all, back", "", *((name, DELETE, None) for name in (*CONNECTION_LIMITS, OVERRIDES)))
    shown("of all, back", "", rate, None)
    shown("of all, back", "1", rate, unbounded)


@case([1])
def list_config_resources_of_groups(talk: Talk, version: int) -> None:
    """Those that have settings of their own, whether they exist or not; with the last setting they go.

    Kafka's broker lists what its coordinator has taken over, a moment after the answer. Numbers are given without
    blanks: Kafka takes and shows " 6000 ", but its coordinator then stumbles over it, and never lists the group.
    """
    groups = [talk.topic(suffix) for suffix in ("-one", "-two", "-three")]

    def alter(group: str, name: str, value: str | None) -> None:
        change = {"name": name, "config_operation": SET if value else DELETE, "value": value}
        resource = {"resource_type": GROUP, "resource_name": group, "configs": [change]}
        answer = talk.quietly("incremental_alter_configs", 1, resources=[resource], validate_only=False)
        assert answer["responses"][0]["error_code"] == "none", answer

    def listed(label: str, *expected: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while True:
            answer = talk.quietly("list_config_resources", version, resource_types=(GROUP,))
            rows = [row["resource_name"] for row in answer["config_resources"]]
            own = sorted(row for row in rows if row.startswith(talk.topic()))
            if own == sorted(expected):
                break
            assert time.monotonic() < deadline, answer
        talk.note(label, {**answer, "config_resources": own})

    describe = {"resource_type": GROUP, "resource_name": groups[2], "configuration_keys": GROUP_NAMES}
    talk.quietly("describe_configs", 4, resources=[describe])
    listed("described is not set")
    alter(groups[0], GROUP_NAMES[0], "50000")
    alter(groups[0], GROUP_NAMES[1], "600")
    alter(groups[1], GROUP_NAMES[1], "600")
    listed("two", *groups[:2])
    alter(groups[0], GROUP_NAMES[0], None)
    alter(groups[1], GROUP_NAMES[1], None)
    listed("one has a setting left", groups[0])
    alter(groups[0], GROUP_NAMES[1], None)
    listed("none")


@case(range(2))
def list_config_resources(talk: Talk, version: int) -> None:
    """What there is to configure, by type; topics of other conversations are not looked at."""
    talk.create()

    def ask(label: str, *kinds: int) -> None:
        answer = talk.quietly("list_config_resources", version, **({"resource_types": kinds} if version else {}))
        rows = [(row["resource_type"], row["resource_name"]) for row in answer["config_resources"]]
        own = sorted(row for row in rows if row[0] not in {TOPIC, GROUP} or row[1] == talk.topic())
        talk.note(label, {**answer, "config_resources": own})

    ask("of all types")
    if version:
        ask("topics", TOPIC)
        ask("brokers, twice", BROKER, BROKER)
        ask("loggers and metrics", LOGGER, CLIENT_METRICS)
        ask("no such type", TOPIC, 99)
