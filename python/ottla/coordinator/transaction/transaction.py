"""One transactional id as the log knows it, and the steps it can take. A step makes a new value; nothing is changed.

Which step is allowed when is decided by `initiation`, `ending` and `machine`; that no step leaves the table of `state`
is asserted here.

Epochs end at 32767. The last one is never given to a producer, so that it can always be fenced: from 32766 on the next
epoch is epoch 0 of another producer id. InitProducerId changes over at once. EndTxn of v2, which would have to answer
the next epoch, writes the next producer id with its decision, the markers still carry the old one with epoch 32767, and
the change comes with COMPLETE_x.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ottla.coordinator.transaction.state import TRANSITIONS, TransactionState
from ottla.errors import ErrorCode, RequestError

NO_ID: Final = -1
NO_EPOCH: Final = -1
NO_TIME: Final = -1
EPOCH_MAX: Final = 2**15 - 1
# From this level on each transaction has an epoch of its own (KIP-890).
EPOCH_PER_TRANSACTION: Final = 2

Partition = tuple[str, int]


def is_exhausted(epoch: int) -> bool:
    """No further epoch may be given to a producer."""
    return epoch >= EPOCH_MAX - 1


class Transaction(NamedTuple):
    """A transactional id."""

    producer_id: int
    # The one before the last step: differs only after a change of producer ids.
    previous_producer_id: int
    # Decided with the end of a transaction that used up the epochs; taken with COMPLETE_x.
    next_producer_id: int
    producer_epoch: int
    # The epoch that the producer had before, if it may come back with it: not in the log (as in Kafka).
    last_producer_epoch: int
    timeout_ms: int
    state: TransactionState
    partitions: frozenset[Partition]
    # Wall clock.
    started_ms: int
    updated_ms: int
    # The level of `transaction.version` its client speaks.
    client_version: int

    @property
    def has_epochs_left(self) -> bool:
        """InitProducerId can give the next epoch of this producer id."""
        return not is_exhausted(self.producer_epoch)

    # Steps.

    def initialized(self, expected_epoch: int | None, timeout_ms: int, now_ms: int) -> Transaction:
        """The producer starts, or goes on after an error (`expected_epoch`, KIP-360), with the next epoch."""
        if not self.has_epochs_left:
            raise RequestError(ErrorCode.UNKNOWN_SERVER_ERROR)
        epoch, last_epoch = self.producer_epoch + 1, NO_EPOCH
        if expected_epoch is not None:
            if self.producer_epoch in {NO_EPOCH, expected_epoch}:
                last_epoch = self.producer_epoch
            elif expected_epoch == self.last_producer_epoch:
                # The same request again: its answer was lost. Had another producer come in between, the last epoch
                # would be forgotten.
                epoch, last_epoch = self.producer_epoch, self.last_producer_epoch
            else:
                raise RequestError(ErrorCode.PRODUCER_FENCED)
        return self._emptied(timeout_ms, now_ms, producer_epoch=epoch, last_producer_epoch=last_epoch)

    def moved(self, producer_id: int, timeout_ms: int, now_ms: int, *, remembers: bool) -> Transaction:
        """The producer starts with epoch 0 of another producer id."""
        last_epoch = self.producer_epoch if remembers else NO_EPOCH
        return self._emptied(
            timeout_ms, now_ms, producer_id=producer_id, producer_epoch=0, last_producer_epoch=last_epoch
        )

    def _emptied(self, timeout_ms: int, now_ms: int, **changes: Any) -> Transaction:
        return self._step(
            TransactionState.EMPTY,
            timeout_ms=timeout_ms,
            partitions=frozenset(),
            started_ms=NO_TIME,
            updated_ms=now_ms,
            **changes,
        )

    def joined(self, partitions: frozenset[Partition], client_version: int, now_ms: int) -> Transaction:
        """Partitions take part; the first ones begin the transaction."""
        return self._step(
            TransactionState.ONGOING,
            partitions=self.partitions | partitions,
            started_ms=now_ms if self.state.is_idle else self.started_ms,
            updated_ms=now_ms,
            client_version=client_version,
        )

    def decided(self, *, commits: bool, client_version: int, next_producer_id: int, now_ms: int) -> Transaction:
        """The end of the transaction; with v2 also of its epoch."""
        epoch, last_epoch = self.producer_epoch, self.last_producer_epoch
        if client_version >= EPOCH_PER_TRANSACTION:
            epoch, last_epoch = min(epoch + 1, EPOCH_MAX), epoch
        return self._step(
            TransactionState.PREPARE_COMMIT if commits else TransactionState.PREPARE_ABORT,
            producer_epoch=epoch,
            last_producer_epoch=last_epoch,
            next_producer_id=next_producer_id,
            # An abort of nothing (v2) has begun when it ended.
            started_ms=now_ms if self.state.is_idle else self.started_ms,
            updated_ms=now_ms,
            client_version=client_version,
        )

    def fenced(self) -> Transaction:
        """Whoever is the producer is not any more; the decision to abort goes with it in one record (v1)."""
        return self._replace(producer_epoch=min(self.producer_epoch + 1, EPOCH_MAX), last_producer_epoch=NO_EPOCH)

    def completed(self, now_ms: int) -> Transaction:
        """Every marker is written."""
        commits = self.state is TransactionState.PREPARE_COMMIT
        moves = self.client_version >= EPOCH_PER_TRANSACTION and self.next_producer_id != NO_ID
        return self._step(
            TransactionState.COMPLETE_COMMIT if commits else TransactionState.COMPLETE_ABORT,
            producer_id=self.next_producer_id if moves else self.producer_id,
            producer_epoch=0 if moves else self.producer_epoch,
            next_producer_id=NO_ID,
            partitions=frozenset(),
            updated_ms=now_ms,
        )

    def _step(self, state: TransactionState, **changes: Any) -> Transaction:
        assert self.state in TRANSITIONS[state], f"no step from {self.state.label} to {state.label}"
        # As in Kafka every step notes the producer id before it.
        after = self._replace(state=state, previous_producer_id=self.producer_id, **changes)
        assert after.producer_id >= 0
        assert 0 <= after.producer_epoch <= EPOCH_MAX
        assert after.producer_id != self.producer_id or after.producer_epoch >= self.producer_epoch, "epochs grow"
        return after


def begun(producer_id: int, timeout_ms: int, now_ms: int) -> Transaction:
    """A transactional id that nobody has used: no epoch yet."""
    return Transaction(
        producer_id=producer_id,
        previous_producer_id=NO_ID,
        next_producer_id=NO_ID,
        producer_epoch=NO_EPOCH,
        last_producer_epoch=NO_EPOCH,
        timeout_ms=timeout_ms,
        state=TransactionState.EMPTY,
        partitions=frozenset(),
        started_ms=NO_TIME,
        updated_ms=now_ms,
        client_version=0,
    )
