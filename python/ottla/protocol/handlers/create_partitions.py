"""CreatePartitions (37), versions 0-3.

Behavior:
- Topics are independent; a name given twice gets INVALID_REQUEST. `controller.create_partitions` has the checks.
- Answered once committed and published; `timeout_ms` and validate_only as in CreateTopics.

Version notes:
- v0-v3 differ only in the encoding (v2 is the first flexible one) and in that v3 may be throttled (KIP-599).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ottla.controller.create_partitions import GrownTopic, MorePartitions, create_partitions
from ottla.errors import ErrorCode, RequestError
from ottla.messages import CreatePartitionsResponse, CreatePartitionsResponseTopicResult

if TYPE_CHECKING:
    from ottla.messages import CreatePartitionsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(context: RequestContext, request: CreatePartitionsRequest, services: Services, answer: Answer) -> None:
    """Answer CreatePartitions."""
    topics = [
        MorePartitions(
            topic.name,
            topic.count,
            None if topic.assignments is None else tuple(tuple(entry.broker_ids) for entry in topic.assignments),
        )
        for topic in request.topics
    ]

    def done(outcome: list[GrownTopic] | RequestError) -> None:
        if isinstance(outcome, RequestError):
            answer(refuse(context, request, outcome.code))
            return
        results = [
            CreatePartitionsResponseTopicResult(name=grown.name, error_code=grown.code, error_message=grown.message)
            for grown in outcome
        ]
        answer(CreatePartitionsResponse(results=results))

    decide = partial(create_partitions, topics=topics, random=services.random, validate_only=request.validate_only)
    services.controller.change(decide, done, context.received_ms + request.timeout_ms)


def refuse(_context: RequestContext, request: CreatePartitionsRequest, code: ErrorCode) -> CreatePartitionsResponse:
    """Answer every topic with one code."""
    message = None if code is ErrorCode.REQUEST_TIMED_OUT else code.message
    return CreatePartitionsResponse(
        results=[
            CreatePartitionsResponseTopicResult(name=name, error_code=code, error_message=message)
            for name in dict.fromkeys(topic.name for topic in request.topics)
        ]
    )
