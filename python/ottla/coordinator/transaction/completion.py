"""Completing transactions: their markers, and then the record that says they are there.

    committed PREPARE_x -> markers to every partition -> the last one is committed -> COMPLETE_x
                              ^            |
                              +- pause ----+ some could not be written

A partition that was deleted needs no marker. Whatever else is answered than what is below is tried again, for as long
as it takes: without its marker a transaction stays open, and nobody who reads committed records gets past it.

    NONE                                         written
    UNKNOWN_TOPIC_OR_PARTITION                   again, unless it does not exist (any more)
    INVALID_PRODUCER_EPOCH,                      somebody with a newer epoch was there already (an administrator's abort
    TRANSACTION_COORDINATOR_FENCED               with `kafka-transactions.sh`): nothing is left to be ended. Apache
                                                 Kafka gives the whole transaction up here, and stays in PREPARE_x
    UNSUPPORTED_FOR_MESSAGE_FORMAT               nothing of the transaction can be there

Nothing of this is in the log: a coordinator that starts again begins with all partitions of each PREPARE_x it finds,
and a marker that is there twice ends nothing twice.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from ottla.coordinator.batch import LEAVING
from ottla.coordinator.shard import NOTHING, Result
from ottla.coordinator.transaction.state import TransactionState
from ottla.errors import ErrorCode
from ottla.types import TransactionMarker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.coordinator.shard import ShardContext
    from ottla.coordinator.transaction.settings import TransactionSettings
    from ottla.coordinator.transaction.transaction import Partition, Transaction
    from ottla.types import Markers

log = logging.getLogger(__name__)

_ENDED_ELSEWHERE: Final = frozenset({ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED})
_NOT_NEEDED: Final = frozenset({ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, ErrorCode.UNSUPPORTED_VERSION})


class Completion(Struct, eq=False):
    """One transaction whose markers are on their way."""

    transaction: Transaction
    # Without a marker.
    remaining: set[Partition]
    backoff_ms: int
    # Why, as far as that was said: a disk that failed is asked again for as long as it takes.
    said: dict[Partition, ErrorCode] = field(default_factory=dict)


class Completions:
    """The transactions of one shard whose end is decided and committed."""

    def __init__(
        self,
        shard: ShardContext,
        markers: Markers,
        exists: Callable[[str, int], bool],
        coordinator_epoch: Callable[[], int],
        complete: Callable[[str], Result],
        settings: TransactionSettings,
    ) -> None:
        self._shard = shard
        self._markers = markers
        # Whether a topic has this partition.
        self._exists = exists
        # Leader epoch of the shard's own partition.
        self._coordinator_epoch = coordinator_epoch
        # Makes the record once nothing remains.
        self._complete = complete
        self._settings = settings
        self._running: dict[str, Completion] = {}

    def __contains__(self, transactional_id: str) -> bool:
        return transactional_id in self._running

    def remaining(self, transactional_id: str) -> set[Partition] | None:
        """The partitions that have no marker yet; None if nothing is under way."""
        running = self._running.get(transactional_id)
        return None if running is None else running.remaining

    def begin(self, transactional_id: str, transaction: Transaction) -> None:
        """The decision is committed."""
        assert transaction.state.is_prepared
        assert transactional_id not in self._running, "one end at a time"
        completion = Completion(transaction, set(transaction.partitions), self._settings.marker_backoff_ms)
        self._running[transactional_id] = completion
        self._write(transactional_id, completion)

    def begin_later(self, transactional_id: str, transaction: Transaction) -> None:
        """All markers are there, and COMPLETE_x could not be written: that again, after a pause."""
        completion = Completion(transaction, set(), self._settings.marker_backoff_ms_max)
        self._running[transactional_id] = completion
        self._again(transactional_id, completion)

    def end(self, transactional_id: str) -> None:
        """COMPLETE_x is decided."""
        self._running.pop(transactional_id, None)
        self._shard.cancel(("markers", transactional_id))

    def stop(self) -> None:
        """The shard goes away: what is answered from now on is nobody's business."""
        self._running.clear()

    def _again(self, transactional_id: str, completion: Completion) -> None:
        self._shard.after(
            ("markers", transactional_id), completion.backoff_ms, partial(self._retry, transactional_id, completion)
        )
        completion.backoff_ms = min(2 * completion.backoff_ms, self._settings.marker_backoff_ms_max)

    def _retry(self, transactional_id: str, completion: Completion) -> Result:
        if self._running.get(transactional_id) is not completion:
            return NOTHING
        if not completion.remaining:
            return self._complete(transactional_id)
        self._write(transactional_id, completion)
        return NOTHING

    def _write(self, transactional_id: str, completion: Completion) -> None:
        deleted = {partition for partition in completion.remaining if not self._exists(*partition)}
        if deleted:
            log.info("transaction of %.255r: no markers for %s, which do not exist", transactional_id, sorted(deleted))
            completion.remaining -= deleted
        if not completion.remaining:
            self._shard.submit(partial(self._complete_if_running, transactional_id, completion))
            return
        transaction = completion.transaction
        marker = TransactionMarker(
            producer_id=transaction.producer_id,
            producer_epoch=transaction.producer_epoch,
            committed=transaction.state is TransactionState.PREPARE_COMMIT,
            coordinator_epoch=self._coordinator_epoch(),
            transaction_version=transaction.client_version,
            partitions=tuple(sorted(completion.remaining)),
        )
        try:
            self._markers.write(marker, partial(self._answered, transactional_id, completion))
        except LEAVING:
            raise
        except BaseException:
            # Whatever went wrong there (a panic of the native side is no Exception), nobody else will try again.
            log.exception("transaction of %.255r: its markers could not be written", transactional_id)
            self._again(transactional_id, completion)

    def _answered(self, transactional_id: str, completion: Completion, codes: dict[Partition, ErrorCode]) -> None:
        if self._running.get(transactional_id) is not completion:
            return
        for partition, code in codes.items():
            if code is ErrorCode.NONE or code in _NOT_NEEDED:
                completion.remaining.discard(partition)
            elif code in _ENDED_ELSEWHERE:
                log.warning(
                    "transaction of %.255r: no marker for %s-%d (%s): a newer one ended it there",
                    *(transactional_id, *partition, code.name),
                )
                completion.remaining.discard(partition)
            elif completion.said.get(partition) is not code:
                completion.said[partition] = code
                log.info(
                    "transaction of %.255r: marker for %s-%d is tried again until it is there (%s)",
                    *(transactional_id, *partition, code.name),
                )
        if completion.remaining:
            self._again(transactional_id, completion)
        else:
            self._shard.submit(partial(self._complete_if_running, transactional_id, completion))

    def _complete_if_running(self, transactional_id: str, completion: Completion) -> Result:
        if self._running.get(transactional_id) is not completion:
            return NOTHING
        return self._complete(transactional_id)
