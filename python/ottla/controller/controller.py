"""The controller: one change after the other, each one batch in the metadata log.

    change(decide, done)   ->  decide(image)   pure: records and results, from committed state only
                               append          one batch, whole or not at all
                               (commit)        the batch is safe: only now
                               apply           the same fold a restart uses
                               on_change       who shows the image to others (the data plane, coordinators)
                               done(results)   whoever asked
                               snapshot        once enough bytes were appended; the log before it goes

Changes wait for each other, so a decision always sees what the one before it made, the image never holds anything a
power cut can take back, and nobody is shown a topic that then vanishes. Metadata changes are rare next to records; what
comes in while one waits for the disk is decided in one go behind it, but never in one batch with it.

A decision without records is answered at once when its turn comes. A change whose deadline passes is answered
REQUEST_TIMED_OUT; if it was appended by then it still happens, if its turn had not come it does not, as with Kafka's
controller. One that is asked for after its deadline (a time-out of 0) never happens.

Kafka ends the process when the metadata log cannot be written or a committed record cannot be applied (FaultHandler).
This one may be part of another program: it answers everybody who waits, says so once, and refuses every change from
then on (`halt`). What is there goes on being served, until whoever is told by `on_halt` ends it: `ottla serve` does.

A panic of the native side is no Exception. Wherever somebody else's code is called here it counts like one: the queue
behind it goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from ottla.controller.image import Change, MetadataImage
from ottla.controller.records import RECORD_VERSIONS
from ottla.errors import ErrorCode, RequestError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.controller.decision import Decision
    from ottla.types import Cancellable, Clock, Codec, Scheduler

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_READ_BYTES = 1024 * 1024


class MetadataJournal(Protocol):
    """`__cluster_metadata-0`: the log everything here is a fold over."""

    @property
    def log_end_offset(self) -> int:
        """Offset the next record gets."""
        ...

    @property
    def leader_epoch(self) -> int:
        """Epoch of this start; grows with each."""
        ...

    def append(self, values: Sequence[bytes], timestamp_ms: int) -> int:
        """Write the values as one batch, whole or not at all; return the last offset. Raises `StorageError`."""
        ...

    def when_committed(self, offset: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `offset` is safe; at once if it is already."""
        ...

    def read(self, start_offset: int, max_bytes: int) -> list[tuple[int, int, int, bytes]]:
        """Records as (offset, leader epoch, timestamp, value), control records left out."""
        ...

    def latest_snapshot(self) -> tuple[int, int, list[bytes]] | None:
        """The newest whole snapshot: (offset it ends before, epoch, values)."""
        ...

    def write_snapshot(self, end_offset: int, epoch: int, values: Sequence[bytes], timestamp_ms: int) -> None:
        """Write a snapshot of everything before `end_offset`, then drop the log before it."""
        ...


class _Pending(Struct, eq=False):
    """One change, from the time it is asked for until it is answered."""

    decide: Callable[[MetadataImage], Decision[Any]]
    # None once answered.
    done: Callable[[Any], None] | None
    deadline: Cancellable | None = None

    def finish(self, outcome: list[Any] | RequestError) -> None:
        """Answer, once."""
        done, self.done = self.done, None
        if self.deadline is not None:
            self.deadline.cancel()
        if done is None:
            return
        try:
            done(outcome)
        except BaseException:
            # Whoever asked is at fault; the changes behind this one are not.
            log.exception("answering a metadata change failed")


class ControllerStatus(Struct, frozen=True):
    """Topics and settings. What metrics and people are told."""

    # The metadata log is applied up to here.
    applied_offset: int
    # Of the metadata log; grows by one at each start.
    leader_epoch: int
    # How many there are, internal ones too.
    topics: int
    # Of all topics.
    partitions: int
    # Changes that are not on the disk yet.
    waiting_changes: int
    # Of the metadata log, appended since its last snapshot.
    bytes_since_snapshot: int
    # Why nothing can be changed until the broker is started again; None as long as all is well.
    halted: str | None


class Controller:
    """Owns the image and the queue of changes. Lives on the control-plane thread."""

    def __init__(
        self,
        journal: MetadataJournal,
        codec: Codec,
        clock: Clock,
        scheduler: Scheduler,
        *,
        snapshot_bytes: int,
        on_change: Callable[[MetadataImage, Change], None],
        on_halt: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self.image = MetadataImage()
        # Offset of the last record folded in.
        self.applied_offset = -1
        self._journal = journal
        self._codec = codec
        self._clock = clock
        self._scheduler = scheduler
        self._snapshot_bytes = snapshot_bytes
        self._bytes_since_snapshot = 0
        self._on_change = on_change
        self._on_halt = on_halt
        self._queue: deque[_Pending] = deque()
        # The change whose batch waits for its commit.
        self._in_flight: _Pending | None = None
        # What every change is refused with, once changes are not possible any more, and the reason.
        self._halted: RequestError | None = None
        self._halt_reason: str | None = None
        # Inside `_advance`: a callback that asks for a change joins the queue and returns.
        self._advancing = False

    def replay(self) -> None:
        """Rebuild the image from the newest snapshot and the log behind it."""
        start = 0
        snapshot = self._journal.latest_snapshot()
        if snapshot is not None:
            start, _, values = snapshot
            for value in values:
                self.image.apply(self._codec.decode_metadata_record(value), value)
            self.applied_offset = start - 1
        while start < self._journal.log_end_offset:
            records = self._journal.read(start, _READ_BYTES)
            if not records:
                # A piece of nothing but control records (a new leader's); what comes behind it counts.
                start += 1
                continue
            for offset, _, _, value in records:
                self.image.apply(self._codec.decode_metadata_record(value), value)
                self._bytes_since_snapshot += len(value)
                self.applied_offset = offset
            start = self.applied_offset + 1

    def publish(self) -> None:
        """Tell `on_change` what was applied since it was last told."""
        change = self.image.take_change()
        if change:
            self._on_change(self.image, change)

    def change(
        self,
        decide: Callable[[MetadataImage], Decision[Result]],
        done: Callable[[list[Result] | RequestError], None],
        deadline_ms: int | None = None,
    ) -> None:
        """Make a change: see the module's doc. `done` gets the results, or the error all of it failed with."""
        pending = _Pending(decide, done)
        if deadline_ms is not None:
            timed_out = RequestError(ErrorCode.REQUEST_TIMED_OUT)
            if deadline_ms <= self._clock.monotonic_ms():
                pending.finish(timed_out)
                return
            pending.deadline = self._scheduler.at(deadline_ms, lambda: self._time_out(pending, timed_out))
        self._queue.append(pending)
        self._advance()

    def halt(self, code: ErrorCode, reason: str) -> None:
        """No change is possible from now on: answer everybody who waits for one with `code`."""
        if self._halted is not None:
            return
        words = f"Nothing can be changed until the broker is started again: {reason}."
        log.error("%s", words)
        self._halted, self._halt_reason = RequestError(code, words), reason
        pending, self._in_flight = self._in_flight, None
        if pending is not None:
            pending.finish(self._halted)
        # Those in the queue are decided as ever: what needs no record can still be answered.
        self._advance()
        try:
            self._on_halt(reason)
        except BaseException:
            log.exception("telling that nothing can be changed any more failed")

    def _time_out(self, pending: _Pending, timed_out: RequestError) -> None:
        # Out of the queue first: behind a commit that does not come it would grow with each retry of a client.
        if pending is not self._in_flight:
            with suppress(ValueError):
                self._queue.remove(pending)
        pending.finish(timed_out)

    def status(self) -> ControllerStatus:
        """Give figures for metrics and people."""
        return ControllerStatus(
            applied_offset=self.applied_offset,
            leader_epoch=self._journal.leader_epoch,
            topics=len(self.image.topics),
            partitions=sum(len(topic.partitions) for topic in self.image.topics.values()),
            waiting_changes=len(self._queue) + (self._in_flight is not None),
            bytes_since_snapshot=self._bytes_since_snapshot,
            halted=self._halt_reason,
        )

    def _advance(self) -> None:
        """Work through the queue until a change has to wait for its commit, or none is left."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._in_flight is None and self._queue:
                self._decide(self._queue.popleft())
        finally:
            self._advancing = False

    def _decide(self, pending: _Pending) -> None:
        if pending.done is None:
            return
        try:
            decision = pending.decide(self.image)
            if not decision.records:
                pending.finish(decision.results)
                return
            if self._halted is not None:
                raise self._halted
            values = [self._codec.encode_metadata_record(r, RECORD_VERSIONS[type(r)]) for r in decision.records]
            offset = self._journal.append(values, self._clock.now_ms())
        except RequestError as error:
            pending.finish(error)
            return
        except StorageError as error:
            log.error("the metadata log could not be written: %s", error)  # noqa: TRY400 - the sentence says it all
            pending.finish(RequestError(ErrorCode.KAFKA_STORAGE_ERROR))
            return
        except BaseException:
            # A bug of ours; the queue must go on.
            log.exception("a metadata change failed")
            pending.finish(RequestError(ErrorCode.UNKNOWN_SERVER_ERROR))
            return
        self._in_flight = pending
        try:
            self._journal.when_committed(offset, lambda: self._committed(pending, decision, values, offset))
        except BaseException as error:
            # It may be committed or not, and nobody will say: what is decided next could contradict it.
            log.exception("nobody will say when the metadata change at offset %d is committed", offset)
            words = f"nobody can say whether the change at offset {offset} is safe: {error!r}"
            self.halt(ErrorCode.UNKNOWN_SERVER_ERROR, words)

    def _committed(self, pending: _Pending, decision: Decision[Any], values: list[bytes], offset: int) -> None:
        if self._in_flight is not pending:
            # Answered already: the log was given up meanwhile.
            return
        try:
            for record, value in zip(decision.records, values, strict=True):
                self.image.apply(record, value)
                self._bytes_since_snapshot += len(value)
        except BaseException as error:
            # A bug of ours. The image is not what the log says any more, and nothing must be decided from it.
            log.exception("the metadata change at offset %d could not be applied", offset)
            self.halt(ErrorCode.UNKNOWN_SERVER_ERROR, f"the change at offset {offset} could not be applied: {error!r}")
            return
        self.applied_offset = offset
        try:
            self.publish()
        except BaseException:
            # The change is in the log and in the image: a restart shows it. What could not be shown now is said.
            log.exception("the metadata change at offset %d is safe, but is not shown before a restart", offset)
        if self._bytes_since_snapshot >= self._snapshot_bytes:
            self._snapshot()
        self._in_flight = None
        pending.finish(decision.results)
        self._advance()

    def _snapshot(self) -> None:
        end_offset = self.applied_offset + 1
        try:
            values = [self._codec.encode_metadata_record(r, RECORD_VERSIONS[type(r)]) for r in self.image.records()]
            values.extend(self.image.kept)
            self._journal.write_snapshot(end_offset, self._journal.leader_epoch, values, self._clock.now_ms())
        except StorageError as error:
            # Nothing is lost: the log still holds it all. The next change tries again.
            log.error("no metadata snapshot before offset %d: %s", end_offset, error)  # noqa: TRY400 - as above
            return
        except BaseException:
            # A bug of ours, which the next change would meet again: tried again after as many bytes.
            log.exception("no metadata snapshot before offset %d", end_offset)
        else:
            log.info("wrote a metadata snapshot of %d records before offset %d", len(values), end_offset)
        self._bytes_since_snapshot = 0
