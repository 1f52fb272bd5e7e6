"""DescribeProducers (key 61), version 0 (KIP-664).

Behavior:
- Of each partition every producer that is remembered: idle ones until `producer.id.expiration.ms`, those with an open
  transaction always. -1 stands for "none" of the last sequence, the coordinator's epoch and the transaction's start.
- INVALID_TOPIC_EXCEPTION for a name no topic can have, UNKNOWN_TOPIC_OR_PARTITION for what is not there,
  NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR. With an error nothing else is said of the partition.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.controller.names import check_name
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    DescribeProducersResponse,
    DescribeProducersResponsePartitionResponse,
    DescribeProducersResponseProducerState,
    DescribeProducersResponseTopicResponse,
)

if TYPE_CHECKING:
    from ottla.messages import DescribeProducersRequest
    from ottla.protocol.services import ProducersOf, Services
    from ottla.types import Answer, RequestContext

log = logging.getLogger(__name__)


def handle(context: RequestContext, request: DescribeProducersRequest, services: Services, answer: Answer) -> None:
    """Answer when the partitions have been looked at."""
    errors = {topic.name: error for topic in request.topics if (error := _error(topic.name, services)) is not None}
    wanted = [
        (topic.name, index) for topic in request.topics if topic.name not in errors for index in topic.partition_indexes
    ]

    def done(outcome: list[ProducersOf] | Exception) -> None:
        if isinstance(outcome, RequestError):
            answer(refuse(context, request, outcome.code))
        elif isinstance(outcome, Exception):
            log.error("producers could not be looked at: %s", outcome)
            answer(refuse(context, request, ErrorCode.UNKNOWN_SERVER_ERROR))
        else:
            answer(_response(request, errors, outcome))

    if wanted:
        services.background.run(lambda: services.storage.producers(wanted), done)
    else:
        done([])


def refuse(_context: RequestContext, request: DescribeProducersRequest, code: ErrorCode) -> DescribeProducersResponse:
    """Answer every partition with the code."""
    return _response(request, {topic.name: RequestError(code) for topic in request.topics}, [])


def _error(name: str, services: Services) -> RequestError | None:
    try:
        check_name(name)
    except RequestError as error:
        return error
    return None if name in services.image.topics else RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


def _response(
    request: DescribeProducersRequest, errors: dict[str, RequestError], found: list[ProducersOf]
) -> DescribeProducersResponse:
    described = iter(found)
    topics = []
    for topic in request.topics:
        error = errors.get(topic.name)
        partitions = [
            _described(index, next(described))
            if error is None
            else DescribeProducersResponsePartitionResponse(
                partition_index=index, error_code=error.code, error_message=error.message
            )
            for index in topic.partition_indexes
        ]
        topics.append(DescribeProducersResponseTopicResponse(name=topic.name, partitions=partitions))
    return DescribeProducersResponse(topics=topics)


def _described(index: int, found: ProducersOf) -> DescribeProducersResponsePartitionResponse:
    code, producers = found
    return DescribeProducersResponsePartitionResponse(
        partition_index=index,
        error_code=code,
        active_producers=[
            DescribeProducersResponseProducerState(
                producer_id=producer_id,
                producer_epoch=epoch,
                last_sequence=last_sequence,
                last_timestamp=last_timestamp_ms,
                coordinator_epoch=coordinator_epoch,
                current_txn_start_offset=transaction_start,
            )
            for producer_id, epoch, last_sequence, last_timestamp_ms, coordinator_epoch, transaction_start in producers
        ],
    )
