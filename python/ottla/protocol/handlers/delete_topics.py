"""DeleteTopics (20), versions 1-6.

Behavior:
- Topics are independent; one meant twice (by name, by id, or by both) is not deleted. `controller.delete_topics` has
  the checks.
- With `delete.topic.enable=false` every topic gets TOPIC_DELETION_DISABLED (v3 and later) or INVALID_REQUEST.
- Answered once committed: the data plane has then stopped serving the partitions, and their files go.

Version notes:
- v5: a sentence for each error. v6: topics by id as well as by name (KIP-516); the answer carries both.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ottla.controller.delete_topics import DeletedTopic, TopicReference, delete_topics
from ottla.errors import ErrorCode, RequestError
from ottla.messages import DeleteTopicsResponse, DeleteTopicsResponseDeletableTopicResult

if TYPE_CHECKING:
    from ottla.messages import DeleteTopicsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

_BY_ID = 6


def handle(context: RequestContext, request: DeleteTopicsRequest, services: Services, answer: Answer) -> None:
    """Answer DeleteTopics."""
    if not services.config["delete.topic.enable"]:
        disabled = context.api_version >= 3
        answer(refuse(context, request, ErrorCode.TOPIC_DELETION_DISABLED if disabled else ErrorCode.INVALID_REQUEST))
        return

    def done(outcome: list[DeletedTopic] | RequestError) -> None:
        if isinstance(outcome, RequestError):
            answer(refuse(context, request, outcome.code))
            return
        answer(DeleteTopicsResponse(responses=[_result(context, deleted) for deleted in outcome]))

    decide = partial(delete_topics, topics=_references(context, request))
    services.controller.change(decide, done, context.received_ms + request.timeout_ms)


def refuse(context: RequestContext, request: DeleteTopicsRequest, code: ErrorCode) -> DeleteTopicsResponse:
    """Answer every topic with one code."""
    references = dict.fromkeys(_references(context, request))
    message = None if code is ErrorCode.REQUEST_TIMED_OUT else code.message
    results = [DeletedTopic(reference.name, reference.topic_id, code, message) for reference in references]
    return DeleteTopicsResponse(responses=[_result(context, result) for result in results])


def _references(context: RequestContext, request: DeleteTopicsRequest) -> list[TopicReference]:
    if context.api_version < _BY_ID:
        return [TopicReference(name) for name in request.topic_names]
    return [TopicReference(topic.name, topic.topic_id) for topic in request.topics]


def _result(context: RequestContext, deleted: DeletedTopic) -> DeleteTopicsResponseDeletableTopicResult:
    return DeleteTopicsResponseDeletableTopicResult(
        name=deleted.name,
        topic_id=deleted.topic_id if context.api_version >= _BY_ID else bytes(16),
        error_code=deleted.code,
        error_message=deleted.message if context.api_version >= 5 else None,
    )
