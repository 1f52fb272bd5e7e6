"""DescribeGroups (key 15), versions 0 to 6.

Behavior:
- State, protocol and members of each group; what members said and are assigned once the group is stable.
- Committed state: a group that is being created is not there yet.
- Everyone may do everything as long as there is no authorizer: asked for, the operations are all that a group has.

Version notes:
- v3 adds the operations, v4 `group_instance_id` (KIP-345).
- v6 answers GROUP_ID_NOT_FOUND with a message for a group that does not exist (KIP-1043); before, it is described as
  dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.errors import ErrorCode
from ottla.messages import DescribeGroupsResponse, DescribeGroupsResponseDescribedGroup

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.messages import DescribeGroupsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

# AclOperation codes READ 3, DELETE 6, DESCRIBE 8, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11, a bit each: what a group has.
GROUP_OPERATIONS: Final = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11


def handle(context: RequestContext, request: DescribeGroupsRequest, services: Services, answer: Answer) -> None:
    """Answer at once."""

    def finish(response: Struct) -> None:
        assert isinstance(response, DescribeGroupsResponse)
        if request.include_authorized_operations:
            for group in response.groups:
                if group.error_code == ErrorCode.NONE:
                    group.authorized_operations = GROUP_OPERATIONS
        answer(response)

    services.groups.describe_groups(request.groups, context.api_version, finish)


def refuse(_context: RequestContext, request: DescribeGroupsRequest, code: ErrorCode) -> DescribeGroupsResponse:
    """Answer each group with the code."""
    return DescribeGroupsResponse(
        groups=[DescribeGroupsResponseDescribedGroup(group_id=group_id, error_code=code) for group_id in request.groups]
    )
