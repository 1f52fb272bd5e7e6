"""AddPartitionsToTxn (24), versions 0-5.

Behavior:
- All partitions take part in the transaction, or none: if one does not exist (UNKNOWN_TOPIC_OR_PARTITION), or a client
  names a topic of the broker's own (TOPIC_AUTHORIZATION_FAILED), the others are OPERATION_NOT_ATTEMPTED.
- Answered when it is committed, with the same code for each partition, as often as it was named. A client's waits for
  the markers of the transaction before, `add.partitions.to.txn.retry.backoff.max.ms` at most; only then it is told
  CONCURRENT_TRANSACTIONS. Kafka tells it at once, and clients come back 20 ms later.

Version notes:
- v0 to v3 come from clients, for one transaction. v2: PRODUCER_FENCED, where older ones know INVALID_PRODUCER_EPOCH
  (KIP-588).
- v4 and v5 come from brokers, for several transactions, which are answered together: to add partitions with their
  first write, or with `verify_only` to see whether each was added (KIP-890). Here the data plane asks without a
  request; what it would be answered is TRANSACTION_ABORTABLE for a partition that was not added.
- A list without any transaction is answered; Kafka never does.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ottla.controller.names import INTERNAL_TOPICS
from ottla.coordinator.transaction.transaction import EPOCH_PER_TRANSACTION
from ottla.errors import ErrorCode
from ottla.messages import (
    AddPartitionsToTxnRequestTransaction,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResponsePartitionResult,
    AddPartitionsToTxnResponseResult,
    AddPartitionsToTxnResponseTopicResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ottla.coordinator.transaction.transaction import Partition
    from ottla.messages import AddPartitionsToTxnRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

PRODUCER_FENCED_VERSION_MIN: Final = 2
BATCHED_VERSION_MIN: Final = 4

Topics = list[AddPartitionsToTxnResponseTopicResult]


def handle(context: RequestContext, request: AddPartitionsToTxnRequest, services: Services, answer: Answer) -> None:
    """Answer when every transaction is."""
    transactions = _transactions(context.api_version, request)
    results: dict[int, Topics] = {}

    def receive(place: int, topics: Topics) -> None:
        results[place] = topics
        if len(results) == len(transactions):
            answer(_response(context.api_version, transactions, [results[each] for each in range(len(transactions))]))

    if not transactions:
        answer(AddPartitionsToTxnResponse())
    for place, transaction in enumerate(transactions):
        _serve(context.api_version, transaction, services, partial(receive, place))


def refuse(context: RequestContext, request: AddPartitionsToTxnRequest, code: ErrorCode) -> AddPartitionsToTxnResponse:
    """Answer each partition with the code, or the whole request where it has one."""
    if context.api_version >= BATCHED_VERSION_MIN:
        return AddPartitionsToTxnResponse(error_code=code)
    transactions = _transactions(context.api_version, request)
    return _response(context.api_version, transactions, [_as_asked(transactions[0], code)])


def _transactions(api_version: int, request: AddPartitionsToTxnRequest) -> list[AddPartitionsToTxnRequestTransaction]:
    if api_version >= BATCHED_VERSION_MIN:
        return request.transactions
    return [
        AddPartitionsToTxnRequestTransaction(
            transactional_id=request.v3_and_below_transactional_id,
            producer_id=request.v3_and_below_producer_id,
            producer_epoch=request.v3_and_below_producer_epoch,
            topics=request.v3_and_below_topics,
        )
    ]


def _partitions(transaction: AddPartitionsToTxnRequestTransaction) -> list[Partition]:
    """Each once, in the order asked for."""
    named = ((topic.name, index) for topic in transaction.topics for index in topic.partitions)
    return list(dict.fromkeys(named))


def _serve(
    api_version: int,
    transaction: AddPartitionsToTxnRequestTransaction,
    services: Services,
    receive: Callable[[Topics], None],
) -> None:
    partitions = _partitions(transaction)
    from_client = api_version < BATCHED_VERSION_MIN
    wrong = {
        partition: code
        for partition in partitions
        if (code := _objection(partition, services, from_client=from_client)) is not ErrorCode.NONE
    }
    if wrong:
        receive(_each({each: wrong.get(each, ErrorCode.OPERATION_NOT_ATTEMPTED) for each in partitions}))
        return

    def finish(code: ErrorCode) -> None:
        if code is ErrorCode.PRODUCER_FENCED and api_version < PRODUCER_FENCED_VERSION_MIN:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        receive(_as_asked(transaction, code))

    producer = transaction.transactional_id, transaction.producer_id, transaction.producer_epoch
    if transaction.verify_only:
        services.transactions.verify_partitions(*producer, partitions, lambda codes: receive(_each(codes)))
    else:
        services.transactions.add_partitions(
            *producer,
            partitions,
            client_version=0 if from_client else EPOCH_PER_TRANSACTION,
            answer=finish,
            waits=from_client,
        )


def _objection(partition: Partition, services: Services, *, from_client: bool) -> ErrorCode:
    name, index = partition
    if from_client and name in INTERNAL_TOPICS:
        return ErrorCode.TOPIC_AUTHORIZATION_FAILED
    return ErrorCode.NONE if services.image.has_partition(name, index) else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _response(
    api_version: int, transactions: list[AddPartitionsToTxnRequestTransaction], results: list[Topics]
) -> AddPartitionsToTxnResponse:
    if api_version < BATCHED_VERSION_MIN:
        return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=results[0])
    return AddPartitionsToTxnResponse(
        results_by_transaction=[
            AddPartitionsToTxnResponseResult(transactional_id=transaction.transactional_id, topic_results=topics)
            for transaction, topics in zip(transactions, results, strict=True)
        ]
    )


def _as_asked(transaction: AddPartitionsToTxnRequestTransaction, code: ErrorCode) -> Topics:
    """One code for all: each topic and partition as often as it was named."""
    return [
        AddPartitionsToTxnResponseTopicResult(
            name=topic.name,
            results_by_partition=[
                AddPartitionsToTxnResponsePartitionResult(partition_index=index, partition_error_code=code)
                for index in topic.partitions
            ],
        )
        for topic in transaction.topics
    ]


def _each(codes: Mapping[Partition, ErrorCode]) -> Topics:
    """A code of its own for each partition, which is answered once."""
    found: dict[str, AddPartitionsToTxnResponseTopicResult] = {}
    for (name, index), code in codes.items():
        if name not in found:
            found[name] = AddPartitionsToTxnResponseTopicResult(name=name, results_by_partition=[])
        found[name].results_by_partition.append(
            AddPartitionsToTxnResponsePartitionResult(partition_index=index, partition_error_code=code)
        )
    return list(found.values())
