"""The topics of the image, as coordinators ask for them: by name, by id, with the racks of their replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.coordinator.group.consumer.topics import TopicView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.controller.controller import Controller
    from ottla.controller.image import Topic
    from ottla.coordinator.group.consumer.topics import Racks


class ImageTopics:
    """A view of what exists now (`coordinator.group.consumer.topics.Topics`)."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._controller.applied_offset

    def racks(self, topic: TopicView) -> Racks:
        """Where its replicas are."""
        brokers = self._controller.image.brokers
        there = self._controller.image.topics_by_id.get(topic.topic_id)
        return [
            [
                broker.rack
                for replica in partition.replicas
                if (broker := brokers.get(replica)) is not None and broker.rack is not None
            ]
            for partition in (() if there is None else there.partitions)
        ]

    def names(self) -> Iterable[str]:
        """All topics."""
        return self._controller.image.topics.keys()

    def named(self, name: str) -> TopicView | None:
        """The topic of that name."""
        return self._view(self._controller.image.topics.get(name))

    def with_id(self, topic_id: bytes) -> TopicView | None:
        """The topic of that id."""
        return self._view(self._controller.image.topics_by_id.get(topic_id))

    def _view(self, topic: Topic | None) -> TopicView | None:
        return None if topic is None else TopicView(topic.name, topic.topic_id, len(topic.partitions))
