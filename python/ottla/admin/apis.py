"""The APIs this client asks, each with the versions it can put a request into.

`highest` is the newest that carries names: OffsetFetch and OffsetCommit 10 name topics by id alone. Every Kafka from
2.0 to 4.4 serves some version of each, but for those that came later, whose absence has an answer of its own.
"""

from __future__ import annotations

from typing import NamedTuple


class Api(NamedTuple):
    """One API as this client speaks it."""

    key: int
    name: str
    lowest: int
    highest: int


LIST_OFFSETS = Api(2, "ListOffsets", 1, 11)
# From 4 on it does not create the topics it is asked for.
METADATA = Api(3, "Metadata", 4, 13)
OFFSET_COMMIT = Api(8, "OffsetCommit", 2, 9)
# From 2 on all topics of a group can be asked for.
OFFSET_FETCH = Api(9, "OffsetFetch", 2, 9)
FIND_COORDINATOR = Api(10, "FindCoordinator", 0, 6)
DESCRIBE_GROUPS = Api(15, "DescribeGroups", 0, 6)
LIST_GROUPS = Api(16, "ListGroups", 0, 5)
API_VERSIONS = Api(18, "ApiVersions", 0, 3)
CREATE_TOPICS = Api(19, "CreateTopics", 2, 7)
DELETE_TOPICS = Api(20, "DeleteTopics", 1, 6)
DELETE_RECORDS = Api(21, "DeleteRecords", 0, 2)
INIT_PRODUCER_ID = Api(22, "InitProducerId", 0, 5)
WRITE_TXN_MARKERS = Api(27, "WriteTxnMarkers", 1, 2)
DESCRIBE_CONFIGS = Api(32, "DescribeConfigs", 1, 4)
ALTER_CONFIGS = Api(33, "AlterConfigs", 0, 2)
DESCRIBE_LOG_DIRS = Api(35, "DescribeLogDirs", 1, 5)
CREATE_PARTITIONS = Api(37, "CreatePartitions", 0, 3)
DELETE_GROUPS = Api(42, "DeleteGroups", 0, 2)
INCREMENTAL_ALTER_CONFIGS = Api(44, "IncrementalAlterConfigs", 0, 1)
OFFSET_DELETE = Api(47, "OffsetDelete", 0, 0)
DESCRIBE_PRODUCERS = Api(61, "DescribeProducers", 0, 0)
DESCRIBE_TRANSACTIONS = Api(65, "DescribeTransactions", 0, 0)
LIST_TRANSACTIONS = Api(66, "ListTransactions", 0, 2)
CONSUMER_GROUP_DESCRIBE = Api(69, "ConsumerGroupDescribe", 0, 1)
LIST_CONFIG_RESOURCES = Api(74, "ListConfigResources", 1, 1)
DESCRIBE_TOPIC_PARTITIONS = Api(75, "DescribeTopicPartitions", 0, 0)

# The oldest Apache Kafka that serves an API from a version on, where Kafka 2.0 does not and the client may need it.
SINCE = {
    (LIST_OFFSETS.key, 7): "3.0",
    (LIST_OFFSETS.key, 8): "3.4",
    (LIST_OFFSETS.key, 9): "3.9",
    (LIST_OFFSETS.key, 11): "4.2",
    (LIST_GROUPS.key, 4): "2.6",
    (LIST_GROUPS.key, 5): "3.8",
    (CREATE_TOPICS.key, 4): "2.4",
    (DELETE_TOPICS.key, 6): "2.8",
    (WRITE_TXN_MARKERS.key, 1): "2.8",
    (INCREMENTAL_ALTER_CONFIGS.key, 0): "2.3",
    (OFFSET_DELETE.key, 0): "2.4",
    (DESCRIBE_PRODUCERS.key, 0): "2.8",
    (DESCRIBE_TRANSACTIONS.key, 0): "3.0",
    (LIST_TRANSACTIONS.key, 0): "3.0",
    (LIST_TRANSACTIONS.key, 1): "3.8",
    (LIST_TRANSACTIONS.key, 2): "4.1",
    (CONSUMER_GROUP_DESCRIBE.key, 0): "3.7",
    (LIST_CONFIG_RESOURCES.key, 0): "3.7",
    (LIST_CONFIG_RESOURCES.key, 1): "4.1",
    (DESCRIBE_TOPIC_PARTITIONS.key, 0): "3.8",
}
