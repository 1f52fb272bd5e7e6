"""The history folded into what the checks ask of: writes, transactions, what lies where, who read what.

A transaction is *committed* if its client was told so or if a read_committed consumer was given a record of it;
*aborted* if its client was told so or its commit was never tried; else it is *open*, and may turn out either way. Where
a record lies is known from its acknowledgement or from any consumer that was given it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.history.events import (
    Abort,
    Aborted,
    AnyEvent,
    BadHistory,
    Begin,
    Commit,
    Committed,
    Complete,
    Failed,
    Initialized,
    Place,
    Poll,
    Send,
    Sent,
)


class Outcome(Enum):
    """What became of a transaction, as far as anybody can know."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    OPEN = "open"


@dataclass
class Txn:
    """One transaction; the numbers are places in the history."""

    name: str
    process: str
    begun: int
    commit: int | None = None  # first tried
    told: int | None = None
    outcome: Outcome = Outcome.OPEN
    seen: int | None = None  # first read at read_committed
    writes: list[Write] = field(default_factory=list)


@dataclass
class Write:
    """One attempt to write a record."""

    send: Send
    line: int
    txn: Txn | None
    acked: int | None = None
    failed: int | None = None
    definite: bool = False
    # Every spot where it was acknowledged or read, with the place in the history that says so first.
    spots: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """A record outside of any transaction stands once it is in the log."""
        return Outcome.COMMITTED if self.txn is None else self.txn.outcome

    @property
    def place(self) -> Place | None:
        """Its partition, if anything tells."""
        if self.send.partition is not None:
            return self.send.topic, self.send.partition
        return (self.send.topic, next(iter(self.spots))[0]) if self.spots else None

    @property
    def offset(self) -> int | None:
        return next(iter(self.spots))[1] if self.spots else None

    @property
    def must_stand(self) -> bool:
        """Whether it has to be in the log for good: acknowledged and committed, or part of what was committed."""
        if self.outcome is not Outcome.COMMITTED or self.definite:
            return False
        told = self.txn is not None and self.txn.told is not None
        return self.acked is not None or told

    @property
    def said(self) -> str:
        where = "" if self.offset is None else f"@{self.offset}"
        partition = "?" if self.place is None else self.place[1]
        return f"{self.send.topic}-{partition}{where} {self.send.value!r} of {self.send.process}"


@dataclass
class Log:
    """What is known to lie in one partition."""

    # Which values at which offset, each with the place in the history that says so first.
    values: dict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    polled: dict[int, int] = field(default_factory=dict)
    # Of these, what a read_committed consumer was given.
    polled_committed: dict[int, int] = field(default_factory=dict)
    complete: list[tuple[int, Complete]] = field(default_factory=list)
    visible: list[int] = field(default_factory=list)
    everything: list[int] = field(default_factory=list)

    def between(self, low: int, high: int, *, committed: bool) -> list[int]:
        """Offsets strictly between two that such a consumer must be given."""
        offsets = self.visible if committed else self.everything
        return offsets[bisect_left(offsets, low + 1) : bisect_left(offsets, high)]


class Model:
    """A history, folded."""

    def __init__(self, events: Sequence[AnyEvent]) -> None:
        self.events = events
        self.writes: dict[tuple[str, str], Write] = {}
        self.txns: dict[str, Txn] = {}
        self.logs: dict[Place, Log] = defaultdict(Log)
        self.initialized: list[tuple[int, Initialized]] = []
        for line, event in enumerate(events):
            self._take(line, event)
        self._settle()
        # A topic without a recorded write is written by programs that tell nothing.
        self.written_topics = {topic for topic, _ in self.writes}

    def _take(self, line: int, event: AnyEvent) -> None:
        match event:
            case Send():
                self._send(line, event)
            case Sent():
                write = self._write(event.topic, event.value, event)
                write.acked = line
                self._lies(line, (event.topic, event.partition), event.offset, event.value)
            case Failed():
                write = self._write(event.topic, event.value, event)
                write.failed, write.definite = line, event.definite
            case Begin():
                if event.txn in self.txns:
                    raise BadHistory(f"the transaction {event.txn} begins twice")
                self.txns[event.txn] = Txn(event.txn, event.process, line)
            case Commit():
                txn = self.txn(event.txn)
                txn.commit = line if txn.commit is None else txn.commit
            case Abort():
                self.txn(event.txn)
            case Committed() | Aborted():
                txn = self.txn(event.txn)
                outcome = Outcome.COMMITTED if isinstance(event, Committed) else Outcome.ABORTED
                if txn.told is not None and txn.outcome is not outcome:
                    raise BadHistory(f"{event.process} was told that {event.txn} is committed, and that it is aborted")
                txn.told, txn.outcome = line, outcome
            case Poll():
                for topic, partition, offset, value in event.records:
                    log = self._lies(line, (topic, partition), offset, value)
                    log.polled.setdefault(offset, line)
                    if event.isolation == "committed":
                        log.polled_committed.setdefault(offset, line)
            case Complete():
                self.logs[event.topic, event.partition].complete.append((line, event))
            case Initialized():
                self.initialized.append((line, event))
            case _:
                pass

    def _send(self, line: int, event: Send) -> None:
        if (event.topic, event.value) in self.writes:
            raise BadHistory(f"{event.value!r} is sent twice: nobody could tell which one was read")
        txn = None if event.txn is None else self.txn(event.txn)
        write = self.writes[event.topic, event.value] = Write(event, line, txn)
        if txn is not None:
            txn.writes.append(write)

    def txn(self, name: str) -> Txn:
        if name not in self.txns:
            raise BadHistory(f"the transaction {name} was never begun")
        return self.txns[name]

    def _write(self, topic: str, value: str, event: AnyEvent) -> Write:
        found = self.writes.get((topic, value))
        if found is None:
            raise BadHistory(f"an outcome of what was never sent: {event}")
        return found

    def _lies(self, line: int, place: Place, offset: int, value: str) -> Log:
        log = self.logs[place]
        log.values[offset].setdefault(value, line)
        return log

    def _settle(self) -> None:
        for (topic, partition), log in self.logs.items():
            for offset, values in log.values.items():
                for value, line in values.items():
                    if (write := self.writes.get((topic, value))) is not None:
                        write.spots.setdefault((partition, offset), line)
                        seen = log.polled_committed.get(offset)
                        if write.txn is not None and seen is not None:
                            write.txn.seen = seen if write.txn.seen is None else min(write.txn.seen, seen)
        for txn in self.txns.values():
            if txn.told is None and txn.commit is None:
                txn.outcome = Outcome.ABORTED
            elif txn.told is None and txn.seen is not None:
                txn.outcome = Outcome.COMMITTED
        for (topic, _), log in self.logs.items():
            log.everything = sorted(log.values)
            log.visible = sorted(
                offset for offset in log.values if offset in log.polled_committed or self._stands(topic, log, offset)
            )

    def _stands(self, topic: str, log: Log, offset: int) -> bool:
        found = [self.writes.get((topic, value)) for value in log.values[offset]]
        return all(write is not None and write.outcome is Outcome.COMMITTED for write in found)

    def polls(self) -> Iterator[tuple[int, Poll]]:
        for line, event in enumerate(self.events):
            if isinstance(event, Poll):
                yield line, event
