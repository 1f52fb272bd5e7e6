"""What the parts of the consumer protocol share: one per shard."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, NamedTuple

from ottla.coordinator.shard import BATCH_OVERHEAD_BYTES, record_bytes
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.coordinator.group.consumer.topics import Cluster
    from ottla.coordinator.group.groups import Groups
    from ottla.coordinator.group.settings import GroupSettings
    from ottla.coordinator.shard import CoordinatorRecord, ShardContext
    from ottla.types import Clock, Codec, Random

SESSION_TIMEOUT: Final = "consumer.session.timeout.ms"
HEARTBEAT_INTERVAL: Final = "consumer.heartbeat.interval.ms"
ASSIGNMENT_INTERVAL: Final = "consumer.assignment.interval.ms"


class Times(NamedTuple):
    """Of a group's members."""

    # How long one may be silent.
    session_timeout_ms: int
    # How often it is asked to be heard of.
    heartbeat_interval_ms: int


class Environment:
    """The shard, its groups, and what comes in from outside."""

    def __init__(
        self,
        shard: ShardContext,
        groups: Groups,
        *,
        cluster: Cluster,
        codec: Codec,
        clock: Clock,
        random: Random,
        settings: GroupSettings,
    ) -> None:
        self.shard = shard
        self.groups = groups
        self.cluster = cluster
        self.topics = cluster.topics
        self.hashes = cluster.hashes
        self.patterns = cluster.patterns
        self._group_configs = cluster.group_configs
        self.codec = codec
        self.clock = clock
        self.random = random
        self.settings = settings
        # Of groups that set nothing themselves, as nearly all do.
        self._usual_times = self._times({})

    def new_member_id(self) -> str:
        """An id for a member that has none, in the form Kafka gives ids."""
        return base64.urlsafe_b64encode(self.random.bytes(16)).decode().rstrip("=")

    def fits(self, records: Sequence[CoordinatorRecord]) -> bool:
        """Whether these can be written at once, and so together."""
        encode = self.codec.encode_coordinator_record
        size = BATCH_OVERHEAD_BYTES + sum(record_bytes(encode(*record)) for record in records)
        return size <= self.settings.batch_bytes_max

    def times(self, group_id: str) -> Times:
        """What a member of the group is told and held to. Asked with every heartbeat."""
        configs = self._group_configs(group_id)
        return self._times(configs) if configs else self._usual_times

    def _times(self, configs: Mapping[str, int]) -> Times:
        settings = self.settings
        return Times(
            _between(
                settings.consumer_session_timeout_ms_min,
                configs.get(SESSION_TIMEOUT, settings.consumer_session_timeout_ms),
                settings.consumer_session_timeout_ms_max,
            ),
            _between(
                settings.consumer_heartbeat_interval_ms_min,
                configs.get(HEARTBEAT_INTERVAL, settings.consumer_heartbeat_interval_ms),
                settings.consumer_heartbeat_interval_ms_max,
            ),
        )

    def assignment_interval_ms(self, group_id: str) -> int:
        """How long the group keeps a target before it may compute another."""
        settings = self.settings
        value = self._group_configs(group_id).get(ASSIGNMENT_INTERVAL, settings.consumer_assignment_interval_ms)
        return _between(
            settings.consumer_assignment_interval_ms_min, value, settings.consumer_assignment_interval_ms_max
        )


def _between(low: int, value: int, high: int) -> int:
    # Bounds of the broker may have become narrower since the group's own value was set.
    return value if low <= value <= high else max(low, min(value, high))


def group_not_found(group_id: str) -> RequestError:
    """No consumer group has this id."""
    return RequestError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} is not a consumer group, or does not exist.")
