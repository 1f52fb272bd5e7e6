"""The native half of Ottla: bytes, files and sockets. Private: use `ottla`, not this.

Nothing here decides. Topics, groups and the API table are Python's; this module keeps logs, serves the hot APIs and
carries everything else up through the `Bridge`. Every call that may wait releases the GIL.

Times: `now_ms` is wall-clock milliseconds since 1970, `monotonic_ms` never goes back. Offsets are record offsets.
Uuids are 16 bytes. Errors are those of `ottla.errors`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias, final

from msgspec import Struct
from typing_extensions import Buffer, disjoint_base

__all__ = [
    "Arrival",
    "ArrowRecords",
    "Bridge",
    "Codec",
    "Columns",
    "DirectoryLock",
    "Engine",
    "FileBatches",
    "Journal",
    "Load",
    "Log",
    "LogDirectory",
    "LogFollower",
    "MarkersWritten",
    "MetadataLog",
    "PartitionFiles",
    "Record",
    "Records",
    "Server",
    "View",
    "VirtualClock",
    "__version__",
    "after_fork_in_child",
    "check_format",
    "check_pattern",
    "flush_logs",
    "is_locked",
    "match_patterns",
    "set_log_level",
    "xxh3_64",
]

__version__: str

# (name, topic id, internal, effective topic configs by Kafka's names,
#  partitions as (index, leader, leader epoch, partition epoch, replicas, isr))
TopicTuple: TypeAlias = tuple[
    str, bytes, bool, Mapping[str, object], Sequence[tuple[int, int, int, int, Sequence[int], Sequence[int]]]
]
# (id, rack, endpoints as (listener, host, port))
BrokerTuple: TypeAlias = tuple[int, str | None, Sequence[tuple[str, str, int]]]

def flush_logs() -> None:
    """Wait until Python's `logging` has every native line logged before this call."""

def set_log_level(level: int) -> None:
    """The least severe native lines that reach `logging`, by its numbers (10 debug ... 40 error)."""

def check_pattern(pattern: str) -> str | None:
    """Why this is no regular expression of the RE2 family (or one too large to be compiled); None if it is one."""

def match_patterns(patterns: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """For each pattern the names it matches as a whole, in their order; none if it is no pattern."""

def xxh3_64(data: bytes) -> int:
    """XXH3 in 64 bits, unsigned, without a seed."""

@final
class VirtualClock:
    """A clock that only a test turns; hand it to `Engine`."""

    def __new__(cls, now_ms: int) -> VirtualClock: ...
    def turn(self, by_ms: int) -> None:
        """Move both clocks forward; deadlines that are due fire."""

@final
class Codec:
    """Kafka's messages: bytes to the classes of `ottla.messages` and back. Raises `CodecError`."""

    def __new__(cls) -> Codec: ...
    def decode_request(self, api_key: int, version: int, body: bytes) -> Struct: ...
    def encode_response(self, api_key: int, version: int, response: Struct) -> bytes: ...
    def encode_request(self, api_key: int, version: int, request: Struct) -> bytes: ...
    def decode_response(self, api_key: int, version: int, body: bytes) -> Struct: ...
    def encode_metadata_record(self, record: Struct, version: int) -> bytes: ...
    def decode_metadata_record(self, value: bytes) -> Struct | None: ...
    def encode_coordinator_record(
        self, key: Struct, value: Struct | None, version: int | None = None
    ) -> tuple[bytes, bytes | None]: ...
    def decode_coordinator_record(
        self, topic_kind: Literal["group", "transaction"], key: bytes, value: bytes | None
    ) -> tuple[Any, Any] | None: ...
    def encode_struct(self, name: str, version: int, obj: Struct) -> bytes: ...
    def decode_struct(self, name: str, version: int, body: bytes) -> Struct: ...
    def encode_request_header(
        self, api_key: int, version: int, correlation_id: int, client_id: str | None = None
    ) -> bytes:
        """What stands in front of a request's body, without the size of the frame."""

    def decode_response_header(self, api_key: int, version: int, frame: bytes) -> tuple[int, bytes]:
        """The correlation id of a response, and its body."""

@final
class Bridge:
    """Requests up in batches with one wake-up, answers down in batches. One per broker; one Python thread drains it."""

    def __new__(cls, codec: Codec) -> Bridge: ...
    def fileno(self) -> int:
        """A descriptor that is readable when items wait."""

    def drain(self, most: int) -> list[tuple[Any, ...]]:
        """At most `most` waiting items, oldest first; the first element of each says what it is. Fewer come where their
        bodies are long (those of one drain live at the same time); `fileno` is readable again if some are left.

        ("request", token, api_key, api_version, correlation_id, client_id, client_host, connection_id, listener,
        received_ms, body), ("committed", token), ("create_topics", token, names),
        ("verify_transaction", token, transactional_id, producer_id, producer_epoch, [(topic, partition)], adds),
        ("disconnected", connection_id), ("never_committed", token), ("metadata_offline", reason). A request whose body
        cannot be decoded never appears: its connection is closed, with a log line.
        """

    def answer(self, answers: list[tuple[int, Struct]]) -> None:
        """Send responses, by token. One that cannot be encoded closes its connection; the first such error is raised
        after all others were sent."""

    def refuse(self, token: int) -> None:
        """Close the connection of a request."""

    def resume(self, token: int, results: Sequence[tuple[str, int]]) -> None:
        """Answer "create_topics": (name, error code) for each name."""

    def resume_verify(self, token: int, error_code: int) -> None:
        """Answer "verify_transaction"; 0 lets the batch be written."""

    def pending(self) -> int:
        """Requests that wait for an answer."""

@final
class Engine:
    """A data directory: its lock, its partitions, what exists. `data_dirs=None` keeps everything in memory.

    Raises `DirectoryInUse`, `NewerFormat`, `StorageError`.
    """

    def __new__(
        cls,
        data_dirs: Sequence[str] | None,
        *,
        bridge: Bridge,
        node_id: int,
        cluster_id: str | None,
        settings: Mapping[str, object],
        virtual_clock: VirtualClock | None = None,
    ) -> Engine: ...
    @property
    def cluster_id(self) -> str: ...
    @property
    def node_id(self) -> int: ...
    @property
    def clean_shutdown(self) -> bool:
        """Whether the last holder of the directory closed it cleanly."""

    def now_ms(self) -> int: ...
    def monotonic_ms(self) -> int: ...
    def metadata_log(self) -> MetadataLog: ...
    def publish(
        self,
        *,
        offset: int,
        controller_id: int,
        brokers: Sequence[BrokerTuple],
        topics: Sequence[TopicTuple],
        deleted: Sequence[bytes],
        supported_features: Sequence[tuple[str, int, int]] = ...,
        finalized_features: Sequence[tuple[str, int]] = ...,
        finalized_epoch: int = ...,
    ) -> None:
        """Make what changed visible to the data plane: topics new or changed, ids of topics deleted.

        Topics that are not named stay as they are; brokers and features are replaced. Partitions of a deleted topic
        stop answering at once and their files go.
        """

    def journal(self, topic: str, partition: int) -> Journal:
        """A published partition as a journal. Raises `StorageError` if it is not published."""

    def write_markers(
        self,
        producer_id: int,
        producer_epoch: int,
        committed: bool,
        coordinator_epoch: int,
        transaction_version: int,
        partitions: Sequence[tuple[str, int]],
        token: int,
    ) -> MarkersWritten:
        """Begin to end a transaction in each of the partitions; a ("committed", token) item follows when each marker
        is committed or refused."""

    def producers(
        self, partitions: Sequence[tuple[str, int]]
    ) -> list[tuple[int, list[tuple[int, int, int, int, int, int]]]]:
        """For each partition (error code, producers): id, epoch, last sequence, last timestamp, coordinator epoch and
        first offset of the open transaction, -1 if none is."""

    def delete_records(self, partitions: Sequence[tuple[str, int, int]]) -> list[tuple[int, int]]:
        """Move the log start of each (topic, partition, offset): DeleteRecords.

        -1 stands for the high watermark. Gives (Kafka's error code, log start now; -1 with an error) in the same order.
        The new starts are on the disk when it returns.
        """

    def usage(self) -> list[tuple[str, int, tuple[int, int] | None, list[tuple[str, int, int]]]]:
        """Each data directory: path, error code, (bytes of its disk, bytes usable), (topic, partition, bytes)."""

    def status(self) -> dict[str, Any]:
        """Counts, directories, and as `fast_paths` which of the kernel's short cuts are used: name to "on",
        "switched off" or "not there"; none in memory.
        """

    def close(self) -> None:
        """Close every partition, write the checkpoints and the clean-shutdown marker, release the lock."""

@final
class Journal:
    """One partition of an internal topic, for a coordinator."""

    @property
    def log_start_offset(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    def append(
        self,
        records: Sequence[tuple[bytes | None, bytes | None]],
        timestamp_ms: int,
        producer: tuple[int, int, int | None] | None = None,
    ) -> int:
        """Append the records as one batch and return the last offset; does not wait for the disk.

        `producer`: (id, epoch, what `start_verification` gave) if they belong to a transaction. Raises `RequestError`
        if it may not be written to.
        """

    def append_marker(
        self,
        producer_id: int,
        producer_epoch: int,
        committed: bool,
        coordinator_epoch: int,
        transaction_version: int,
    ) -> int:
        """Append the end of a transaction and return its offset. Raises `RequestError` if an epoch is too old."""

    def start_verification(self, producer_id: int, producer_epoch: int, bumps_epoch: bool) -> int | None:
        """Begin to ask for a transaction; None if it is open here. Raises `RequestError` for a zombie."""

    def watch(self, offset: int, token: int) -> bool:
        """True if `offset` is committed; else a ("committed", token) item follows when it is, or ("never_committed",
        token) if the partition goes offline before.
        """

    def load(self, token: int) -> Load:
        """Begin to read what is committed; a ("committed", token) item follows when that is done, or has failed."""

@final
class Load:
    """What counts of a journal: of each key the last committed record, and what open transactions wrote."""

    @property
    def end_offset(self) -> int:
        """Everything before was read."""

    @property
    def records_read(self) -> int: ...
    @property
    def without_key(self) -> int:
        """Records that mean nothing."""

    @property
    def is_over(self) -> bool:
        """Nothing is left, or ever was."""

    def take(self, bytes_max: int) -> list[tuple[int, bytes, bytes, int, int]]:
        """About `bytes_max` of what is left, by offset: (offset, key, value, producer id, producer epoch); both -1
        unless it belongs to an open transaction. Raises `StorageError`."""

@final
class MarkersWritten:
    """What came of `Engine.write_markers`."""

    def codes(self) -> list[int]:
        """Kafka's error code for each partition, in their order."""

@final
class MetadataLog:
    """`__cluster_metadata-0` in Kafka's layout, with its snapshots."""

    @property
    def log_start_offset(self) -> int: ...
    @property
    def log_end_offset(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    @property
    def leader_epoch(self) -> int:
        """Grows by one at each start."""

    def append(self, values: Sequence[bytes], timestamp_ms: int) -> int:
        """Append the values as one batch, whole or not at all, and return the last offset."""

    def watch(self, offset: int, token: int) -> bool:
        """True if `offset` is committed; else a ("committed", token) item follows when it is."""

    def sync(self) -> None:
        """Wait until everything appended is on disk."""

    def read(self, start_offset: int, max_bytes: int) -> list[tuple[int, int, int, bytes]]:
        """Records as (offset, leader epoch, timestamp, value), control records left out."""

    def latest_snapshot(self) -> tuple[int, int, list[bytes]] | None:
        """The newest whole snapshot: (offset it ends before, epoch, values)."""

    def write_snapshot(self, end_offset: int, epoch: int, values: Sequence[bytes], timestamp_ms: int) -> None:
        """Write a snapshot of everything before `end_offset`, then drop the log before it."""

@final
class Server:
    """Listeners and connections of one broker."""

    def __new__(
        cls,
        engine: Engine,
        bridge: Bridge,
        *,
        listeners: Sequence[tuple[str, str, int]],
        api_table: Sequence[tuple[int, int, int, int, bool]],
        limits: Mapping[str, int],
        connections_of_hosts: Mapping[str, int] = ...,
    ) -> Server:
        """`listeners`: (name, host, port). `api_table`: (key, lowest advertised, lowest served, highest, native).
        `limits`: bounds by setting name. `connections_of_hosts`: how many connections single hosts may have."""

    def start(self) -> list[tuple[str, str, int]]:
        """Bind and serve; the addresses with the ports the system chose. Raises `OSError`."""

    def alter_connection_limits(self, limits: Mapping[str, int], connections_of_hosts: Mapping[str, int]) -> None:
        """Take what `limits` says of connections from now on; those that are too many end. Raises `ValueError`."""

    def stop(self, timeout_ms: int) -> None:
        """Stop accepting, let acknowledgements drain for at most `timeout_ms`, close everything."""

    def status(self) -> dict[str, int]: ...

# ---- a log of one's own ------------------------------------------------------------------------------------------

# A mapping, or pairs; keys may repeat among pairs.
Headers: TypeAlias = Mapping[str, Buffer | None] | Iterable[tuple[str, Buffer | None]]
# What `append_many` takes.
NewRecord: TypeAlias = (
    Buffer
    | Record
    | tuple[Buffer | None, Buffer | None]
    | tuple[Buffer | None, Buffer | None, Headers | None]
    | tuple[Buffer | None, Buffer | None, Headers | None, int | None]
    | None
)
# Values end to end; where each begins, and behind the last where it ends (64-bit integers); a byte for each value, not
# 0 where it is null. The layout of Arrow's LargeBinary, but for the nulls, which are bits there.
ColumnTuple: TypeAlias = tuple[bytes, memoryview, bytes | None]
GivenColumn: TypeAlias = tuple[Buffer, Buffer] | tuple[Buffer, Buffer, Buffer | None]

def after_fork_in_child() -> None:
    """Every log that is open belongs to the parent process from now on. To be called in the child, before anything
    else."""

@final
class LogDirectory:
    """A data directory that is not open as a log yet: its lock is held, its metadata log can be read and written.

    Raises `DirectoryInUse`, `NewerFormat`, `StorageError`; one that holds something else is refused before anything is
    written.
    """

    def __new__(cls, path: str, *, virtual_clock: VirtualClock | None = None) -> LogDirectory: ...
    def close(self) -> None:
        """Let go of it, as clean as it was found. Nothing happens once a `Log` was opened in it."""

    @property
    def node_id(self) -> int: ...
    @property
    def clean_shutdown(self) -> bool: ...
    @property
    def log_end_offset(self) -> int: ...
    @property
    def leader_epoch(self) -> int: ...
    def now_ms(self) -> int: ...
    def monotonic_ms(self) -> int: ...
    def append(self, values: Sequence[bytes], timestamp_ms: int) -> int:
        """Append the values as one batch, and return its last offset once it is on the disk."""

    def read(self, start_offset: int, max_bytes: int) -> list[tuple[int, int, int, bytes]]:
        """Records as (offset, leader epoch, timestamp, value), control records left out."""

    def latest_snapshot(self) -> tuple[int, int, list[bytes]] | None:
        """The newest whole snapshot: (offset it ends before, epoch, values)."""

    def write_snapshot(self, end_offset: int, epoch: int, values: Sequence[bytes], timestamp_ms: int) -> None:
        """Write a snapshot of everything before `end_offset`, then drop the log before it."""

@final
class LogFollower:
    """A log that another process owns, found and ready to be read.

    Raises `StorageError` where there is none, or its owner tells nobody how far it may be read (a broker).
    """

    def __new__(cls, path: str, topic: str | None = None) -> LogFollower: ...
    @property
    def topic(self) -> str: ...

@final
class Record:
    """One record. It keeps the batch it came in in memory: take what you need of it, and let go of the rest."""

    @property
    def offset(self) -> int:
        """Its place in the log, from 0 on. Offsets grow; some may be missing (deleted, compacted, not for readers)."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970 (UTC), as given, else the time of the append. -1: it has none."""

    @property
    def key(self) -> bytes | None:
        """A copy, made anew each time it is asked for; None if it has no key."""

    @property
    def value(self) -> bytes | None:
        """A copy, made anew each time it is asked for; None: the key was deleted (a tombstone)."""

    @property
    def key_view(self) -> memoryview | None:
        """The key where it lies, read-only, not copied."""

    @property
    def value_view(self) -> memoryview | None:
        """The value where it lies, read-only, not copied."""

    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """In the order they were given; keys may repeat. Bytes of a key that are no UTF-8 are shown as U+FFFD."""

@final
class Records:
    """An iterator over records. One thread at a time; RuntimeError for the other.

    Raises `Closed`, `OffsetOutOfRange` (what comes next was deleted), `StorageError` (also: damage on the disk).
    """

    def __iter__(self) -> Records: ...
    def __next__(self) -> Record: ...
    def take_ready(self) -> Record | None:
        """The next record if there is one now; never waits for more to be appended."""

    @property
    def next_offset(self) -> int:
        """Where it goes on: every record below was given, or is not for readers."""

    def arrival(self) -> Arrival:
        """Tells an event loop that there may be more."""

@final
class Arrival:
    """A descriptor that is readable when a log has moved since the last `clear`, or was closed."""

    def fileno(self) -> int:
        """The descriptor."""

    def clear(self) -> None:
        """Let it ring again; to be called before the look, so that what comes after it is not missed."""

@final
class View:
    """Bytes of a record, through the buffer protocol. What `memoryview.obj` of a view shows."""

@final
class Columns:
    """Records as a few buffers. `len()` is how many."""

    @property
    def count(self) -> int:
        """How many records."""

    @property
    def next_offset(self) -> int:
        """Where to go on."""

    @property
    def offsets(self) -> memoryview:
        """64-bit integers, one for each record."""

    @property
    def timestamps(self) -> memoryview:
        """64-bit integers, milliseconds since 1970."""

    @property
    def keys(self) -> ColumnTuple:
        """The keys: data, places, and which are null (None: no key is)."""

    @property
    def values(self) -> ColumnTuple:
        """The values: data, places, and which are null (None: no value is)."""

    def __len__(self) -> int: ...

@final
class ArrowRecords:
    """Records of a log for whatever takes Arrow streams; each time it is asked it begins anew. See `Log.to_arrow`."""

    def __new__(cls, log: Log, start: int | None = None, stop: int | None = None) -> ArrowRecords: ...
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...

@disjoint_base
class Log:
    """The native part of `ottla.Log`; see there. Every call may come from any thread.

    All raise `Closed`, `Forked`, and `StorageError` once the disk failed.
    """

    def __new__(
        cls,
        source: LogDirectory | LogFollower,
        topic: str = "",
        topic_id: bytes = ...,
        leader_epoch: int = ...,
        settings: Sequence[tuple[str, str]] = ...,
    ) -> Self:
        """Open the log in a directory, which takes all the rest; or read along with a follower."""

    def append(
        self,
        value: Buffer | None,
        *,
        key: Buffer | None = None,
        headers: Headers | None = None,
        timestamp: int | None = None,
        cursors: Mapping[str, int] | None = None,
        wait: bool = True,
    ) -> int:
        """Append a record and return its offset.

        `value`, `key`: bytes or anything else with the buffer protocol; None is null. `timestamp`: milliseconds since
        1970; None: now. `cursors`: named positions, of this log or another, that move with this record: after a crash
        both are there or neither. `wait=False`: return before it is on the disk, where the durability is "fsync";
        `sync` waits for all.

        Raises `TypeError`, `InvalidInput` (a negative timestamp or position; no key, where the log is compacted; more
        cursors than 64 MiB of names and positions), `RecordTooLarge`
        (more than `segment_bytes`), `NoRoom`. Then nothing was appended. After a KeyboardInterrupt it was appended, and
        may not be on the disk yet.
        """

    def append_many(
        self,
        records: Iterable[NewRecord],
        *,
        atomic: bool = False,
        cursors: Mapping[str, int] | None = None,
        wait: bool = True,
    ) -> int | None:
        """Append many records and return the offset of the last, None if there were none.

        Each is a value, a tuple (key, value), (key, value, headers) or (key, value, headers, timestamp), or a `Record`.
        They go in batches of about a megabyte; if one is refused, or the iterable raises, batches before it stay, as
        they do after Ctrl-C. `atomic`: all in one batch, whole or not at all, offsets without a gap; `RecordTooLarge`
        if no segment has room for it. `cursors` (see `append`) need it.
        """

    def append_columns(
        self,
        values: GivenColumn,
        *,
        keys: GivenColumn | None = None,
        timestamps: Buffer | None = None,
        wait: bool = True,
    ) -> int | None:
        """Append many records that lie in a few buffers, in one crossing; the offset of the last, None without any.

        A column is (data, places) or (data, places, nulls): bytes end to end, 64-bit integers where each begins and
        behind the last where it ends, and a byte for each value, not 0 for null. `timestamps`: 64-bit integers.
        Raises `TypeError`, `ValueError` for buffers that do not fit together: then nothing was appended. They go in
        batches of about a megabyte; after Ctrl-C those before it stay.
        """

    def read(self, start: int | None = None, stop: int | None = None) -> Records:
        """Records from `start` (None: the first there is) to below `stop` (None: what may be read now).

        Raises `OffsetOutOfRange` for an offset that is negative, was deleted or lies behind the end.
        """

    def read_columns(
        self, start: int | None = None, stop: int | None = None, *, max_bytes: int = 67_108_864
    ) -> Columns:
        """The same as a few buffers, in one crossing: whole batches until there are `max_bytes` of keys and values."""

    def follow_records(self, start: int | None = None, timeout_ms: int | None = None) -> Records:
        """What `Log.follow` iterates."""

    @property
    def start_offset(self) -> int:
        """The first offset that may be read."""

    @property
    def end_offset(self) -> int:
        """The offset the next record gets."""

    @property
    def readable_offset(self) -> int:
        """Readers see what lies below: with durability "fsync", what is on the disk."""

    @property
    def durable_offset(self) -> int:
        """What lies below is on the disk."""

    def offset_at(self, timestamp: int) -> int:
        """The offset of the first record that is not older than `timestamp` (milliseconds since 1970); that of the end
        if all are."""

    def sync(self) -> None:
        """Return once everything appended so far is on the disk. Ctrl-C ends the wait alone."""

    def truncate(self, offset: int, *, cursors: Mapping[str, int] | None = None) -> None:
        """Take away every record from `offset` on, for good.

        Where compaction has left none right before it the log ends lower, where what is left does.

        `cursors` says where cursors are to stand then, and has to name each that stands beyond `offset` or moved with a
        record that goes: who reads from the one would pass over what is appended there next, and what the other stands
        for is gone. They move first: after a crash the records may be there still. The others stay where they are.

        Raises `InvalidInput` for a cursor that is not named, or if the offset lies inside a batch (`append_many` makes
        long ones), `OffsetOutOfRange`. Then nothing was changed.
        """

    def delete_before(self, offset: int) -> int:
        """Let nobody read below `offset` any more, and remove the files that lie below; the start offset.

        Raises `OffsetOutOfRange` if it lies beyond what may be read.
        """

    def compact(self) -> tuple[int, int]:
        """Keep the last record of each key, of all there are now; how many records were read, and kept.

        Raises `InvalidInput` unless the log is `compacted`.
        """

    def cursor(self, name: str) -> int | None:
        """Where a named cursor stands: the offset of the record to be read next, in whichever log; None without it."""

    def commit(self, cursors: Mapping[str, int]) -> None:
        """Move cursors; on the disk when it returns.

        A position may be one of another log, so it is not compared with the end of this one: `read` and `follow` raise
        `OffsetOutOfRange` for one beyond their end. Raises `InvalidInput` for a name, a negative position, or more
        cursors than 64 MiB of names and positions in a directory.
        """

    def forget_cursor(self, name: str) -> bool:
        """Remove a cursor; False if there is none."""

    def status_values(self) -> dict[str, Any]:
        """What `Log.status` shows."""

    @property
    def read_only(self) -> bool:
        """Whether it was opened to be read only: another process owns it."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called. An owner's log that is closed gives `Closed` to every other call."""

    def close(self) -> None:
        """Write everything to the disk and let go of the directory. In a forked child nothing happens."""

# ---- files, looked at from outside -------------------------------------------------------------------------------

def is_locked(data_dir: str) -> bool:
    """Whether an owner, Ottla's or Apache Kafka's, has the data directory. Nothing is changed."""

def check_format(data_dir: str) -> None:
    """Raise `NewerFormat` for a data directory that a later version wrote: old rules would misread it."""

@final
class DirectoryLock:
    """The lock on a data directory, as an owner has it, until this is dropped. Raises `DirectoryInUse`."""

    def __new__(cls, data_dir: str) -> DirectoryLock: ...

@final
class PartitionFiles:
    """What lies in a partition's directory; see `ottla.embed.files`, which says what is in the dicts.

    `progress` is told how many bytes were read since it was told last, and may raise.
    """

    def __new__(cls, path: str) -> PartitionFiles: ...
    def segments(self) -> list[tuple[int, int]]:
        """(base offset, bytes) of each that counts, in order; of what a compaction left when it was cut off, too."""

    def verify(self, is_live: bool, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
        """Read everything. `is_live`: somebody may be writing behind the last batch."""

    def repair(self, is_wanted: bool, progress: Callable[[int], None] | None = None) -> list[str]:
        """What can be mended, in words; done, and on the disk, if `is_wanted`."""

    def batches(self, start: int, is_live: bool) -> FileBatches:
        """Those from the one on that holds `start`, or the first behind it. `is_live`: the directory has an owner."""

@final
class FileBatches:
    """The batches of a partition's files, and stretches that are none."""

    def next(self, count: int, with_records: bool) -> tuple[list[dict[str, Any]], int]:
        """Up to `count` of them, none at the end, and how many bytes were gone through since the last call.

        Raises `Overtaken` where the owner took away what comes next.
        """
