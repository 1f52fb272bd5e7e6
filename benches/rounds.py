"""When a comparison is warm, in which order its rounds go, and what is told of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from benches.effort import EFFORT
from benches.peers import Peer

P = TypeVar("P", Peer, str)
Round = dict[str, Any]
SETTLED_WITHIN = 0.05


def warm_up(peer: Peer, run: Callable[[Peer], Round], figures: Sequence[str]) -> list[Round]:
    """Rounds until two in a row differ by < 5 % in every figure, at most six: a cold JIT is not Kafka's speed."""
    rounds = [run(peer)]
    while len(rounds) < EFFORT.warm_up_max:
        rounds.append(run(peer))
        if settled(rounds, figures):
            break
    return rounds


def settled(rounds: Sequence[Round], figures: Sequence[str]) -> bool:
    before, last = rounds[-2:]
    return all(abs(last[figure] - before[figure]) < SETTLED_WITHIN * before[figure] for figure in figures)


def interleaved(peers: Sequence[P], count: int) -> Iterator[P]:
    """A B, B A, A B: each peer (or name of one) once per round, the order turned each time."""
    for number in range(count):
        yield from peers if number % 2 == 0 else reversed(peers)


def summary(rounds: Sequence[Round], figure: str) -> dict[str, float]:
    values = [each[figure] for each in rounds]
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}
