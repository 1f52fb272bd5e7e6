"""`ottla.Log`: a durable log inside a program, as sqlite3 is a database inside one.

    with ottla.Log("orders") as log:
        offset = log.append(b"...", key=b"4711")
        for record in log.read(offset):
            print(record.offset, record.timestamp, record.key, record.value)

The directory is a data directory with one topic of one partition: `ottla serve --data-dir orders` serves it, and
Kafka's tools read it. The hot methods are native (`_core.Log`); this module is how it is opened, followed and ended.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakSet

from msgspec import Struct, convert

from ottla import _core
from ottla._core import Columns, Record, Records
from ottla.embed.arrow import append_arrow, to_arrow
from ottla.embed.topic import find_or_make
from ottla.errors import Closed, InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType
    from typing import Literal

__all__ = ["Columns", "Follow", "Log", "LogStatus", "Record", "Records"]

_MS_PER_S = 1000


class LogStatus(Struct, frozen=True):
    """Figures of an open log. Offsets are exclusive ends, but for `start_offset`."""

    # The directory.
    path: str
    # Opened so; then offsets end where the owner lets others read.
    read_only: bool
    # Somebody has the log open to write; of one that was killed this is not known.
    has_writer: bool
    # The first that may be read.
    start_offset: int
    # What the next record gets.
    end_offset: int
    # Below it lies what may be read; with durability "fsync" that is what is on the disk.
    readable_offset: int
    # Below it everything is on the disk.
    durable_offset: int
    # Files of records.
    segments: int
    # In them.
    bytes: int
    # What a power cut would take.
    unsynced_bytes: int
    # Whether the last owner had closed it; a reader is not told.
    clean_start: bool | None
    # Why nothing more can be written or read, if so.
    offline: str | None
    # Each named cursor with where it stands.
    cursors: Mapping[str, int]


class Log(_core.Log):
    """A log in the directory `path`, which is made when it is missing. One process has it open at a time.

    `topic`: which topic of the directory; without it the only one there, or a new one with the directory's name.
    `durability`: "fsync" (the default): `append` returns once the record is on the disk, and nothing is read that a
    power cut can take back; "os": it returns once the record is with the operating system, which survives the end of
    the process. Appends of many threads share a sync. `segment_bytes`: when a new file begins. `retention_ms`,
    `retention_bytes`: what is older, or too much, goes (a segment at a time); -1, the default, keeps all.
    `compression`: "none", "gzip", "snappy", "lz4" or "zstd". `compacted`: of each key the last record is kept.
    `config`: further settings of the topic by Kafka's names. What is not given stays as it was.

    `read_only`: the log of another process, of which nothing is changed: read, followed and asked for its cursors, up
    to what its owner has on the disk. No other setting goes with it but `topic`. `Overtaken` and `OffsetOutOfRange` are
    raised when truncation, compaction or deletion passes a reader. `virtual_clock`: for tests, which turn it.

    Use it from any number of threads. After a fork the child must open it again. Programs that end without `close`
    close it all the same, behind their last thread that is no daemon; one that is killed loses nothing that was
    promised. Ctrl-C ends what takes long: reading, appending, packing, `sync`, `compact`.

    Raises `DirectoryInUse`, `ReadOnly` (by what writes), `InvalidInput` (a name or a setting; a directory that holds
    something else is a `StorageError`), `NewerFormat`, `StorageError`.
    """

    def __new__(
        cls,
        path: str | os.PathLike[str],
        *,
        topic: str | None = None,
        read_only: bool = False,
        durability: Literal["fsync", "os"] | None = None,
        segment_bytes: int | None = None,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] | None = None,
        compacted: bool | None = None,
        config: Mapping[str, str] | None = None,
        virtual_clock: _core.VirtualClock | None = None,
    ) -> Self:
        """Open or make the log."""
        asked: dict[str, str] = dict(config or {})
        if durability is not None:
            asked["ottla.durability"] = durability
        if compression is not None:
            asked["compression.type"] = "uncompressed" if compression == "none" else compression
        if compacted is not None:
            asked["cleanup.policy"] = "compact" if compacted else "delete"
        for name, number in (
            ("segment.bytes", segment_bytes),
            ("retention.ms", retention_ms),
            ("retention.bytes", retention_bytes),
        ):
            if number is not None:
                asked[name] = str(number)
        place = Path(path)
        if place.exists() and not place.is_dir():
            raise InvalidInput(f"{place} is a file: a log is a directory")
        if read_only:
            if asked or virtual_clock is not None:
                raise InvalidInput("a log that is opened with read_only=True has the settings its owner gave it")
            follower = _core.LogFollower(str(place), topic)
            return _noted(super().__new__(cls, follower), follower.topic)
        directory = _core.LogDirectory(str(place), virtual_clock=virtual_clock)
        try:
            found = find_or_make(directory, _core.Codec(), topic, place.resolve().name, asked)
            log = super().__new__(cls, directory, found.name, found.topic_id, found.leader_epoch, list(found.settings))
        except BaseException:
            # Now, and not when the last traceback that names it is gone.
            directory.close()
            raise
        return _noted(log, found.name)

    topic: str
    """The topic's name, as `ottla serve` and Kafka's clients know it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Record]:
        return self.read()

    def follow(self, start: int | None = None, *, timeout_ms: int | None = None) -> Follow:
        """Records from `start` on, and then those that come: `for` waits in this thread, `async for` in an event loop.

        Without a start it begins with what comes next. It ends once nothing came for `timeout_ms`, or the log is
        closed: a program whose thread follows does not end before that, unless the thread is a daemon. Raises
        `OffsetOutOfRange` if what it would read next was deleted, or the start lies beyond the end.
        """
        return Follow(self, start, timeout_ms)

    def to_arrow(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        json: Any = None,
        avro: Any = None,
        unfit: Literal["raise", "null"] = "raise",
    ) -> Any:
        """Give records from `start` to below `stop` as a `pyarrow.RecordBatchReader`; needs `ottla[arrow]`.

        Columns: `offset` (int64), `timestamp` (ms, UTC; null where a record has none), `key` and `value` (binary views
        into what was read, not copied), `headers` (a list of key and value). Checksums are checked. The log must stay
        open while it is read. Raises `OffsetOutOfRange`; what is met later is an `OSError` of pyarrow.

        `json`: values are JSON objects, and `value` becomes a struct of their fields: those of a `pyarrow.Schema`, what
        else an object has being left out; or, with True, those that the first record batch has, of the types it shows.
        `avro`: values are in Avro's binary encoding, of the schema given, as a dict or as JSON; or framed by a schema
        registry's serializers, given the schemas by their ids, where the columns are those of the last.
        A value that does not fit raises `UnfitValue`, or with `unfit="null"` is null.
        """
        return to_arrow(self, start, stop, json=json, avro=avro, unfit=unfit)

    def append_arrow(self, batches: Any, *, wait: bool = True) -> int | None:
        """Append the rows of Arrow tables, record batches, readers or an iterable of them; the offset of the last.

        They have a column `value` (binary or text), and may have `key`, `timestamp` and `headers`, as `to_arrow` gives
        them; `offset` is not looked at. Raises `InvalidInput` for other columns: batches before stay.
        """
        return append_arrow(self, batches, wait=wait)

    def status(self) -> LogStatus:
        """Give figures of this log."""
        return convert(self.status_values(), LogStatus)


class Follow:
    """What `Log.follow` returns; iterate it once, by `for` or by `async for`."""

    def __init__(self, log: Log, start: int | None, timeout_ms: int | None) -> None:
        self._log = log
        self._timeout_ms = timeout_ms
        self._records = log.follow_records(start, timeout_ms)

    @property
    def next_offset(self) -> int:
        """Where it goes on."""
        return self._records.next_offset

    def __iter__(self) -> Iterator[Record]:
        return self._records

    async def __aiter__(self) -> AsyncIterator[Record]:
        """Read on the loop's thread, a piece at a time; only the waiting is asynchronous."""
        # Who waits in no event loop does without: importing it takes as long as the rest of this package.
        import asyncio  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        arrival, arrived = self._records.arrival(), asyncio.Event()
        loop.add_reader(arrival.fileno(), arrived.set)
        try:
            while True:
                # Cleared before the look: what comes after it rings again.
                arrival.clear()
                arrived.clear()
                while (record := self._ready()) is not None:
                    yield record
                if self._log.closed:
                    return
                if self._timeout_ms is None:
                    await arrived.wait()
                    continue
                try:
                    await asyncio.wait_for(arrived.wait(), self._timeout_ms / _MS_PER_S)
                except TimeoutError:
                    return
        finally:
            loop.remove_reader(arrival.fileno())

    def _ready(self) -> Record | None:
        """Give the next record if it is there; closing the log is the end, whenever that is."""
        try:
            return None if self._log.closed else self._records.take_ready()
        except Closed:
            return None


_open: WeakSet[Any] = WeakSet()
Opened = TypeVar("Opened", bound=Log)


def _noted(log: Opened, topic: str) -> Opened:
    """Note a log that was opened: it is closed at the latest when the interpreter ends."""
    log.topic = topic
    _open.add(log)
    return log


def _close_all() -> None:
    """Close what the program has left open, so that the directories are clean and daemon threads that wait are woken.

    The interpreter waits before this for threads that are no daemons: they may work with their logs to their own end,
    and one that waits in `follow` is ended by who closes the log, as one in `queue.Queue.get` is by its sentinel.
    """
    for log in list(_open):
        log.close()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_core.after_fork_in_child)
