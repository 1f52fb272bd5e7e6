"""EndTxn: what it does in each state, from whom.

v1 (EndTxn 0-4): the epoch stays, so a repeated request looks like the first.

    epoch of the request       EMPTY      ONGOING     PREPARE_x     COMPLETE_x, same end     COMPLETE_x, other end
    another                    fenced     fenced      fenced        fenced                   fenced
    its own                    ITS        decided     concurrent    NONE                     ITS

v2 (EndTxn 5): the decision takes the next epoch, so the request that was decided comes again with the one before
("again"), and with its own ("now") only for the next transaction. That may have no partitions, as far as the client
knows: it is not told whether its writes arrived. So an abort of nothing is an abort.

                               EMPTY      ONGOING     PREPARE_x     COMPLETE_x, same end     COMPLETE_x, other end
    abort now                  decided    decided     concurrent    decided                  decided
    abort again                fenced     fenced      concurrent    NONE                     ITS
    commit now                 ITS        decided     concurrent    ITS                      ITS
    commit again               fenced     fenced      concurrent    NONE                     ITS
    any other epoch            fenced     fenced      concurrent    fenced                   fenced

ITS: INVALID_TXN_STATE, fenced: PRODUCER_FENCED, concurrent: CONCURRENT_TRANSACTIONS. Another producer id is
INVALID_PRODUCER_ID_MAPPING before the epoch is looked at, in v2 behind "concurrent". Where the decision used up the
epochs "again" means the producer id and epoch before the change (`transaction`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ottla.coordinator.transaction.state import TransactionState
from ottla.coordinator.transaction.transaction import EPOCH_MAX, EPOCH_PER_TRANSACTION, NO_ID
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.coordinator.transaction.transaction import Transaction

_COMPLETE = {True: TransactionState.COMPLETE_COMMIT, False: TransactionState.COMPLETE_ABORT}


class Ending(NamedTuple):
    """What the client asks for."""

    producer_id: int
    producer_epoch: int
    commits: bool
    # The level of `transaction.version` its request speaks: 0 or 2.
    client_version: int


def end(current: Transaction | None, request: Ending, new_id: Callable[[], int], now_ms: int) -> Transaction:
    """Decide: PREPARE_x to be written, the transaction as it is if the end is known, or the refusal raised."""
    if current is None:
        raise RequestError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if request.client_version >= EPOCH_PER_TRANSACTION:
        return _end_v2(current, request, new_id, now_ms)
    return _end_v1(current, request, now_ms)


def _end_v1(current: Transaction, request: Ending, now_ms: int) -> Transaction:
    if request.producer_id != current.producer_id:
        raise RequestError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if request.producer_epoch != current.producer_epoch:
        raise RequestError(ErrorCode.PRODUCER_FENCED)
    if current.state.is_prepared:
        raise RequestError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if current.state is TransactionState.ONGOING:
        return current.decided(commits=request.commits, client_version=0, next_producer_id=NO_ID, now_ms=now_ms)
    if current.state is _COMPLETE[request.commits]:
        return current
    raise RequestError(ErrorCode.INVALID_TXN_STATE)


def _end_v2(current: Transaction, request: Ending, new_id: Callable[[], int], now_ms: int) -> Transaction:
    if current.state.is_prepared:
        # Before anything else: the producer may already use an id that comes with the next record.
        raise RequestError(ErrorCode.CONCURRENT_TRANSACTIONS)
    was_moved = (
        request.producer_id == current.previous_producer_id
        and request.producer_epoch == EPOCH_MAX - 1
        and current.producer_epoch == 0
    )
    if request.producer_id != current.producer_id and not was_moved:
        raise RequestError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    is_complete = current.state in _COMPLETE.values()
    again = is_complete and (was_moved or request.producer_epoch == current.producer_epoch - 1)
    if not again and request.producer_epoch != current.producer_epoch:
        raise RequestError(ErrorCode.PRODUCER_FENCED)
    if again and current.state is _COMPLETE[request.commits]:
        return current
    if again or (request.commits and current.state is not TransactionState.ONGOING):
        raise RequestError(ErrorCode.INVALID_TXN_STATE)
    return current.decided(
        commits=request.commits,
        client_version=EPOCH_PER_TRANSACTION,
        next_producer_id=NO_ID if current.has_epochs_left else new_id(),
        now_ms=now_ms,
    )
