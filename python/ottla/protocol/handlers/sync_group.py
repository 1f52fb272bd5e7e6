"""SyncGroup (key 14), versions 0 to 5.

Behavior:
- Parked until the leader has sent the assignment and it is in the log; then everyone gets its part.
- In a stable group the running assignment, whoever asks.
- UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, FENCED_INSTANCE_ID, INVALID_GROUP_ID.

Version notes:
- v3 adds `group_instance_id` (KIP-345).
- v5 names the protocol the member believes in, which must not be null; another one than agreed on is
  INCONSISTENT_GROUP_PROTOCOL, and so is null (KIP-559).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.errors import ErrorCode
from ottla.messages import SyncGroupResponse

if TYPE_CHECKING:
    from ottla.messages import SyncGroupRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

PROTOCOL_VERSION_MIN: Final = 5


def handle(context: RequestContext, request: SyncGroupRequest, services: Services, answer: Answer) -> None:
    """Answer when there is an assignment."""
    if context.api_version >= PROTOCOL_VERSION_MIN and (request.protocol_type is None or request.protocol_name is None):
        answer(SyncGroupResponse(error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
        return
    services.groups.sync_group(context, request, answer)


def refuse(_context: RequestContext, _request: SyncGroupRequest, code: ErrorCode) -> SyncGroupResponse:
    """Answer with the code alone."""
    return SyncGroupResponse(error_code=code)
