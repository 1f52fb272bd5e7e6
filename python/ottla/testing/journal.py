"""A journal in memory: one partition of an internal topic as a coordinator sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.types import BatchProducer, LoadedRecord, Loading, Record, TransactionMarker

# Offset, timestamp in milliseconds, key, value.
JournalRecord = tuple[int, int, bytes | None, bytes | None]

_NO_PRODUCER = (-1, -1)


@dataclass(slots=True)
class _Producer:
    """What a log knows of a producer that wrote to it."""

    epoch: int
    coordinator_epoch: int = -1
    is_open: bool = False


class MemoryLoading:
    """What counts of a journal; `types.Loading`."""

    def __init__(self, records: list[LoadedRecord], end_offset: int, without_key: int) -> None:
        self._left = records[::-1]
        self.end_offset = end_offset
        self.without_key = without_key

    @property
    def is_over(self) -> bool:
        """Nothing is left."""
        return not self._left

    def take(self, bytes_max: int) -> list[LoadedRecord]:
        """About `bytes_max` of what is left, at least one record if there is one."""
        taken: list[LoadedRecord] = []
        size = 0
        while self._left and size < bytes_max:
            record = self._left.pop()
            size += len(record[1]) + len(record[2])
            taken.append(record)
        return taken


class MemoryJournal:
    """Keeps its records in a list, and obeys the test.

    `commit_at_once=True` (the default) moves the high watermark with every append. Otherwise it stays until
    `commit()`, as it does while a group commit is on its way to the disk. `fail_with` is raised by the next append,
    which then writes nothing. With `load_at_once=False` nobody is told what the log says before `finish_loading()`.
    """

    def __init__(self, *, commit_at_once: bool = True, start_offset: int = 0) -> None:
        self.commit_at_once = commit_at_once
        self.load_at_once = True
        self.fail_with: Exception | None = None
        # Everything as appended, by its first offset.
        self.appends: list[tuple[int, list[Record] | TransactionMarker]] = []
        self.records: list[JournalRecord] = []
        # Of the records that belong to transactions; and how those ended, by offset.
        self.producers: dict[int, tuple[int, int]] = {}
        self.markers: dict[int, TransactionMarker] = {}
        self._start_offset = start_offset
        self._end_offset = start_offset
        self._high_watermark = start_offset
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._loading: list[Callable[[Loading], None]] = []
        self._known: dict[int, _Producer] = {}
        # By producer: guard, epoch, and whether each transaction has an epoch of its own.
        self._verifications: dict[int, tuple[int, int, bool]] = {}
        self._guards = 0

    @property
    def log_start_offset(self) -> int:
        """First offset that can be read."""
        return self._start_offset

    @property
    def high_watermark(self) -> int:
        """Offset after the last committed record."""
        return self._high_watermark

    @property
    def batches(self) -> list[list[Record]]:
        """The batches as appended: tests look here to see that one turn of the loop made one append."""
        return [records for _, records in self.appends if isinstance(records, list)]

    @property
    def log_end_offset(self) -> int:
        """Offset the next record gets."""
        return self._end_offset

    def append(self, records: Sequence[Record], timestamp_ms: int, producer: BatchProducer | None = None) -> int:
        """Write one batch and return the offset of its last record."""
        self._fail()
        if not records:
            raise ValueError("a batch has at least one record")
        if producer is not None:
            self._judge(producer)
        self.appends.append((self._end_offset, list(records)))
        for key, value in records:
            self.records.append((self._end_offset, timestamp_ms, key, value))
            if producer is not None:
                self.producers[self._end_offset] = producer[:2]
            self._end_offset += 1
        if producer is not None:
            self._enter(producer.producer_id, producer.producer_epoch)
        if self.commit_at_once:
            self.commit()
        return self._end_offset - 1

    def append_marker(self, marker: TransactionMarker) -> int:
        """Write the end of a transaction and return its offset."""
        self._fail()
        known = self._known.get(marker.producer_id)
        if known is not None:
            epoch = marker.producer_epoch
            is_same = marker.transaction_version >= 2 and epoch == known.epoch and known.is_open
            if epoch < known.epoch or is_same:
                raise RequestError(ErrorCode.INVALID_PRODUCER_EPOCH)
            if marker.coordinator_epoch < known.coordinator_epoch:
                raise RequestError(ErrorCode.TRANSACTION_COORDINATOR_FENCED)
        self.appends.append((self._end_offset, marker))
        self.markers[self._end_offset] = marker
        self._end_offset += 1
        self._end(marker)
        if self.commit_at_once:
            self.commit()
        return self._end_offset - 1

    def start_verification(self, producer_id: int, producer_epoch: int, *, bumps_epoch: bool) -> int | None:
        """Begin to ask for a producer's transaction; None if it is open."""
        known = self._known.get(producer_id)
        if known is not None:
            if producer_epoch < known.epoch:
                raise RequestError(ErrorCode.INVALID_PRODUCER_EPOCH)
            if known.is_open and producer_epoch == known.epoch:
                return None
        asked = self._verifications.get(producer_id)
        if asked is None or asked[1] < producer_epoch:
            self._guards += 1
            asked = self._verifications[producer_id] = (self._guards, producer_epoch, bumps_epoch)
        return asked[0]

    def when_committed(self, offset: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `offset` lies before the high watermark; at once if it does already."""
        if offset < self._high_watermark:
            callback()
        else:
            self._waiting.append((offset, callback))

    def load(self, callback: Callable[[Loading], None]) -> None:
        """Tell what the committed records say, in this call if `load_at_once`."""
        self._loading.append(callback)
        if self.load_at_once:
            self.finish_loading()

    def finish_loading(self) -> None:
        """Tell those who wait for it what the log says."""
        waiting, self._loading = self._loading, []
        for callback in waiting:
            callback(self._fold())

    def commit(self, end_offset: int | None = None) -> None:
        """Move the high watermark to `end_offset` (default: the log end) and call who waited for it."""
        target = self._end_offset if end_offset is None else end_offset
        if not self._high_watermark <= target <= self._end_offset:
            raise ValueError(f"high watermark {self._high_watermark} cannot move to {target}")
        self._high_watermark = target
        ready = [callback for offset, callback in self._waiting if offset < target]
        self._waiting = [(offset, callback) for offset, callback in self._waiting if offset >= target]
        for callback in ready:
            callback()

    def crash(self) -> None:
        """Lose what was not committed, as a power cut does; who waited is never called."""
        self._end_offset = self._high_watermark
        self.appends = [append for append in self.appends if append[0] < self._end_offset]
        self.records = [record for record in self.records if record[0] < self._end_offset]
        self.producers = {at: producer for at, producer in self.producers.items() if at < self._end_offset}
        self.markers = {at: marker for at, marker in self.markers.items() if at < self._end_offset}
        self._waiting.clear()
        self._loading.clear()
        self._verifications.clear()
        self._known.clear()
        for offset in sorted(self.producers | self.markers):
            if (marker := self.markers.get(offset)) is not None:
                self._end(marker)
            else:
                self._enter(*self.producers[offset])

    def _fail(self) -> None:
        if self.fail_with is not None:
            error, self.fail_with = self.fail_with, None
            raise error

    def _judge(self, producer: BatchProducer) -> None:
        known = self._known.get(producer.producer_id)
        if known is not None and producer.producer_epoch < known.epoch:
            raise RequestError(ErrorCode.INVALID_PRODUCER_EPOCH)
        is_open = known is not None and known.is_open and known.epoch == producer.producer_epoch
        guard = self._verifications.get(producer.producer_id, (None,))[0]
        if not is_open and (producer.guard is None or producer.guard != guard):
            raise RequestError(ErrorCode.INVALID_TXN_STATE)

    def _enter(self, producer_id: int, epoch: int) -> None:
        known = self._known.setdefault(producer_id, _Producer(epoch))
        known.epoch, known.is_open = epoch, True
        self._verifications.pop(producer_id, None)

    def _end(self, marker: TransactionMarker) -> None:
        known = self._known.setdefault(marker.producer_id, _Producer(marker.producer_epoch))
        known.epoch, known.is_open = marker.producer_epoch, False
        known.coordinator_epoch = marker.coordinator_epoch
        _, epoch, bumps_epoch = self._verifications.get(marker.producer_id, (0, -1, False))
        # With v2 the marker carries the epoch of the next transaction, which may be asked for already.
        if not bumps_epoch or epoch != marker.producer_epoch:
            self._verifications.pop(marker.producer_id, None)

    def _fold(self) -> MemoryLoading:
        """Of each key the last record, as the log says it: one after the other."""
        counting: dict[bytes, LoadedRecord] = {}
        pending: dict[tuple[int, bytes], LoadedRecord] = {}
        without_key = 0
        by_offset = {record[0]: record for record in self.records}
        for offset in sorted(by_offset | self.markers):
            if offset >= self._high_watermark:
                break
            if (marker := self.markers.get(offset)) is not None:
                for producer_id, key in [of for of in pending if of[0] == marker.producer_id]:
                    record = pending.pop((producer_id, key))
                    if marker.committed and (key not in counting or counting[key][0] < record[0]):
                        counting[key] = (*record[:3], *_NO_PRODUCER)
                continue
            _, _, key_or_none, value = by_offset[offset]
            if key_or_none is None:
                without_key += 1
            elif value is None:
                counting.pop(key_or_none, None)
                pending = {of: record for of, record in pending.items() if of[1] != key_or_none}
            elif (producer := self.producers.get(offset)) is not None:
                pending[producer[0], key_or_none] = (offset, key_or_none, value, *producer)
            else:
                counting[key_or_none] = (offset, key_or_none, value, *_NO_PRODUCER)
        records = sorted([*counting.values(), *pending.values()])
        return MemoryLoading(records, self._high_watermark, without_key)
