"""InitProducerId (22), versions 0-5.

Behavior:
- Without a transactional id: a new producer id, epoch 0, whatever id and epoch the request brings (Kafka also hands
  out a new one). Ids come from durable blocks (`controller.producer_ids`) and are never handed out twice.
- With one: `coordinator.transaction.initiation`. Answered when it is committed.
- Only one of producer id and epoch given, or an empty transactional id: INVALID_REQUEST; a time-out that is none or
  longer than `transaction.max.timeout.ms`: INVALID_TRANSACTION_TIMEOUT.

Version notes:
- v3: the producer's current id and epoch, to go on after an error (KIP-360).
- v4: PRODUCER_FENCED, where older clients know INVALID_PRODUCER_EPOCH (KIP-588).
- v5 adds TRANSACTION_ABORTABLE to what may be answered (KIP-890).
- v6 (two-phase commit, KIP-939) is unstable in Kafka 4.3 and not advertised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.errors import ErrorCode
from ottla.messages import InitProducerIdResponse

if TYPE_CHECKING:
    from msgspec import Struct

    from ottla.messages import InitProducerIdRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

PRODUCER_FENCED_VERSION_MIN: Final = 4


def handle(context: RequestContext, request: InitProducerIdRequest, services: Services, answer: Answer) -> None:
    """Answer InitProducerId."""

    def finish(response: Struct) -> None:
        assert isinstance(response, InitProducerIdResponse)
        if response.error_code == ErrorCode.PRODUCER_FENCED and context.api_version < PRODUCER_FENCED_VERSION_MIN:
            response.error_code = ErrorCode.INVALID_PRODUCER_EPOCH
        answer(response)

    services.transactions.init_producer_id(request, finish)
