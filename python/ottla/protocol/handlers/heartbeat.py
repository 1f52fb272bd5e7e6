"""Heartbeat (key 12), versions 0 to 4.

Behavior:
- The member's session starts again; REBALANCE_IN_PROGRESS tells it to join.
- UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID: it has lost its place.
- While the coordinator loads: no error, since the member may well be in the part that is not loaded yet (as in Kafka).

Version notes:
- v3 adds `group_instance_id` (KIP-345).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.messages import HeartbeatResponse

if TYPE_CHECKING:
    from ottla.errors import ErrorCode
    from ottla.messages import HeartbeatRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(context: RequestContext, request: HeartbeatRequest, services: Services, answer: Answer) -> None:
    """Answer with nothing but a code."""
    services.groups.heartbeat(context, request, answer)


def refuse(_context: RequestContext, _request: HeartbeatRequest, code: ErrorCode) -> HeartbeatResponse:
    """Answer with the code alone."""
    return HeartbeatResponse(error_code=code)
