"""DeleteRecords (21), versions 0-2.

Behavior:
- Each partition's log start moves up to the offset named, -1 meaning its high watermark; it never moves down. The
  answer has the log start after it, or -1 with an error.
- Unknown partition: UNKNOWN_TOPIC_OR_PARTITION. Internal topic: INVALID_TOPIC_EXCEPTION. `cleanup.policy` without
  delete: POLICY_VIOLATION. Below 0 (but -1) or above the high watermark: OFFSET_OUT_OF_RANGE.
- Answered when the new starts are on the disk. Kafka answers from memory and writes them down within a minute, so that
  a crash may show deleted records again. `timeout_ms` is how long Kafka waits for followers; there are none.

Version notes:
- v2 is the first flexible one; nothing else differs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    DeleteRecordsResponse,
    DeleteRecordsResponsePartitionResult,
    DeleteRecordsResponseTopicResult,
)

if TYPE_CHECKING:
    from ottla.messages import DeleteRecordsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

log = logging.getLogger(__name__)

NO_WATERMARK = -1


def handle(context: RequestContext, request: DeleteRecordsRequest, services: Services, answer: Answer) -> None:
    """Answer DeleteRecords."""
    # Of a partition named twice the last offset counts, as in Kafka.
    wanted = {(topic.name, each.partition_index): each.offset for topic in request.topics for each in topic.partitions}
    if not wanted:
        answer(_response({}))
        return

    def done(outcome: list[tuple[int, int]] | Exception) -> None:
        if isinstance(outcome, RequestError):
            answer(refuse(context, request, outcome.code))
        elif isinstance(outcome, Exception):
            log.error("records could not be deleted: %s", outcome)
            answer(refuse(context, request, ErrorCode.UNKNOWN_SERVER_ERROR))
        else:
            answer(_response(dict(zip(wanted, outcome, strict=True))))

    services.background.run(
        lambda: services.storage.delete_records([(name, index, offset) for (name, index), offset in wanted.items()]),
        done,
    )


def refuse(_context: RequestContext, request: DeleteRecordsRequest, code: ErrorCode) -> DeleteRecordsResponse:
    """Answer every partition with one code."""
    named = ((topic.name, each.partition_index) for topic in request.topics for each in topic.partitions)
    return _response(dict.fromkeys(named, (int(code), NO_WATERMARK)))


def _response(results: dict[tuple[str, int], tuple[int, int]]) -> DeleteRecordsResponse:
    topics: dict[str, DeleteRecordsResponseTopicResult] = {}
    for (name, index), (code, log_start) in results.items():
        topic = topics.setdefault(name, DeleteRecordsResponseTopicResult(name=name))
        topic.partitions.append(
            DeleteRecordsResponsePartitionResult(partition_index=index, low_watermark=log_start, error_code=code)
        )
    return DeleteRecordsResponse(topics=list(topics.values()))
