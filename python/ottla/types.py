"""The words the layers share: what a request knows, how it is answered, and what is handed in from outside.

Nothing here does anything. State machines (level 1) and handlers (level 2) are written against these protocols; the
broker (level 3) gives them real ones, tests give them fakes (`ottla.testing`).

Two clocks: `now_ms` is the wall clock (timestamps of records), `monotonic_ms` never goes back (deadlines). Every
deadline of the control plane is a moment of the monotonic clock in one `Scheduler`.

One thread: handlers, coordinators, journal callbacks and deadlines all run on the control-plane thread, one after the
other. Nothing here needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.errors import ErrorCode

# A record of an internal topic: key and value, either may be null.
Record = tuple[bytes | None, bytes | None]

# A record as it is loaded: offset, key, value, id and epoch of the producer whose transaction it belongs to. These are
# -1 unless that transaction is still open.
LoadedRecord = tuple[int, bytes, bytes, int, int]

# Sends the response of one request. To be called exactly once, now or later, on the control-plane thread.
Answer = Callable[[Struct], None]


class RequestContext(Struct, frozen=True, gc=False):
    """What is known of a request beside its body. Made with every request, hence no dataclass: those take ten times as
    long to be made.
    """

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    # The peer's address without its port, as Kafka shows it in group descriptions (there with a leading slash).
    client_host: str
    # Unique while the process lives; a "disconnected" event names the same number.
    connection_id: int
    # Name of the listener the request came through; answers that name brokers give addresses of this listener.
    listener: str
    # When the data plane had read the whole frame, on the monotonic clock: a time-out that the request names counts
    # from here. (A member's session counts from when its request was handled: `coordinator.group.rebalance` says why.)
    received_ms: int


class Clock(Protocol):
    """Time from outside."""

    def now_ms(self) -> int:
        """Milliseconds of the wall clock since 1970."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back, from an arbitrary start."""
        ...


class Random(Protocol):
    """Chance from outside."""

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        ...

    def below(self, limit: int) -> int:
        """A number n with 0 <= n < limit."""
        ...


class Cancellable(Protocol):
    """A deadline that has not fired yet, or has."""

    def cancel(self) -> None:
        """Make sure it does not fire (any more). May be called any number of times."""
        ...


class Scheduler(Protocol):
    """The control plane's one deadline queue, seen by who sets deadlines."""

    def at(self, deadline_ms: int, callback: Callable[[], None]) -> Cancellable:
        """Call `callback` once the monotonic clock has reached `deadline_ms`, unless cancelled before."""
        ...


class BatchProducer(NamedTuple):
    """Whose transaction the records of a batch belong to."""

    producer_id: int
    producer_epoch: int
    # What `Journal.start_verification` gave before the transaction's coordinator was asked.
    guard: int | None = None


class TransactionMarker(Struct, frozen=True):
    """The end of a transaction, as it is to be written into partitions that took part in it."""

    producer_id: int
    # The epoch the marker carries; with transactions v2 that is one more than the records have.
    producer_epoch: int
    committed: bool
    # Leader epoch of the coordinator's own partition: an older coordinator cannot end what a newer one has begun.
    coordinator_epoch: int
    # 0 or 1 for clients before KIP-890, 2 since: how strictly the epoch is compared.
    transaction_version: int
    partitions: tuple[tuple[str, int], ...]


class Loading(Protocol):
    """What counts of a journal, read once; handed over piece by piece, in the order of the log."""

    @property
    def end_offset(self) -> int:
        """Everything before was read."""
        ...

    @property
    def without_key(self) -> int:
        """Records that mean nothing."""
        ...

    @property
    def is_over(self) -> bool:
        """Nothing is left."""
        ...

    def take(self, bytes_max: int) -> list[LoadedRecord]:
        """About `bytes_max` of what is left, at least one record if there is one. Raises `errors.StorageError`."""
        ...


class Journal(Protocol):
    """One partition of an internal topic: the log a coordinator's state is a fold over."""

    @property
    def log_start_offset(self) -> int:
        """First offset that can be read."""
        ...

    @property
    def high_watermark(self) -> int:
        """Offset after the last committed record; what lies before it survives."""
        ...

    def append(self, records: Sequence[Record], timestamp_ms: int, producer: BatchProducer | None = None) -> int:
        """Write the records as one batch, whole or not at all, and return the offset of the last one.

        Returns when the log holds the batch, not when it is committed. Raises `errors.StorageError`, and
        `errors.RequestError` if the producer's transaction may not be written to: INVALID_PRODUCER_EPOCH, or
        INVALID_TXN_STATE if it is not open here and was not verified.
        """
        ...

    def append_marker(self, marker: TransactionMarker) -> int:
        """Write the end of a producer's transaction, and return its offset; else as `append`.

        `errors.RequestError` is INVALID_PRODUCER_EPOCH or TRANSACTION_COORDINATOR_FENCED here.
        """
        ...

    def start_verification(self, producer_id: int, producer_epoch: int, *, bumps_epoch: bool) -> int | None:
        """Begin to ask for a producer's transaction: what `append` wants to see after it was agreed to.

        None if there is nothing to ask for: the transaction is open here. It is void once the transaction has ended,
        so that a late answer opens no transaction nobody will end. Raises `errors.RequestError` for a zombie.
        `bumps_epoch`: every transaction of this client has an epoch of its own (KIP-890 v2).
        """
        ...

    def when_committed(self, offset: int, callback: Callable[[], None]) -> None:
        """Call `callback` once `offset` lies before the high watermark; at once if it does already."""
        ...

    def load(self, callback: Callable[[Loading], None]) -> None:
        """Read everything that is committed, elsewhere, and call `callback` when that is done, or has failed.

        Of each key the last committed record comes up, unless it is a tombstone; and, with id and epoch of its
        producer, every record of a transaction that is still open. A record of a transaction counts where it stands in
        the log, not where its marker does (as in Kafka).
        """
        ...


class Codec(Protocol):
    """Bytes to typed messages (`ottla.messages`) and back; implemented natively and handed down as an object."""

    def decode_request(self, api_key: int, version: int, body: bytes) -> Struct:
        """The request a body holds (without the request header)."""
        ...

    def encode_response(self, api_key: int, version: int, response: Struct) -> bytes:
        """The body of a response (without the response header)."""
        ...

    def encode_request(self, api_key: int, version: int, request: Struct) -> bytes:
        """The body of a request (without the request header)."""
        ...

    def decode_response(self, api_key: int, version: int, body: bytes) -> Struct:
        """The response a body holds (without the response header)."""
        ...

    def encode_metadata_record(self, record: Struct, version: int) -> bytes:
        """A value of `__cluster_metadata`: frame version, record type, version, record."""
        ...

    def decode_metadata_record(self, value: bytes) -> Struct | None:
        """The record in a value of `__cluster_metadata`; None if its type is not known."""
        ...

    def encode_coordinator_record(self, key: Struct, value: Struct | None, version: int | None = None) -> Record:
        """Key and value of a record of a coordinator's topic, each with its type or version in front.

        Without a `version` the value is written, as Kafka does, in the newest version that is not flexible and carries
        all of it, so that older readers understand it; else in the newest of all.
        """
        ...

    def decode_coordinator_record(
        self, topic_kind: Literal["group", "transaction"], key: bytes, value: bytes | None
    ) -> tuple[Any, Any] | None:
        """Typed key and value (None for a tombstone); None if the type is not known."""
        ...

    def encode_struct(self, name: str, version: int, obj: Struct) -> bytes:
        """A message by its Kafka name, without any prefix."""
        ...

    def decode_struct(self, name: str, version: int, body: bytes) -> Struct:
        """The message of this Kafka name that a body holds, without any prefix."""
        ...


class Markers(Protocol):
    """Writes the ends of transactions into the partitions that took part."""

    def write(self, marker: TransactionMarker, answer: Callable[[dict[tuple[str, int], ErrorCode]], None]) -> None:
        """End a transaction in the marker's partitions; a repetition does no harm.

        `answer` is called once per call, with a code for every partition, when each marker is committed or refused.
        """
        ...


class TransactionGate(Protocol):
    """Whether a producer's transaction is open in some partitions."""

    def ask(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Sequence[tuple[str, int]],
        *,
        adds: bool,
        answer: Callable[[ErrorCode], None],
    ) -> None:
        """Add the partitions to the transaction (`adds`: KIP-890 v2), or only verify that they are in it (v1)."""
        ...
