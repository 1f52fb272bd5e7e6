"""The native half of Ottla: bytes, files and sockets. Private: use `ottla`, not this.

Nothing here decides. Topics, groups and the API table are Python's; this module keeps logs, serves the hot APIs and
carries everything else up through the `Bridge`. Every call that may wait releases the GIL.

Times: `now_ms` is wall-clock milliseconds since 1970, `monotonic_ms` never goes back. Offsets are record offsets.
Uuids are 16 bytes. Errors are those of `ottla.errors`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, final

from msgspec import Struct

__all__ = [
    "Bridge",
    "Codec",
    "Engine",
    "Journal",
    "Load",
    "MarkersWritten",
    "MetadataLog",
    "Server",
    "VirtualClock",
    "__version__",
    "check_pattern",
    "flush_logs",
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
