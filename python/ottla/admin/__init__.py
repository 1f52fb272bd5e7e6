"""A typed client of Kafka's admin API, over our own codec.

    with Admin("localhost:9092") as admin:
        admin.create_topics([NewTopic("orders", partitions=3)])

`client` is the door, `results` the values, `routing` decides which broker is asked, `connection` is one socket, `apis`
the versions; `topics`, `configs`, `groups`, `transactions` and `log_dirs` put the questions, and are loaded when they
are first asked: the command line starts in a fraction of a second because it pays for one of them.
"""

from __future__ import annotations

from ottla.admin.client import CONNECT_TIMEOUT_MS, TIMEOUT_MS, Admin, parse_bootstrap
from ottla.admin.results import (
    EARLIEST,
    EARLIEST_LOCAL,
    EARLIEST_PENDING_UPLOAD,
    LATEST,
    LATEST_TIERED,
    MAX_TIMESTAMP,
    Broker,
    Cluster,
    CommittedOffset,
    ConfigChange,
    ConfigEntry,
    ConfigOperation,
    ConfigSource,
    ConfigSynonym,
    ConfigType,
    CreatedTopic,
    Group,
    GroupListing,
    LogDir,
    Member,
    NewPartitions,
    NewTopic,
    OffsetAt,
    OpenProducer,
    Partition,
    Replica,
    Resource,
    ResourceType,
    Topic,
    TopicListing,
    TopicPartition,
    Transaction,
    TransactionListing,
    VersionRange,
    required,
)

__all__ = [
    "CONNECT_TIMEOUT_MS",
    "EARLIEST",
    "EARLIEST_LOCAL",
    "EARLIEST_PENDING_UPLOAD",
    "LATEST",
    "LATEST_TIERED",
    "MAX_TIMESTAMP",
    "TIMEOUT_MS",
    "Admin",
    "Broker",
    "Cluster",
    "CommittedOffset",
    "ConfigChange",
    "ConfigEntry",
    "ConfigOperation",
    "ConfigSource",
    "ConfigSynonym",
    "ConfigType",
    "CreatedTopic",
    "Group",
    "GroupListing",
    "LogDir",
    "Member",
    "NewPartitions",
    "NewTopic",
    "OffsetAt",
    "OpenProducer",
    "Partition",
    "Replica",
    "Resource",
    "ResourceType",
    "Topic",
    "TopicListing",
    "TopicPartition",
    "Transaction",
    "TransactionListing",
    "VersionRange",
    "parse_bootstrap",
    "required",
]
