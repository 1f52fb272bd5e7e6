"""What the programs of a run tell, one event a line: the record that the checker judges afterwards.

Every program of every language writes the same lines (JSON), so that one checker reads all runs. A line is written
before something is tried (`send`, `commit`, `commit_offsets`) and after its outcome was told (`sent`, `committed`).
An attempt without an outcome is uncertain: it may have happened or not, and may still happen. A program that is killed
leaves such attempts behind; so does a time-out.

`at` is the wall clock in microseconds, read by the program itself: all programs of a run share one machine. `process`
is one client instance: a program that starts again takes another name. A value is sent once in a run, so that whoever
reads it knows which attempt it came from; `cause` says which record an output was made from.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

Isolation = Literal["committed", "uncommitted"]
Place = tuple[str, int]  # topic, partition
Spot = tuple[str, int, int]  # topic, partition, offset
Read = tuple[str, int, int, str]  # topic, partition, offset, value


class Event(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="event"
):
    """One line."""

    at: int
    process: str


class Initialized(Event, frozen=True, kw_only=True, tag="initialized"):
    """InitProducerId was answered: every earlier producer with this transactional id is fenced from now on."""

    transactional_id: str


class Send(Event, frozen=True, kw_only=True, tag="send"):
    """A record is handed to the producer. `partition` is None where the client chooses.

    An input that makes several records tells them apart by `effect`.
    """

    topic: str
    value: str
    partition: int | None = None
    txn: str | None = None
    cause: Spot | None = None
    effect: int = 0


class Sent(Event, frozen=True, kw_only=True, tag="sent"):
    """It was acknowledged, at this offset."""

    topic: str
    partition: int
    offset: int
    value: str


class Failed(Event, frozen=True, kw_only=True, tag="failed"):
    """It was not acknowledged. `definite` where it surely is not in the log and never will be."""

    topic: str
    value: str
    error: str
    definite: bool = False


class Begin(Event, frozen=True, kw_only=True, tag="begin"):
    """A transaction begins. Its name is used once in a run."""

    txn: str


class Commit(Event, frozen=True, kw_only=True, tag="commit"):
    """The commit is tried (again, perhaps)."""

    txn: str


class Abort(Event, frozen=True, kw_only=True, tag="abort"):
    """The abort is tried."""

    txn: str


class Committed(Event, frozen=True, kw_only=True, tag="committed"):
    """The client was told that the transaction is committed."""

    txn: str


class Aborted(Event, frozen=True, kw_only=True, tag="aborted"):
    """The client was told that the transaction is aborted."""

    txn: str


class Unsure(Event, frozen=True, kw_only=True, tag="unsure"):
    """Commit or abort ended with an error that does not say what became of the transaction."""

    txn: str
    error: str


class Poll(Event, frozen=True, kw_only=True, tag="poll"):
    """What a poll returned, in its order; within a transaction if it names one, as a member if it names a group."""

    isolation: Isolation
    records: list[Read]
    group: str | None = None
    txn: str | None = None


class Seek(Event, frozen=True, kw_only=True, tag="seek"):
    """The next records polled of these partitions are those from here on."""

    positions: list[Spot]


class Assigned(Event, frozen=True, kw_only=True, tag="assigned"):
    """Partitions came to a member. `generation` is -1 where the client cannot tell it."""

    group: str
    partitions: list[Place]
    generation: int = -1


class Revoked(Event, frozen=True, kw_only=True, tag="revoked"):
    """A member gives partitions up, and was their owner until now; `closing` where nobody asked it to."""

    group: str
    partitions: list[Place]
    closing: bool = False


class Lost(Event, frozen=True, kw_only=True, tag="lost"):
    """A member learns that it is the owner no longer."""

    group: str
    partitions: list[Place]


class CommitOffsets(Event, frozen=True, kw_only=True, tag="commit_offsets"):
    """A group's offsets are handed over, with a transaction if it names one (its outcome is then theirs)."""

    group: str
    offsets: list[Spot]
    txn: str | None = None


class OffsetsCommitted(Event, frozen=True, kw_only=True, tag="offsets_committed"):
    """They were acknowledged. A process has one commit of offsets under way at a time."""

    group: str
    offsets: list[Spot]


class OffsetsFailed(Event, frozen=True, kw_only=True, tag="offsets_failed"):
    """They were refused, or nobody answered."""

    group: str
    error: str


class Drained(Event, frozen=True, kw_only=True, tag="drained"):
    """Said by who leads the run: the group must have been given all of these topics that was acknowledged by now."""

    group: str
    topics: list[str]


class Complete(Event, frozen=True, kw_only=True, tag="complete"):
    """This process has polled all that is visible from `first` to `end`, after the last attempt to write was over."""

    topic: str
    partition: int
    first: int
    end: int


class Fault(Event, frozen=True, kw_only=True, tag="fault"):
    """What was done to a process, to the broker or to the connections in between."""

    what: str
    target: str


class Ended(Event, frozen=True, kw_only=True, tag="ended"):
    """A program ended by itself, with an error if it names one."""

    error: str | None = None


AnyEvent = (
    Initialized
    | Send
    | Sent
    | Failed
    | Begin
    | Commit
    | Abort
    | Committed
    | Aborted
    | Unsure
    | Poll
    | Seek
    | Assigned
    | Revoked
    | Lost
    | CommitOffsets
    | OffsetsCommitted
    | OffsetsFailed
    | Drained
    | Complete
    | Fault
    | Ended
)
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_encode = msgspec.json.Encoder().encode


class BadHistory(Exception):
    """The record itself cannot be judged: a line that is no event, or events that cannot follow each other."""


def now_us() -> int:
    """What `at` is made of."""
    return time.time_ns() // 1000


def decode(line: str | bytes) -> AnyEvent:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError as error:
        raise BadHistory(f"{error}: {line!r}") from error


class Recorder:
    """Appends events to a file, a whole line each, from any thread; a kill of this process keeps what was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._one_at_a_time = threading.Lock()

    def tell(self, event: AnyEvent) -> None:
        self.line(_encode(event))

    def line(self, line: bytes) -> None:
        with self._one_at_a_time:
            os.write(self._file, line + b"\n")

    def close(self) -> None:
        os.close(self._file)


def load(path: Path) -> list[AnyEvent]:
    """The events of a file, in the order of time. A last line that a kill cut short is left out."""
    lines = path.read_bytes().split(b"\n")
    return in_order(decode(line) for line in lines[:-1] if line)


def in_order(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """By time; what one process told stays in its order, also if the clock was set back."""
    latest: dict[str, int] = {}
    timed = []
    for event in events:
        at = latest[event.process] = max(event.at, latest.get(event.process, event.at))
        timed.append((at, event))
    return [event for _, event in sorted(timed, key=lambda each: each[0])]


def save(events: Iterable[AnyEvent], path: Path) -> None:
    path.write_bytes(b"".join(_encode(event) + b"\n" for event in events))


def texts(events: Sequence[AnyEvent], lines: Iterable[int]) -> Iterator[str]:
    """Events as a person reads them."""
    start = events[0].at if events else 0
    for line in lines:
        event = events[line]
        fields = {name: value for name, value in msgspec.structs.asdict(event).items() if name not in {"at", "process"}}
        if isinstance(event, Poll):
            fields["records"] = f"{len(event.records)}: {_ends(event.records)}"
        words = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        name = type(event).__struct_config__.tag
        yield f"{line:7}  {(event.at - start) / 1e6:10.6f} s  {event.process:<16} {name} {words}"


def _ends(records: Sequence[Read]) -> str:
    shown = [f"{topic}-{partition}@{offset} {value}" for topic, partition, offset, value in records]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-3:]])
