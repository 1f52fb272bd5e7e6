"""Checks of what consumers were given: that it was written and stands, in order, without a hole."""

from __future__ import annotations

from dataclasses import dataclass

from tests.history.events import Assigned, Lost, Place, Poll, Revoked, Seek
from tests.history.findings import Kind, Verdict
from tests.history.model import Model, Outcome, Write


def what_is_read_was_written(model: Model, verdict: Verdict) -> None:
    """Nothing that failed for good; at read_committed nothing aborted, and nothing before its commit was tried."""
    for line, poll in model.polls():
        for topic, partition, offset, value in poll.records:
            if topic not in model.written_topics:
                continue
            where = f"{topic}-{partition}@{offset} {value!r}, given to {poll.process},"
            write = model.writes.get((topic, value))
            if write is None:
                verdict.found(Kind.PHANTOM_READ, f"{where} was never sent", line)
            elif write.definite:
                verdict.found(Kind.PHANTOM_READ, f"{where} had failed for good", write.line, write.failed, line)
            elif poll.isolation == "committed":
                _stands(verdict, where, write, line)


def _stands(verdict: Verdict, where: str, write: Write, line: int) -> None:
    txn = write.txn
    if txn is None:
        return
    if txn.outcome is Outcome.ABORTED:
        how = "whose commit was never tried" if txn.told is None else "which was aborted"
        sentence = f"{where} is of {txn.name}, {how}"
        verdict.found(Kind.ABORTED_READ, sentence, txn.begun, write.line, txn.told, line)
    elif txn.commit is None or txn.commit > line:
        sentence = f"{where} is of {txn.name}, which was still open"
        verdict.found(Kind.EARLY_READ, sentence, txn.begun, write.line, line, txn.commit)


@dataclass
class Position:
    """How far a consumer has read a partition: the next record lies behind this offset."""

    offset: int
    line: int


def polls_go_forward_without_a_hole(model: Model, verdict: Verdict) -> None:
    """Between a consumer's assignments and seeks its offsets grow, and nothing visible lies between two of them."""
    positions: dict[tuple[str, Place], Position] = {}
    for line, event in enumerate(model.events):
        match event:
            case Poll():
                for topic, partition, offset, _value in event.records:
                    key = (event.process, (topic, partition))
                    _next(model, verdict, event, key[1], positions.get(key), offset, line)
                    positions[key] = Position(offset, line)
            case Seek():
                for topic, partition, offset in event.positions:
                    positions[event.process, (topic, partition)] = Position(offset - 1, line)
            case Assigned() | Revoked() | Lost():
                for place in event.partitions:
                    positions.pop((event.process, place), None)
            case _:
                pass


def _next(
    model: Model, verdict: Verdict, poll: Poll, place: Place, before: Position | None, offset: int, line: int
) -> None:
    if before is None:
        return
    where = f"{poll.process} was given {place[0]}-{place[1]}@{offset}"
    if offset <= before.offset:
        verdict.found(Kind.BACKWARD_POLL, f"{where} after @{before.offset}", before.line, line)
        return
    log = model.logs[place]
    skipped = log.between(before.offset, offset, committed=poll.isolation == "committed")
    if skipped:
        first = skipped[0]
        many = "" if len(skipped) == 1 else f" and {len(skipped) - 1} more"
        sentence = f"{where} after @{before.offset}, and not @{first} {next(iter(log.values[first]))!r}{many}"
        verdict.found(Kind.SKIPPED_POLL, sentence, before.line, line, *log.values[first].values())
