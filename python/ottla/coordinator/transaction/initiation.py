"""InitProducerId with a transactional id: who becomes its producer, and with which epoch.

The client either starts (no producer id) or goes on after an error (the producer id and epoch it has, KIP-360). Whoever
starts fences everybody before: the epoch grows. Who goes on is itself fenced if somebody started meanwhile; it may ask
again, since its answer may have been lost, and then gets what it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ottla.coordinator.transaction.state import TransactionState
from ottla.coordinator.transaction.transaction import (
    EPOCH_PER_TRANSACTION,
    NO_EPOCH,
    NO_ID,
    Transaction,
    begun,
    is_exhausted,
)
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable


class ProducerIdNeeded(Exception):
    """The decision takes a new producer id."""


class Initiation(NamedTuple):
    """What the client asks for."""

    timeout_ms: int
    # What it has: both or none.
    producer_id: int = NO_ID
    producer_epoch: int = NO_EPOCH

    @property
    def goes_on(self) -> bool:
        """The producer has an id already."""
        return self.producer_id != NO_ID


def initiate(
    current: Transaction | None, request: Initiation, server_version: int, new_id: Callable[[], int], now_ms: int
) -> Transaction:
    """Decide on the id's next step, or raise the refusal (`RequestError`).

    If that is PREPARE_ABORT the client has to come back when the transaction that was open is gone.
    """
    if current is None:
        current = begun(new_id(), request.timeout_ms, now_ms)
    if current.state.is_prepared:
        raise RequestError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if request.goes_on and not _knows(current, request):
        raise RequestError(ErrorCode.PRODUCER_FENCED)
    if current.state is TransactionState.ONGOING:
        return fence(current, server_version, new_id, now_ms)
    if not current.has_epochs_left and (not request.goes_on or request.producer_epoch == current.producer_epoch):
        return current.moved(new_id(), request.timeout_ms, now_ms, remembers=request.goes_on)
    expected_epoch = request.producer_epoch if request.goes_on else None
    return current.initialized(expected_epoch, request.timeout_ms, now_ms)


def _knows(current: Transaction, request: Initiation) -> bool:
    """The client's producer id is this one, or was until its epochs were used up, or there is none yet."""
    if current.producer_epoch == NO_EPOCH or request.producer_id == current.producer_id:
        return True
    return request.producer_id == current.previous_producer_id and is_exhausted(request.producer_epoch)


def fence(current: Transaction, server_version: int, new_id: Callable[[], int], now_ms: int) -> Transaction:
    """Abort an open transaction over its producer's head, whose epoch ends with it.

    No client asks for this, so it goes by what the cluster has finalized.
    """
    if server_version >= EPOCH_PER_TRANSACTION:
        next_id = NO_ID if current.has_epochs_left else new_id()
        return current.decided(
            commits=False, client_version=EPOCH_PER_TRANSACTION, next_producer_id=next_id, now_ms=now_ms
        )
    return current.fenced().decided(commits=False, client_version=0, next_producer_id=NO_ID, now_ms=now_ms)
