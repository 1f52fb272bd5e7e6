"""One shard of the transaction coordinator: all transactional ids that fall on one partition of `__transaction_state`.

The state is one map of values (`transaction.Transaction`) that remembers what is committed (`timeline`), so that every
write can be taken back if its record cannot be appended. What is not in it is on its way (markers: `completion`; first
writes that wait for them: `waiting`) and begins again from the log.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from ottla.coordinator.shard import NOTHING, Result
from ottla.coordinator.timeline import TimelineDict
from ottla.coordinator.transaction.completion import Completions
from ottla.coordinator.transaction.ending import end
from ottla.coordinator.transaction.initiation import ProducerIdNeeded, fence, initiate
from ottla.coordinator.transaction.records import by_topic, read, tombstone, transaction_record
from ottla.coordinator.transaction.state import TransactionState
from ottla.coordinator.transaction.transaction import EPOCH_PER_TRANSACTION, NO_EPOCH, NO_ID
from ottla.coordinator.transaction.waiting import Waiting
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    DescribeTransactionsResponseTopicData,
    DescribeTransactionsResponseTransactionState,
    EndTxnResponse,
    InitProducerIdResponse,
    ListTransactionsResponseTransactionState,
    TransactionLogKey,
    TransactionLogValue,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from msgspec import Struct

    from ottla.coordinator.shard import ShardContext
    from ottla.coordinator.transaction.ending import Ending
    from ottla.coordinator.transaction.initiation import Initiation
    from ottla.coordinator.transaction.settings import TransactionSettings
    from ottla.coordinator.transaction.transaction import Partition, Transaction
    from ottla.types import Clock, Markers

log = logging.getLogger(__name__)

# The time-out of a transaction whose end an outside coordinator decides (KIP-939): none.
_NEVER_MS = 2**31 - 1


# In one turn of the loop, of each shard, and all shards come to it at the same time: ids looked at, transactions
# aborted, ids forgotten. Requests are served in between.
LOOKED_AT_PER_TURN: Final = 1000
ENDED_PER_TURN: Final = 4
FORGOTTEN_PER_TURN: Final = 50


class TransactionMachine:
    """The transactional ids of one partition, and what can be done to them."""

    def __init__(
        self,
        shard: ShardContext,
        *,
        clock: Clock,
        markers: Markers,
        exists: Callable[[str, int], bool],
        coordinator_epoch: Callable[[], int],
        server_version: Callable[[], int],
        take_id: Callable[[Callable[[int], None]], None],
        settings: TransactionSettings,
    ) -> None:
        self._shard = shard
        self._clock = clock
        # The finalized level of `transaction.version`.
        self._server_version = server_version
        # Calls back with a new producer id, unless there is none to be had.
        self._take_id = take_id
        self._settings = settings
        self.transactions: TimelineDict[str, Transaction] = TimelineDict(shard.timeline)
        self.completions = Completions(shard, markers, exists, coordinator_epoch, self._complete, settings)
        self.waiting = Waiting(shard)
        # The value that a record in the buffer was made of: it has the last epoch, which the log has not.
        self._decided: tuple[TransactionLogValue, Transaction] | None = None

    # The fold.

    def apply(self, _offset: int, key: Struct, value: Struct | None) -> None:
        """Take over what a record says."""
        assert isinstance(key, TransactionLogKey)
        if value is None:
            self.transactions.remove(key.transactional_id)
            return
        assert isinstance(value, TransactionLogValue)
        transaction = read(value)
        decided, self._decided = self._decided, None
        if decided is not None and decided[0] is value:
            assert transaction == self._as_read(decided[1]), "the log holds what was decided"
            transaction = decided[1]
        self.transactions.set(key.transactional_id, transaction)

    def _as_read(self, transaction: Transaction) -> Transaction:
        """What a coordinator that starts again would know of it."""
        known = transaction._replace(last_producer_epoch=NO_EPOCH)
        if self._server_version() == 0:
            known = known._replace(previous_producer_id=NO_ID, next_producer_id=NO_ID, client_version=0)
        return known

    def on_loaded(self) -> None:
        """Complete what was decided, and look for what has run out of time from now on."""
        for transactional_id, transaction in self.transactions.items():
            if transaction.state.is_prepared:
                log.info("transaction of %.255r goes on: %s", transactional_id, transaction.state.label)
                self.completions.begin(transactional_id, transaction)
        self._abort_later()
        self._expire_later()

    def on_unloaded(self) -> None:
        """Whoever waits here looks for the coordinator again."""
        self.completions.stop()
        self.waiting.stop()

    # InitProducerId.

    def initiate(self, transactional_id: str, request: Initiation, new_id: Callable[[], int]) -> Result:
        """Make the client the producer of the id."""
        current = self.transactions.get(transactional_id)
        after = initiate(current, request, self._server_version(), new_id, self._clock.now_ms())
        if after.state.is_prepared:
            # The epoch it has now is nobody's: when the transaction is gone the client asks again and gets the next.
            refusal = InitProducerIdResponse(
                error_code=ErrorCode.CONCURRENT_TRANSACTIONS, producer_id=NO_ID, producer_epoch=NO_EPOCH
            )
            return self._decide_end(transactional_id, after, refusal)
        response = InitProducerIdResponse(producer_id=after.producer_id, producer_epoch=after.producer_epoch)
        return self._write(transactional_id, after, response)

    # Partitions.

    def add(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: frozenset[Partition],
        client_version: int,
    ) -> Result:
        """Have partitions take part, or raise why not. Nothing is written if they do already."""
        current = self.transactions.get(transactional_id)
        if current is None:
            raise RequestError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if current.state.is_prepared:
            # Before anything else: the producer may already use an id that comes with the next record.
            raise RequestError(ErrorCode.CONCURRENT_TRANSACTIONS)
        _check_producer(current, producer_id, producer_epoch)
        if current.state is TransactionState.ONGOING and partitions <= current.partitions:
            return NOTHING
        return self._write(transactional_id, current.joined(partitions, client_version, self._clock.now_ms()))

    def verify(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partitions: Iterable[Partition]
    ) -> dict[Partition, ErrorCode]:
        """Whether each of the partitions takes part, as far as that is committed; or raise why none can be."""
        current = self.transactions.committed_get(transactional_id)
        if current is None:
            raise RequestError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        _check_producer(current, producer_id, producer_epoch)
        if current.state.is_prepared:
            raise RequestError(ErrorCode.CONCURRENT_TRANSACTIONS)
        return {
            partition: ErrorCode.NONE if partition in current.partitions else ErrorCode.TRANSACTION_ABORTABLE
            for partition in partitions
        }

    # The end.

    def end(self, transactional_id: str, request: Ending, new_id: Callable[[], int]) -> Result:
        """EndTxn. Answered when the decision is committed; the markers follow."""
        current = self.transactions.get(transactional_id)
        now_ms = self._clock.now_ms()
        after = end(current, request, new_id, now_ms)
        response = EndTxnResponse()
        if request.client_version >= EPOCH_PER_TRANSACTION:
            # What the producer goes on with, also if the id changes only when all markers are there.
            settled = after.completed(now_ms) if after.state.is_prepared else after
            response.producer_id, response.producer_epoch = settled.producer_id, settled.producer_epoch
        if after is current:
            return Result(response=response)
        return self._decide_end(transactional_id, after, response)

    def _decide_end(self, transactional_id: str, after: Transaction, response: Struct | None) -> Result:
        result = self._write(transactional_id, after, response)
        result.done = partial(self._end_written, transactional_id)
        return result

    def _end_written(self, transactional_id: str, code: ErrorCode | None) -> None:
        current = self.transactions.get(transactional_id)
        if current is None or not current.state.is_prepared or transactional_id in self.completions:
            # It was taken back, or is seen to already.
            return
        if code is None:
            self.completions.begin(transactional_id, current)
        else:
            # The decision stands, and is not known to be committed yet: wait on.
            self._shard.submit(partial(self._await_end, transactional_id))

    def _await_end(self, transactional_id: str) -> Result:
        return Result(done=partial(self._end_written, transactional_id), undoable=True)

    def _complete(self, transactional_id: str) -> Result:
        current = self.transactions.get(transactional_id)
        assert current is not None, "an id does not expire while its transaction ends"
        result = self._write(transactional_id, current.completed(self._clock.now_ms()))
        result.done = partial(self._completed, transactional_id, current)
        self._shard.submit(partial(self._resume, transactional_id))
        return result

    def _completed(self, transactional_id: str, prepared: Transaction, code: ErrorCode | None) -> None:
        if code is not None and self.transactions.get(transactional_id) is prepared:
            # The record was taken back.
            self.completions.begin_later(transactional_id, prepared)

    def _resume(self, transactional_id: str) -> Result:
        """COMPLETE_x is in the state: whoever waits for the next transaction goes on."""
        current = self.transactions.get(transactional_id)
        if current is not None and not current.state.is_prepared:
            self.completions.end(transactional_id)
            self.waiting.resume(transactional_id)
        return NOTHING

    # Time.

    def _abort_later(self) -> None:
        self._shard.after("abort", self._settings.abort_interval_ms, self._abort_timed_out)

    def _abort_timed_out(self) -> Result:
        self._abort_later()
        return self._abort_some(deque(self.transactions))

    def _abort_some(self, waiting: deque[str]) -> Result:
        """A part in each turn, until nobody waits to be looked at."""
        aborted = 0
        for transactional_id in _taken(waiting, LOOKED_AT_PER_TURN):
            transaction = self.transactions.get(transactional_id)
            if transaction is not None and self._is_timed_out(transaction):
                self._abort(transactional_id, transaction)
                aborted += 1
                if aborted == ENDED_PER_TURN:
                    break
        if waiting:
            self._shard.after("abort more", 0, partial(self._abort_some, waiting))
        return NOTHING

    def _is_timed_out(self, transaction: Transaction) -> bool:
        return (
            transaction.state is TransactionState.ONGOING
            and transaction.timeout_ms != _NEVER_MS
            and transaction.started_ms + transaction.timeout_ms < self._clock.now_ms()
        )

    def _abort(self, transactional_id: str, transaction: Transaction) -> None:
        """Abort it, unless something else has happened when its turn comes."""
        log.info("transaction of %.255r has not ended in %d ms: aborted", transactional_id, transaction.timeout_ms)

        def abort(producer_id: int | None) -> Result:
            if self.transactions.get(transactional_id) is not transaction:
                return NOTHING
            try:
                after = fence(transaction, self._server_version(), _given(producer_id), self._clock.now_ms())
            except ProducerIdNeeded:
                self._take_id(lambda taken: self._shard.submit(partial(abort, taken)))
                return NOTHING
            return self._decide_end(transactional_id, after, None)

        self._shard.submit(partial(abort, None))

    def _expire_later(self) -> None:
        self._shard.after("expire", self._settings.expiration_interval_ms, self._expire)

    def _expire(self) -> Result:
        self._expire_later()
        return self._expire_some(deque(self.transactions))

    def _expire_some(self, waiting: deque[str]) -> Result:
        """A part in each turn, as above."""
        oldest_ms = self._clock.now_ms() - self._settings.id_expiration_ms
        records = []
        for transactional_id in _taken(waiting, LOOKED_AT_PER_TURN):
            transaction = self.transactions.get(transactional_id)
            if transaction is not None and transaction.state.is_idle and transaction.updated_ms <= oldest_ms:
                records.append(tombstone(transactional_id))
                if len(records) == FORGOTTEN_PER_TURN:
                    break
        if waiting:
            self._shard.after("expire more", 0, partial(self._expire_some, waiting))
        return Result(records=records, atomic=False, undoable=True)

    # Writing.

    def _write(self, transactional_id: str, after: Transaction, response: Struct | None = None) -> Result:
        record = transaction_record(transactional_id, after, self._server_version())
        assert isinstance(record.value, TransactionLogValue)
        self._decided = (record.value, after)
        return Result(records=[record], response=response, undoable=True)

    # Reads.

    def listed(
        self,
        states: frozenset[TransactionState] | None,
        producer_ids: frozenset[int],
        running_ms_min: int,
    ) -> list[ListTransactionsResponseTransactionState]:
        """The ids in one of the states (None: in any), of one of the producer ids (empty: of any), and so on."""
        now_ms = self._clock.now_ms()
        return [
            ListTransactionsResponseTransactionState(
                transactional_id=transactional_id,
                producer_id=transaction.producer_id,
                transaction_state=transaction.state.label,
            )
            for transactional_id, transaction in self.transactions.committed_items()
            if (not producer_ids or transaction.producer_id in producer_ids)
            and (states is None or transaction.state in states)
            # Without a transaction the start is -1, and that is long ago.
            and (running_ms_min < 0 or now_ms - transaction.started_ms > running_ms_min)
        ]

    def described(self, transactional_id: str) -> DescribeTransactionsResponseTransactionState:
        """One id."""
        transaction = self.transactions.committed_get(transactional_id)
        if transaction is None:
            raise RequestError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
        remaining = self.completions.remaining(transactional_id) if transaction.state.is_prepared else None
        partitions = transaction.partitions if remaining is None else remaining
        return DescribeTransactionsResponseTransactionState(
            transactional_id=transactional_id,
            transaction_state=transaction.state.label,
            transaction_timeout_ms=transaction.timeout_ms,
            transaction_start_time_ms=transaction.started_ms,
            producer_id=transaction.producer_id,
            producer_epoch=transaction.producer_epoch,
            topics=[
                DescribeTransactionsResponseTopicData(topic=topic, partitions=indexes)
                for topic, indexes in by_topic(partitions).items()
            ],
        )


def _check_producer(current: Transaction, producer_id: int, producer_epoch: int) -> None:
    if current.producer_id != producer_id:
        raise RequestError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if current.producer_epoch != producer_epoch:
        raise RequestError(ErrorCode.PRODUCER_FENCED)


def _taken(waiting: deque[str], most: int) -> Iterator[str]:
    """Takes out so many, one by one."""
    for _ in range(min(most, len(waiting))):
        yield waiting.popleft()


def _given(producer_id: int | None) -> Callable[[], int]:
    def give() -> int:
        if producer_id is None:
            raise ProducerIdNeeded
        return producer_id

    return give
