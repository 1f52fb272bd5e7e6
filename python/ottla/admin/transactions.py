"""Transactions: list and describe them, see who writes to a partition, end what hangs (KIP-664)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.admin import apis, topics
from ottla.admin.connection import error_of
from ottla.admin.results import OpenProducer, TopicPartition, Transaction, TransactionListing
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ottla.admin.connection import Deadline
    from ottla.admin.results import Broker
    from ottla.admin.routing import Routing

TRANSACTION_KEY = 1


def listed(
    routing: Routing,
    *,
    states: Collection[str],
    producer_ids: Collection[int],
    longer_than_ms: int | None,
    pattern: str | None,
    deadline: Deadline,
) -> list[TransactionListing]:
    """Every transactional id of every broker; longer than a time (Kafka 3.8), of a pattern (Kafka 4.1)."""
    from ottla.messages.list_transactions import ListTransactionsRequest

    request = ListTransactionsRequest(
        state_filters=list(states),
        producer_id_filters=list(producer_ids),
        duration_filter=-1 if longer_than_ms is None else longer_than_ms,
        transactional_id_pattern=pattern,
    )
    at_least = 2 if pattern else 1 if request.duration_filter >= 0 else 0
    found = []
    for broker in routing.cluster(deadline, refresh=True).brokers:
        answer, _ = routing.ask(
            routing.at(broker, deadline), apis.LIST_TRANSACTIONS, request, deadline, at_least=at_least
        )
        if answer.error_code:
            raise error_of(answer.error_code, None)
        found += [
            TransactionListing(row.transactional_id, row.producer_id, row.transaction_state, broker.broker_id)
            for row in answer.transaction_states
        ]
    return sorted(found, key=lambda listing: listing.transactional_id)


def described(
    routing: Routing, transactional_ids: Iterable[str], deadline: Deadline
) -> dict[str, Transaction | RequestError]:
    """Transactional ids with their transactions. One that does not exist is TRANSACTIONAL_ID_NOT_FOUND."""
    from ottla.messages.describe_transactions import DescribeTransactionsRequest

    def ask(coordinator: Broker, those: list[str]) -> dict[str, Transaction | RequestError]:
        answer, _ = routing.ask(
            routing.at(coordinator, deadline), apis.DESCRIBE_TRANSACTIONS, DescribeTransactionsRequest(those), deadline
        )
        return {
            row.transactional_id: error_of(row.error_code, None)
            if row.error_code
            else Transaction(
                transactional_id=row.transactional_id,
                state=row.transaction_state,
                producer_id=row.producer_id,
                producer_epoch=row.producer_epoch,
                timeout_ms=row.transaction_timeout_ms,
                started_ms=row.transaction_start_time_ms if row.transaction_start_time_ms >= 0 else None,
                partitions=tuple(
                    sorted(TopicPartition(topic.topic, index) for topic in row.topics for index in topic.partitions)
                ),
                coordinator=coordinator,
            )
            for row in answer.transaction_states
        }

    return routing.by_coordinator(transactional_ids, deadline, ask, kind=TRANSACTION_KEY)


def producers(
    routing: Routing, partitions: Iterable[TopicPartition], broker_id: int | None, deadline: Deadline
) -> dict[TopicPartition, tuple[OpenProducer, ...] | RequestError]:
    """Who writes to each partition, as its leader knows it (or the replica on one broker)."""
    from ottla.messages.describe_producers import DescribeProducersRequest, DescribeProducersRequestTopicRequest

    def ask(broker: int, those: list[TopicPartition]) -> dict[TopicPartition, tuple[OpenProducer, ...] | RequestError]:
        by_topic: dict[str, list[int]] = {}
        for place in those:
            by_topic.setdefault(place.topic, []).append(place.partition)
        request = DescribeProducersRequest(
            topics=[DescribeProducersRequestTopicRequest(name, indexes) for name, indexes in by_topic.items()]
        )
        answer, _ = routing.ask(routing.by_id(broker, deadline), apis.DESCRIBE_PRODUCERS, request, deadline)
        return {
            TopicPartition(topic.name, row.partition_index): error_of(row.error_code, row.error_message)
            if row.error_code
            else tuple(
                OpenProducer(
                    producer_id=each.producer_id,
                    producer_epoch=each.producer_epoch,
                    last_sequence=each.last_sequence,
                    last_timestamp_ms=each.last_timestamp,
                    coordinator_epoch=each.coordinator_epoch if each.coordinator_epoch >= 0 else None,
                    transaction_start_offset=(
                        each.current_txn_start_offset if each.current_txn_start_offset >= 0 else None
                    ),
                )
                for each in row.active_producers
            )
            for topic in answer.topics
            for row in topic.partitions
        }

    def leaders(waiting: list[TopicPartition]) -> Mapping[TopicPartition, int | RequestError]:
        return topics.leaders(routing, waiting, deadline)

    if broker_id is not None:
        chosen = broker_id
        return routing.by_leader(partitions, deadline, lambda waiting: dict.fromkeys(waiting, chosen), ask)
    return routing.by_leader(partitions, deadline, leaders, ask)


def aborted(
    routing: Routing,
    place: TopicPartition,
    *,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    deadline: Deadline,
) -> RequestError | None:
    """Write an abort marker into one partition, over the coordinator's head."""
    from ottla.messages.write_txn_markers import (
        WriteTxnMarkersRequest,
        WriteTxnMarkersRequestWritableTxnMarker,
        WriteTxnMarkersRequestWritableTxnMarkerTopic,
    )

    marker = WriteTxnMarkersRequestWritableTxnMarker(
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transaction_result=False,
        topics=[WriteTxnMarkersRequestWritableTxnMarkerTopic(name=place.topic, partition_indexes=[place.partition])],
        coordinator_epoch=coordinator_epoch,
    )

    def ask(broker: int, those: list[TopicPartition]) -> dict[TopicPartition, RequestError | None]:
        answer, _ = routing.ask(
            routing.by_id(broker, deadline), apis.WRITE_TXN_MARKERS, WriteTxnMarkersRequest([marker]), deadline
        )
        codes = [row.error_code for each in answer.markers for topic in each.topics for row in topic.partitions]
        return {those[0]: error_of(codes[0], None) if codes[0] else None}

    outcomes = routing.by_leader([place], deadline, lambda waiting: topics.leaders(routing, waiting, deadline), ask)
    return outcomes[place]


def terminated(routing: Routing, transactional_id: str, deadline: Deadline) -> RequestError | None:
    """Become the producer of an id, which aborts what the one before has open, and ends it."""
    from ottla.messages.init_producer_id import InitProducerIdRequest

    request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=1)

    def ask(coordinator: Broker, those: list[str]) -> dict[str, RequestError | None]:
        answer, _ = routing.ask(routing.at(coordinator, deadline), apis.INIT_PRODUCER_ID, request, deadline)
        return {those[0]: error_of(answer.error_code, None) if answer.error_code else None}

    passing = frozenset({ErrorCode.CONCURRENT_TRANSACTIONS})
    outcomes = routing.by_coordinator([transactional_id], deadline, ask, kind=TRANSACTION_KEY, also_passing=passing)
    return outcomes[transactional_id]
