"""Topics the broker makes for itself, when they are first needed.

Their settings are Kafka's (GroupCoordinatorService.groupMetadataTopicConfigs and its siblings). Replicas are
min(setting, live brokers): Kafka waits for three brokers with the default of three, which would leave a lone broker
without a coordinator for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.config.topic_settings import TOPIC_SETTINGS
from ottla.controller.create_topics import NewTopic
from ottla.controller.names import OFFSETS_TOPIC, TRANSACTIONS_TOPIC

if TYPE_CHECKING:
    from ottla.config.broker_config import BrokerConfig


def own_topics(config: BrokerConfig, live_brokers: int) -> dict[str, NewTopic]:
    """Give the topics that coordinators live on, by name."""
    topics = (_offsets_topic(config, live_brokers), _transactions_topic(config, live_brokers))
    return {topic.name: topic for topic in topics}


def _offsets_topic(config: BrokerConfig, live_brokers: int) -> NewTopic:
    """Groups and their offsets."""
    return NewTopic(
        OFFSETS_TOPIC,
        partition_count=config.integer("offsets.topic.num.partitions"),
        replication_factor=_replicas(config.integer("offsets.topic.replication.factor"), live_brokers),
        configs={
            "cleanup.policy": "compact",
            "compression.type": "producer",
            "segment.bytes": _segment_bytes(config.integer("offsets.topic.segment.bytes")),
        },
    )


def _transactions_topic(config: BrokerConfig, live_brokers: int) -> NewTopic:
    """Transactional ids."""
    return NewTopic(
        TRANSACTIONS_TOPIC,
        partition_count=config.integer("transaction.state.log.num.partitions"),
        replication_factor=_replicas(config.integer("transaction.state.log.replication.factor"), live_brokers),
        configs={
            "cleanup.policy": "compact",
            "compression.type": "uncompressed",
            "min.insync.replicas": str(config.integer("transaction.state.log.min.isr")),
            "segment.bytes": _segment_bytes(config.integer("transaction.state.log.segment.bytes")),
            "unclean.leader.election.enable": "false",
        },
    )


def _replicas(wanted: int, live_brokers: int) -> int:
    return max(1, min(wanted, live_brokers))


def _segment_bytes(wanted: int) -> str:
    # Kafka takes any size for these settings, but no topic with less than a mebibyte: that would leave the broker
    # without a coordinator for a number nobody checks.
    segment_bytes_min = TOPIC_SETTINGS["segment.bytes"].low
    assert isinstance(segment_bytes_min, int)
    return str(max(segment_bytes_min, wanted))
