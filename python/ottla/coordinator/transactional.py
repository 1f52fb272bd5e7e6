"""Writes that belong to transactions of producers: what is committed in one, and how it ends.

A write (TxnOffsetCommit) becomes a batch with the producer's id and epoch. Its transaction has to be open in the
partition; if it is not yet, its coordinator is asked first (`verify`), and the journal keeps a guard meanwhile: should
the transaction end before the answer comes, the guard is void, the append is refused with INVALID_TXN_STATE, and no
transaction stays open that nobody will end (KIP-890).

    open here? --no--> guard --> verify --refused--> refused with its code
        |                           |
        +-----------yes-------------+--> the write decides --> append --refused by the log--> refused, nothing applied
                                                                 +--> pending --> answered when committed

A marker ends it: control batch, appended, then applied, answered when it is committed. It is the coordinator of the
transaction that repeats it until then, so that one too many does no harm.

Nothing of this is buffered; see the module's doc of `runtime` for the order.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol

from ottla.coordinator.batch import LEAVING, Waiter
from ottla.coordinator.shard import M, Result
from ottla.errors import ErrorCode, RequestError, StorageError
from ottla.types import BatchProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msgspec import Struct

    from ottla.coordinator.shard import Shard
    from ottla.types import Clock, Record, TransactionMarker

log = logging.getLogger(__name__)


class Host(Protocol[M]):
    """What this needs of the runtime it belongs to."""

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    def find(self, partition: int) -> Shard[M] | ErrorCode:
        """The shard, if it serves, or why not."""
        ...

    def run(
        self,
        shard: Shard[M],
        operation: Callable[[], Result],
        answer: Callable[[Struct], None] | None,
        refuse: Callable[[ErrorCode], None] | None,
        take: Callable[[Shard[M], Result, Waiter], None],
    ) -> None:
        """Run a write; `take` gets what it decided."""
        ...

    def encode(self, shard: Shard[M], result: Result) -> tuple[list[Record], list[int]]:
        """The records as bytes, and what each takes in a batch; RequestError if they cannot be written."""
        ...

    def flush(self, shard: Shard[M]) -> bool:
        """Append what is buffered; False if that failed."""
        ...

    def append_failed(self, shard: Shard[M], error: BaseException) -> None:
        """What the disk said, or somebody's bug."""
        ...

    def appended(self, shard: Shard[M], last_offset: int, count: int, waiters: Sequence[Waiter]) -> None:
        """Records up to this offset are in the log; who waits is answered when they are committed."""
        ...

    def fail(self, shard: Shard[M]) -> None:
        """The state is not what the log says."""
        ...


class TransactionalWriter(Generic[M]):
    """The transactional writes of a runtime; see the module's doc."""

    def __init__(self, host: Host[M]) -> None:
        self._host = host

    def write(
        self,
        partition: int,
        producer_id: int,
        producer_epoch: int,
        *,
        bumps_epoch: bool,
        verify: Callable[[Callable[[ErrorCode], None]], None],
        operation: Callable[[M], Result],
        answer: Callable[[Struct], None],
        refuse: Callable[[ErrorCode], None],
    ) -> None:
        """Run a write whose records are the producer's. Exactly one of `answer` and `refuse` is called."""
        shard = self._host.find(partition)
        if isinstance(shard, ErrorCode):
            refuse(shard)
            return
        try:
            guard = shard.journal.start_verification(producer_id, producer_epoch, bumps_epoch=bumps_epoch)
        except RequestError as error:
            refuse(error.code)
            return
        except StorageError:
            refuse(ErrorCode.KAFKA_STORAGE_ERROR)
            return
        producer = BatchProducer(producer_id, producer_epoch, guard)

        def verified(code: ErrorCode) -> None:
            # It may have taken a while.
            shard = code if code is not ErrorCode.NONE else self._find_flushed(partition)
            if isinstance(shard, ErrorCode):
                refuse(shard)
            else:
                take = partial(self._take, producer)
                self._host.run(shard, partial(operation, shard.machine), answer, refuse, take)

        if guard is None:
            verified(ErrorCode.NONE)
        else:
            verify(verified)

    def end(self, partition: int, marker: TransactionMarker, done: Callable[[ErrorCode], None]) -> None:
        """Write the end of a transaction; `done` is told when it is committed (NONE), or why it will not be."""
        shard = self._find_flushed(partition)
        if isinstance(shard, ErrorCode):
            done(shard)
            return

        def apply(_offset: int) -> None:
            shard.transactional.apply_marker(marker.producer_id, committed=marker.committed)

        waiter = Waiter(None, None, Result(done=lambda code: done(ErrorCode.NONE if code is None else code)))
        self._append(shard, lambda: shard.journal.append_marker(marker), 1, apply, waiter)

    def _find_flushed(self, partition: int) -> Shard[M] | ErrorCode:
        """The shard, everything it has decided so far in its log; or why not."""
        shard = self._host.find(partition)
        # Who is answered by that may write again at once.
        while not isinstance(shard, ErrorCode) and shard.records:
            if not self._host.flush(shard):
                return ErrorCode.KAFKA_STORAGE_ERROR
            shard = self._host.find(partition)
        return shard

    def _take(self, producer: BatchProducer, shard: Shard[M], result: Result, waiter: Waiter) -> None:
        try:
            records, _ = self._host.encode(shard, result)
        except RequestError as error:
            waiter.fail(error.code)
            return

        def apply(offset: int) -> None:
            for key, value, _ in result.records:
                assert value is not None, "nothing is deleted in a transaction"
                shard.timeline.offset = offset
                shard.transactional.apply_pending(offset, producer.producer_id, key, value)
                offset += 1

        append = partial(shard.journal.append, records, self._host.clock.now_ms(), producer)
        self._append(shard, append, len(records), apply, waiter)

    def _append(
        self,
        shard: Shard[M],
        append: Callable[[], int],
        count: int,
        apply: Callable[[int], None],
        waiter: Waiter,
    ) -> None:
        try:
            last_offset = append()
        except RequestError as error:
            waiter.fail(error.code)
            return
        except LEAVING:
            raise
        except BaseException as error:  # noqa: BLE001 - logged with it; a Rust panic is no Exception
            self._host.append_failed(shard, error)
            waiter.fail(ErrorCode.KAFKA_STORAGE_ERROR)
            return
        offset = shard.timeline.offset = shard.next_offset
        shard.next_offset += count
        # Where the log holds more than we know, the shard is about to be loaded again.
        if last_offset + 1 == shard.next_offset:
            try:
                apply(offset)
            except LEAVING:
                raise
            except BaseException:
                log.exception("coordinator %d: what was appended cannot be applied", shard.partition)
                self._host.fail(shard)
                waiter.fail(ErrorCode.UNKNOWN_SERVER_ERROR)
                return
        self._host.appended(shard, last_offset, count, [waiter])
