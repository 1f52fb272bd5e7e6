"""The states of a transactional id, and the only place that says which step may follow which.

Theory of operation
===================

A transactional id names a producer over its restarts. The coordinator gives it a producer id and an epoch; whoever has
the newest epoch is the producer, all others are fenced. It writes a transaction into many partitions, each of which
knows only producer id and epoch; what belongs together is known here alone. A transaction ends in two steps: the
decision, which is one record in the coordinator's log, and the markers, one in each partition that took part. From the
decision on nothing can change it any more: a coordinator that finds one in its log writes the markers, again if need
be, and then the record that says it is done.

    EMPTY                 a producer, no transaction yet
    ONGOING               has partitions; the clock runs (the producer's `transaction.timeout.ms`)
    PREPARE_COMMIT        decided; markers are being written
    PREPARE_ABORT
    COMPLETE_COMMIT       all markers are written; the next transaction begins from here
    COMPLETE_ABORT
    DEAD                  `transactional.id.expiration.ms` without a transaction: the id is gone with its record
    PREPARE_EPOCH_FENCE   the moment between the decision to fence a producer and its PREPARE_ABORT. Apache Kafka has it
                          as a pending state; here the two are one step, and no record has ever said it

What moves it (v1: clients before KIP-890, v2: Produce 12, TxnOffsetCommit 5, EndTxn 5 and later):

    InitProducerId  no transaction .... -> EMPTY, epoch + 1; a new producer id when the epochs are used up
                    ONGOING ........... -> PREPARE_ABORT, epoch + 1; the client is told to come back, and gets its own
                                           epoch then
    partitions      v1: AddPartitionsToTxn, AddOffsetsToTxn; v2: the first write to each
                    no transaction .... -> ONGOING
    EndTxn          ONGOING ........... -> PREPARE_COMMIT, PREPARE_ABORT; v2: epoch + 1
                    none, v2, abort ... -> PREPARE_ABORT, epoch + 1: such a client cannot know whether it wrote
    time-out        ONGOING ........... -> PREPARE_ABORT, epoch + 1
    all markers     PREPARE_x ......... -> COMPLETE_x; the next producer id, epoch 0, if the epochs are used up
    expiry          no transaction .... -> DEAD

Why the epoch of v2 grows with each transaction: a marker carries the new epoch, so that a write of the ended
transaction that comes late, or an EndTxn, is of an older epoch everywhere and touches nothing. v1 keeps the epoch, and
what comes late is stopped only by asking, before the first write in each partition, whether it belongs here.

PREPARE_x is a closed door: until COMPLETE_x everything is answered CONCURRENT_TRANSACTIONS, which clients repeat; only
a verification and an EndTxn of v1 look first at who asks, and refuse strangers, and who would begin the next
transaction waits a moment first (`waiting`). (In Kafka the step to COMPLETE_x is pending from the moment of the
decision, and a pending step comes first in every check; the answers that its code has for PREPARE_x proper are
therefore never seen.)

Ties: a time-out and an EndTxn that come together: whichever is handled first is written; the other finds the new epoch
or the closed door. A decision that could not be appended was never made: the transaction is ONGOING as before
(`timeline`). A decision that is in the log and not yet known to be committed is held back with its markers: a marker
must never be there without it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class TransactionState(IntEnum):
    """The value is the number in the log."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def label(self) -> str:
        """The name clients see."""
        return "".join(word.capitalize() for word in self.name.split("_"))

    @property
    def is_prepared(self) -> bool:
        """The transaction's end is decided, and not everybody knows."""
        return self in (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)

    @property
    def is_idle(self) -> bool:
        """There is no transaction: the next one may begin, and the id may expire."""
        return self in IDLE


_S = TransactionState
IDLE: Final = frozenset({_S.EMPTY, _S.COMPLETE_COMMIT, _S.COMPLETE_ABORT})

# From which states each may be entered.
TRANSITIONS: Final[dict[TransactionState, frozenset[TransactionState]]] = {
    _S.EMPTY: IDLE,
    _S.ONGOING: IDLE | {_S.ONGOING},
    _S.PREPARE_COMMIT: frozenset({_S.ONGOING}),
    _S.PREPARE_ABORT: IDLE | {_S.ONGOING, _S.PREPARE_EPOCH_FENCE},
    _S.COMPLETE_COMMIT: frozenset({_S.PREPARE_COMMIT}),
    _S.COMPLETE_ABORT: frozenset({_S.PREPARE_ABORT}),
    _S.DEAD: IDLE,
    _S.PREPARE_EPOCH_FENCE: frozenset({_S.ONGOING}),
}

BY_LABEL: Final = {state.label: state for state in TransactionState}
