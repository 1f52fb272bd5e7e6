"""The coordinators of a broker: made from its settings, and told what exists.

Each lives on the partitions of a topic of its own. A shard of it is loaded when this broker comes to lead its partition
and unloaded when it does not any more, when the topic is deleted, or when the partition goes offline, which lasts until
the next start.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from ottla.controller.names import OFFSETS_TOPIC, TRANSACTIONS_TOPIC
from ottla.controller.registration import TRANSACTION_VERSION
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.coordinator.transaction.settings import TransactionSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.config import BrokerConfig
    from ottla.controller.controller import Controller
    from ottla.controller.image import Change, MetadataImage, Topic
    from ottla.controller.producer_ids import ProducerIds
    from ottla.coordinator.group.consumer.topics import Cluster
    from ottla.types import Clock, Codec, Journal, Markers, Random, Scheduler


class Coordinator(Protocol):
    """What the coordinators have in common, seen from here."""

    partition_count: int

    def load(self, partition: int) -> None: ...
    def unload(self, partition: int) -> None: ...
    def flush_turn(self) -> None: ...


class Coordinators:
    """All of them; on the control-plane thread only."""

    def __init__(
        self,
        *,
        config: BrokerConfig,
        journals: Callable[[str, int], Journal],
        codec: Codec,
        clock: Clock,
        scheduler: Scheduler,
        random: Random,
        cluster: Cluster,
        controller: Controller,
        producer_ids: ProducerIds,
        markers: Callable[[GroupCoordinator], Markers],
    ) -> None:
        self._node_id = config.node_id
        # By topic, of each partition.
        self._leader_epochs: dict[str, list[int]] = {}
        self.groups = GroupCoordinator(
            journals=partial(journals, OFFSETS_TOPIC),
            # Until the topic is there: then what exists counts, see `_lead`.
            partition_count=config.integer("offsets.topic.num.partitions"),
            codec=codec,
            scheduler=scheduler,
            clock=clock,
            random=random,
            cluster=cluster,
            settings=GroupSettings.from_config(config),
        )
        # Groups write the markers of their own partitions, and what transactions end is written by them.
        self.markers = markers(self.groups)
        self.transactions = TransactionCoordinator(
            journals=partial(journals, TRANSACTIONS_TOPIC),
            partition_count=config.integer("transaction.state.log.num.partitions"),
            codec=codec,
            scheduler=scheduler,
            clock=clock,
            markers=self.markers,
            producer_ids=producer_ids.take,
            exists=controller.image.has_partition,
            coordinator_epoch=lambda index: self._leader_epochs[TRANSACTIONS_TOPIC][index],
            server_version=lambda: controller.image.features.get(TRANSACTION_VERSION, 0),
            settings=TransactionSettings.from_config(config),
        )
        self._by_topic: dict[str, Coordinator] = {OFFSETS_TOPIC: self.groups, TRANSACTIONS_TOPIC: self.transactions}

    def flush_turn(self) -> None:
        """The turn of the loop is over: write what it decided."""
        for coordinator in self._by_topic.values():
            coordinator.flush_turn()

    def show(self, image: MetadataImage, change: Change, *, first: bool) -> None:
        """Follow a change of what exists; the first one, at a start, is everything there is."""
        for name in change.deleted.values():
            coordinator = self._by_topic.get(name)
            if coordinator is not None:
                for index in range(coordinator.partition_count):
                    coordinator.unload(index)
        for topic in change.topics.values():
            coordinator = self._by_topic.get(topic.name)
            if coordinator is not None:
                self._lead(coordinator, topic)
        # A start finds deletions of long ago here. Of a name that is in use again, offsets without an id may be of the
        # topic that has it now.
        deleted = {name: topic_id for topic_id, name in change.deleted.items() if not first or name not in image.topics}
        if deleted:
            self.groups.on_topics_deleted(deleted)
        changed = {*(topic.name for topic in change.topics.values()), *change.deleted.values()}
        # Groups that were loaded just now look at their topics anyway.
        if changed and not first:
            self.groups.on_topics_changed(changed, created=bool(change.created))

    def went_offline(self, topic: str, index: int) -> None:
        """Nothing of this partition will be committed any more: who waits for that is told NOT_COORDINATOR, as by
        Apache Kafka, which resigns what lies in a log directory that has failed.
        """
        self._by_topic[topic].unload(index)

    def _lead(self, coordinator: Coordinator, topic: Topic) -> None:
        # Keys are found by this number. It never changes while the topic exists: growing it is refused.
        coordinator.partition_count = len(topic.partitions)
        self._leader_epochs[topic.name] = [partition.leader_epoch for partition in topic.partitions]
        for partition in topic.partitions:
            if partition.leader == self._node_id:
                coordinator.load(partition.index)
            else:
                coordinator.unload(partition.index)
