"""AddOffsetsToTxn (25), versions 0-4.

Behavior:
- The partition of `__consumer_offsets` that the group lives on takes part in the transaction, as with
  AddPartitionsToTxn, and with the same wait. Whether there is such a group, or the topic, is not asked.

Version notes:
- v2: PRODUCER_FENCED, where older clients know INVALID_PRODUCER_EPOCH (KIP-588).
- v4 adds TRANSACTION_ABORTABLE to what may be answered. Clients of KIP-890 do not send this request: their
  TxnOffsetCommit adds the partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.controller.names import OFFSETS_TOPIC
from ottla.errors import ErrorCode
from ottla.messages import AddOffsetsToTxnResponse

if TYPE_CHECKING:
    from ottla.messages import AddOffsetsToTxnRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

PRODUCER_FENCED_VERSION_MIN: Final = 2


def handle(context: RequestContext, request: AddOffsetsToTxnRequest, services: Services, answer: Answer) -> None:
    """Answer when the partition takes part."""

    def finish(code: ErrorCode) -> None:
        if code is ErrorCode.PRODUCER_FENCED and context.api_version < PRODUCER_FENCED_VERSION_MIN:
            code = ErrorCode.INVALID_PRODUCER_EPOCH
        answer(AddOffsetsToTxnResponse(error_code=code))

    services.transactions.add_partitions(
        request.transactional_id,
        request.producer_id,
        request.producer_epoch,
        [(OFFSETS_TOPIC, services.groups.partition_for(request.group_id))],
        client_version=0,
        answer=finish,
        waits=True,
    )
