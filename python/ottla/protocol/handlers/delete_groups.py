"""DeleteGroups (key 42), versions 0 to 2.

Behavior:
- A group that has no members ends with all its offsets; each named group is answered once, however often it is named.
- NON_EMPTY_GROUP while it has members, GROUP_ID_NOT_FOUND if there is none.
- Answered when the end of all of them is committed.

Version notes:
- v1 and v2 change nothing here (throttling, flexible encoding).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.messages import DeleteGroupsResponse, DeleteGroupsResponseDeletableGroupResult

if TYPE_CHECKING:
    from ottla.errors import ErrorCode
    from ottla.messages import DeleteGroupsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(_context: RequestContext, request: DeleteGroupsRequest, services: Services, answer: Answer) -> None:
    """Answer with a code for each."""
    services.groups.delete_groups(request.groups_names, answer)


def refuse(_context: RequestContext, request: DeleteGroupsRequest, code: ErrorCode) -> DeleteGroupsResponse:
    """Answer each group with the code."""
    return DeleteGroupsResponse(
        results=[
            DeleteGroupsResponseDeletableGroupResult(group_id=group_id, error_code=code)
            for group_id in request.groups_names
        ]
    )
