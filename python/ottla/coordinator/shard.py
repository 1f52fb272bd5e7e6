"""One shard of a coordinator: its state machine, and what it has decided that is not committed yet.

The words between the runtime and a state machine are here too: `Result` is what a write of a state machine returns,
`Machine` what the runtime asks of it, `ShardContext` what it gets in return. `runtime` tells how they work together.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from ottla.coordinator.batch import LEAVING
from ottla.coordinator.timeline import Timeline
from ottla.errors import CodecError, ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.coordinator.batch import Batch, Waiter
    from ottla.types import Cancellable, Clock, Codec, Journal, LoadedRecord, Record, Scheduler

log = logging.getLogger(__name__)


class CoordinatorRecord(NamedTuple):
    """What a write decides, before it is bytes."""

    key: Struct
    # None: a tombstone.
    value: Struct | None
    # Version of the value's schema, chosen where the record is made: the newest is not always what Kafka writes.
    version: int | None = None


# What a record costs in a batch beside key and value: lengths, deltas, attributes, a header count.
RECORD_OVERHEAD_BYTES = 24
# What a batch costs beside its records.
BATCH_OVERHEAD_BYTES = 61


class Result(Struct):
    """What a write decided."""

    records: Sequence[CoordinatorRecord] = ()
    # Sent once the records are committed. None if the state machine answers by itself, or nobody asked.
    response: Struct | None = None
    # The state shows these records already (see the module's doc).
    applied: bool = False
    # The records may be spread over several batches.
    atomic: bool = True
    # Told when the records are committed (None), or why they are not.
    done: Callable[[ErrorCode | None], None] | None = None
    # Applying the records changes timeline maps only: if they cannot be written, that can be taken back.
    undoable: bool = False
    # They make something that others may build on outside of those maps: taken back only if nobody came after.
    founds: bool = False


NOTHING = Result()


class Machine(Protocol):
    """The state of one shard, as the runtime sees it."""

    def apply(self, offset: int, key: Struct, value: Struct | None) -> None:
        """Change the state as a record says; the same when loading and in operation. A tombstone has no value.

        What a log says is no more than the last record of each key, in the order of their offsets: the rest may have
        been compacted away, and is when a log is loaded (tombstones too).
        """
        ...

    def on_loaded(self) -> None:
        """The journal has been replayed: set deadlines. May write."""
        ...

    def on_unloaded(self) -> None:
        """The shard goes away: answer what is parked (NOT_COORDINATOR). Nothing is called after this."""
        ...


@runtime_checkable
class TransactionalMachine(Machine, Protocol):
    """One whose topic has records of producers' transactions, as `__consumer_offsets` has."""

    def apply_pending(self, offset: int, producer_id: int, key: Struct, value: Struct) -> None:
        """Remember a record that counts only once the transaction of its producer is committed."""
        ...

    def apply_marker(self, producer_id: int, *, committed: bool) -> None:
        """The transaction of a producer has ended: what was remembered counts now, or is forgotten."""
        ...


class ShardContext(Protocol):
    """What a state machine gets from the runtime."""

    @property
    def partition(self) -> int:
        """The partition of the internal topic."""
        ...

    @property
    def timeline(self) -> Timeline:
        """For the maps of the state machine."""
        ...

    def after(self, key: object, delay_ms: int, operation: Callable[[], Result]) -> None:
        """Make `operation` a write once `delay_ms` have passed; replaces an earlier one of the same key."""
        ...

    def put_off(self, key: object, delay_ms: int) -> bool:
        """Move the deadline of that key to `delay_ms` from now; False if there is none, or that would be earlier."""
        ...

    def cancel(self, key: object) -> None:
        """Forget the operation of that key, if there is one."""
        ...

    def is_pending(self, key: object) -> bool:
        """Whether there is an operation of that key."""
        ...

    def submit(self, operation: Callable[[], Result]) -> None:
        """Make `operation` a write in this turn, after the one that is under way."""
        ...


M = TypeVar("M", bound=Machine)


class State(Enum):
    """Of a shard; absent ones have none."""

    LOADING = "loading"
    ACTIVE = "active"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One partition of a coordinator's topic. For people and tests."""

    # Of the coordinator's topic.
    partition: int
    # Whether it is loaded, and serves.
    state: State
    # What the next record gets.
    next_offset: int
    # Appended, and not on the disk yet.
    uncommitted_batches: int
    # Not appended yet: they wait for others to share a batch with.
    buffered_records: int


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    """A coordinator. For people and tests."""

    # One for each partition of the coordinator's topic.
    shards: tuple[ShardStatus, ...]
    # Written to that topic since the start.
    appended_batches: int
    # In them.
    appended_records: int
    # That the log refused.
    failed_appends: int


class Host(Protocol):
    """What a shard needs of the runtime it belongs to."""

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def scheduler(self) -> Scheduler:
        """Deadlines."""
        ...

    def write_on(self, shard: Shard[Any], operation: Callable[[], Result]) -> None:
        """Run a write nobody waits for."""
        ...

    def submit(self, shard: Shard[Any], operation: Callable[[], Result]) -> None:
        """Run a write after the one that is under way."""
        ...


class Timer:
    """A deadline of a shard under its key. Putting it off costs nothing: it fires early, and waits on."""

    __slots__ = ("_handle", "_key", "_shard", "armed_ms", "deadline_ms", "operation")

    def __init__(self, shard: Shard[Any], key: object, deadline_ms: int, operation: Callable[[], Result]) -> None:
        self._shard = shard
        self._key = key
        # When it shall fire, and when the queue wakes it; never in that order reversed.
        self.deadline_ms = deadline_ms
        self.armed_ms = deadline_ms
        self.operation = operation
        self._handle: Cancellable | None = None

    def arm(self) -> None:
        """Have the queue call `fire` at the deadline."""
        self.armed_ms = self.deadline_ms
        self._handle = self._shard.runtime.scheduler.at(self.armed_ms, self._fire)

    def cancel(self) -> None:
        """Never fire."""
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self) -> None:
        if self.deadline_ms > self._shard.runtime.clock.monotonic_ms():
            self.arm()
            return
        del self._shard.timers[self._key]
        self._shard.runtime.write_on(self._shard, self.operation)


class Shard(Generic[M]):
    """One partition: its state machine, buffer, batches under way and deadlines. The runtime alone calls it."""

    # There once it was found; see `loading`.
    journal: Journal

    def __init__(self, runtime: Host, partition: int, make: Callable[[ShardContext], M]) -> None:
        self.runtime = runtime
        self.partition = partition
        self.state = State.LOADING
        self.timeline = Timeline()
        self.machine: M = make(self)
        # Offset the next record of the buffer gets.
        self.next_offset = 0
        self.clear_buffer()
        self.batches: deque[Batch] = deque()
        self.timers: dict[object, Timer] = {}
        # Records found while loading whose type is not known.
        self.skipped = 0
        # Writes that nobody waits for and that must not miss the shard because it is not there yet.
        self.deferred: list[Callable[[M], Result]] = []
        # Thrown away, to be replayed: another shard takes its place.
        self.reloads = False

    def take_in(self, records: Sequence[LoadedRecord], codec: Codec, kind: Literal["group", "transaction"]) -> None:
        """Apply what was loaded."""
        decode, machine, timeline = codec.decode_coordinator_record, self.machine, self.timeline
        for offset, key, value, producer_id, _ in records:
            decoded = decode(kind, key, value)
            if decoded is None:
                self.skipped += 1
                continue
            timeline.offset = offset
            if producer_id < 0:
                machine.apply(offset, *decoded)
            else:
                self.transactional.apply_pending(offset, producer_id, *decoded)

    @property
    def transactional(self) -> TransactionalMachine:
        """The state machine, which knows transactions."""
        assert isinstance(self.machine, TransactionalMachine), "there are no transactions in this topic"
        return self.machine

    # What a state machine gets (ShardContext).

    def after(self, key: object, delay_ms: int, operation: Callable[[], Result]) -> None:
        """Make `operation` a write once `delay_ms` have passed; replaces an earlier one of the same key."""
        if self.put_off(key, delay_ms):
            self.timers[key].operation = operation
            return
        self.cancel(key)
        timer = Timer(self, key, self.runtime.clock.monotonic_ms() + delay_ms, operation)
        self.timers[key] = timer
        timer.arm()

    def put_off(self, key: object, delay_ms: int) -> bool:
        """Move the deadline of that key to `delay_ms` from now; False if there is none, or that would be earlier.

        As every heartbeat does: the queue is not touched, the timer looks again when it fires.
        """
        timer = self.timers.get(key)
        if timer is None:
            return False
        deadline_ms = self.runtime.clock.monotonic_ms() + delay_ms
        if deadline_ms < timer.armed_ms:
            return False
        timer.deadline_ms = deadline_ms
        return True

    def cancel(self, key: object) -> None:
        """Forget the operation of that key, if there is one."""
        timer = self.timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def is_pending(self, key: object) -> bool:
        """Whether there is an operation of that key."""
        return key in self.timers

    def submit(self, operation: Callable[[], Result]) -> None:
        """Make `operation` a write in this turn, after the one that is under way."""
        self.runtime.submit(self, operation)

    # Buffer and batches.

    @property
    def status(self) -> ShardStatus:
        """For people and tests."""
        return ShardStatus(self.partition, self.state, self.next_offset, len(self.batches), len(self.records))

    def park(self, waiter: Waiter) -> None:
        """Answer when everything written so far is committed: at once if it is."""
        if self.records:
            self.waiters.append(waiter)
        elif self.batches:
            self.batches[-1].park([waiter])
        else:
            waiter.succeed()

    def clear_buffer(self) -> None:
        """Nothing is decided that is not appended."""
        self.records: list[Record] = []
        self.records_bytes = BATCH_OVERHEAD_BYTES
        self.waiters: list[Waiter] = []
        # What is in the buffer can be taken back; and it has made something that others may build on.
        self.undoable = True
        self.founded = False

    def note(self, result: Result) -> None:
        """Something was decided that the timeline cannot take back: nor can it then take back what that builds on.

        (With an empty buffer this says nothing: `take` does once something is in it.)
        """
        if result.records or self.founded:
            self.undoable = False

    def take(self, result: Result, records: list[Record], size: int) -> None:
        """Records of a decision go into the buffer."""
        if not self.records:
            self.undoable, self.founded = result.undoable, result.founds
        else:
            self.founded |= result.founds
        self.records += records
        self.records_bytes += size

    def undo(self, count: int) -> None:
        """The last `count` records were applied and never were."""
        self.next_offset -= count
        self.timeline.undo(self.next_offset)

    def stop(self) -> None:
        """No deadline fires any more; the state machine answers what it has parked."""
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        try:
            self.machine.on_unloaded()
        except LEAVING:
            raise
        except BaseException:
            log.exception("coordinator %d: its end failed", self.partition)


def record_bytes(record: Record) -> int:
    """About what the record takes in a batch."""
    key, value = record
    return RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"")


def encoded_records(
    shard: Shard[Any], result: Result, codec: Codec, kind: Literal["group", "transaction"], bytes_max: int
) -> tuple[list[Record], list[int]]:
    """What a write decided, as bytes, and what each takes; RequestError, said in the log, if it cannot be written.

    `bytes_max` is of one batch.
    """
    encode, records = codec.encode_coordinator_record, result.records
    try:
        if len(records) == 1:
            # As with every heartbeat of a rebalance.
            encoded = [encode(*records[0])]
            sizes = [record_bytes(encoded[0])]
        else:
            encoded = [encode(*record) for record in records]
            sizes = list(map(record_bytes, encoded))
    except CodecError as error:
        # A text longer than its field takes; nobody may wait for records that cannot be written.
        log.exception("%s coordinator %d: a record does not fit its message", kind, shard.partition)
        raise RequestError(ErrorCode.UNKNOWN_SERVER_ERROR) from error
    if BATCH_OVERHEAD_BYTES + (sum(sizes) if result.atomic else max(sizes)) > bytes_max:
        log.warning("%s coordinator %d: a write is larger than %d bytes", kind, shard.partition, bytes_max)
        raise RequestError(ErrorCode.RECORD_LIST_TOO_LARGE)
    return encoded, sizes
