"""DescribeLogDirs (35), versions 1-5.

Behavior:
- Every data directory with the partitions asked for (null: all) that lie in it, and the bytes of their segments. The
  metadata log is not among them. A partition that does not exist, or is offline, is left out.
- A directory that cannot be looked at: KAFKA_STORAGE_ERROR.
- `offset_lag` is how far a replica that is being moved between directories is behind; none is, so it is 0.
- A broker that keeps its data in memory has one directory without limits: totals of -1.

Version notes:
- v3: an error for the whole answer. v4: size of the file system and what is free of it (KIP-827).
- v5: whether the directory is cordoned off for new partitions (KIP-1066); none can be yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    DescribeLogDirsResponse,
    DescribeLogDirsResponsePartition,
    DescribeLogDirsResponseResult,
    DescribeLogDirsResponseTopic,
)

if TYPE_CHECKING:
    from ottla.messages import DescribeLogDirsRequest
    from ottla.protocol.services import DirectoryUsage, Services
    from ottla.types import Answer, RequestContext

log = logging.getLogger(__name__)


def handle(context: RequestContext, request: DescribeLogDirsRequest, services: Services, answer: Answer) -> None:
    """Answer DescribeLogDirs."""
    wanted: set[tuple[str, int]] | None = None
    if request.topics is not None:
        wanted = {(topic.topic, index) for topic in request.topics for index in topic.partitions}

    def describe() -> DescribeLogDirsResponse:
        # Put together here too: of a hundred thousand partitions that takes longer than a heartbeat may wait.
        return DescribeLogDirsResponse(results=[_result(usage, wanted) for usage in services.storage.usage()])

    def done(outcome: DescribeLogDirsResponse | Exception) -> None:
        if isinstance(outcome, RequestError):
            answer(refuse(context, request, outcome.code))
        elif isinstance(outcome, Exception):
            log.error("the data directories could not be described: %s", outcome)
            answer(refuse(context, request, ErrorCode.UNKNOWN_SERVER_ERROR))
        else:
            answer(outcome)

    services.background.run(describe, done)


def refuse(context: RequestContext, _request: DescribeLogDirsRequest, code: ErrorCode) -> DescribeLogDirsResponse:
    """Answer with one code; before version 3 there is no place for it, and no directory is the answer."""
    return DescribeLogDirsResponse(error_code=code if context.api_version >= 3 else ErrorCode.NONE)


def _result(usage: DirectoryUsage, wanted: set[tuple[str, int]] | None) -> DescribeLogDirsResponseResult:
    path, code, space, partitions = usage
    topics: dict[str, DescribeLogDirsResponseTopic] = {}
    for name, index, size_bytes in partitions:
        if wanted is None or (name, index) in wanted:
            topic = topics.setdefault(name, DescribeLogDirsResponseTopic(name=name))
            topic.partitions.append(DescribeLogDirsResponsePartition(partition_index=index, partition_size=size_bytes))
    total_bytes, usable_bytes = space or (-1, -1)
    return DescribeLogDirsResponseResult(
        error_code=code,
        log_dir=path,
        topics=list(topics.values()),
        total_bytes=total_bytes,
        usable_bytes=usable_bytes,
    )
