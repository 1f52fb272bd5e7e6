"""The coordinator runtime: shards, each a state machine over one partition of an internal topic.

**A write** is a function of the state machine. It may read everything applied so far, committed or not, and returns a
`Result`: records and a response. The runtime applies the records at once, so that the next write of the same turn
sees them, keeps them in the shard's buffer, and parks the response. At the end of the loop's turn (`flush_turn`) each
shard appends its buffer as **one** batch: the commits of one turn cost one append and join one group commit. Only where
very many wait (`batch_waiters_max`) it is appended before, so that the first need not wait for the last of them.
When the journal says the batch is committed, the responses parked on it leave, in the order of the writes. A write
without records waits too if earlier ones of its shard are not committed: what it read may be theirs. (Apache Kafka:
CoordinatorRuntime.)

**A read** sees committed state only (`timeline`) and is answered at once.

**Some state is not in the log**: parked JoinGroups, deadlines, a rebalance that is under way. A write whose records
describe state it has changed itself says so (`Result.applied`); such records are applied only when the log is replayed.

**Batches are bounded**: records that would make a batch longer than `batch_bytes_max` start another; a single write
longer than that is refused with RECORD_LIST_TOO_LARGE before anything is changed, unless it need not be atomic.

**A failed append** answers everyone who waits for it. If the records have changed nothing but timeline maps (commits of
offsets; `Result.undoable`) they are taken back, and everything else goes on: a full disk refuses commits, no more. Else
they cannot be taken back one by one, since what is not in the log has gone on meanwhile. The shard is thrown away (its
state machine answers what it had parked: NOT_COORDINATOR, clients come back) and replayed from the journal, once
everything appended before is committed; at once the first time, then after pauses that double, until an append works
again. If that never happens, because the partition is offline, the shard stays away and says NOT_COORDINATOR. (Apache
Kafka takes the timeline back in any case, and leaves what is outside of it as it is.)

**Transactions of producers** (`transactional`): a batch has one producer, so what belongs to one's transaction is a
batch of its own, and so is each marker. What was buffered before it is appended first: the log has everything in the
order in which it was decided. One turn is one append per shard and, where transactions are written, one more for each
such write and for what stands between two of them. These are appended first and applied then, since the log may refuse
them: nothing has to be taken back.

**Loading** (`loading`): the journal is read elsewhere and applied piece by piece; writes and reads meanwhile get
COORDINATOR_LOAD_IN_PROGRESS. A partition that cannot be opened or read fails its own shard only.

    absent --load--> LOADING --all is applied--> ACTIVE --append failed--> FAILED --all committed--> LOADING
                        |                           |
                        +---- unreadable: FAILED    +--unload--> absent          absent, FAILED: NOT_COORDINATOR

**A commit that takes too long** (`commit_timeout_ms`) answers REQUEST_TIMED_OUT; the records stay, and so does the
state (`batch`).

**An error that nobody foresaw**, a Rust panic too, is logged and ends what it happened in: the operation, the append,
the loading of one shard. The runtime is the only writer of its partitions, and runs on the control plane's thread.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal

from ottla.coordinator.batch import LEAVING, Batch, Waiter
from ottla.coordinator.loading import ShardLoader
from ottla.coordinator.shard import (
    M,
    Result,
    RuntimeStatus,
    Shard,
    ShardContext,
    State,
    encoded_records,
)
from ottla.coordinator.transactional import TransactionalWriter
from ottla.errors import ErrorCode, RequestError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msgspec import Struct

    from ottla.coordinator.shard import CoordinatorRecord
    from ottla.types import Clock, Codec, Journal, Loading, Record, Scheduler

log = logging.getLogger(__name__)

# How long a shard stays away after the second failed append in a row, and after many.
_RELOAD_PAUSE_MS = 100
_RELOAD_PAUSE_MS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Bounds of the runtime."""

    # Of one append. Kafka's limit for its coordinators is the topic's max.message.bytes, 1 MiB by default.
    batch_bytes_max: int = 1024 * 1024
    # Responses that wait for one append.
    batch_waiters_max: int = 64
    # Applied in one turn of the loop while loading: a few milliseconds.
    load_bytes_max: int = 32 * 1024
    # `offsets.commit.timeout.ms`: how long a response waits for the commit.
    commit_timeout_ms: int = 5000


class CoordinatorRuntime(Generic[M]):
    """The shards of one internal topic on this broker."""

    def __init__(
        self,
        *,
        topic_kind: Literal["group", "transaction"],
        journals: Callable[[int], Journal],
        make: Callable[[ShardContext], M],
        codec: Codec,
        clock: Clock,
        scheduler: Scheduler,
        settings: RuntimeSettings | None = None,
    ) -> None:
        self.topic_kind: Literal["group", "transaction"] = topic_kind
        self._loader: ShardLoader[M] = ShardLoader(self, journals)
        self.transactional: TransactionalWriter[M] = TransactionalWriter(self)
        self.make = make
        self.codec = codec
        self.clock = clock
        self.scheduler = scheduler
        self.settings = settings or RuntimeSettings()
        self._submitted: deque[tuple[Shard[M], Callable[[], Result]]] = deque()
        self._shards: dict[int, Shard[M]] = {}
        # Shards with something in the buffer, in the order they got it.
        self._dirty: dict[Shard[M], None] = {}
        # Partitions whose last append failed, and how often their shards were thrown away since one worked.
        self._failing: dict[int, int] = {}
        self._running = False
        self._appended_batches = 0
        self._appended_records = 0
        self._failed_appends = 0

    @property
    def status(self) -> RuntimeStatus:
        """For people and tests."""
        shards = tuple(self._shards[partition].status for partition in sorted(self._shards))
        return RuntimeStatus(shards, self._appended_batches, self._appended_records, self._failed_appends)

    # Loading and unloading.

    def load(self, partition: int) -> None:
        """This broker leads the partition now.

        Does nothing if the shard is there already, or will be once the log says what it holds.
        """
        old = self._shards.get(partition)
        if old is not None and (old.state is not State.FAILED or old.batches):
            return
        self._start_loading(partition)

    def unload(self, partition: int) -> None:
        """This broker does not lead the partition any more: parked responses are NOT_COORDINATOR."""
        shard = self._shards.pop(partition, None)
        self._failing.pop(partition, None)
        if shard is None:
            return
        if shard.state is not State.FAILED:
            self.abandon(shard, ErrorCode.NOT_COORDINATOR)
        self._give_up(shard, ErrorCode.NOT_COORDINATOR)
        log.info("%s coordinator %d unloaded", self.topic_kind, partition)

    def _start_loading(self, partition: int) -> None:
        shard = Shard(self, partition, self.make)
        if (old := self._shards.get(partition)) is not None:
            shard.deferred = old.deferred
        self._shards[partition] = shard
        self._loader.begin(shard)
        self._run_submitted()

    def is_wanted(self, shard: Shard[M]) -> bool:
        """Whether the shard is still to be loaded."""
        return self._shards.get(shard.partition) is shard and shard.state is State.LOADING

    def take_in(self, shard: Shard[M], load: Loading) -> None:
        """Apply a piece of what was loaded."""
        shard.take_in(load.take(self.settings.load_bytes_max), self.codec, self.topic_kind)

    def loaded(self, shard: Shard[M], end_offset: int) -> None:
        """Everything before this offset is applied: serve."""
        shard.next_offset = shard.timeline.offset = end_offset
        shard.timeline.replaying = False
        shard.state = State.ACTIVE
        log.debug("%s coordinator %d loaded up to offset %d", self.topic_kind, shard.partition, end_offset)
        if shard.skipped:
            log.warning(
                "%s coordinator %d: %d records of types this version does not know are left alone",
                *(self.topic_kind, shard.partition, shard.skipped),
            )
        shard.machine.on_loaded()
        for operation in shard.deferred:
            self.submit(shard, partial(operation, shard.machine))
        shard.deferred = []
        self._run_submitted()

    # Operations.

    def write(
        self,
        partition: int,
        operation: Callable[[M], Result],
        answer: Callable[[Struct], None] | None,
        refuse: Callable[[ErrorCode], None],
    ) -> None:
        """Run a write. `answer` gets its response once it is committed, `refuse` the reason if it is not.

        Exactly one of the two is called, unless the result has no response: then the state machine answers, and
        `refuse` is called only if the write was refused before it began or its records were not written.
        """
        # `find` and `run` written out: this is the way of every heartbeat.
        shard = self._shards.get(partition)
        if shard is None or shard.state is not State.ACTIVE:
            refuse(self._absence(shard))
            return
        self._run(shard, partial(operation, shard.machine), answer, refuse)
        if len(shard.waiters) >= self.settings.batch_waiters_max:
            self.flush(shard)
        if self._submitted:
            self._run_submitted()

    def read(
        self,
        partition: int,
        operation: Callable[[M], Struct],
        answer: Callable[[Struct], None],
        refuse: Callable[[ErrorCode], None],
    ) -> None:
        """Run a read of committed state, and answer."""
        shard = self.find(partition)
        if isinstance(shard, ErrorCode):
            refuse(shard)
            return
        try:
            response = operation(shard.machine)
        except RequestError as error:
            refuse(error.code)
        else:
            answer(response)

    def machines(self) -> tuple[list[M], bool]:
        """The state machines that are here, and whether others are still loading (for reads over all of them)."""
        active = [shard.machine for shard in self._shards.values() if shard.state is State.ACTIVE]
        return active, any(shard.state is State.LOADING for shard in self._shards.values())

    def write_all(self, operation: Callable[[M], Result]) -> None:
        """Run a write on every shard that is here, or once it is if it loads; nobody waits for it."""
        for shard in list(self._shards.values()):
            if shard.state is State.LOADING or shard.reloads:
                shard.deferred.append(operation)
            else:
                self.write_on(shard, partial(operation, shard.machine))

    def write_on(self, shard: Shard[M], operation: Callable[[], Result]) -> None:
        """Run a write nobody waits for: a deadline, or something a state machine has submitted."""
        if shard.state is State.ACTIVE and self._shards.get(shard.partition) is shard:
            self._run(shard, operation, None, None)
            self._run_submitted()

    def submit(self, shard: Shard[M], operation: Callable[[], Result]) -> None:
        """Run a write after the one that is under way."""
        self._submitted.append((shard, operation))

    def find(self, partition: int) -> Shard[M] | ErrorCode:
        """The shard, if it serves, or why not."""
        shard = self._shards.get(partition)
        return shard if shard is not None and shard.state is State.ACTIVE else self._absence(shard)

    def _absence(self, shard: Shard[M] | None) -> ErrorCode:
        loading = shard is not None and shard.state is State.LOADING
        return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS if loading else ErrorCode.NOT_COORDINATOR

    def run(
        self,
        shard: Shard[M],
        operation: Callable[[], Result],
        answer: Callable[[Struct], None] | None,
        refuse: Callable[[ErrorCode], None] | None,
        take: Callable[[Shard[M], Result, Waiter], None],
    ) -> None:
        """Run a write and what it submits; `take` gets what it decided."""
        self._run(shard, operation, answer, refuse, take)
        self._run_submitted()

    def _run(
        self,
        shard: Shard[M],
        operation: Callable[[], Result],
        answer: Callable[[Struct], None] | None,
        refuse: Callable[[ErrorCode], None] | None,
        take: Callable[[Shard[M], Result, Waiter], None] | None = None,
    ) -> None:
        assert not self._running, "a write within a write: submit it"
        shard.timeline.offset = shard.next_offset
        self._running = True
        try:
            result = operation()
            if shard.undoable and not result.undoable:
                shard.note(result)
            waiter = Waiter(answer, refuse, result)
            if result.records:
                (take or self._take)(shard, result, waiter)
            elif result.response is not None or result.done is not None:
                shard.park(waiter)
        except RequestError as error:
            if refuse is not None:
                refuse(error.code)
        except LEAVING:
            raise
        except BaseException:
            log.exception("%s coordinator %d: an operation failed", self.topic_kind, shard.partition)
            if refuse is not None:
                refuse(ErrorCode.UNKNOWN_SERVER_ERROR)
        finally:
            self._running = False

    def _run_submitted(self) -> None:
        while self._submitted and not self._running:
            shard, operation = self._submitted.popleft()
            if shard.state is State.ACTIVE and self._shards.get(shard.partition) is shard:
                self._run(shard, operation, None, None)

    def _take(self, shard: Shard[M], result: Result, waiter: Waiter) -> None:
        """Into the buffer, and into the state."""
        try:
            encoded, sizes = self.encode(shard, result)
        except RequestError as error:
            waiter.fail(error.code)
            return
        if result.atomic:
            taken = self._take_piece(shard, result, result.records, encoded, sum(sizes))
        else:
            pieces = zip(result.records, encoded, sizes, strict=True)
            taken = all(self._take_piece(shard, result, [record], [piece], size) for record, piece, size in pieces)
        if taken:
            shard.waiters.append(waiter)
        else:
            # It cannot be written any more, having been decided after what was not.
            if result.applied and shard.state is State.ACTIVE:
                self.fail(shard)
            waiter.fail(ErrorCode.KAFKA_STORAGE_ERROR)

    def _take_piece(
        self, shard: Shard[M], result: Result, records: Sequence[CoordinatorRecord], encoded: list[Record], size: int
    ) -> bool:
        """False if there is no room for it, and what is in its place could not be appended."""
        if shard.records_bytes + size > self.settings.batch_bytes_max and not self.flush(shard):
            return False
        self._dirty[shard] = None
        shard.take(result, encoded, size)
        offset = shard.next_offset
        shard.next_offset = offset + len(records)
        if not result.applied:
            self._apply(shard, offset, records)
        return True

    def encode(self, shard: Shard[M], result: Result) -> tuple[list[Record], list[int]]:
        """As bytes, and what each takes in a batch; RequestError if they cannot be written."""
        return encoded_records(shard, result, self.codec, self.topic_kind, self.settings.batch_bytes_max)

    def _apply(self, shard: Shard[M], offset: int, records: Sequence[CoordinatorRecord]) -> None:
        timeline, apply = shard.timeline, shard.machine.apply
        try:
            for key, value, _ in records:
                timeline.offset = offset
                apply(offset, key, value)
                offset += 1
        except BaseException:
            # Half of it is in the state, and what cannot be applied now cannot be applied at the next start either.
            self.fail(shard)
            raise

    # Appending and committing.

    def flush_turn(self) -> None:
        """The loop's turn is over: one append per shard that has something to write.

        Responses may leave in here, and what follows from them may write again; nothing is left when this returns.
        """
        # What was submitted outside of any operation: by an answer from somewhere else.
        self._run_submitted()
        while self._dirty:
            self.flush(next(iter(self._dirty)))
            self._run_submitted()

    def flush(self, shard: Shard[M]) -> bool:
        """Append the buffer. False if that failed, and with it what was decided on top of it."""
        self._dirty.pop(shard, None)
        if not shard.records:
            return True
        try:
            last_offset = shard.journal.append(shard.records, self.clock.now_ms())
        except LEAVING:
            raise
        except BaseException as error:  # noqa: BLE001 - logged with it; a Rust panic is no Exception
            self.append_failed(shard, error)
            return False
        count, waiters = len(shard.records), shard.waiters
        shard.clear_buffer()
        self.appended(shard, last_offset, count, waiters)
        return True

    def appended(self, shard: Shard[M], last_offset: int, count: int, waiters: Sequence[Waiter]) -> None:
        """Records up to this offset are in the log; who waits is answered when they are committed."""
        # Looked at before anybody is told, who may write again at once.
        expected_end = shard.next_offset
        if self._failing and self._failing.pop(shard.partition, None) is not None:
            log.warning("%s coordinator %d: its log can be written again", self.topic_kind, shard.partition)
        self._appended_batches += 1
        self._appended_records += count
        batch = Batch(last_offset, self.clock, self.scheduler, self.settings.commit_timeout_ms, self._run_submitted)
        shard.batches.append(batch)
        batch.park(waiters)
        self._when_committed(shard, last_offset, lambda: self._committed(shard, last_offset))
        if last_offset + 1 != expected_end:
            log.error(
                "%s coordinator %d: the log ends at %d where %d was expected, starting again from the log",
                *(self.topic_kind, shard.partition, last_offset + 1, expected_end),
            )
            self.fail(shard)

    def append_failed(self, shard: Shard[M], error: BaseException) -> None:
        """What the disk said, or somebody's bug."""
        self._failed_appends += 1
        if shard.partition not in self._failing:
            # Once until an append works: it may be the disk of the log that is full.
            log.error(
                "%s coordinator %d: the log cannot be appended to, what needs that is refused until it can: %s",
                *(self.topic_kind, shard.partition, error),
                exc_info=None if isinstance(error, StorageError) else error,
            )
            self._failing[shard.partition] = 0
        if not shard.undoable or not isinstance(error, StorageError):
            self.fail(shard)
            return
        shard.undo(len(shard.records))
        waiters = shard.waiters
        shard.clear_buffer()
        for waiter in waiters:
            waiter.fail(ErrorCode.KAFKA_STORAGE_ERROR)

    def _when_committed(self, shard: Shard[M], offset: int, callback: Callable[[], None]) -> None:
        try:
            shard.journal.when_committed(offset, callback)
        except LEAVING:
            raise
        except BaseException:
            log.exception(
                "%s coordinator %d: nobody will say when offset %d is committed",
                *(self.topic_kind, shard.partition, offset),
            )

    def _committed(self, shard: Shard[M], last_offset: int) -> None:
        # The journal tells in order, or skips one whose successor it has told already: take all up to this one.
        while shard.batches and shard.batches[0].last_offset <= last_offset:
            ready = shard.batches.popleft()
            shard.timeline.committed(ready.last_offset + 1)
            ready.succeed()
        self._run_submitted()

    def _give_up(self, shard: Shard[M], code: ErrorCode) -> None:
        """Answer who waits for the shard's batches; they may still be committed."""
        while shard.batches:
            shard.batches.popleft().fail(code)
        self._run_submitted()

    def fail(self, shard: Shard[M]) -> None:
        """The state shows what the log does not hold: throw it away, and replay once the log says what it holds."""
        self.abandon(shard, ErrorCode.KAFKA_STORAGE_ERROR)
        times = self._failing.get(shard.partition, 0)
        self._failing[shard.partition] = times + 1
        pause_ms = min(_RELOAD_PAUSE_MS << (times - 1), _RELOAD_PAUSE_MS_MAX) if times else 0
        reload_ms = self.clock.monotonic_ms() + pause_ms
        shard.reloads = True

        def reload() -> None:
            if self._shards.get(shard.partition) is shard:
                self._start_loading(shard.partition)

        def wait() -> None:
            self.scheduler.at(reload_ms, reload)

        if shard.batches:
            # The batches before may still be committed, and what is answered for them stays true.
            self._when_committed(shard, shard.batches[-1].last_offset, wait)
        else:
            wait()

    def abandon(self, shard: Shard[M], code: ErrorCode) -> None:
        """It serves no more; who waits in its buffer is told the code."""
        shard.state = State.FAILED
        self._dirty.pop(shard, None)
        waiters = shard.waiters
        shard.clear_buffer()
        shard.stop()
        for waiter in waiters:
            waiter.fail(code)
