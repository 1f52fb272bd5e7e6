"""Checks of transactions as a whole: circles among them, and inputs that have their outputs once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from tests.history.events import Spot
from tests.history.findings import Kind, Verdict
from tests.history.model import Model, Outcome, Txn, Write

Edges = Mapping[str, Iterable[str]]


def no_circles(model: Model, verdict: Verdict) -> None:
    """Reads at read_committed never form a circle: who reads another's records comes after its commit. Writes alone
    may (findings.ALLOWED).
    """
    reads = _reads(model)
    for circle in circles(reads):
        names = " -> ".join(sorted(circle))
        verdict.found(Kind.READ_CYCLE, f"each was given records of the one before: {names}", *_lines(model, circle))
    for circle in circles(_writes(model)):
        names = ", ".join(sorted(circle))
        verdict.found(Kind.WRITE_CYCLE, f"each wrote behind another in some partition: {names}", *_lines(model, circle))


def _lines(model: Model, names: Iterable[str]) -> Iterator[int]:
    for name in names:
        txn = model.txns[name]
        yield txn.begun
        if txn.told is not None:
            yield txn.told


def _reads(model: Model) -> dict[str, set[str]]:
    """From each transaction to those whose consumer was given a record of it within them."""
    edges: dict[str, set[str]] = defaultdict(set)
    for _line, poll in model.polls():
        if poll.txn is None or poll.isolation != "committed" or not _committed(model.txn(poll.txn)):
            continue
        for topic, _partition, _offset, value in poll.records:
            write = model.writes.get((topic, value))
            if write is not None and write.txn is not None and write.txn.name != poll.txn:
                edges[write.txn.name].add(poll.txn)
    return edges


def _writes(model: Model) -> dict[str, set[str]]:
    """From each transaction to those whose record comes next after one of its own in some partition."""
    edges: dict[str, set[str]] = defaultdict(set)
    for (topic, _partition), log in model.logs.items():
        before: Txn | None = None
        for offset in log.everything:
            write = model.writes.get((topic, next(iter(log.values[offset]))))
            if write is None or write.txn is None or not _committed(write.txn):
                continue
            if before is not None and before is not write.txn:
                edges[before.name].add(write.txn.name)
            before = write.txn
    return edges


def _committed(txn: Txn) -> bool:
    return txn.outcome is Outcome.COMMITTED


def circles(edges: Edges) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan's algorithm, without recursion)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    is_open: set[str] = set()
    found: list[list[str]] = []

    def enter(node: str) -> tuple[str, Iterator[str]]:
        number[node] = low[node] = len(number)
        open_nodes.append(node)
        is_open.add(node)
        return node, iter(edges.get(node, ()))

    for root in edges:
        if root in number:
            continue
        path = [enter(root)]
        while path:
            node, rest = path[-1]
            for successor in rest:
                if successor not in number:
                    path.append(enter(successor))
                    break
                if successor in is_open:
                    low[node] = min(low[node], number[successor])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == number[node]:
                    component = [open_nodes.pop()]
                    while component[-1] != node:
                        component.append(open_nodes.pop())
                    is_open.difference_update(component)
                    if len(component) > 1:
                        found.append(component)
    return found


def inputs_have_their_outputs_once(model: Model, verdict: Verdict) -> None:
    """What programs made of their input and a read_committed consumer was given: each output once; and, where the
    input's topic was read to its end, each of them.
    """
    effects: dict[tuple[str, Spot, int], list[Write]] = defaultdict(list)
    kinds: dict[tuple[str, str], set[int]] = defaultdict(set)
    for write in model.writes.values():
        send = write.send
        if send.cause is None:
            continue
        kinds[send.cause[0], send.topic].add(send.effect)
        if any(offset in model.logs[send.topic, partition].polled_committed for partition, offset in write.spots):
            effects[send.topic, send.cause, send.effect].append(write)
    for (_topic, cause, _effect), writes in effects.items():
        if len(writes) > 1:
            said = " and ".join(write.said for write in writes)
            sentence = f"{cause[0]}-{cause[1]}@{cause[2]} became {said}"
            verdict.found(Kind.REPEATED_EFFECT, sentence, *(write.line for write in writes), *_outcomes(writes))
    for (source, target), wanted in kinds.items():
        for (topic, partition), log in model.logs.items():
            if topic != source or not log.complete:
                continue
            for offset in log.visible:
                missing = [each for each in wanted if (target, (topic, partition, offset), each) not in effects]
                if missing:
                    sentence = f"{topic}-{partition}@{offset} has nothing in {target}"
                    verdict.found(Kind.MISSING_EFFECT, sentence, *log.values[offset].values())


def _outcomes(writes: Iterable[Write]) -> Iterator[int]:
    for write in writes:
        yield from write.spots.values()
        if write.txn is not None and write.txn.told is not None:
            yield write.txn.told
