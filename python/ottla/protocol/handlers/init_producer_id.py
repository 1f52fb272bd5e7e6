"""InitProducerId (22), versions 0-5.

Behavior:
- Without a transactional id: a new producer id, epoch 0, whatever id and epoch the request brings (Kafka also hands
  out a new one). Ids come from durable blocks (`controller.producer_ids`) and are never handed out twice.
- Transactions are not served: with a transactional id TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which every client takes
  as final. Kafka's check that an empty transactional id is INVALID_REQUEST comes first.
- Only one of producer id and epoch given: INVALID_REQUEST.

Version notes:
- v3: the producer's current id and epoch (KIP-360), which only mean something with a transactional id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.errors import ErrorCode, RequestError
from ottla.messages import InitProducerIdResponse

if TYPE_CHECKING:
    from ottla.messages import InitProducerIdRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

_NONE = -1


def handle(_context: RequestContext, request: InitProducerIdRequest, services: Services, answer: Answer) -> None:
    """Answer InitProducerId."""
    if (request.producer_id == _NONE) != (request.producer_epoch == _NONE) or request.transactional_id == "":
        answer(_refused(ErrorCode.INVALID_REQUEST))
        return
    if request.transactional_id is not None:
        answer(_refused(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
        return

    def taken(outcome: int | RequestError) -> None:
        if isinstance(outcome, RequestError):
            # Clients come back for this one, as when Kafka's broker waits for its next block.
            answer(_refused(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS))
        else:
            answer(InitProducerIdResponse(producer_id=outcome, producer_epoch=0))

    services.producer_ids.take(taken)


def _refused(code: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=_NONE, producer_epoch=_NONE)
