"""The metadata image: a fold over the records of `__cluster_metadata`.

What topics there are, their partitions and settings, which brokers are registered, which features are finalized, which
producer ids are taken: all of it is what `apply` makes of the records, one after the other. Start-up applies the newest
snapshot and then the log behind it; a running broker applies what it has just committed; a snapshot is `records()` of
the image. There is no other way into it, so what a restart finds is what was there before.

Record schemas and their meaning are Kafka's (the classes `*Delta` of its `metadata` module):

- a topic's settings go with it: RemoveTopicRecord drops the ConfigRecords of its name;
- a PartitionChangeRecord that names a leader raises the leader epoch, even if the leader stays; any raises the
  partition epoch;
- records between BeginTransactionRecord and EndTransactionRecord count at the end, and not at all if it is
  AbortTransactionRecord or the log ends before.

Record types this version does not fold (ACLs, quotas, credentials, or ones a newer Kafka wrote) change nothing here and
are kept as bytes, so that the next snapshot still holds them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from ottla.config.dynamic import Dynamic
from ottla.messages import (
    AbortTransactionRecord,
    BeginTransactionRecord,
    BrokerRegistrationChangeRecord,
    ConfigRecord,
    EndTransactionRecord,
    FeatureLevelRecord,
    FenceBrokerRecord,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RegisterControllerRecord,
    RemoveTopicRecord,
    TopicRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
    ZkMigrationStateRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

NO_LEADER = -1
# In a PartitionChangeRecord: the leader is not part of the change.
LEADER_UNCHANGED = -2

# Types of a ConfigRecord's resource.
TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4
GROUP_RESOURCE = 32

_COLLIDING = str.maketrans(".", "_")


class Partition(Struct, frozen=True, gc=False):
    """State of one partition."""

    index: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    removing_replicas: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    leader_recovery_state: int = 0
    directories: tuple[bytes, ...] = ()
    eligible_leader_replicas: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()


class Topic(Struct):
    """A topic and its partitions, whose indexes start at 0 and have no holes."""

    name: str
    topic_id: bytes
    partitions: list[Partition] = field(default_factory=list)


class Change(Struct):
    """What was applied since the last time somebody asked, for who shows the image to others."""

    # Topics created or changed, by id; those deleted meanwhile are only in `deleted`.
    topics: dict[bytes, Topic] = field(default_factory=dict)
    deleted: dict[bytes, str] = field(default_factory=dict)
    # Those of `topics` that were not there before.
    created: set[bytes] = field(default_factory=set)
    # Whether brokers or features changed: both are small and shown whole.
    cluster: bool = False

    def __bool__(self) -> bool:
        return bool(self.topics or self.deleted or self.cluster)


class MetadataImage:
    """What exists. Owned by the control-plane thread; see the module's doc for the rules of the fold."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.topics_by_id: dict[bytes, Topic] = {}
        # (resource type, resource name) -> setting -> text as it was given.
        self.configs: dict[tuple[int, str], dict[str, str]] = {}
        self.brokers: dict[int, RegisterBrokerRecord] = {}
        self.controllers: dict[int, RegisterControllerRecord] = {}
        self.features: dict[str, int] = {}
        # Newest record of producer ids: the first id of the next block, and who took the last one.
        self.producer_ids: ProducerIdsRecord | None = None
        # Values of records that are not folded, in their order.
        self.kept: list[bytes] = []
        # Names that contain `.` or `_`, by what they become where the two cannot be told apart (metric names).
        self.colliding_names: dict[str, set[str]] = {}
        self._change = Change()
        # Records of an open metadata transaction; None outside of one.
        self._transaction: list[tuple[Struct | None, bytes]] | None = None
        self._apply_by_type: dict[type[Struct], Callable[[Any], None]] = {
            TopicRecord: self._topic,
            RemoveTopicRecord: self._remove_topic,
            PartitionRecord: self._partition,
            PartitionChangeRecord: self._change_partition,
            ConfigRecord: self._config,
            RegisterBrokerRecord: self._register_broker,
            UnregisterBrokerRecord: self._unregister_broker,
            BrokerRegistrationChangeRecord: self._change_registration,
            FenceBrokerRecord: lambda record: self._fence(record.id, fenced=True),
            UnfenceBrokerRecord: lambda record: self._fence(record.id, fenced=False),
            RegisterControllerRecord: self._register_controller,
            FeatureLevelRecord: self._feature,
            ProducerIdsRecord: self._producer_ids,
            # Written by Kafka to move its high watermark, and by the migration from ZooKeeper: no state behind them.
            NoOpRecord: lambda _: None,
            ZkMigrationStateRecord: lambda _: None,
        }

    @property
    def in_transaction(self) -> bool:
        """Whether a metadata transaction was begun and not ended."""
        return self._transaction is not None

    def topic_config(self, name: str) -> dict[str, str]:
        """Give what a topic sets itself, as text."""
        return self.configs.get((TOPIC_RESOURCE, name), {})

    def dynamic_of(self, broker_id: int) -> Dynamic:
        """Give what was altered of a broker while it ran."""
        of_broker, of_all = (self.configs.get((BROKER_RESOURCE, name), {}) for name in (str(broker_id), ""))
        return Dynamic(dict(of_broker), dict(of_all))

    def has_partition(self, topic: str, index: int) -> bool:
        """Say whether there is such a topic, with a partition of this index."""
        found = self.topics.get(topic)
        return found is not None and 0 <= index < len(found.partitions)

    def live_brokers(self) -> list[int]:
        """Give the ids of brokers that take part, in order."""
        return sorted(
            broker.broker_id
            for broker in self.brokers.values()
            if not broker.fenced and not broker.in_controlled_shutdown
        )

    def take_change(self) -> Change:
        """Hand over what changed since the last call."""
        change, self._change = self._change, Change()
        return change

    def apply(self, record: Struct | None, value: bytes) -> None:
        """Fold one committed record in. `record` is None if the codec does not know its type; `value` is its bytes."""
        match record:
            case BeginTransactionRecord():
                self._transaction = []
            case EndTransactionRecord():
                pending, self._transaction = self._transaction or [], None
                for inner, inner_value in pending:
                    self.apply(inner, inner_value)
            case AbortTransactionRecord():
                self._transaction = None
            case _ if self._transaction is not None:
                self._transaction.append((record, value))
            case _:
                self._fold(record, value)

    def records(self) -> Iterator[Struct]:
        """Give records that fold into this image again (beside `kept`), as a snapshot holds them."""
        for name in sorted(self.features):
            yield FeatureLevelRecord(name=name, feature_level=self.features[name])
        yield from (self.controllers[node] for node in sorted(self.controllers))
        yield from (self.brokers[node] for node in sorted(self.brokers))
        for topic in self.topics.values():
            yield TopicRecord(name=topic.name, topic_id=topic.topic_id)
            yield from (_partition_record(topic.topic_id, partition) for partition in topic.partitions)
        for (resource_type, resource_name), entries in self.configs.items():
            for name, text in entries.items():
                yield ConfigRecord(resource_type=resource_type, resource_name=resource_name, name=name, value=text)
        if self.producer_ids is not None:
            yield self.producer_ids

    def _fold(self, record: Struct | None, value: bytes) -> None:
        apply = None if record is None else self._apply_by_type.get(type(record))
        if apply is None:
            what = "of an unknown type" if record is None else type(record).__name__
            log.info("a metadata record %s is kept and has no effect in this version", what)
            self.kept.append(value)
        else:
            apply(record)

    # Topics and partitions.

    def _topic(self, record: TopicRecord) -> None:
        assert record.name not in self.topics, f"topic {record.name} is created twice"
        assert record.topic_id not in self.topics_by_id, f"topic id of {record.name} is used twice"
        topic = Topic(record.name, record.topic_id)
        self.topics[topic.name] = self.topics_by_id[topic.topic_id] = topic
        if "." in topic.name or "_" in topic.name:
            self.colliding_names.setdefault(collision_key(topic.name), set()).add(topic.name)
        self._change.topics[topic.topic_id] = topic
        self._change.created.add(topic.topic_id)

    def _remove_topic(self, record: RemoveTopicRecord) -> None:
        topic = self.topics_by_id.pop(record.topic_id)
        del self.topics[topic.name]
        self.configs.pop((TOPIC_RESOURCE, topic.name), None)
        names = self.colliding_names.get(collision_key(topic.name))
        if names is not None:
            names.discard(topic.name)
            if not names:
                del self.colliding_names[collision_key(topic.name)]
        self._change.topics.pop(topic.topic_id, None)
        self._change.created.discard(topic.topic_id)
        self._change.deleted[topic.topic_id] = topic.name

    def _partition(self, record: PartitionRecord) -> None:
        topic = self.topics_by_id[record.topic_id]
        partition = Partition(
            index=record.partition_id,
            replicas=tuple(record.replicas),
            isr=tuple(record.isr),
            leader=record.leader,
            leader_epoch=record.leader_epoch,
            partition_epoch=record.partition_epoch,
            removing_replicas=tuple(record.removing_replicas),
            adding_replicas=tuple(record.adding_replicas),
            leader_recovery_state=record.leader_recovery_state,
            directories=tuple(record.directories),
            eligible_leader_replicas=tuple(record.eligible_leader_replicas or ()),
            last_known_elr=tuple(record.last_known_elr or ()),
        )
        assert 0 <= partition.index <= len(topic.partitions), f"partition {partition.index} of {topic.name} skips one"
        if partition.index == len(topic.partitions):
            topic.partitions.append(partition)
        else:
            topic.partitions[partition.index] = partition
        self._change.topics[topic.topic_id] = topic

    def _change_partition(self, record: PartitionChangeRecord) -> None:
        topic = self.topics_by_id[record.topic_id]
        old = topic.partitions[record.partition_id]
        leads = record.leader != LEADER_UNCHANGED
        topic.partitions[record.partition_id] = replace(
            old,
            replicas=_changed(record.replicas, old.replicas),
            isr=_changed(record.isr, old.isr),
            removing_replicas=_changed(record.removing_replicas, old.removing_replicas),
            adding_replicas=_changed(record.adding_replicas, old.adding_replicas),
            leader=record.leader if leads else old.leader,
            leader_epoch=old.leader_epoch + 1 if leads else old.leader_epoch,
            leader_recovery_state=(
                old.leader_recovery_state if record.leader_recovery_state < 0 else record.leader_recovery_state
            ),
            directories=old.directories if record.directories is None else tuple(record.directories),
            eligible_leader_replicas=_changed(record.eligible_leader_replicas, old.eligible_leader_replicas),
            last_known_elr=_changed(record.last_known_elr, old.last_known_elr),
            partition_epoch=old.partition_epoch + 1,
        )
        self._change.topics[topic.topic_id] = topic

    def _config(self, record: ConfigRecord) -> None:
        resource = (record.resource_type, record.resource_name)
        if record.value is None:
            entries = self.configs.get(resource, {})
            entries.pop(record.name, None)
            if not entries:
                self.configs.pop(resource, None)
        else:
            self.configs.setdefault(resource, {})[record.name] = record.value
        if record.resource_type == TOPIC_RESOURCE and record.resource_name in self.topics:
            topic = self.topics[record.resource_name]
            self._change.topics[topic.topic_id] = topic
        elif record.resource_type == BROKER_RESOURCE:
            self._change.cluster = True

    # Brokers, controllers, features, producer ids.

    def _register_broker(self, record: RegisterBrokerRecord) -> None:
        self.brokers[record.broker_id] = record
        self._change.cluster = True

    def _unregister_broker(self, record: UnregisterBrokerRecord) -> None:
        self.brokers.pop(record.broker_id, None)
        self._change.cluster = True

    def _change_registration(self, record: BrokerRegistrationChangeRecord) -> None:
        old = self.brokers[record.broker_id]
        # Fencing is said with 1, unfencing with -1, "as it was" with 0; controlled shutdown only ever begins.
        self.brokers[record.broker_id] = replace(
            old,
            fenced=old.fenced if record.fenced == 0 else record.fenced > 0,
            in_controlled_shutdown=old.in_controlled_shutdown or record.in_controlled_shutdown > 0,
            log_dirs=record.log_dirs or old.log_dirs,
            cordoned_log_dirs=(old.cordoned_log_dirs if record.cordoned_log_dirs is None else record.cordoned_log_dirs),
        )
        self._change.cluster = True

    def _fence(self, broker_id: int, *, fenced: bool) -> None:
        self.brokers[broker_id] = replace(self.brokers[broker_id], fenced=fenced)
        self._change.cluster = True

    def _register_controller(self, record: RegisterControllerRecord) -> None:
        self.controllers[record.controller_id] = record

    def _feature(self, record: FeatureLevelRecord) -> None:
        # Level 0 is how a feature is switched off again.
        if record.feature_level == 0:
            self.features.pop(record.name, None)
        else:
            self.features[record.name] = record.feature_level
        self._change.cluster = True

    def _producer_ids(self, record: ProducerIdsRecord) -> None:
        self.producer_ids = record


def collision_key(name: str) -> str:
    """Give what a topic's name becomes in a metric: `a.b` and `a_b` both become `a_b`."""
    return name.translate(_COLLIDING)


def _partition_record(topic_id: bytes, partition: Partition) -> PartitionRecord:
    return PartitionRecord(
        partition_id=partition.index,
        topic_id=topic_id,
        replicas=list(partition.replicas),
        isr=list(partition.isr),
        removing_replicas=list(partition.removing_replicas),
        adding_replicas=list(partition.adding_replicas),
        leader=partition.leader,
        leader_recovery_state=partition.leader_recovery_state,
        leader_epoch=partition.leader_epoch,
        partition_epoch=partition.partition_epoch,
        directories=list(partition.directories),
        # Kafka leaves empty ones out.
        eligible_leader_replicas=list(partition.eligible_leader_replicas) or None,
        last_known_elr=list(partition.last_known_elr) or None,
    )


def _changed(new: list[int] | None, old: tuple[int, ...]) -> tuple[int, ...]:
    return old if new is None else tuple(new)
