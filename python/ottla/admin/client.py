"""The client: where to start, how long to wait, and one method per question."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ottla.admin.connection import ClientCodec, Deadline
from ottla.admin.results import VersionRange
from ottla.admin.routing import Routing
from ottla.embed import new_codec
from ottla.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Self

    from ottla.admin.results import (
        Cluster,
        CommittedOffset,
        ConfigChange,
        ConfigEntry,
        CreatedTopic,
        Group,
        GroupListing,
        LogDir,
        NewPartitions,
        NewTopic,
        OffsetAt,
        OpenProducer,
        Resource,
        ResourceType,
        Topic,
        TopicListing,
        TopicPartition,
        Transaction,
        TransactionListing,
    )
    from ottla.errors import RequestError

TIMEOUT_MS = 15_000
CONNECT_TIMEOUT_MS = 5_000

_HOST_PORT = re.compile(r"(?:[A-Z_]+://)?(?P<host>\[[0-9a-fA-F:.%]+\]|[^:\[\]/\s,]+):(?P<port>\d{1,5})")


def parse_bootstrap(text: str) -> list[tuple[str, int]]:
    """Read HOST:PORT[,HOST:PORT...]; raises `InvalidInput` with a sentence."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _HOST_PORT.fullmatch(part)
        if match is None or not 1 <= int(match["port"]) <= 65_535:
            raise InvalidInput(f"'{part}' is not HOST:PORT with a port of 1 to 65535, such as localhost:9092")
        found.append((match["host"].strip("[]"), int(match["port"])))
    if not found:
        raise InvalidInput("name at least one broker as HOST:PORT, such as localhost:9092")
    return found


class Admin:
    """A client of the admin API of any Kafka from 2.0 to 4.4, over one socket per broker.

    `bootstrap_servers`: HOST:PORT,HOST:PORT: where to start. `timeout_ms` bounds each method as a whole, with its
    connections and repetitions, `connect_timeout_ms` each connection until it has answered ApiVersions. Not for several
    threads. Nothing is connected before the first method is called.

    Methods that are given several items give a dict in their order, from each item to its result or the `RequestError`
    the broker answered for it. What concerns the request as a whole is raised: `Unreachable` if no broker answers in
    time, `RequestError` with UNSUPPORTED_VERSION if the broker does not serve what is needed. Errors that pass by
    themselves (a coordinator that loads, a leader that moves) are waited out up to `timeout_ms`.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        timeout_ms: int = TIMEOUT_MS,
        connect_timeout_ms: int = CONNECT_TIMEOUT_MS,
        client_id: str = "ottla-admin",
        codec: ClientCodec | None = None,
    ) -> None:
        self._timeout_s = timeout_ms / 1000
        self._routing = Routing(
            parse_bootstrap(bootstrap_servers),
            codec=new_codec() if codec is None else codec,
            client_id=client_id,
            connect_timeout_s=connect_timeout_ms / 1000,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every socket; a later call opens them again."""
        self._routing.close()

    def _deadline(self) -> Deadline:
        return Deadline(self._timeout_s)

    # The cluster.

    def describe_cluster(self) -> Cluster:
        """Cluster id, controller and the brokers that are up."""
        return self._routing.cluster(self._deadline(), refresh=True)

    def api_versions(self, broker_id: int | None = None) -> dict[int, VersionRange]:
        """The APIs a broker serves (any broker: None), by key."""
        deadline = self._deadline()
        connection = self._routing.any(deadline) if broker_id is None else self._routing.broker(broker_id, deadline)
        return {key: VersionRange(key, low, high) for key, (low, high) in sorted(connection.served.items())}

    def describe_log_dirs(
        self, broker_ids: Iterable[int] | None = None, topics: Mapping[str, Sequence[int]] | None = None
    ) -> list[LogDir]:
        """Log directories of brokers (None: all) with the replicas in them (of `topics`: partitions by name)."""
        from ottla.admin import log_dirs

        return log_dirs.described(self._routing, broker_ids, topics, self._deadline())

    # Topics.

    def list_topics(self) -> list[TopicListing]:
        """Every topic, internal ones too, by name."""
        from ottla.admin import topics

        return topics.listed(self._routing, self._deadline())

    def describe_topics(self, names: Iterable[str]) -> dict[str, Topic | RequestError]:
        """Topics with their partitions."""
        from ottla.admin import topics

        return topics.described(self._routing, names, self._deadline())

    def create_topics(
        self, new: Sequence[NewTopic], *, validate_only: bool = False
    ) -> dict[str, CreatedTopic | RequestError]:
        """Create topics, or only say whether they could be."""
        from ottla.admin import topics

        return topics.created(self._routing, new, self._deadline(), validate_only=validate_only)

    def delete_topics(self, names: Iterable[str]) -> dict[str, RequestError | None]:
        """Delete topics by name."""
        from ottla.admin import topics

        return topics.deleted(self._routing, names, self._deadline())

    def delete_topics_by_id(self, ids: Iterable[str]) -> dict[str, RequestError | None]:
        """Delete topics by id (Kafka 2.8)."""
        from ottla.admin import topics

        return topics.deleted_by_id(self._routing, ids, self._deadline())

    def create_partitions(
        self, wanted: Mapping[str, NewPartitions], *, validate_only: bool = False
    ) -> dict[str, RequestError | None]:
        """Give topics more partitions."""
        from ottla.admin import topics

        return topics.extended(self._routing, wanted, self._deadline(), validate_only=validate_only)

    def list_offsets(
        self, wanted: Mapping[TopicPartition, int], *, read_committed: bool = False
    ) -> dict[TopicPartition, OffsetAt | RequestError]:
        """Find the first offset at or after a moment (milliseconds since 1970), or `EARLIEST`, `LATEST`, ..."""
        from ottla.admin import topics

        return topics.offsets(self._routing, wanted, self._deadline(), read_committed=read_committed)

    def delete_records(self, before: Mapping[TopicPartition, int]) -> dict[TopicPartition, int | RequestError]:
        """Delete the records before an offset (-1: all that are committed); gives each new first offset."""
        from ottla.admin import topics

        return topics.records_deleted(self._routing, before, self._deadline())

    # Configs.

    def describe_configs(
        self, resources: Iterable[Resource], *, names: Iterable[str] | None = None, documentation: bool = False
    ) -> dict[Resource, tuple[ConfigEntry, ...] | RequestError]:
        """Settings of topics, brokers and groups, by name, with sources and synonyms."""
        from ottla.admin import configs

        return configs.described(self._routing, resources, names, self._deadline(), docs=documentation)

    def list_config_resources(self, types: Iterable[ResourceType]) -> list[Resource]:
        """What there is to configure of these types; of groups those that set something themselves (Kafka 4.1)."""
        from ottla.admin import configs

        return configs.resources_listed(self._routing, types, self._deadline())

    def alter_configs(
        self, changes: Mapping[Resource, Sequence[ConfigChange]], *, validate_only: bool = False
    ) -> dict[Resource, RequestError | None]:
        """Change settings one by one; those that are not named stay as they are."""
        from ottla.admin import configs

        return configs.altered(self._routing, changes, self._deadline(), validate_only=validate_only)

    # Groups.

    def list_groups(self, *, states: Collection[str] = (), types: Collection[str] = ()) -> list[GroupListing]:
        """Every group of every coordinator, by id; of some states (Kafka 2.6) or types (Kafka 3.8) only."""
        from ottla.admin import groups

        return groups.listed(self._routing, states, types, self._deadline())

    def describe_groups(self, group_ids: Iterable[str]) -> dict[str, Group | RequestError]:
        """Groups with their members. One that does not exist is GROUP_ID_NOT_FOUND."""
        from ottla.admin import groups

        return groups.described(self._routing, group_ids, self._deadline())

    def delete_groups(self, group_ids: Iterable[str]) -> dict[str, RequestError | None]:
        """Delete groups that have no members."""
        from ottla.admin import groups

        return groups.deleted(self._routing, group_ids, self._deadline())

    def list_group_offsets(
        self, group_id: str, partitions: Collection[TopicPartition] | None = None
    ) -> dict[TopicPartition, CommittedOffset | RequestError]:
        """What a group has committed (for all partitions: None). Nothing committed: no entry. Raises for the group."""
        from ottla.admin import groups

        return groups.offsets(self._routing, group_id, partitions, self._deadline())

    def alter_group_offsets(
        self, group_id: str, wanted: Mapping[TopicPartition, CommittedOffset]
    ) -> dict[TopicPartition, RequestError | None]:
        """Set what a group without members has committed; UNKNOWN_MEMBER_ID if it has some."""
        from ottla.admin import groups

        return groups.offsets_altered(self._routing, group_id, wanted, self._deadline())

    def delete_group_offsets(
        self, group_id: str, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, RequestError | None]:
        """Forget what a group has committed for topics nobody in it reads (Kafka 2.4)."""
        from ottla.admin import groups

        return groups.offsets_deleted(self._routing, group_id, partitions, self._deadline())

    # Transactions.

    def list_transactions(
        self,
        *,
        states: Collection[str] = (),
        producer_ids: Collection[int] = (),
        longer_than_ms: int | None = None,
        pattern: str | None = None,
    ) -> list[TransactionListing]:
        """Every transactional id (Kafka 3.0); longer open than a time (3.8), or of a pattern (4.1), only."""
        from ottla.admin import transactions

        return transactions.listed(
            self._routing,
            states=states,
            producer_ids=producer_ids,
            longer_than_ms=longer_than_ms,
            pattern=pattern,
            deadline=self._deadline(),
        )

    def describe_transactions(self, transactional_ids: Iterable[str]) -> dict[str, Transaction | RequestError]:
        """Transactional ids with what is open. One that does not exist is TRANSACTIONAL_ID_NOT_FOUND."""
        from ottla.admin import transactions

        return transactions.described(self._routing, transactional_ids, self._deadline())

    def describe_producers(
        self, partitions: Iterable[TopicPartition], *, broker_id: int | None = None
    ) -> dict[TopicPartition, tuple[OpenProducer, ...] | RequestError]:
        """Who writes to partitions, as the leader (or the replica of one broker) knows it (Kafka 2.8)."""
        from ottla.admin import transactions

        return transactions.producers(self._routing, partitions, broker_id, self._deadline())

    def abort_transaction(
        self, partition: TopicPartition, *, producer_id: int, producer_epoch: int, coordinator_epoch: int
    ) -> RequestError | None:
        """End what a producer has open in one partition, whatever its coordinator thinks."""
        from ottla.admin import transactions

        return transactions.aborted(
            self._routing,
            partition,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            coordinator_epoch=coordinator_epoch,
            deadline=self._deadline(),
        )

    def terminate_transaction(self, transactional_id: str) -> RequestError | None:
        """Abort what an id has open, and fence its producer."""
        from ottla.admin import transactions

        return transactions.terminated(self._routing, transactional_id, self._deadline())
