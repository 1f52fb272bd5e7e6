"""What keeps records inside a Python program: `ottla.Log`, and what people take in its place today.

Each is used as its own manual has it for many small records in order. A record has an offset, a timestamp, a key, which
is none here, and a value. Each store is opened with one of two promises:

    written   an append has returned when the operating system has the record: it survives a killed process
    synced    when it is on the disk: it survives a power cut

SQLite, in WAL mode, makes them with synchronous = NORMAL and FULL, LMDB with sync off and on, RocksDB (by rocksdict)
with WriteOptions.sync, ottla.Log with its durability. persist-queue's file queue syncs a file now and then and knows no
such promise; it is not in the synced rows. Each store is imported where it is opened: one need not have all of them.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import ottla

WRITTEN, SYNCED = "written", "synced"
_MAP_BYTES = 16 << 30
_ROWS = 65_536
_PUT_AT_ONCE = 10_000
# Without an end binary_slice asks for a buffer of less than no bytes.
_VALUE_BYTES_MAX = 2**31 - 1


class Store(Protocol):
    """A place for records; used from several threads."""

    def append(self, value: bytes) -> None: ...
    def append_many(self, values: Sequence[bytes]) -> None: ...
    def scan(self) -> int:
        """Read offset, timestamp, key and value of every record into Python; how many there were."""

    def columns(self) -> Iterator[Any]:
        """Every record in pyarrow's record batches, with offset and value at least."""

    def close(self) -> None: ...


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class OttlaLog:
    def __init__(self, place: Path, promise: str) -> None:
        self._log = ottla.Log(place, durability="fsync" if promise == SYNCED else "os")

    def append(self, value: bytes) -> None:
        self._log.append(value)

    def append_many(self, values: Sequence[bytes]) -> None:
        self._log.append_many(values)

    def scan(self) -> int:
        seen = 0
        for record in self._log.read():
            if record.value is not None and record.key is None and record.offset >= 0 and record.timestamp > 0:
                seen += 1
        return seen

    def columns(self) -> Iterator[Any]:
        return iter(self._log.to_arrow())

    def close(self) -> None:
        self._log.close()


class Sqlite:
    """A table whose primary key is the offset; a connection for each thread, as the manual has it."""

    INSERT = "INSERT INTO records (timestamp, key, value) VALUES (?, ?, ?)"

    def __init__(self, place: Path, promise: str) -> None:
        self._path = place
        self._synchronous = "FULL" if promise == SYNCED else "NORMAL"
        self._threads = threading.local()
        with self._connection as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS records"
                " (offset INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, key BLOB, value BLOB)"
            )

    @property
    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if found is None:
            found = self._threads.connection = sqlite3.connect(self._path, timeout=60)
            found.execute("PRAGMA journal_mode = WAL")
            found.execute(f"PRAGMA synchronous = {self._synchronous}")
        return found

    def append(self, value: bytes) -> None:
        with self._connection as connection:
            connection.execute(self.INSERT, (now_ms(), None, value))

    def append_many(self, values: Sequence[bytes]) -> None:
        at = now_ms()
        with self._connection as connection:
            connection.executemany(self.INSERT, ((at, None, value) for value in values))

    def _rows(self) -> sqlite3.Cursor:
        return self._connection.execute("SELECT offset, timestamp, key, value FROM records ORDER BY offset")

    def scan(self) -> int:
        seen = 0
        for offset, timestamp, key, value in self._rows():
            if value is not None and key is None and offset >= 0 and timestamp > 0:
                seen += 1
        return seen

    def columns(self) -> Iterator[Any]:
        import pyarrow as pa  # noqa: PLC0415

        types = {"offset": pa.int64(), "timestamp": pa.timestamp("ms"), "key": pa.binary(), "value": pa.binary()}
        cursor = self._rows()
        while rows := cursor.fetchmany(_ROWS):
            columns = zip(*rows, strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, types.values(), strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=list(types))

    def close(self) -> None:
        self._connection.close()


class _Ordered:
    """A record in a map of bytes to bytes: the offset as key, in the order of bytes; the timestamp before the value."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0

    def _offsets(self, count: int) -> int:
        with self._lock:
            first = self._next
            self._next += count
            return first

    def _pairs(self, values: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        first, at = self._offsets(len(values)), now_ms().to_bytes(8, "big")
        return ((number.to_bytes(8, "big"), at + value) for number, value in enumerate(values, first))


def seen_of(pairs: Iterator[tuple[bytes, bytes]]) -> int:
    seen = 0
    for key, value in pairs:
        offset, timestamp, content = int.from_bytes(key, "big"), int.from_bytes(value[:8], "big"), value[8:]
        if content and offset >= 0 and timestamp > 0:
            seen += 1
    return seen


def batches_of(pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[Any]:
    """Numbers by numpy, values by Arrow: no step of Python's for each record but to get it."""
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    while some := list(islice(pairs, _ROWS)):
        keys, contents = zip(*some, strict=True)
        offsets = np.frombuffer(b"".join(keys), ">i8").astype("i8")
        array = pa.array(contents, pa.binary())
        times = pc.binary_slice(array, 0, 8).cast(pa.binary(8))
        timestamps = np.frombuffer(times.buffers()[1], ">i8").astype("i8")
        arrays = [
            pa.array(offsets),
            pa.array(timestamps).cast(pa.timestamp("ms")),
            pc.binary_slice(array, 8, _VALUE_BYTES_MAX),
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=["offset", "timestamp", "value"])


class Lmdb(_Ordered):
    def __init__(self, place: Path, promise: str) -> None:
        import lmdb  # noqa: PLC0415

        super().__init__()
        self._environment = lmdb.open(str(place), map_size=_MAP_BYTES, sync=promise == SYNCED)
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            self._next = int.from_bytes(cursor.key(), "big") + 1 if cursor.last() else 0

    def append(self, value: bytes) -> None:
        at = now_ms().to_bytes(8, "big")
        with self._environment.begin(write=True) as transaction:
            # One transaction writes at a time: the offset is given inside it.
            transaction.put(self._offsets(1).to_bytes(8, "big"), at + value, append=True)

    def append_many(self, values: Sequence[bytes]) -> None:
        with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(self._pairs(values), append=True)

    def scan(self) -> int:
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            cursor.first()
            return seen_of(cursor.iternext())

    def columns(self) -> Iterator[Any]:
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            cursor.first()
            yield from batches_of(cursor.iternext())

    def close(self) -> None:
        self._environment.close()


class Rocks(_Ordered):
    def __init__(self, place: Path, promise: str) -> None:
        from rocksdict import Options, Rdict, WriteOptions  # noqa: PLC0415

        super().__init__()
        self._database: Any = Rdict(str(place), Options(raw_mode=True))
        self._options = WriteOptions()
        self._options.sync = promise == SYNCED
        self._database.set_write_options(self._options)
        last = self._database.iter()
        last.seek_to_last()
        self._next = int.from_bytes(last.key(), "big") + 1 if last.valid() else 0

    def append(self, value: bytes) -> None:
        at = now_ms().to_bytes(8, "big")
        self._database.put(self._offsets(1).to_bytes(8, "big"), at + value)

    def append_many(self, values: Sequence[bytes]) -> None:
        from rocksdict import WriteBatch  # noqa: PLC0415

        # It has no transaction of a million records; its manual has batches.
        for first in range(0, len(values), _PUT_AT_ONCE):
            batch = WriteBatch(raw_mode=True)
            for key, value in self._pairs(values[first : first + _PUT_AT_ONCE]):
                batch.put(key, value)
            self._database.write(batch, self._options)

    def scan(self) -> int:
        return seen_of(self._database.items())

    def columns(self) -> Iterator[Any]:
        return batches_of(self._database.items())

    def close(self) -> None:
        self._database.close()


class PersistQueue:
    """Its file queue. Records have neither offset nor timestamp, and reading takes them out."""

    def __init__(self, place: Path, promise: str) -> None:
        from persistqueue import Queue  # noqa: PLC0415

        assert promise == WRITTEN
        place.mkdir(exist_ok=True)
        self._queue: Any = Queue(str(place), tempdir=str(place))

    def append(self, value: bytes) -> None:
        self._queue.put(value)

    def append_many(self, values: Sequence[bytes]) -> None:
        for value in values:
            self._queue.put(value)

    def scan(self) -> int:
        seen = 0
        for _ in range(self._queue.qsize()):
            if self._queue.get(block=False):
                seen += 1
        return seen

    def columns(self) -> Iterator[Any]:
        import pyarrow as pa  # noqa: PLC0415

        values = (self._queue.get(block=False) for _ in range(self._queue.qsize()))
        while some := list(islice(values, _ROWS)):
            yield pa.RecordBatch.from_arrays([pa.array(some, pa.binary())], names=["value"])

    def close(self) -> None:
        del self._queue


STORES: dict[str, Callable[[Path, str], Store]] = {
    "ottla": OttlaLog,
    "sqlite": Sqlite,
    "lmdb": Lmdb,
    "rocksdict": Rocks,
    "persist-queue": PersistQueue,
}
TITLES = {
    "ottla": "ottla.Log",
    "sqlite": "SQLite WAL",
    "lmdb": "LMDB",
    "rocksdict": "RocksDB (rocksdict)",
    "persist-queue": "persist-queue",
}
