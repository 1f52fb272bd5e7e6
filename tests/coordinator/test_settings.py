"""What a broker's configuration says reaches the coordinators, each setting its own field and no other."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import asdict

from ottla.config import Given, load
from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.transaction.settings import TransactionSettings

# Name, text, field, value.
OF_GROUPS = [
    ("group.min.session.timeout.ms", "7", "session_timeout_ms_min", 7),
    ("group.max.session.timeout.ms", "70000", "session_timeout_ms_max", 70_000),
    ("group.initial.rebalance.delay.ms", "7", "initial_rebalance_delay_ms", 7),
    ("group.max.size", "7", "group_size_max", 7),
    ("offset.metadata.max.bytes", "7", "offset_metadata_bytes_max", 7),
    ("offsets.retention.minutes", "7", "offsets_retention_ms", 420_000),
    ("offsets.retention.check.interval.ms", "7", "offsets_retention_check_interval_ms", 7),
    ("offsets.commit.timeout.ms", "7", "offset_commit_timeout_ms", 7),
    ("group.consumer.session.timeout.ms", "46000", "consumer_session_timeout_ms", 46_000),
    ("group.consumer.min.session.timeout.ms", "7", "consumer_session_timeout_ms_min", 7),
    ("group.consumer.max.session.timeout.ms", "70000", "consumer_session_timeout_ms_max", 70_000),
    ("group.consumer.heartbeat.interval.ms", "6000", "consumer_heartbeat_interval_ms", 6_000),
    ("group.consumer.min.heartbeat.interval.ms", "7", "consumer_heartbeat_interval_ms_min", 7),
    ("group.consumer.max.heartbeat.interval.ms", "16000", "consumer_heartbeat_interval_ms_max", 16_000),
    ("group.consumer.assignment.interval.ms", "7", "consumer_assignment_interval_ms", 7),
    ("group.consumer.min.assignment.interval.ms", "7", "consumer_assignment_interval_ms_min", 7),
    ("group.consumer.max.assignment.interval.ms", "16000", "consumer_assignment_interval_ms_max", 16_000),
    ("group.consumer.max.size", "7", "consumer_group_size_max", 7),
    ("group.consumer.assignors", "range", "consumer_assignors", ("range",)),
    ("group.consumer.migration.policy", "Upgrade", "consumer_migration_policy", "upgrade"),
    ("group.consumer.regex.refresh.interval.ms", "11000", "consumer_pattern_refresh_interval_ms", 11_000),
]
OF_TRANSACTIONS = [
    ("transaction.max.timeout.ms", "7", "timeout_ms_max", 7),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "7", "abort_interval_ms", 7),
    ("transactional.id.expiration.ms", "7", "id_expiration_ms", 7),
    ("transaction.remove.expired.transaction.cleanup.interval.ms", "7", "expiration_interval_ms", 7),
    ("transaction.partition.verification.enable", "false", "verifies", False),
    ("add.partitions.to.txn.retry.backoff.max.ms", "7", "adding_wait_ms_max", 7),
]
EVERY = [*((GroupSettings, *each) for each in OF_GROUPS), *((TransactionSettings, *each) for each in OF_TRANSACTIONS)]


@pytest.mark.parametrize("kind, name, text, field, value", EVERY, ids=[each[1] for each in EVERY])
def test_a_setting_reaches_its_field(kind: Any, name: str, text: str, field: str, value: object) -> None:
    """And nothing else changes."""
    before = asdict(kind.from_config(load()))
    after = asdict(kind.from_config(load([Given(name, text, "test")])))
    assert before[field] != value
    assert after == {**before, field: value}


@pytest.mark.parametrize("kind", [GroupSettings, TransactionSettings])
def test_defaults_of_tests_are_those_of_a_broker(kind: Any) -> None:
    """A coordinator that a test makes without settings is one that a broker makes without."""
    assert kind() == kind.from_config(load())


@pytest.mark.parametrize("kind, table", [(GroupSettings, OF_GROUPS), (TransactionSettings, OF_TRANSACTIONS)])
def test_no_field_is_forgotten(kind: Any, table: list[tuple[str, str, str, object]]) -> None:
    """What nobody can set is named here."""
    ours = {"commit_timeout_ms", "batch_bytes_max", "marker_backoff_ms", "marker_backoff_ms_max"}
    ours |= {"new_member_join_timeout_ms", "pending_joins_max"}
    assert set(asdict(kind())) - {field for _, _, field, _ in table} <= ours
