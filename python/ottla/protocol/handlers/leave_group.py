"""LeaveGroup (key 13), versions 0 to 5.

Behavior:
- Each member named leaves, or has its own reason why not (UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID); a group that does not
  exist knows none of them.
- A static member may be named by its `group_instance_id` alone: admin tools remove it that way.
- A member that waits in JoinGroup is let go there with UNKNOWN_MEMBER_ID.

Version notes:
- v0 to v2 name one member, whose code is that of the whole answer.
- v3 names several (KIP-345).
- v5 adds a reason for the log (KIP-800).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ottla.errors import ErrorCode
from ottla.messages import LeaveGroupRequestMemberIdentity, LeaveGroupResponse

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.messages import LeaveGroupRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

SEVERAL_VERSION_MIN: Final = 3


def handle(context: RequestContext, request: LeaveGroupRequest, services: Services, answer: Answer) -> None:
    """Answer with a code for each."""
    if context.api_version >= SEVERAL_VERSION_MIN:
        services.groups.leave_group(context, request, answer)
        return

    def answer_one(response: Struct) -> None:
        assert isinstance(response, LeaveGroupResponse)
        code = response.error_code
        if code == ErrorCode.NONE:
            code = response.members[0].error_code
        answer(LeaveGroupResponse(error_code=code))

    alone = [LeaveGroupRequestMemberIdentity(member_id=request.member_id)]
    services.groups.leave_group(context, replace(request, members=alone), answer_one)


def refuse(_context: RequestContext, _request: LeaveGroupRequest, code: ErrorCode) -> LeaveGroupResponse:
    """Answer with the code alone."""
    return LeaveGroupResponse(error_code=code)
