"""FindCoordinator (key 10), versions 0 to 6.

Behavior:
- A group's coordinator is the leader of its partition of `__consumer_offsets`, a transactional id's that of its
  partition of `__transaction_state`, at the address it has on the listener the request came through. The topic is made
  when it is first asked for. Apache Kafka answers COORDINATOR_NOT_AVAILABLE until it exists; here the answer waits for
  it, so that a client need not ask twice.
- Any other kind, also a share group's (KIP-932: asked for by brokers only), is INVALID_REQUEST.
- Refusals carry node -1, no host, port -1.

Version notes:
- v0 asks for groups only.
- v1 adds the kind of key and an error message, which Kafka sets to "NONE" where nothing is wrong.
- v4 asks for several keys at once, answered one by one with an empty message where nothing is wrong (KIP-699).
- v5 adds TRANSACTION_ABORTABLE to what may be answered (KIP-890), v6 share groups (KIP-932).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.controller.names import OFFSETS_TOPIC, TRANSACTIONS_TOPIC
from ottla.errors import ErrorCode
from ottla.messages import FindCoordinatorResponse, FindCoordinatorResponseCoordinator

if TYPE_CHECKING:
    from ottla.messages import FindCoordinatorRequest
    from ottla.protocol.services import Services
    from ottla.types import Answer, RequestContext

GROUP: Final = 0
TRANSACTION: Final = 1
BATCHED_VERSION_MIN: Final = 4

# Where each kind of key lives.
_TOPICS: Final = {GROUP: OFFSETS_TOPIC, TRANSACTION: TRANSACTIONS_TOPIC}


def handle(context: RequestContext, request: FindCoordinatorRequest, services: Services, answer: Answer) -> None:
    """Answer at once, or when the offsets topic exists."""
    batched = context.api_version >= BATCHED_VERSION_MIN
    keys = request.coordinator_keys if batched else [request.key]

    def send(found: list[FindCoordinatorResponseCoordinator]) -> None:
        answer(FindCoordinatorResponse(coordinators=found) if batched else _alone(found[0]))

    def finish(code: ErrorCode) -> None:
        send([_coordinator(context, request.key_type, key, code, services) for key in keys])

    name = _TOPICS.get(request.key_type)
    if name is None:
        send([_none(key, ErrorCode.INVALID_REQUEST) for key in keys])
    else:
        services.internal_topics.ensure(name, finish)


def refuse(context: RequestContext, request: FindCoordinatorRequest, code: ErrorCode) -> FindCoordinatorResponse:
    """Answer every key with the code."""
    if context.api_version < BATCHED_VERSION_MIN:
        return _alone(_none(request.key, code))
    return FindCoordinatorResponse(coordinators=[_none(key, code) for key in request.coordinator_keys])


def _coordinator(
    context: RequestContext, kind: int, key: str, code: ErrorCode, services: Services
) -> FindCoordinatorResponseCoordinator:
    if code is not ErrorCode.NONE:
        return _none(key, code)
    topic = services.image.topics.get(_TOPICS[kind])
    coordinator = services.groups if kind == GROUP else services.transactions
    index = coordinator.partition_for(key)
    if topic is None or index >= len(topic.partitions):
        return _none(key, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    leader = topic.partitions[index].leader
    address = services.address_of(leader, context.listener)
    if address is None:
        return _none(key, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    host, port = address
    return FindCoordinatorResponseCoordinator(key=key, node_id=leader, host=host, port=port, error_message="")


def _none(key: str, code: ErrorCode) -> FindCoordinatorResponseCoordinator:
    return FindCoordinatorResponseCoordinator(
        key=key, node_id=-1, host="", port=-1, error_code=code, error_message=code.message
    )


def _alone(found: FindCoordinatorResponseCoordinator) -> FindCoordinatorResponse:
    return FindCoordinatorResponse(
        error_code=found.error_code,
        error_message=found.error_message or "NONE",
        node_id=found.node_id,
        host=found.host,
        port=found.port,
    )
