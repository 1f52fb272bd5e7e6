"""The APIs served, and one well-formed request of each to be cut, stretched and bent."""

from __future__ import annotations

from tests.wire.batches import Batch
from tests.wire.client import Plain

# (lowest, highest) version of each API that Ottla serves, and the first flexible one: the answers of ApiVersions, by
# hand.
SERVED: dict[str, tuple[int, int, int]] = {
    "produce": (3, 13, 9),
    "fetch": (4, 18, 12),
    "list_offsets": (1, 11, 6),
    "metadata": (0, 13, 9),
    "offset_commit": (2, 10, 8),
    "offset_fetch": (1, 10, 6),
    "find_coordinator": (0, 6, 3),
    "join_group": (0, 9, 6),
    "heartbeat": (0, 4, 4),
    "leave_group": (0, 5, 4),
    "sync_group": (0, 5, 4),
    "describe_groups": (0, 6, 5),
    "list_groups": (0, 5, 3),
    "api_versions": (0, 4, 3),
    "create_topics": (2, 7, 5),
    "delete_topics": (1, 6, 4),
    "delete_records": (0, 2, 2),
    "init_producer_id": (0, 5, 2),
    "offset_for_leader_epoch": (2, 4, 4),
    "add_partitions_to_txn": (0, 5, 3),
    "add_offsets_to_txn": (0, 4, 3),
    "end_txn": (0, 5, 3),
    "write_txn_markers": (1, 2, 1),
    "txn_offset_commit": (0, 5, 3),
    "describe_configs": (1, 4, 4),
    "alter_configs": (0, 2, 2),
    "describe_log_dirs": (1, 5, 2),
    "create_partitions": (0, 3, 2),
    "delete_groups": (0, 2, 2),
    "incremental_alter_configs": (0, 1, 1),
    "offset_delete": (0, 0, 1),
    "describe_cluster": (0, 2, 0),
    "describe_producers": (0, 0, 0),
    "consumer_group_heartbeat": (0, 1, 0),
    "consumer_group_describe": (0, 1, 0),
    "list_config_resources": (0, 1, 0),
    "describe_transactions": (0, 0, 0),
    "list_transactions": (0, 2, 0),
    "describe_topic_partitions": (0, 0, 0),
}
EVERY_VERSION = [(api, version) for api, (low, high, _) in SERVED.items() for version in range(low, high + 1)]

# One request per API with something in each list, so that cuts fall everywhere. Nothing here changes the broker for
# others.
NOBODY: Plain = {"group_id": "nobody", "member_id": "nobody", "generation_id": 1}
REQUESTS: dict[str, Plain] = {
    "produce": {
        "acks": 1,
        "timeout": 100,
        "transactional_id": None,
        "topic_data": [{"name": "nowhere", "partition_data": [{"index": 0, "records": Batch().encode()}]}],
    },
    "fetch": {
        "max_bytes": 100,
        "session_epoch": -1,
        "topics": [{"topic": "nowhere", "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 9}]}],
        "forgotten_topics_data": [{"topic": "nowhere", "partitions": [1]}],
        "rack_id": "r",
    },
    "list_offsets": {
        "replica_id": -1,
        "topics": [{"name": "nowhere", "partitions": [{"partition_index": 0, "timestamp": -1}]}],
    },
    "metadata": {"topics": [{"name": "no where"}], "allow_auto_topic_creation": False},
    "offset_commit": {
        **NOBODY,
        "generation_id_or_member_epoch": 1,
        "topics": [{"name": "nowhere", "partitions": [{"partition_index": 0, "committed_metadata": "m"}]}],
    },
    "offset_fetch": {
        "group_id": "nobody",
        "topics": [{"name": "nowhere", "partition_indexes": [0]}],
        "groups": [{"group_id": "nobody", "topics": [{"name": "nowhere", "partition_indexes": [0]}]}],
    },
    "find_coordinator": {"key": "nobody", "key_type": 0, "coordinator_keys": ["nobody"]},
    "join_group": {**NOBODY, "protocol_type": "consumer", "protocols": [{"name": "range", "metadata": b"m"}]},
    "heartbeat": NOBODY,
    "leave_group": {**NOBODY, "members": [{"member_id": "nobody", "group_instance_id": "i", "reason": "r"}]},
    "sync_group": {**NOBODY, "assignments": [{"member_id": "nobody", "assignment": b"a"}]},
    "describe_groups": {"groups": ["nobody"]},
    "list_groups": {"states_filter": ["Dead"], "types_filter": ["classic"]},
    "api_versions": {"client_software_name": "cut", "client_software_version": "1"},
    "delete_records": {
        "topics": [{"name": "nowhere", "partitions": [{"partition_index": 0, "offset": 0}]}],
        "timeout": 100,
    },
    "alter_configs": {
        "resources": [
            {"resource_type": 2, "resource_name": "nowhere", "configs": [{"name": "retention.ms", "value": "1"}]}
        ],
        "validate_only": True,
    },
    "incremental_alter_configs": {
        "resources": [
            {
                "resource_type": 2,
                "resource_name": "nowhere",
                "configs": [{"name": "retention.ms", "config_operation": 0, "value": "1"}],
            }
        ],
        "validate_only": True,
    },
    "describe_log_dirs": {"topics": [{"topic": "nowhere", "partitions": [0]}]},
    "create_topics": {
        "timeout": 100,
        "validate_only": True,
        "topics": [{"name": "not a name", "num_partitions": 1, "configs": [{"name": "n", "value": "v"}]}],
    },
    "delete_topics": {"timeout": 100, "topics": [{"name": "nowhere"}], "topic_names": ["nowhere"]},
    "init_producer_id": {"transactional_id": None, "transaction_timeout": 1000},
    "offset_for_leader_epoch": {
        "replica_id": -1,
        "topics": [{"topic": "nowhere", "partitions": [{"partition": 0, "leader_epoch": 0}]}],
    },
    "write_txn_markers": {
        "markers": [{"producer_id": 1, "topics": [{"name": "nowhere", "partition_indexes": [0]}]}],
    },
    "describe_configs": {"resources": [{"resource_type": 2, "resource_name": "x y", "configuration_keys": ["k"]}]},
    "create_partitions": {
        "timeout": 100,
        "topics": [{"name": "nowhere", "count": 2, "assignments": [{"broker_ids": [1]}]}],
    },
    "delete_groups": {"groups_names": ["nobody"]},
    "offset_delete": {
        "group_id": "nobody",
        "topics": [{"name": "nowhere", "partitions": [{"partition_index": 0}]}],
    },
    "describe_cluster": {"endpoint_type": 1},
    "describe_producers": {"topics": [{"name": "nowhere", "partition_indexes": [0, 1]}]},
    "consumer_group_heartbeat": {
        "group_id": "nobody",
        "member_id": "nobody",
        "member_epoch": 1,
        "subscribed_topic_names": ["nowhere"],
        "topic_partitions": [{"partitions": [0]}],
    },
    "consumer_group_describe": {"group_ids": ["nobody"]},
    # Of client metrics: other tests leave topics and groups with settings on the same broker.
    "list_config_resources": {"resource_types": [16]},
    "add_partitions_to_txn": {
        "transactions": [
            {"transactional_id": "nobody", "producer_id": 1, "topics": [{"name": "nowhere", "partitions": [0]}]}
        ],
        "v3_and_below_transactional_id": "nobody",
        "v3_and_below_producer_id": 1,
        "v3_and_below_topics": [{"name": "nowhere", "partitions": [0]}],
    },
    "add_offsets_to_txn": {"transactional_id": "nobody", "producer_id": 1, "group_id": "nobody"},
    "txn_offset_commit": {
        **NOBODY,
        "transactional_id": "nobody",
        "producer_id": 1,
        "topics": [{"name": "nowhere", "partitions": [{"partition_index": 0, "committed_metadata": "m"}]}],
    },
    "end_txn": {"transactional_id": "nobody", "producer_id": 1, "committed": True},
    "describe_transactions": {"transactional_ids": ["nobody"]},
    "list_transactions": {
        "state_filters": ["Dead"],
        "producer_id_filters": [1],
        "duration_filter": 1,
        "transactional_id_pattern": "nobody",
    },
    "describe_topic_partitions": {"topics": [{"name": "nowhere"}], "response_partition_limit": 1, "cursor": None},
}
