"""ConsumerGroupDescribe (key 69), versions 0 to 1.

Behavior:
- State, epochs and members of each group of the consumer protocol; what each member has and what it shall have.
- Committed state: a group that is being created is not there yet.
- GROUP_ID_NOT_FOUND with a sentence for a group that does not exist or is a classic one, INVALID_GROUP_ID for none.
- UNSUPPORTED_VERSION unless the cluster has finalized `group.version` 1.
- Everyone may do everything as long as there is no authorizer: asked for, the operations are all that a group has.

Version notes:
- v1 says which protocol a member speaks (KIP-1099).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.errors import ErrorCode
from ottla.messages import ConsumerGroupDescribeResponse, ConsumerGroupDescribeResponseDescribedGroup
from ottla.protocol.handlers.consumer_group_heartbeat import CONSUMER_PROTOCOL_LEVEL_MIN, GROUP_VERSION
from ottla.protocol.handlers.describe_groups import GROUP_OPERATIONS

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.messages import ConsumerGroupDescribeRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext


def handle(context: RequestContext, request: ConsumerGroupDescribeRequest, services: Services, answer: Answer) -> None:
    """Answer at once."""
    if services.image.features.get(GROUP_VERSION, 0) < CONSUMER_PROTOCOL_LEVEL_MIN:
        answer(refuse(context, request, ErrorCode.UNSUPPORTED_VERSION))
        return

    def finish(response: Struct) -> None:
        assert isinstance(response, ConsumerGroupDescribeResponse)
        if request.include_authorized_operations:
            for group in response.groups:
                if group.error_code == ErrorCode.NONE:
                    group.authorized_operations = GROUP_OPERATIONS
        answer(response)

    services.groups.describe_consumer_groups(request.group_ids, finish)


def refuse(
    _context: RequestContext, request: ConsumerGroupDescribeRequest, code: ErrorCode
) -> ConsumerGroupDescribeResponse:
    """Answer each group with the code."""
    return ConsumerGroupDescribeResponse(
        groups=[
            ConsumerGroupDescribeResponseDescribedGroup(group_id=group_id, error_code=code)
            for group_id in request.group_ids
        ]
    )
