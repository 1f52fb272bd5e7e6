"""THE table of APIs: key, versions, who serves it. In key order, one line each.

`advertised` is the lowest version ApiVersions names, `lowest` the lowest that is served, `highest` both: an API stands
here only if it is served whole at exactly these versions. They differ for Produce alone: a broker that does not name 0
makes librdkafka stop compressing in silence (KAFKA-18659), though nobody sends it. A handler is a module with `handle`;
None means the native data plane serves the API and Python never sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from ottla.protocol.handlers import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    alter_configs,
    consumer_group_describe,
    consumer_group_heartbeat,
    create_partitions,
    create_topics,
    delete_groups,
    delete_records,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_groups,
    describe_log_dirs,
    describe_producers,
    describe_transactions,
    end_txn,
    find_coordinator,
    heartbeat,
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_config_resources,
    list_groups,
    list_transactions,
    offset_commit,
    offset_delete,
    offset_fetch,
    sync_group,
    txn_offset_commit,
    write_txn_markers,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from ottla.errors import ErrorCode
    from ottla.types import RequestContext


class Api(Struct, frozen=True):
    """One line of the table."""

    key: int
    name: str
    advertised: int
    lowest: int
    highest: int
    handler: ModuleType | None = None

    @property
    def native(self) -> bool:
        """Whether the data plane serves it without Python."""
        return self.handler is None

    @property
    def refuse(self) -> Callable[[RequestContext, Any, ErrorCode], Struct] | None:
        """Give what makes an answer of the right shape from a failed request, if the handler has it."""
        return getattr(self.handler, "refuse", None)


APIS = (
    Api(0, "Produce", 0, 3, 13),
    Api(1, "Fetch", 4, 4, 18),
    Api(2, "ListOffsets", 1, 1, 11),
    Api(3, "Metadata", 0, 0, 13),
    Api(8, "OffsetCommit", 2, 2, 10, offset_commit),
    Api(9, "OffsetFetch", 1, 1, 10, offset_fetch),
    Api(10, "FindCoordinator", 0, 0, 6, find_coordinator),
    Api(11, "JoinGroup", 0, 0, 9, join_group),
    Api(12, "Heartbeat", 0, 0, 4, heartbeat),
    Api(13, "LeaveGroup", 0, 0, 5, leave_group),
    Api(14, "SyncGroup", 0, 0, 5, sync_group),
    Api(15, "DescribeGroups", 0, 0, 6, describe_groups),
    Api(16, "ListGroups", 0, 0, 5, list_groups),
    Api(18, "ApiVersions", 0, 0, 4),
    Api(19, "CreateTopics", 2, 2, 7, create_topics),
    Api(20, "DeleteTopics", 1, 1, 6, delete_topics),
    Api(21, "DeleteRecords", 0, 0, 2, delete_records),
    Api(22, "InitProducerId", 0, 0, 5, init_producer_id),
    Api(23, "OffsetForLeaderEpoch", 2, 2, 4),
    Api(24, "AddPartitionsToTxn", 0, 0, 5, add_partitions_to_txn),
    Api(25, "AddOffsetsToTxn", 0, 0, 4, add_offsets_to_txn),
    Api(26, "EndTxn", 0, 0, 5, end_txn),
    Api(27, "WriteTxnMarkers", 1, 1, 2, write_txn_markers),
    Api(28, "TxnOffsetCommit", 0, 0, 5, txn_offset_commit),
    Api(32, "DescribeConfigs", 1, 1, 4, describe_configs),
    Api(33, "AlterConfigs", 0, 0, 2, alter_configs),
    Api(35, "DescribeLogDirs", 1, 1, 5, describe_log_dirs),
    Api(37, "CreatePartitions", 0, 0, 3, create_partitions),
    Api(42, "DeleteGroups", 0, 0, 2, delete_groups),
    Api(44, "IncrementalAlterConfigs", 0, 0, 1, incremental_alter_configs),
    Api(47, "OffsetDelete", 0, 0, 0, offset_delete),
    Api(60, "DescribeCluster", 0, 0, 2, describe_cluster),
    Api(61, "DescribeProducers", 0, 0, 0, describe_producers),
    Api(65, "DescribeTransactions", 0, 0, 0, describe_transactions),
    Api(66, "ListTransactions", 0, 0, 2, list_transactions),
    Api(68, "ConsumerGroupHeartbeat", 0, 0, 1, consumer_group_heartbeat),
    Api(69, "ConsumerGroupDescribe", 0, 0, 1, consumer_group_describe),
    Api(74, "ListConfigResources", 0, 0, 1, list_config_resources),
    Api(75, "DescribeTopicPartitions", 0, 0, 0),
)

# Responses with an error code of their own in every version served: a refusal needs nothing else. (A field that is
# missing in a version would be dropped without a word, and the refusal would look like success.)
CODE_AT_TOP = frozenset(
    {
        *("AddOffsetsToTxn", "DescribeCluster", "EndTxn", "Heartbeat", "InitProducerId", "JoinGroup", "LeaveGroup"),
        *("ListGroups", "ListTransactions", "SyncGroup"),
    }
)

BY_KEY = {api.key: api for api in APIS}

assert [api.key for api in APIS] == sorted(BY_KEY), "the table is in key order, each key once"
assert all(api.advertised <= api.lowest <= api.highest for api in APIS)


def api_table() -> list[tuple[int, int, int, int, bool]]:
    """Give the table as the data plane takes it: key, lowest advertised, lowest served, highest, native."""
    return [(api.key, api.advertised, api.lowest, api.highest, api.native) for api in APIS]
