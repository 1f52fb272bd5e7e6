"""Checks of what was written: where it lies, that it stands, and in which order."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from tests.history.events import Place, Send, Sent
from tests.history.findings import Kind, Verdict
from tests.history.model import Log, Model, Outcome, Write


def one_value_at_an_offset(model: Model, verdict: Verdict) -> None:
    """Acknowledgements and all consumers agree about what lies at an offset."""
    for (topic, partition), log in model.logs.items():
        for offset, values in log.values.items():
            if len(values) > 1:
                sentence = f"{topic}-{partition}@{offset} is {' and '.join(map(repr, values))}"
                verdict.found(Kind.TWO_VALUES, sentence, *values.values())


def one_offset_for_a_record(model: Model, verdict: Verdict) -> None:
    """A record lies at one offset. An aborted one may lie at none, a committed one never at two."""
    for write in model.writes.values():
        if len(write.spots) > 1:
            where = ", ".join(f"{write.send.topic}-{partition}@{offset}" for partition, offset in write.spots)
            sentence = f"{write.send.value!r} of {write.send.process} lies at {where}"
            verdict.found(Kind.DUPLICATE, sentence, write.line, *write.spots.values())


def nothing_is_lost(model: Model, verdict: Verdict) -> None:
    """What stands is read: by whoever read the whole partition, or else by anyone if somebody was given what lies
    behind it.
    """
    partitions: dict[str, list[Log]] = defaultdict(list)
    for (topic, _), log in model.logs.items():
        partitions[topic].append(log)
    furthest = {place: max(_given(log), default=-1) for place, log in model.logs.items()}
    for write in model.writes.values():
        if write.must_stand:
            sentence = _missing(model, write, partitions[write.send.topic], furthest)
            if sentence is not None:
                txn = write.txn
                told = () if txn is None else (txn.begun, txn.commit, txn.told, txn.seen)
                verdict.found(Kind.LOST_WRITE, f"{write.said} {sentence}", write.line, write.acked, *told)


def _given(log: Log) -> dict[int, int]:
    """What consumers were given; where some read at read_committed, their word counts."""
    return log.polled_committed or log.polled


def _missing(model: Model, write: Write, logs: list[Log], furthest: dict[Place, int]) -> str | None:
    """How it is known that the record is gone, or None."""
    if any(offset in _given(model.logs[write.send.topic, partition]) for partition, offset in write.spots):
        return None
    place, offset = write.place, write.offset
    done = write.acked if write.txn is None or write.txn.told is None else write.txn.told
    if place is None:  # nobody ever saw it: it could lie in any partition
        whole = all(any(done is not None and line > done for line, _ in log.complete) for log in logs)
        return "is in none of the partitions, which were read to their ends" if whole and logs else None
    readers = model.logs[place].complete
    for line, complete in readers:
        # Below the first offset is what retention took.
        in_range = complete.first <= (0 if offset is None else offset)
        if in_range and done is not None and line > done:
            return f"is not there for {complete.process}, which read up to {complete.end}"
    if not readers and offset is not None and furthest[place] > offset:
        return f"was given to nobody, and somebody was given {furthest[place]}"
    return None


def records_of_a_producer_stay_in_order(model: Model, verdict: Verdict) -> None:
    """Within a partition, a producer's records have growing offsets."""
    last: dict[tuple[str, Place], Write] = {}
    for write in model.writes.values():
        if write.place is None or write.offset is None:
            continue
        before = last.get((write.send.process, write.place))
        if before is not None and before.offset is not None and before.offset > write.offset:
            sentence = f"{write.said} was sent after {before.said}"
            verdict.found(Kind.NONMONOTONIC_SEND, sentence, before.line, before.acked, write.line, write.acked)
        last[write.send.process, write.place] = write


def records_stay_in_the_order_of_time(model: Model, verdict: Verdict) -> None:
    """What is sent after another record's acknowledgement, by anybody, lies behind it."""
    highest: dict[Place, Write] = {}
    for line, event in enumerate(model.events):
        if isinstance(event, Sent):
            write = model.writes[event.topic, event.value]
            place = (event.topic, event.partition)
            if place not in highest or event.offset > (highest[place].offset or 0):
                highest[place] = write
        elif isinstance(event, Send):
            write = model.writes[event.topic, event.value]
            before = None if write.place is None else highest.get(write.place)
            if before is None or write.offset is None or before.offset is None or before.send.process == event.process:
                continue
            if before.offset > write.offset:
                sentence = f"{write.said} was sent after {before.said} was acknowledged"
                verdict.found(Kind.OVERTAKEN_SEND, sentence, before.line, before.acked, line, write.acked)


def fenced_producers_write_nothing(model: Model, verdict: Verdict) -> None:
    """Once InitProducerId was answered to a newer producer with the same transactional id, an older one commits
    nothing that it had not asked to commit before, and nothing it sends later is visible.
    """
    owner: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for line, event in model.initialized:
        owner[event.transactional_id].append((line, event.process))
    fenced: dict[str, int] = {}
    for instances in owner.values():
        for (_, process), (line, successor) in pairwise(instances):
            if process != successor:
                fenced.setdefault(process, line)
    for txn in model.txns.values():
        since = fenced.get(txn.process)
        if since is None or txn.outcome is not Outcome.COMMITTED:
            continue
        late = [write for write in txn.writes if write.line > since and write.spots]
        if txn.commit is not None and txn.commit > since:
            sentence = f"{txn.name} of {txn.process} was committed"
            verdict.found(Kind.FENCED_WRITE, sentence, since, txn.commit, txn.told, txn.seen)
        elif late:
            sentence = f"{late[0].said} became visible"
            verdict.found(Kind.FENCED_WRITE, sentence, since, late[0].line, *late[0].spots.values())
