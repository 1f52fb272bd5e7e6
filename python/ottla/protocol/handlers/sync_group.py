"""SyncGroup (key 14), versions 0 to 5.

Behavior:
- Parked until the leader has sent the assignment and it is in the log; then everyone gets its part.
- In a stable group the running assignment, whoever asks.
- UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, FENCED_INSTANCE_ID, INVALID_GROUP_ID.

Version notes:
- v3 adds `group_instance_id` (KIP-345).
- v5 names the protocol the member believes in; another one is INCONSISTENT_GROUP_PROTOCOL (KIP-559).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.messages import SyncGroupResponse

if TYPE_CHECKING:
    from ottla.errors import ErrorCode
    from ottla.messages import SyncGroupRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(context: RequestContext, request: SyncGroupRequest, services: Services, answer: Answer) -> None:
    """Answer when there is an assignment."""
    services.groups.sync_group(context, request, answer)


def refuse(_context: RequestContext, _request: SyncGroupRequest, code: ErrorCode) -> SyncGroupResponse:
    """Answer with the code alone."""
    return SyncGroupResponse(error_code=code)
