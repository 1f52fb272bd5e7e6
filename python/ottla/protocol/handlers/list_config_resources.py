"""ListConfigResources (key 74), versions 0 to 1.

Behavior:
- What there is to configure: topics, brokers and their loggers, groups that have settings of their own; each type once
  asked for, or all of them.
- UNSUPPORTED_VERSION for a type that the version does not know.
- Client metrics are not collected, so there are none.

Version notes:
- v0 lists client metrics alone. v1 asks for types (KIP-1142).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.controller.image import BROKER_RESOURCE, GROUP_RESOURCE, TOPIC_RESOURCE
from ottla.errors import ErrorCode
from ottla.messages import ListConfigResourcesResponse, ListConfigResourcesResponseConfigResource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.messages import ListConfigResourcesRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

TYPES_VERSION_MIN: Final = 1
LOGGER_RESOURCE: Final = 8
CLIENT_METRICS_RESOURCE: Final = 16
# In the order they are answered.
TYPES: Final = (GROUP_RESOURCE, CLIENT_METRICS_RESOURCE, LOGGER_RESOURCE, BROKER_RESOURCE, TOPIC_RESOURCE)


def handle(context: RequestContext, request: ListConfigResourcesRequest, services: Services, answer: Answer) -> None:
    """Answer at once."""
    known = TYPES if context.api_version >= TYPES_VERSION_MIN else (CLIENT_METRICS_RESOURCE,)
    wanted = set(request.resource_types) or set(known)
    if not wanted <= set(known):
        answer(ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION))
        return
    answer(
        ListConfigResourcesResponse(
            config_resources=[
                ListConfigResourcesResponseConfigResource(resource_name=name, resource_type=kind)
                for kind in known
                if kind in wanted
                for name in _names(kind, services)
            ]
        )
    )


def _names(kind: int, services: Services) -> Iterable[str]:
    image = services.image
    if kind == TOPIC_RESOURCE:
        return image.topics
    if kind in {BROKER_RESOURCE, LOGGER_RESOURCE}:
        return map(str, image.live_brokers())
    if kind == GROUP_RESOURCE:
        return [name for resource, name in image.configs if resource == GROUP_RESOURCE]
    return ()


def refuse(
    _context: RequestContext, _request: ListConfigResourcesRequest, code: ErrorCode
) -> ListConfigResourcesResponse:
    """Answer with the code alone."""
    return ListConfigResourcesResponse(error_code=code)
