"""IncrementalAlterConfigs (44), versions 0-1 (KIP-339).

Behavior:
- Topics: each setting is set, deleted (back to the broker's value), or has entries added to or taken from its list; all
  changes of one topic are made or none. `controller.alter_configs` has the checks.
- Groups: the same for the few settings a consumer group has of its own; the group need not exist.
- This broker (by its id), or all of them (the empty name): what `config/dynamic.py` lists; anything else of a broker
  is INVALID_REQUEST. Loggers and client metrics cannot be altered yet: INVALID_REQUEST, with what to do instead.
- A resource named twice, a setting named twice, a null that is not a deletion, an unknown operation: INVALID_REQUEST.
- Answered once committed and published: the next batch is judged by the new settings. validate_only writes nothing.

Version notes:
- v1 is the first flexible one; nothing else differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.controller.alter_configs import Operation
from ottla.errors import ErrorCode
from ottla.messages import (
    IncrementalAlterConfigsResponse,
    IncrementalAlterConfigsResponseAlterConfigsResourceResponse,
)
from ottla.protocol.alterations import Alterations

if TYPE_CHECKING:
    from ottla.messages import IncrementalAlterConfigsRequest
    from ottla.protocol.alterations import Outcome
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(
    _context: RequestContext, request: IncrementalAlterConfigsRequest, services: Services, answer: Answer
) -> None:
    """Answer IncrementalAlterConfigs."""
    alterations = Alterations([(resource.resource_type, resource.resource_name) for resource in request.resources])
    for place, resource in enumerate(request.resources):
        names = [config.name for config in resource.configs]
        nulls = [
            config.name
            for config in resource.configs
            if config.value is None and config.config_operation != Operation.DELETE
        ]
        if not alterations.check(place, names, nulls):
            continue
        unknown = [config.config_operation for config in resource.configs if config.config_operation not in _KNOWN]
        if unknown:
            alterations.refuse(place, ErrorCode.INVALID_REQUEST, f"Unknown operation type {unknown[0]}")
            continue
        alterations.alter(
            place, [(config.name, Operation(config.config_operation), config.value) for config in resource.configs]
        )
    alterations.run(
        services, validate_only=request.validate_only, done=lambda outcomes: answer(_response(request, outcomes))
    )


def refuse(
    _context: RequestContext, request: IncrementalAlterConfigsRequest, code: ErrorCode
) -> IncrementalAlterConfigsResponse:
    """Answer every resource with one code."""
    return _response(request, [(code, code.message)] * len(request.resources))


_KNOWN = frozenset(Operation)


def _response(request: IncrementalAlterConfigsRequest, outcomes: list[Outcome]) -> IncrementalAlterConfigsResponse:
    return IncrementalAlterConfigsResponse(
        responses=[
            IncrementalAlterConfigsResponseAlterConfigsResourceResponse(
                error_code=code,
                error_message=words,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            for resource, (code, words) in zip(request.resources, outcomes, strict=True)
        ]
    )
