"""Checks of consumer groups: who owns what, where the committed offsets are, and that everything is delivered.

A member's record of its ownership is narrower than the truth at the start (it is told after the coordinator decided)
and, if it gives up in order, at the end too. Otherwise it may have lost the partition long before it learned of that:
killed, stopped for a while, or told so. Then it counts as owner until the last commit of offsets that was acknowledged
to it, as Kafka refuses those of anybody else. The same holds for what it is given again without having said that it was
gone: franz-go tells a transactional program of one revocation until its next transaction, and is silent of more.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from tests.history.events import (
    Assigned,
    CommitOffsets,
    Committed,
    Drained,
    Fault,
    Lost,
    OffsetsCommitted,
    Place,
    Poll,
    Revoked,
)
from tests.history.findings import Kind, Verdict
from tests.history.model import Model

GroupPlace = tuple[str, Place]


@dataclass
class Ownership:
    """One member's time with one partition, in places of the history."""

    process: str
    begun: int
    # Up to here nobody else can have been the owner.
    sure: int
    generation: int
    suspended: bool = False
    over: int | None = None


def a_partition_has_one_owner(model: Model, verdict: Verdict) -> None:
    """In no generation, and at no time, do two members of a group own a partition."""
    held: dict[tuple[str, GroupPlace], Ownership] = {}
    every: dict[GroupPlace, list[Ownership]] = defaultdict(list)
    asked: dict[str, int] = {}
    for line, event in enumerate(model.events):
        match event:
            case Assigned():
                for place in event.partitions:
                    key = (event.process, (event.group, place))
                    if (silently := held.get(key)) is not None:
                        silently.over = line
                    held[key] = Ownership(event.process, line, line, event.generation)
                    every[event.group, place].append(held[key])
            case Revoked() | Lost():
                for place in event.partitions:
                    ended = held.pop((event.process, (event.group, place)), None)
                    if ended is None:
                        continue
                    ended.over = line
                    if isinstance(event, Revoked) and not event.closing and not ended.suspended:
                        ended.sure = line
            case CommitOffsets(txn=None):
                asked[event.process] = line
            case OffsetsCommitted():
                for topic, partition, _offset in event.offsets:
                    owned = held.get((event.process, (event.group, (topic, partition))))
                    if owned is not None and asked.get(event.process, -1) >= owned.begun:
                        owned.sure, owned.suspended = asked[event.process], False
            case Fault():
                # Whatever was done to a member, or to its connections, it may not know.
                for (process, _), owned in held.items():
                    owned.suspended |= event.target in {process, "broker", "connections"}
            case _:
                pass
    for (group, (topic, partition)), times in every.items():
        _overlaps(verdict, f"{topic}-{partition} in {group}", times)


def _overlaps(verdict: Verdict, what: str, times: list[Ownership]) -> None:
    latest: Ownership | None = None
    generations: dict[int, Ownership] = {}
    for each in times:  # in the order in which they began
        if latest is not None and latest.sure > each.begun and latest.process != each.process:
            sentence = f"{what}: {each.process} became the owner while {latest.process} was"
            verdict.found(Kind.OWNED_TWICE, sentence, latest.begun, each.begun, latest.sure, latest.over)
        if latest is None or each.sure > latest.sure:
            latest = each
        same = generations.setdefault(each.generation, each)
        if each.generation >= 0 and same.process != each.process:
            sentence = f"{what}: {same.process} and {each.process} own it in generation {each.generation}"
            verdict.found(Kind.OWNED_TWICE, sentence, same.begun, each.begun)


def committed_offsets_grow(model: Model, verdict: Verdict) -> None:
    """What is committed after another commit was acknowledged is not lower, and a member that begins with a partition
    begins at or behind what had been acknowledged by then.
    """
    floor: dict[GroupPlace, tuple[int, int]] = {}
    pending: dict[str, tuple[int, dict[GroupPlace, tuple[int, int]]]] = {}
    in_txn: dict[str, list[tuple[int, CommitOffsets, dict[GroupPlace, tuple[int, int]]]]] = defaultdict(list)
    fresh: dict[tuple[str, GroupPlace], tuple[int, int, int]] = {}

    def raise_floor(asked: int, line: int, offsets: CommitOffsets, before: dict[GroupPlace, tuple[int, int]]) -> None:
        for topic, partition, offset in offsets.offsets:
            key = (offsets.group, (topic, partition))
            least, told = before.get(key, (-1, -1))
            if offset < least:
                sentence = (
                    f"{offsets.process} committed {offset} of {topic}-{partition} in {offsets.group} after {least}"
                )
                verdict.found(Kind.COMMIT_BACK, sentence, told, asked, line)
            if offset > floor.get(key, (-1, -1))[0]:
                floor[key] = (offset, line)

    def known(offsets: CommitOffsets) -> dict[GroupPlace, tuple[int, int]]:
        keys = [(offsets.group, (topic, partition)) for topic, partition, _ in offsets.offsets]
        return {key: floor[key] for key in keys if key in floor}

    for line, event in enumerate(model.events):
        match event:
            case CommitOffsets(txn=None):
                pending[event.process] = (line, known(event))
            case CommitOffsets(txn=str() as txn):
                in_txn[txn].append((line, event, known(event)))
            case OffsetsCommitted():
                asked, before = pending.pop(event.process, (line, {}))
                told = CommitOffsets(at=event.at, process=event.process, group=event.group, offsets=event.offsets)
                raise_floor(asked, line, told, before)
            case Committed():
                for asked, offsets, before in in_txn.pop(event.txn, []):
                    raise_floor(asked, line, offsets, before)
            case Assigned():
                for place in event.partitions:
                    least, told_at = floor.get((event.group, place), (-1, -1))
                    fresh[event.process, (event.group, place)] = (least, told_at, line)
            case Poll(group=str() as group):
                for topic, partition, offset, _value in event.records:
                    start = fresh.pop((event.process, (group, (topic, partition))), None)
                    if start is not None and offset < start[0]:
                        sentence = (
                            f"{event.process} was given {topic}-{partition}@{offset} first, and {group} had {start[0]}"
                        )
                        verdict.found(Kind.COMMIT_LOST, sentence, start[1], start[2], line)
            case _:
                pass


def everything_is_delivered(model: Model, verdict: Verdict) -> None:
    """Of a group that is said to be drained, some member was given every record that is visible."""
    given: dict[str, dict[Place, set[int]]] = defaultdict(lambda: defaultdict(set))
    for _line, poll in model.polls():
        if poll.group is not None:
            for topic, partition, offset, _value in poll.records:
                given[poll.group][topic, partition].add(offset)
    for line, event in enumerate(model.events):
        if not isinstance(event, Drained):
            continue
        for (topic, partition), log in model.logs.items():
            if topic not in event.topics:
                continue
            had = given[event.group][topic, partition]
            missing = [
                offset for offset in log.visible if offset not in had and min(log.values[offset].values()) < line
            ]
            if missing:
                many = "" if len(missing) == 1 else f" and {len(missing) - 1} more"
                sentence = f"{event.group} was not given {topic}-{partition}@{missing[0]}{many}"
                verdict.found(Kind.UNDELIVERED, sentence, *log.values[missing[0]].values(), line)
