"""DescribeConfigs (32), versions 1-4.

Behavior:
- A topic: every setting with its value, where it comes from (the topic, the broker's file, Kafka's default), and on
  request all places that have a value, strongest first. Unknown: UNKNOWN_TOPIC_OR_PARTITION; a name no topic may have:
  INVALID_TOPIC_EXCEPTION.
- Differs: a topic setting whose default comes from an hours setting of the broker (log.roll.hours) is shown with that
  source; Kafka looks at log.roll.ms alone and calls it a default.
- This broker (by its id): every setting that has an effect here; the empty name means what was altered for all
  brokers. Another id: INVALID_REQUEST. Kafka also lists hundreds of settings that mean nothing here.
- A group: the settings a consumer group has of its own, whether there is such a group or not. Kafka also lists those
  of share and streams groups.
- Client metrics: no settings yet, so the answer is empty; broker loggers too.
- Keys: null or none at all means every key; a key that is not known is left out, as in Kafka.
- One resource of a type that is not known makes INVALID_REQUEST the answer of all, as in Kafka.

Version notes:
- v1: sources and synonyms (KIP-226). v3: types, and documentation on request (KIP-524); the prose is our own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ottla.config import group_config
from ottla.config.topic_config import Described, describe, describe_all_brokers, describe_broker
from ottla.controller.image import GROUP_RESOURCE
from ottla.controller.names import check_name
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    DescribeConfigsResponse,
    DescribeConfigsResponseResourceResult,
    DescribeConfigsResponseResult,
    DescribeConfigsResponseSynonym,
)

if TYPE_CHECKING:
    from ottla.messages import DescribeConfigsRequest, DescribeConfigsRequestResource
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

_INTEGER = re.compile(r"-?[0-9]{1,10}")
_TOPIC = 2
_BROKER = 4
_GROUP = 32
# Broker loggers, client metrics.
_EMPTY = (8, 16)


def handle(context: RequestContext, request: DescribeConfigsRequest, services: Services, answer: Answer) -> None:
    """Answer DescribeConfigs."""
    if any(resource.resource_type not in (_TOPIC, _BROKER, _GROUP, *_EMPTY) for resource in request.resources):
        answer(refuse(context, request, ErrorCode.INVALID_REQUEST))
        return
    answer(DescribeConfigsResponse(results=[_describe(resource, request, services) for resource in request.resources]))


def refuse(_context: RequestContext, request: DescribeConfigsRequest, code: ErrorCode) -> DescribeConfigsResponse:
    """Answer every resource with one code."""
    return DescribeConfigsResponse(results=[_refused(resource, code, code.message) for resource in request.resources])


def _describe(
    resource: DescribeConfigsRequestResource, request: DescribeConfigsRequest, services: Services
) -> DescribeConfigsResponseResult:
    try:
        described = _settings(resource, services)
    except RequestError as error:
        # Kafka sends an empty sentence with an unknown topic.
        unknown = error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return _refused(resource, error.code, "" if unknown else error.message)
    keys = set(resource.configuration_keys or ())
    return DescribeConfigsResponseResult(
        error_message="",
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=[_entry(entry, request) for entry in described if not keys or entry.setting.name in keys],
    )


def _settings(resource: DescribeConfigsRequestResource, services: Services) -> list[Described]:
    name = resource.resource_name
    if resource.resource_type == _TOPIC:
        check_name(name)
        if name not in services.image.topics:
            raise RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return describe(services.image.topic_config(name), services.config)
    if resource.resource_type == _BROKER and name:
        if not _INTEGER.fullmatch(name):
            raise RequestError(ErrorCode.INVALID_REQUEST, f"Broker id must be an integer, but it is: {name}")
        if int(name) != services.node_id:
            words = f"Unexpected broker id, expected {services.node_id} or empty string, but received {name}"
            raise RequestError(ErrorCode.INVALID_REQUEST, words)
        return describe_broker(services.config, services.image.dynamic_of(services.node_id))
    if resource.resource_type == _BROKER:
        return describe_all_brokers(services.image.dynamic_of(services.node_id))
    if resource.resource_type == _GROUP:
        if not name:
            raise RequestError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
        return group_config.describe(services.image.configs.get((GROUP_RESOURCE, name), {}), services.config)
    return []


def _entry(entry: Described, request: DescribeConfigsRequest) -> DescribeConfigsResponseResourceResult:
    synonyms = entry.synonyms if request.include_synonyms else ()
    return DescribeConfigsResponseResourceResult(
        name=entry.setting.name,
        value=None if entry.sensitive else entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.sensitive,
        synonyms=[
            DescribeConfigsResponseSynonym(name=name, value=None if entry.sensitive else value, source=source)
            for name, value, source in synonyms
        ],
        config_type=entry.setting.kind,
        documentation=entry.setting.prose if request.include_documentation else None,
    )


def _refused(resource: DescribeConfigsRequestResource, code: ErrorCode, message: str) -> DescribeConfigsResponseResult:
    return DescribeConfigsResponseResult(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )
