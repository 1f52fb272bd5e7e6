"""What is written to `__transaction_state`, and in which versions.

    key                               value                    says
    TransactionLogKey  0 (type 0)     TransactionLogValue 0    a transactional id after a step; tombstone: it is gone
                                                          1    the same with `transaction.version` 1 and higher: also
                                                               previous and next producer id, and the client's level

Every record says everything, so that of each id only the last one counts (as Apache Kafka 4.3 writes them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.coordinator.shard import CoordinatorRecord
from ottla.coordinator.transaction.state import TransactionState
from ottla.coordinator.transaction.transaction import NO_EPOCH, Transaction
from ottla.messages import TransactionLogKey, TransactionLogValue, TransactionLogValuePartitionsSchema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.coordinator.transaction.transaction import Partition

FLEXIBLE_VERSION: Final = 1


def transaction_record(transactional_id: str, transaction: Transaction, server_version: int) -> CoordinatorRecord:
    """The id as it is now. `server_version`: the finalized level of `transaction.version`."""
    value = TransactionLogValue(
        producer_id=transaction.producer_id,
        producer_epoch=transaction.producer_epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=transaction.state,
        transaction_partitions=None,
        transaction_last_update_timestamp_ms=transaction.updated_ms,
        transaction_start_timestamp_ms=transaction.started_ms,
    )
    if transaction.state is not TransactionState.EMPTY:
        value.transaction_partitions = [
            TransactionLogValuePartitionsSchema(topic=topic, partition_ids=indexes)
            for topic, indexes in by_topic(transaction.partitions).items()
        ]
    version = min(server_version, FLEXIBLE_VERSION)
    if version >= FLEXIBLE_VERSION:
        value.previous_producer_id = transaction.previous_producer_id
        value.next_producer_id = transaction.next_producer_id
        value.client_transaction_version = transaction.client_version
    return CoordinatorRecord(TransactionLogKey(transactional_id=transactional_id), value, version)


def tombstone(transactional_id: str) -> CoordinatorRecord:
    """The id is gone."""
    return CoordinatorRecord(TransactionLogKey(transactional_id=transactional_id), None)


def read(value: TransactionLogValue) -> Transaction:
    """What a record says; ValueError if no coordinator can have written it."""
    state = TransactionState(value.transaction_status)
    partitions = () if state is TransactionState.EMPTY else value.transaction_partitions or ()
    return Transaction(
        producer_id=value.producer_id,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        producer_epoch=value.producer_epoch,
        last_producer_epoch=NO_EPOCH,
        timeout_ms=value.transaction_timeout_ms,
        state=state,
        partitions=frozenset((topic.topic, index) for topic in partitions for index in topic.partition_ids),
        started_ms=value.transaction_start_timestamp_ms,
        updated_ms=value.transaction_last_update_timestamp_ms,
        client_version=value.client_transaction_version,
    )


def by_topic(partitions: Iterable[Partition]) -> dict[str, list[int]]:
    """Partitions by their topics, both in order."""
    found: dict[str, list[int]] = {}
    for topic, index in sorted(partitions):
        found.setdefault(topic, []).append(index)
    return found
