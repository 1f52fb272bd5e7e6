"""Versions metadata records are written in: those Kafka 4.3 writes at metadata.version 30 (4.3-IV0).

A record is written in the lowest version that holds what it says where Kafka does so (BrokerRegistrationChangeRecord).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.messages import (
    AbortTransactionRecord,
    BrokerRegistrationChangeRecord,
    ConfigRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    RemoveTopicRecord,
    TopicRecord,
)

if TYPE_CHECKING:
    from msgspec import Struct

RECORD_VERSIONS: dict[type[Struct], int] = {
    AbortTransactionRecord: 0,
    BrokerRegistrationChangeRecord: 0,
    ConfigRecord: 0,
    FeatureLevelRecord: 0,
    PartitionChangeRecord: 2,
    PartitionRecord: 2,
    ProducerIdsRecord: 0,
    RegisterBrokerRecord: 4,
    RegisterControllerRecord: 0,
    RemoveTopicRecord: 0,
    TopicRecord: 0,
}
