"""What can be set about groups, by Kafka's names and with Kafka's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from ottla.config.broker_config import BrokerConfig


class GroupSettings(Struct, frozen=True):
    """Values of the group coordinator's settings; `config` has the table that describes them."""

    # group.min.session.timeout.ms, group.max.session.timeout.ms
    session_timeout_ms_min: int = 6_000
    session_timeout_ms_max: int = 1_800_000
    # group.initial.rebalance.delay.ms: how long the first rebalance of an empty group waits for more members.
    initial_rebalance_delay_ms: int = 3_000
    # group.max.size
    group_size_max: int = 2**31 - 1
    # Ids of one group that were given out and are not used yet (KIP-394). Kafka has no such bound; each costs about a
    # kilobyte, and stays for the session time-out the client asked for.
    pending_joins_max: int = 10_000
    # offset.metadata.max.bytes: of the text committed beside an offset (Kafka counts its UTF-16 units, so do we).
    offset_metadata_bytes_max: int = 4_096
    # offsets.retention.minutes, in milliseconds
    offsets_retention_ms: int = 7 * 24 * 60 * 60 * 1000
    # offsets.retention.check.interval.ms
    offsets_retention_check_interval_ms: int = 600_000
    # offsets.commit.timeout.ms
    offset_commit_timeout_ms: int = 5_000
    # One append to the partition of the offsets topic (max.message.bytes of that topic).
    batch_bytes_max: int = 1024 * 1024
    # How long a member's first JoinGroup may be parked before the member is given up. Kafka has it in its code, as a
    # constant of five minutes: such a member has no session yet that could expire.
    new_member_join_timeout_ms: int = 5 * 60 * 1000
    # group.consumer.session.timeout.ms and its bounds, which hold for what a group sets itself, too
    consumer_session_timeout_ms: int = 45_000
    consumer_session_timeout_ms_min: int = 45_000
    consumer_session_timeout_ms_max: int = 60_000
    # group.consumer.heartbeat.interval.ms and its bounds
    consumer_heartbeat_interval_ms: int = 5_000
    consumer_heartbeat_interval_ms_min: int = 5_000
    consumer_heartbeat_interval_ms_max: int = 15_000
    # group.consumer.assignment.interval.ms and its bounds
    consumer_assignment_interval_ms: int = 1_000
    consumer_assignment_interval_ms_min: int = 0
    consumer_assignment_interval_ms_max: int = 15_000
    # group.consumer.max.size
    consumer_group_size_max: int = 2**31 - 1
    # group.consumer.assignors: the first one is for groups whose members ask for none.
    consumer_assignors: tuple[str, ...] = ("uniform", "range")
    # group.consumer.migration.policy, as one of MIGRATION_POLICIES
    consumer_migration_policy: str = "bidirectional"
    # group.consumer.regex.refresh.interval.ms
    consumer_pattern_refresh_interval_ms: int = 10 * 60 * 1000

    @property
    def may_upgrade(self) -> bool:
        """Classic groups with members may become consumer groups."""
        return self.consumer_migration_policy in {"bidirectional", "upgrade"}

    @property
    def may_downgrade(self) -> bool:
        """Consumer groups with members may become classic ones."""
        return self.consumer_migration_policy in {"bidirectional", "downgrade"}

    @classmethod
    def from_config(cls, config: BrokerConfig) -> GroupSettings:
        """What the broker's configuration says."""
        return cls(
            session_timeout_ms_min=config.integer("group.min.session.timeout.ms"),
            session_timeout_ms_max=config.integer("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms=config.integer("group.initial.rebalance.delay.ms"),
            group_size_max=config.integer("group.max.size"),
            offset_metadata_bytes_max=config.integer("offset.metadata.max.bytes"),
            offsets_retention_ms=config.integer("offsets.retention.minutes") * 60_000,
            offsets_retention_check_interval_ms=config.integer("offsets.retention.check.interval.ms"),
            offset_commit_timeout_ms=config.integer("offsets.commit.timeout.ms"),
            consumer_session_timeout_ms=config.integer("group.consumer.session.timeout.ms"),
            consumer_session_timeout_ms_min=config.integer("group.consumer.min.session.timeout.ms"),
            consumer_session_timeout_ms_max=config.integer("group.consumer.max.session.timeout.ms"),
            consumer_heartbeat_interval_ms=config.integer("group.consumer.heartbeat.interval.ms"),
            consumer_heartbeat_interval_ms_min=config.integer("group.consumer.min.heartbeat.interval.ms"),
            consumer_heartbeat_interval_ms_max=config.integer("group.consumer.max.heartbeat.interval.ms"),
            consumer_assignment_interval_ms=config.integer("group.consumer.assignment.interval.ms"),
            consumer_assignment_interval_ms_min=config.integer("group.consumer.min.assignment.interval.ms"),
            consumer_assignment_interval_ms_max=config.integer("group.consumer.max.assignment.interval.ms"),
            consumer_group_size_max=config.integer("group.consumer.max.size"),
            consumer_assignors=tuple(config["group.consumer.assignors"]),
            consumer_migration_policy=str(config["group.consumer.migration.policy"]).lower(),
            consumer_pattern_refresh_interval_ms=config.integer("group.consumer.regex.refresh.interval.ms"),
        )
