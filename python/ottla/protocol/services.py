"""What handlers may use: everything is built by the broker and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.config.broker_config import BrokerConfig
    from ottla.controller.controller import Controller
    from ottla.controller.create_topics import TopicDefaults
    from ottla.controller.image import MetadataImage
    from ottla.controller.producer_ids import ProducerIds
    from ottla.coordinator.group.coordinator import GroupCoordinator
    from ottla.protocol.topic_creation import AutoCreation, InternalTopics
    from ottla.types import Clock, Random, Scheduler


@dataclass(slots=True, kw_only=True)
class Services:
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
    producer_ids: ProducerIds
    # Topics made because somebody needs them.
    auto_creation: AutoCreation
    internal_topics: InternalTopics
    groups: GroupCoordinator

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
