"""WriteTxnMarkers (key 27), versions 1 and 2.

Behavior:
- Spoken between brokers, and by AdminClient.abortTransaction, which ends a transaction that hangs in one partition.
- Each marker is written into each of its partitions; the answer comes when all are committed or refused, one code for
  each partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER (also while the offsets of a group are loading),
  INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED, KAFKA_STORAGE_ERROR.
- Results of one producer are put together, as in Kafka.

Version notes:
- v2 says which version of transactions the producer speaks: with 2 the marker's epoch must be above that of its
  records (KIP-890). v1 means 0.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ottla.errors import ErrorCode
from ottla.messages import (
    WriteTxnMarkersResponse,
    WriteTxnMarkersResponseWritableTxnMarkerPartitionResult,
    WriteTxnMarkersResponseWritableTxnMarkerResult,
    WriteTxnMarkersResponseWritableTxnMarkerTopicResult,
)
from ottla.types import TransactionMarker

if TYPE_CHECKING:
    from ottla.messages import WriteTxnMarkersRequest, WriteTxnMarkersRequestWritableTxnMarker
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

Codes = dict[int, dict[tuple[str, int], ErrorCode]]


def handle(_context: RequestContext, request: WriteTxnMarkersRequest, services: Services, answer: Answer) -> None:
    """Answer when every marker is written, or is not."""
    results: dict[int, dict[tuple[str, int], ErrorCode]] = {}

    def receive(place: int, codes: dict[tuple[str, int], ErrorCode]) -> None:
        results[place] = codes
        if len(results) < len(request.markers):
            return
        # Of a partition that a producer names twice the last answer counts.
        found: Codes = {}
        for at, marker in enumerate(request.markers):
            if results[at]:
                found.setdefault(marker.producer_id, {}).update(results[at])
        answer(_response(found))

    if not request.markers:
        answer(WriteTxnMarkersResponse())
    for place, asked in enumerate(request.markers):
        marker = TransactionMarker(
            producer_id=asked.producer_id,
            producer_epoch=asked.producer_epoch,
            committed=asked.transaction_result,
            coordinator_epoch=asked.coordinator_epoch,
            transaction_version=asked.transaction_version,
            partitions=_partitions(asked),
        )
        services.markers.write(marker, partial(receive, place))


def refuse(_context: RequestContext, request: WriteTxnMarkersRequest, code: ErrorCode) -> WriteTxnMarkersResponse:
    """Answer every partition with the code."""
    found: Codes = {}
    for marker in request.markers:
        found.setdefault(marker.producer_id, {}).update(dict.fromkeys(_partitions(marker), code))
    return _response(found)


def _partitions(marker: WriteTxnMarkersRequestWritableTxnMarker) -> tuple[tuple[str, int], ...]:
    return tuple((topic.name, index) for topic in marker.topics for index in topic.partition_indexes)


def _response(found: Codes) -> WriteTxnMarkersResponse:
    markers = []
    for producer_id, codes in found.items():
        topics: dict[str, WriteTxnMarkersResponseWritableTxnMarkerTopicResult] = {}
        for (name, index), code in codes.items():
            topic = topics.setdefault(name, WriteTxnMarkersResponseWritableTxnMarkerTopicResult(name=name))
            topic.partitions.append(
                WriteTxnMarkersResponseWritableTxnMarkerPartitionResult(partition_index=index, error_code=code)
            )
        result = WriteTxnMarkersResponseWritableTxnMarkerResult(producer_id=producer_id, topics=list(topics.values()))
        markers.append(result)
    return WriteTxnMarkersResponse(markers=markers)
