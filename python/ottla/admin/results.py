"""What the admin client answers with: frozen values, which compare, hash and turn into JSON as they are.

Kafka's terms throughout. An id of a topic is text, as Kafka's tools print it (base64 without padding); a topic of a
broker that knows no ids (before 2.8) has None. Where a request names many items, its answer is a dict from each item to
its result or to the `RequestError` the broker gave for it: `required` gives the result or raises.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

from msgspec import Struct

from ottla.errors import RequestError

T = TypeVar("T")

# ListOffsets: instead of a moment in milliseconds.
LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6


def required(outcome: T | RequestError) -> T:
    """Give the result of one item; raises what the broker answered instead."""
    if isinstance(outcome, RequestError):
        raise outcome
    return outcome


# Cluster.


class Broker(Struct, frozen=True):
    """A broker at the address it advertises on the listener that was asked."""

    broker_id: int
    host: str
    port: int
    rack: str | None = None

    @property
    def address(self) -> str:
        """HOST:PORT, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Cluster(Struct, frozen=True):
    """The brokers that are up. `controller_id` is -1 while there is none; a KRaft broker names any broker."""

    cluster_id: str | None
    controller_id: int
    brokers: tuple[Broker, ...]

    def broker(self, broker_id: int) -> Broker | None:
        """The broker of this id, if it is up."""
        return next((broker for broker in self.brokers if broker.broker_id == broker_id), None)


class VersionRange(Struct, frozen=True):
    """The versions of one API that a broker serves."""

    api_key: int
    lowest: int
    highest: int


# Topics.


class TopicPartition(Struct, frozen=True, order=True):
    """Names a partition."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class TopicListing(Struct, frozen=True):
    """One line of a list of topics."""

    name: str
    topic_id: str | None
    internal: bool
    partitions: int
    replication_factor: int


class Partition(Struct, frozen=True):
    """A partition as the metadata has it. `leader` is None while there is none.

    The two lists of KIP-966 are None where the broker does not serve DescribeTopicPartitions.
    """

    index: int
    leader: int | None
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...]
    eligible_leaders: tuple[int, ...] | None = None
    last_known_eligible_leaders: tuple[int, ...] | None = None


class Topic(Struct, frozen=True):
    """A topic with its partitions, in their order."""

    name: str
    topic_id: str | None
    internal: bool
    partitions: tuple[Partition, ...]


class NewTopic(Struct, frozen=True):
    """A topic to be created; -1 (or an assignment) leaves a number to the broker, before 2.4 it must be given."""

    name: str
    partitions: int = -1
    replication_factor: int = -1
    # Replicas of each partition, the preferred leader first; instead of both numbers.
    assignment: tuple[tuple[int, ...], ...] = ()
    configs: tuple[tuple[str, str | None], ...] = ()


class CreatedTopic(Struct, frozen=True):
    """What the broker made; before version 5 of the request (2.4) it does not say, and the numbers are None."""

    name: str
    topic_id: str | None
    partitions: int | None
    replication_factor: int | None


class NewPartitions(Struct, frozen=True):
    """The whole number of partitions a topic is to have; `assignment` has the replicas of the new ones only."""

    count: int
    assignment: tuple[tuple[int, ...], ...] = ()


class OffsetAt(Struct, frozen=True):
    """An offset found by time; -1 if no record is as new as that."""

    offset: int
    timestamp: int
    leader_epoch: int | None


class Replica(Struct, frozen=True):
    """One partition in a log directory."""

    topic: str
    partition: int
    size_bytes: int
    offset_lag: int
    is_future: bool


class LogDir(Struct, frozen=True):
    """A log directory of a broker. Sizes of its disk are None where the broker does not say (before 3.3)."""

    broker_id: int
    path: str
    replicas: tuple[Replica, ...]
    total_bytes: int | None
    usable_bytes: int | None
    # Name of the error (KAFKA_STORAGE_ERROR) of a directory that is offline.
    error: str | None = None


# Configs.


class ResourceType(IntEnum):
    """What a configuration belongs to."""

    UNKNOWN = 0
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class Resource(Struct, frozen=True, order=True):
    """A topic, a broker by its number (empty: the default of all brokers), a group."""

    type: ResourceType
    name: str


class ConfigSource(IntEnum):
    """Where a value comes from."""

    UNKNOWN = 0
    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6
    DYNAMIC_CLIENT_METRICS_CONFIG = 7
    DYNAMIC_GROUP_CONFIG = 8


class ConfigType(IntEnum):
    """The type of a value; UNKNOWN before version 3 of the request (2.6)."""

    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class ConfigSynonym(Struct, frozen=True):
    """One of the places a value is looked for, the one that counts first."""

    name: str
    value: str | None
    source: ConfigSource


class ConfigEntry(Struct, frozen=True):
    """One setting; the value of a sensitive one is None."""

    name: str
    value: str | None
    source: ConfigSource
    read_only: bool
    sensitive: bool
    type: ConfigType
    synonyms: tuple[ConfigSynonym, ...]
    documentation: str | None


class ConfigOperation(IntEnum):
    """What IncrementalAlterConfigs does with a value; the last two are for lists."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigChange(Struct, frozen=True):
    """One change of one setting."""

    name: str
    value: str | None
    operation: ConfigOperation = ConfigOperation.SET


# Groups.


class GroupListing(Struct, frozen=True):
    """One line of a list of groups. `state` is None before 2.6, `type` before 3.8."""

    group_id: str
    protocol_type: str
    state: str | None
    type: str | None


class Member(Struct, frozen=True):
    """A member of a group.

    `assignment` is None where the protocol is not that of consumers (Connect's workers), so that nobody reads it.
    `target` and `epoch` are those of KIP-848 and None in a classic group. `upgraded` tells which protocol a member of a
    consumer group speaks (false: still the classic one); None where the broker does not say (before 4.0).
    """

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    subscription: tuple[str, ...]
    assignment: tuple[TopicPartition, ...] | None
    target: tuple[TopicPartition, ...] | None = None
    epoch: int | None = None
    upgraded: bool | None = None


class Group(Struct, frozen=True):
    """A group as its coordinator describes it. `type` is Classic or Consumer; the epochs are those of KIP-848."""

    group_id: str
    type: str
    state: str
    protocol_type: str
    assignor: str
    members: tuple[Member, ...]
    coordinator: Broker
    epoch: int | None = None
    target_epoch: int | None = None


class CommittedOffset(Struct, frozen=True):
    """What a group has committed for a partition."""

    offset: int
    leader_epoch: int | None = None
    metadata: str = ""


# Transactions.


class TransactionListing(Struct, frozen=True):
    """One line of a list of transactional ids."""

    transactional_id: str
    producer_id: int
    state: str
    coordinator_id: int


class Transaction(Struct, frozen=True):
    """A transactional id as its coordinator describes it. `started_ms` is None while nothing is open."""

    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    started_ms: int | None
    partitions: tuple[TopicPartition, ...]
    coordinator: Broker


class OpenProducer(Struct, frozen=True):
    """A producer as a partition knows it."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int | None
    # Of the transaction that is open.
    transaction_start_offset: int | None
