"""A journal in memory: one partition of an internal topic as a coordinator sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.types import JournalRecord, Record


class MemoryJournal:
    """Keeps its records in a list, and obeys the test.

    `commit_at_once=True` (the default) moves the high watermark with every append. Otherwise it stays until
    `commit()`, as it does while a group commit is on its way to the disk. `fail_with` is raised by the next append,
    which then writes nothing.
    """

    def __init__(self, *, commit_at_once: bool = True, start_offset: int = 0) -> None:
        self.commit_at_once = commit_at_once
        self.fail_with: Exception | None = None
        # The batches as appended: tests look here to see that one turn of the loop made one append.
        self.batches: list[list[Record]] = []
        self.records: list[JournalRecord] = []
        self._start_offset = start_offset
        self._end_offset = start_offset
        self._high_watermark = start_offset
        self._waiting: list[tuple[int, Callable[[], None]]] = []

    @property
    def log_start_offset(self) -> int:
        """First offset that can be read."""
        return self._start_offset

    @property
    def high_watermark(self) -> int:
        """Offset after the last committed record."""
        return self._high_watermark

    @property
    def log_end_offset(self) -> int:
        """Offset the next record gets."""
        return self._end_offset

    def append(self, records: Sequence[Record], timestamp_ms: int) -> int:
        """Write one batch and return the offset of its last record."""
        if self.fail_with is not None:
            error, self.fail_with = self.fail_with, None
            raise error
        if not records:
            raise ValueError("a batch has at least one record")
        self.batches.append(list(records))
        for key, value in records:
            self.records.append((self._end_offset, timestamp_ms, key, value))
            self._end_offset += 1
        if self.commit_at_once:
            self.commit()
        return self._end_offset - 1

    def when_committed(self, offset: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `offset` lies before the high watermark; at once if it does already."""
        if offset < self._high_watermark:
            callback()
        else:
            self._waiting.append((offset, callback))

    def read(self, start_offset: int, max_bytes: int) -> list[JournalRecord]:
        """Committed records from `start_offset` on, at least one if there is one."""
        found: list[JournalRecord] = []
        size = 0
        for record in self.records:
            offset, _, key, value = record
            if offset < start_offset or offset >= self._high_watermark:
                continue
            size += len(key or b"") + len(value or b"")
            if found and size > max_bytes:
                break
            found.append(record)
        return found

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
        self.records = [record for record in self.records if record[0] < self._high_watermark]
        self._end_offset = self._high_watermark
        self._waiting.clear()
