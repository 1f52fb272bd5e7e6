"""The topics of KAFKA_CREATE_TOPICS (wurstmeister/kafka): created after the start, unless they exist.

Asked over one socket to the container's own listener. A client that follows the advertised address would often not get
anywhere: it is meant for those outside.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.admin import apis
from ottla.admin.connection import Connection, Deadline
from ottla.embed import new_codec
from ottla.errors import ErrorCode, OttlaError
from ottla.messages.create_topics import (
    CreateTopicsRequest,
    CreateTopicsRequestCreatableTopic,
    CreateTopicsRequestCreatableTopicConfig,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.cli.container.environment import WantedTopic

_TIMEOUT_S = 30.0

log = logging.getLogger("ottla.container")


def create(wanted: Sequence[WantedTopic], address: tuple[str, int]) -> None:
    """Create what is missing. A topic that cannot be made is logged, as in the image this is from: the broker runs."""
    deadline = Deadline(_TIMEOUT_S)
    host, port = address
    try:
        connection = Connection(host, port, codec=new_codec(), client_id="ottla-container", deadline=deadline)
        try:
            request = CreateTopicsRequest(
                topics=[_request(topic) for topic in wanted], timeout_ms=int(_TIMEOUT_S * 1000)
            )
            answer, _ = connection.ask(apis.CREATE_TOPICS, request, deadline)
        finally:
            connection.close()
    except OttlaError as error:
        log.error("the topics of KAFKA_CREATE_TOPICS were not created: %s", error)  # noqa: TRY400 - said in full
        return
    for topic in answer.topics:
        if topic.error_code == ErrorCode.NONE:
            log.info("topic %s is created", topic.name)
        elif topic.error_code != ErrorCode.TOPIC_ALREADY_EXISTS:
            code = ErrorCode(topic.error_code)
            log.error("topic %s of KAFKA_CREATE_TOPICS: %s", topic.name, topic.error_message or code.message)


def _request(topic: WantedTopic) -> CreateTopicsRequestCreatableTopic:
    configs = [] if topic.cleanup_policy is None else [("cleanup.policy", topic.cleanup_policy)]
    return CreateTopicsRequestCreatableTopic(
        name=topic.name,
        num_partitions=topic.partitions,
        replication_factor=topic.replication_factor,
        configs=[CreateTopicsRequestCreatableTopicConfig(name=name, value=value) for name, value in configs],
    )
