"""A metadata log in memory, with snapshots, for tests of the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class MemoryMetadataJournal:
    """Batches in a list. `commit_at_once=False` lets the test decide when appends are safe; see `MemoryJournal`."""

    def __init__(self, *, commit_at_once: bool = True) -> None:
        self.commit_at_once = commit_at_once
        # Raised by the next append, or the next snapshot, which then writes nothing.
        self.fail_with: Exception | None = None
        self.fail_snapshot_with: Exception | None = None
        # (first offset, values) of every batch that is still in the log.
        self.batches: list[tuple[int, list[bytes]]] = []
        # The same of everything ever appended.
        self.history: list[tuple[int, list[bytes]]] = []
        self.snapshot: tuple[int, int, list[bytes]] | None = None
        self.leader_epoch = 1
        self.log_end_offset = 0
        self.committed = 0
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._offline: Exception | None = None

    def append(self, values: Sequence[bytes], timestamp_ms: int) -> int:  # noqa: ARG002 - the real one stamps batches
        """Write one batch and return its last offset."""
        if self._offline is not None:
            raise self._offline
        if self.fail_with is not None:
            error, self.fail_with = self.fail_with, None
            raise error
        self.batches.append((self.log_end_offset, list(values)))
        self.history.append(self.batches[-1])
        self.log_end_offset += len(values)
        if self.commit_at_once:
            self.commit()
        return self.log_end_offset - 1

    def append_control(self) -> None:
        """Take one offset for a control record, which readers never see."""
        self.batches.append((self.log_end_offset, []))
        self.log_end_offset += 1
        self.committed = self.log_end_offset

    def when_committed(self, offset: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `offset` is safe."""
        if offset < self.committed:
            callback()
        else:
            self._waiting.append((offset, callback))

    def read(self, start_offset: int, max_bytes: int) -> list[tuple[int, int, int, bytes]]:  # noqa: ARG002 - small logs
        """Give one batch from `start_offset` on; nothing of a control batch."""
        for first, values in self.batches:
            if first + max(1, len(values)) > start_offset:
                return [
                    (first + number, self.leader_epoch, 0, value)
                    for number, value in enumerate(values)
                    if first + number >= start_offset
                ]
        return []

    def latest_snapshot(self) -> tuple[int, int, list[bytes]] | None:
        """Give the snapshot last written."""
        return self.snapshot

    def write_snapshot(self, end_offset: int, epoch: int, values: Sequence[bytes], timestamp_ms: int) -> None:  # noqa: ARG002
        """Keep the snapshot and drop the batches before it."""
        if self.fail_snapshot_with is not None:
            error, self.fail_snapshot_with = self.fail_snapshot_with, None
            raise error
        self.snapshot = (end_offset, epoch, list(values))
        self.batches = [batch for batch in self.batches if batch[0] >= end_offset]

    def commit(self) -> None:
        """Make everything appended safe and call who waited for it."""
        self.committed = self.log_end_offset
        waiting, self._waiting = self._waiting, []
        for _, callback in waiting:
            callback()

    def go_offline(self, reason: Exception) -> None:
        """Refuse every append from now on; who waits for a commit is never called, as after a failed fsync."""
        self._offline = reason
        self._waiting = []

    def restart(self, *, power_cut: bool = False) -> MemoryMetadataJournal:
        """Give the log as the next start finds it; a power cut takes what was not committed."""
        again = MemoryMetadataJournal(commit_at_once=self.commit_at_once)
        again.batches = [batch for batch in self.batches if not power_cut or batch[0] < self.committed]
        again.snapshot = self.snapshot
        again.log_end_offset = again.committed = self.committed if power_cut else self.log_end_offset
        again.leader_epoch = self.leader_epoch + 1
        return again
