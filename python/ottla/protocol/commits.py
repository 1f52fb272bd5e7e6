"""Waiting for commits: the native log tells by token, coordinators and the controller are told by callback.

A native journal is asked to `watch` an offset under a token; if it is not committed yet, a ("committed", token) item
comes up the bridge when it is, and the dispatcher calls `committed`; ("never_committed", token) comes if its partition
goes offline before that. Tokens are this broker's own numbers.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.types import BatchProducer, Loading, Record, TransactionMarker


T = TypeVar("T")


def nothing() -> None:
    """For who has nothing to do then."""


class RawJournal(Protocol):
    """One partition as the native module offers it."""

    @property
    def log_start_offset(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    def append(self, records: Sequence[Record], timestamp_ms: int, producer: BatchProducer | None = None) -> int: ...
    def append_marker(
        self,
        producer_id: int,
        producer_epoch: int,
        committed: bool,
        coordinator_epoch: int,
        transaction_version: int,
    ) -> int: ...
    def start_verification(self, producer_id: int, producer_epoch: int, bumps_epoch: bool) -> int | None: ...
    def watch(self, offset: int, token: int) -> bool:
        """Say whether `offset` is committed; if not, tell under `token` when it is, or that it never will be."""
        ...

    def load(self, token: int) -> Loading:
        """Begin to read; tell under `token` when that is done, or has failed."""
        ...


class Commits:
    """Callbacks that wait for a commit, by token."""

    def __init__(self) -> None:
        self._tokens = count(1)
        # What to do when it is committed, and if it never will be.
        self._waiting: dict[int, tuple[Callable[[], None], Callable[[], None]]] = {}

    def __len__(self) -> int:
        """How many callbacks wait."""
        return len(self._waiting)

    def when(
        self,
        watch: Callable[[int, int], bool],
        offset: int,
        callback: Callable[[], None],
        in_vain: Callable[[], None] = nothing,
    ) -> None:
        """Call `callback` when `watch` says that `offset` is committed, at once or by its token; else `in_vain`."""
        token = next(self._tokens)
        # Entered first: the native side may tell before `watch` returns.
        self._waiting[token] = callback, in_vain
        if watch(offset, token):
            self.committed(token)

    def when_done(self, begin: Callable[[int], T], callback: Callable[[T], None]) -> None:
        """Begin work that tells under a token when it is done; `callback` gets what `begin` gave."""
        token = next(self._tokens)
        begun: list[T] = []
        self._waiting[token] = lambda: callback(begun[0]), nothing
        try:
            begun.append(begin(token))
        except BaseException:
            del self._waiting[token]
            raise

    def committed(self, token: int) -> None:
        """Tell who waits under a token; one that is not known (any more) is nobody's."""
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            waiting[0]()

    def never_committed(self, token: int) -> None:
        """Tell who waits under a token that it is in vain."""
        waiting = self._waiting.pop(token, None)
        if waiting is not None:
            waiting[1]()


class CommittingJournal:
    """A native journal with callbacks: `types.Journal`. Who waits for a commit that never comes is not told; the owner
    of the journal is, by `went_offline`, once or more often, and has them answered.
    """

    def __init__(self, raw: RawJournal, commits: Commits, went_offline: Callable[[], None] = nothing) -> None:
        self._raw = raw
        self._commits = commits
        self._went_offline = went_offline
        # The hottest call has no business going through Python twice.
        self.append = raw.append

    @property
    def log_start_offset(self) -> int:
        """First offset that can be read."""
        return self._raw.log_start_offset

    @property
    def high_watermark(self) -> int:
        """Offset after the last committed record."""
        return self._raw.high_watermark

    def append_marker(self, marker: TransactionMarker) -> int:
        """Write the end of a producer's transaction, and return its offset."""
        return self._raw.append_marker(
            marker.producer_id,
            marker.producer_epoch,
            marker.committed,
            marker.coordinator_epoch,
            marker.transaction_version,
        )

    def start_verification(self, producer_id: int, producer_epoch: int, *, bumps_epoch: bool) -> int | None:
        """Begin to ask for a producer's transaction; None if there is nothing to ask for."""
        return self._raw.start_verification(producer_id, producer_epoch, bumps_epoch)

    def when_committed(self, offset: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `offset` lies before the high watermark; at once if it does already."""
        self._commits.when(self._raw.watch, offset, callback, self._went_offline)

    def load(self, callback: Callable[[Loading], None]) -> None:
        """Read everything that is committed, on a thread of the native side, and call `callback` when that is done."""
        self._commits.when_done(self._raw.load, callback)


class RawMetadataLog(Protocol):
    """The metadata log as the native module offers it."""

    @property
    def log_end_offset(self) -> int: ...
    @property
    def leader_epoch(self) -> int: ...
    def append(self, values: Sequence[bytes], timestamp_ms: int) -> int: ...
    def watch(self, offset: int, token: int) -> bool: ...
    def read(self, start_offset: int, max_bytes: int) -> list[tuple[int, int, int, bytes]]: ...
    def latest_snapshot(self) -> tuple[int, int, list[bytes]] | None: ...
    def write_snapshot(self, end_offset: int, epoch: int, values: Sequence[bytes], timestamp_ms: int) -> None: ...


class CommittingMetadataLog:
    """The native metadata log with callbacks: `controller.MetadataJournal`."""

    def __init__(self, raw: RawMetadataLog, commits: Commits) -> None:
        self._raw = raw
        self._commits = commits
        self.append = raw.append
        self.read = raw.read
        self.latest_snapshot = raw.latest_snapshot
        self.write_snapshot = raw.write_snapshot

    @property
    def log_end_offset(self) -> int:
        """Offset the next record gets."""
        return self._raw.log_end_offset

    @property
    def leader_epoch(self) -> int:
        """Epoch of this start."""
        return self._raw.leader_epoch

    def when_committed(self, offset: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `offset` is safe; at once if it is already."""
        self._commits.when(self._raw.watch, offset, callback)
