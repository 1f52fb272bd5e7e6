"""AlterConfigs (33), versions 0-2: the older way, in which the settings given replace all that were set before.

Behavior:
- As IncrementalAlterConfigs, but what is not named goes back to the broker's value. A null is INVALID_REQUEST.

Version notes:
- v2 is the first flexible one; nothing else differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.controller.alter_configs import Operation
from ottla.messages import AlterConfigsResponse, AlterConfigsResponseResourceResponse
from ottla.protocol.alterations import Alterations

if TYPE_CHECKING:
    from ottla.errors import ErrorCode
    from ottla.messages import AlterConfigsRequest
    from ottla.protocol.alterations import Outcome
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(_context: RequestContext, request: AlterConfigsRequest, services: Services, answer: Answer) -> None:
    """Answer AlterConfigs."""
    alterations = Alterations([(resource.resource_type, resource.resource_name) for resource in request.resources])
    for place, resource in enumerate(request.resources):
        names = [config.name for config in resource.configs]
        nulls = [config.name for config in resource.configs if config.value is None]
        if alterations.check(place, names, nulls):
            operations = [(config.name, Operation.SET, config.value) for config in resource.configs]
            alterations.alter(place, operations, replaces_all=True)
    alterations.run(
        services, validate_only=request.validate_only, done=lambda outcomes: answer(_response(request, outcomes))
    )


def refuse(_context: RequestContext, request: AlterConfigsRequest, code: ErrorCode) -> AlterConfigsResponse:
    """Answer every resource with one code."""
    return _response(request, [(code, code.message)] * len(request.resources))


def _response(request: AlterConfigsRequest, outcomes: list[Outcome]) -> AlterConfigsResponse:
    return AlterConfigsResponse(
        responses=[
            AlterConfigsResponseResourceResponse(
                error_code=code,
                error_message=words,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            for resource, (code, words) in zip(request.resources, outcomes, strict=True)
        ]
    )
