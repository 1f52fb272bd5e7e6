"""Topics the broker makes for itself, when they are first needed.

Their settings are Kafka's (GroupCoordinatorService.groupMetadataTopicConfigs and its siblings). Replicas are
min(setting, live brokers): Kafka waits for three brokers with the default of three, which would leave a lone broker
without a coordinator for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.config.topic_settings import TOPIC_SETTINGS
from ottla.controller.create_topics import NewTopic
from ottla.controller.names import OFFSETS_TOPIC

if TYPE_CHECKING:
    from ottla.config.broker_config import BrokerConfig


def offsets_topic(config: BrokerConfig, live_brokers: int) -> NewTopic:
    """Give the topic that holds groups and their offsets."""
    segment_bytes_min = TOPIC_SETTINGS["segment.bytes"].low
    assert isinstance(segment_bytes_min, int)
    return NewTopic(
        OFFSETS_TOPIC,
        partition_count=config.integer("offsets.topic.num.partitions"),
        replication_factor=max(1, min(config.integer("offsets.topic.replication.factor"), live_brokers)),
        configs={
            "cleanup.policy": "compact",
            "compression.type": "producer",
            # Kafka takes any size for this setting, but no topic with less than a mebibyte: that would leave the broker
            # without a coordinator for a number nobody checks.
            "segment.bytes": str(max(segment_bytes_min, config.integer("offsets.topic.segment.bytes"))),
        },
    )
