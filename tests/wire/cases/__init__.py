"""The conversations of the differential test, one file per group of APIs. Importing this package registers them all."""

from tests.wire.cases import (
    committed_reads,
    configs,
    consume,
    consumer_groups,
    group_limits,
    group_rounds,
    groups,
    malformed,
    metadata,
    offsets,
    produce,
    producers,
    static_members,
    storage,
    topics,
    transaction_corners,
    transactions,
)
from tests.wire.differential import CASES

__all__ = [
    "CASES",
    "committed_reads",
    "configs",
    "consume",
    "consumer_groups",
    "group_limits",
    "group_rounds",
    "groups",
    "malformed",
    "metadata",
    "offsets",
    "produce",
    "producers",
    "static_members",
    "storage",
    "topics",
    "transaction_corners",
    "transactions",
]
