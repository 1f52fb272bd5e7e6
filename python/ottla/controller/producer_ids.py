"""Producer ids: numbers that no two producers ever share, handed out of durable blocks of a thousand.

A block is taken by a ProducerIdsRecord that names the first id of the *next* block; its ids are handed out only once
that record is committed. What a block has left is lost at a stop: a restart takes the next one, so no id is handed out
twice whatever happened (Kafka: ProducerIdControlManager, RPCProducerIdManager).
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from ottla.controller.decision import Decision
from ottla.errors import ErrorCode, RequestError
from ottla.messages import ProducerIdsRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.controller.controller import Controller
    from ottla.controller.image import MetadataImage

log = logging.getLogger(__name__)

BLOCK_SIZE = 1000
_ID_MAX = 2**63 - 1


def take_block(image: MetadataImage, broker_id: int, broker_epoch: int) -> Decision[range]:
    """Decide on the next block; the result is its ids."""
    first = 0 if image.producer_ids is None else image.producer_ids.next_producer_id
    if first > _ID_MAX - BLOCK_SIZE:
        raise RequestError(ErrorCode.UNKNOWN_SERVER_ERROR, "All producer ids have been used.")
    record = ProducerIdsRecord(broker_id=broker_id, broker_epoch=broker_epoch, next_producer_id=first + BLOCK_SIZE)
    return Decision([range(first, first + BLOCK_SIZE)], [record])


class ProducerIds:
    """Hands out ids of the current block, and takes the next one when it is empty."""

    def __init__(self, controller: Controller, broker_id: int) -> None:
        self._controller = controller
        self._broker_id = broker_id
        self._block = range(0)
        self._waiting: deque[Callable[[int | RequestError], None]] = deque()

    def take(self, taken: Callable[[int | RequestError], None]) -> None:
        """Call `taken` with an id: at once while the block lasts, else once the next one is committed."""
        if self._block and not self._waiting:
            taken(self._next())
            return
        self._waiting.append(taken)
        if len(self._waiting) == 1:
            self._take_block()

    def _take_block(self) -> None:
        def decide(image: MetadataImage) -> Decision[range]:
            broker = image.brokers[self._broker_id]
            return take_block(image, broker.broker_id, broker.broker_epoch)

        def done(outcome: list[range] | RequestError) -> None:
            if isinstance(outcome, RequestError):
                waiting, self._waiting = self._waiting, deque()
                for taken in waiting:
                    _tell(taken, outcome)
                return
            self._block = outcome[0]
            while self._waiting and self._block:
                _tell(self._waiting.popleft(), self._next())
            if self._waiting:
                self._take_block()

        self._controller.change(decide, done)

    def _next(self) -> int:
        producer_id = self._block[0]
        self._block = self._block[1:]
        return producer_id


def _tell(taken: Callable[[int | RequestError], None], outcome: int | RequestError) -> None:
    try:
        taken(outcome)
    except BaseException:
        # Whoever asked is at fault (a panic of the native side is no Exception); those who wait behind are not.
        log.exception("handing out a producer id failed")
