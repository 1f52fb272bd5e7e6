"""What handlers may use: everything is built by the broker and handed down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from ottla.coordinator.group.consumer.topics import here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.config.broker_config import BrokerConfig
    from ottla.controller.controller import Controller
    from ottla.controller.create_topics import TopicDefaults
    from ottla.controller.image import MetadataImage
    from ottla.coordinator.group.consumer.topics import Elsewhere, Patterns
    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.coordinator.transaction.coordinator import TransactionCoordinator
    from ottla.protocol.background import Background
    from ottla.protocol.topic_creation import AutoCreation, InternalTopics
    from ottla.types import Clock, Markers, Random, Scheduler

# A data directory: path, error code, (bytes in all, bytes usable) if there is a limit, (topic, partition, bytes).
DirectoryUsage = tuple[str, int, tuple[int, int] | None, list[tuple[str, int, int]]]
# Of a partition: error code, and for each producer its id, epoch, last sequence, last timestamp, the epoch of its
# coordinator and the first offset of its open transaction; -1 where there is none.
ProducersOf = tuple[int, list[tuple[int, int, int, int, int, int]]]


class Storage(Protocol):
    """What handlers ask of the engine itself. It waits for the disk: call it through `Services.background`."""

    def delete_records(self, partitions: Sequence[tuple[str, int, int]]) -> list[tuple[int, int]]:
        """For each (topic, partition, offset; -1 the high watermark) the error code and the new log start, or -1."""
        ...

    def producers(self, partitions: Sequence[tuple[str, int]]) -> list[ProducersOf]:
        """Who wrote to each of the partitions, as far as it is remembered."""
        ...

    def usage(self) -> list[DirectoryUsage]:
        """Every data directory."""
        ...


class Services(Struct, kw_only=True):
    """One per broker; see the fields."""

    # This broker, and the cluster it is.
    node_id: int
    cluster_id: str
    config: BrokerConfig
    clock: Clock
    scheduler: Scheduler
    random: Random
    # What exists, and the only way to change it.
    controller: Controller
    topic_defaults: TopicDefaults
    # Topics made because somebody needs them.
    auto_creation: AutoCreation
    internal_topics: InternalTopics
    groups: GroupCoordinator
    transactions: TransactionCoordinator
    # Writes the ends of transactions.
    markers: Markers
    patterns: Patterns
    # Where names are matched against a client's pattern: that may take a while.
    elsewhere: Elsewhere = here
    # The engine, and the thread to wait for it on.
    storage: Storage
    background: Background

    @property
    def image(self) -> MetadataImage:
        """What exists, as far as it is committed."""
        return self.controller.image

    def address_of(self, node_id: int, listener: str) -> tuple[str, int] | None:
        """Give host and port clients of a listener are told for a broker; None if it is not there, or has none."""
        broker = self.image.brokers.get(node_id)
        if broker is None or broker.fenced:
            return None
        return next(((point.host, point.port) for point in broker.end_points if point.name == listener), None)
