"""CreateTopics (19), versions 2-7.

Behavior:
- Topics are independent: each gets its own code and sentence, in the order of the request; a name given twice gets one
  answer. `controller.create_topics` has the order of the checks.
- Answered once the topics are committed and published: a Metadata that follows sees them. If `timeout_ms` passes
  before, each topic gets REQUEST_TIMED_OUT and is made all the same if it was on its way to the disk (Kafka's
  controller does so). With a time-out of 0 or less that is at once, and nothing is made.
- A setting that is accepted and changes nothing in this version is a warning in the log.
- validate_only answers what the real request would, and writes nothing.

Version notes:
- v4: -1 partitions or replicas mean the broker's default (KIP-464). Lower versions are answered the same, as in Kafka.
- v5: the answer carries partitions, replicas and every setting of the topic with its source (KIP-525).
- v7: and the topic's id (KIP-516).
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from ottla.config.topic_config import describe, without_effect
from ottla.controller.create_topics import CreatedTopic, NewTopic, create_topics
from ottla.controller.names import INTERNAL_TOPICS
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    CreateTopicsResponse,
    CreateTopicsResponseCreatableTopicConfigs,
    CreateTopicsResponseCreatableTopicResult,
)

if TYPE_CHECKING:
    from ottla.messages import CreateTopicsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

log = logging.getLogger(__name__)


def handle(context: RequestContext, request: CreateTopicsRequest, services: Services, answer: Answer) -> None:
    """Answer CreateTopics."""
    topics = [
        NewTopic(
            topic.name,
            topic.num_partitions,
            topic.replication_factor,
            tuple((entry.partition_index, tuple(entry.broker_ids)) for entry in topic.assignments),
            {config.name: config.value for config in topic.configs},
        )
        for topic in request.topics
    ]

    def done(outcome: list[CreatedTopic] | RequestError) -> None:
        if isinstance(outcome, RequestError):
            answer(refuse(context, request, outcome.code))
        else:
            if not request.validate_only:
                _warn(outcome)
            answer(CreateTopicsResponse(topics=[_result(created, services) for created in outcome]))

    decide = partial(
        create_topics,
        topics=topics,
        defaults=services.topic_defaults,
        random=services.random,
        validate_only=request.validate_only,
    )
    services.controller.change(decide, done, context.received_ms + request.timeout_ms)


def refuse(_context: RequestContext, request: CreateTopicsRequest, code: ErrorCode) -> CreateTopicsResponse:
    """Answer every topic with one code."""
    # Kafka sends no sentence with a time-out here.
    message = None if code is ErrorCode.REQUEST_TIMED_OUT else code.message
    return CreateTopicsResponse(
        topics=[
            CreateTopicsResponseCreatableTopicResult(name=name, error_code=code, error_message=message)
            for name in dict.fromkeys(topic.name for topic in request.topics)
        ]
    )


def _warn(outcome: list[CreatedTopic]) -> None:
    for created in outcome:
        if created.code is ErrorCode.NONE and created.name not in INTERNAL_TOPICS:
            for sentence in without_effect(created.configs):
                log.warning("topic %s: %s", created.name, sentence)


def _result(created: CreatedTopic, services: Services) -> CreateTopicsResponseCreatableTopicResult:
    if created.code is not ErrorCode.NONE:
        return CreateTopicsResponseCreatableTopicResult(
            name=created.name, error_code=created.code, error_message=created.message
        )
    return CreateTopicsResponseCreatableTopicResult(
        name=created.name,
        topic_id=created.topic_id,
        error_message=None,
        num_partitions=created.partition_count,
        replication_factor=created.replication_factor,
        configs=[
            CreateTopicsResponseCreatableTopicConfigs(
                name=entry.setting.name,
                # What the request set is shown as it was given, as Kafka does here (DescribeConfigs tidies it).
                value=created.configs.get(entry.setting.name, entry.value),
                read_only=entry.read_only,
                config_source=entry.source,
                is_sensitive=entry.sensitive,
            )
            for entry in describe(created.configs, services.config)
        ],
    )
