"""ConsumerGroupHeartbeat (key 68), versions 0 to 1.

Behavior:
- The only request of the consumer protocol (KIP-848): joins, stays, leaves; `coordinator.group.consumer` has the rules.
- UNSUPPORTED_VERSION unless the cluster has finalized `group.version` 1.
- INVALID_REQUEST, UNSUPPORTED_ASSIGNOR, INVALID_REGULAR_EXPRESSION, GROUP_ID_NOT_FOUND, GROUP_MAX_SIZE_REACHED,
  UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, UNRELEASED_INSTANCE_ID, FENCED_INSTANCE_ID, each with a sentence;
  COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR.

Version notes:
- v1 adds the subscription by regular expression, and asks the member to choose its id itself (KIP-1082).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.errors import ErrorCode
from ottla.messages import ConsumerGroupHeartbeatResponse

if TYPE_CHECKING:
    from ottla.messages import ConsumerGroupHeartbeatRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

GROUP_VERSION: Final = "group.version"
CONSUMER_PROTOCOL_LEVEL_MIN: Final = 1


def handle(context: RequestContext, request: ConsumerGroupHeartbeatRequest, services: Services, answer: Answer) -> None:
    """Answer when what was decided is committed."""
    if services.image.features.get(GROUP_VERSION, 0) < CONSUMER_PROTOCOL_LEVEL_MIN:
        answer(refuse(context, request, ErrorCode.UNSUPPORTED_VERSION))
    else:
        services.groups.consumer_group_heartbeat(context, request, answer)


def refuse(
    _context: RequestContext, _request: ConsumerGroupHeartbeatRequest, code: ErrorCode
) -> ConsumerGroupHeartbeatResponse:
    """Answer with the code and what it means."""
    return ConsumerGroupHeartbeatResponse(error_code=code, error_message=code.message)
