"""DescribeConfigs."""

from __future__ import annotations

from typing import Any

from tests.wire.differential import Talk, case

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
