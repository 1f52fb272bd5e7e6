"""Topics the broker makes for itself, when they are first needed.

Their settings are Kafka's (GroupCoordinatorService.groupMetadataTopicConfigs and its siblings). Replicas are
min(setting, live brokers): Kafka waits for three brokers with the default of three, which would leave a lone broker
without a coordinator for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.controller.create_topics import NewTopic
from ottla.controller.names import OFFSETS_TOPIC

if TYPE_CHECKING:
    from ottla.config.broker_config import BrokerConfig


def offsets_topic(config: BrokerConfig, live_brokers: int) -> NewTopic:
    """Give the topic that holds groups and their offsets."""
    return NewTopic(
        OFFSETS_TOPIC,
        partition_count=config.integer("offsets.topic.num.partitions"),
        replication_factor=max(1, min(config.integer("offsets.topic.replication.factor"), live_brokers)),
        configs={
            "cleanup.policy": "compact",
            "compression.type": "producer",
            "segment.bytes": str(config.integer("offsets.topic.segment.bytes")),
        },
    )
