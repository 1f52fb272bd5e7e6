"""JoinGroup (key 11), versions 0 to 9.

Behavior:
- Parked until everyone has joined, or the rebalance timeout has passed; `coordinator.group.join` says who may come in.
- The leader, and nobody else, gets the list of members with their metadata.
- INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
  GROUP_MAX_SIZE_REACHED, MEMBER_ID_REQUIRED, COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR: see there.

Version notes:
- v0 has no rebalance timeout: the session timeout is both.
- v4 answers a first join with MEMBER_ID_REQUIRED and the id to come back with (KIP-394).
- v5 adds `group_instance_id`: static members (KIP-345).
- v7 may answer no protocol name where there is none; before, it is the empty string. Adds the protocol type (KIP-559).
- v8 adds the reason a member joins for, for the log (KIP-800).
- v9 adds `skip_assignment`: a static leader that is back need not assign (KIP-814).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.messages import JoinGroupResponse

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.errors import ErrorCode
    from ottla.messages import JoinGroupRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

NULL_PROTOCOL_VERSION_MIN: Final = 7


def handle(context: RequestContext, request: JoinGroupRequest, services: Services, answer: Answer) -> None:
    """Answer when the round is over."""
    if context.api_version >= NULL_PROTOCOL_VERSION_MIN:
        services.groups.join_group(context, request, answer)
        return

    def answer_old(response: Struct) -> None:
        assert isinstance(response, JoinGroupResponse)
        if response.protocol_name is None:
            response.protocol_name = ""
        answer(response)

    services.groups.join_group(context, request, answer_old)


def refuse(_context: RequestContext, request: JoinGroupRequest, code: ErrorCode) -> JoinGroupResponse:
    """Answer with the code and the id the member came with."""
    return JoinGroupResponse(error_code=code, member_id=request.member_id)
