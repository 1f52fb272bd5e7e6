"""ListGroups (key 16), versions 0 to 5.

Behavior:
- All groups of this broker, also those that are nothing but offsets. COORDINATOR_LOAD_IN_PROGRESS as long as a part of
  them is not loaded.
- Filters do not care about case; what matches nothing is no error.

Version notes:
- v4 adds states and a filter for them (KIP-518), v5 types and a filter for them (KIP-848).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.messages import ListGroupsResponse

if TYPE_CHECKING:
    from ottla.errors import ErrorCode
    from ottla.messages import ListGroupsRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(_context: RequestContext, request: ListGroupsRequest, services: Services, answer: Answer) -> None:
    """Answer at once."""
    services.groups.list_groups(request, answer)


def refuse(_context: RequestContext, _request: ListGroupsRequest, code: ErrorCode) -> ListGroupsResponse:
    """Answer with the code alone."""
    return ListGroupsResponse(error_code=code)
