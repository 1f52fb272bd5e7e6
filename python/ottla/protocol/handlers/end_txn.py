"""EndTxn (26), versions 0-5.

Behavior:
- `coordinator.transaction.ending` has the table of what is answered in which state.
- Answered when the decision is committed; the markers are written after that.
- An empty transactional id is INVALID_REQUEST.

Version notes:
- v2: PRODUCER_FENCED, where older clients know INVALID_PRODUCER_EPOCH (KIP-588).
- v4 adds TRANSACTION_ABORTABLE to what may be answered.
- v5: the end of the transaction ends its epoch; the answer has what the producer goes on with (KIP-890).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.coordinator.transaction.ending import Ending
from ottla.coordinator.transaction.transaction import EPOCH_PER_TRANSACTION
from ottla.errors import ErrorCode
from ottla.messages import EndTxnResponse

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.messages import EndTxnRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

PRODUCER_FENCED_VERSION_MIN: Final = 2
EPOCH_PER_TRANSACTION_VERSION_MIN: Final = 5


def handle(context: RequestContext, request: EndTxnRequest, services: Services, answer: Answer) -> None:
    """Commit or abort."""

    def finish(response: Struct) -> None:
        assert isinstance(response, EndTxnResponse)
        if response.error_code == ErrorCode.PRODUCER_FENCED and context.api_version < PRODUCER_FENCED_VERSION_MIN:
            response.error_code = ErrorCode.INVALID_PRODUCER_EPOCH
        answer(response)

    client_version = EPOCH_PER_TRANSACTION if context.api_version >= EPOCH_PER_TRANSACTION_VERSION_MIN else 0
    ending = Ending(request.producer_id, request.producer_epoch, request.committed, client_version)
    services.transactions.end(request.transactional_id, ending, finish)
