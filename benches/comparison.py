"""Rounds of several brokers beside each other, and beside the limit program: how every comparison is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benches.effort import EFFORT
from benches.peers import WHOLE, Peer
from benches.rounds import Round, interleaved, settled, summary, warm_up

LIMIT = "limit"


def compare(
    peers: Sequence[Peer],
    one_round: Callable[[Peer], Round],
    settles: Sequence[str],
    figures: Sequence[str],
    limit: Callable[[], Round] | None = None,
) -> dict[str, Any]:
    """Warm-up per peer, then interleaved rounds on the same processes; the limit is one of those that take turns.

    A peer that is no whole broker may not be able to do what is asked; then the result says so and goes on without it.
    """
    absent: dict[str, str] = {}

    def unless_absent(peer: Peer, play: Callable[[Peer], list[Round]]) -> list[Round]:
        if peer.name in absent:
            return []
        try:
            return play(peer)
        except Exception as error:
            if peer.name in WHOLE:
                raise
            absent[peer.name] = f"{type(error).__name__}: {error}"
            return []

    warm = {peer.name: unless_absent(peer, lambda each: warm_up(each, one_round, settles)) for peer in peers}
    by_name = {peer.name: peer for peer in peers}
    rounds: dict[str, list[Round]] = {name: [] for name in (*by_name, *([LIMIT] if limit else []))}
    for name in interleaved([*rounds], EFFORT.rounds):
        if peer := by_name.get(name):
            rounds[name] += unless_absent(peer, lambda each: [one_round(each)])
        elif limit is not None:
            rounds[name].append(limit())
    rounds = {name: done for name, done in rounds.items() if name not in absent}
    warm = {name: done for name, done in warm.items() if name not in absent}
    told = {
        figure: {name: summary(done, figure) for name, done in rounds.items() if figure in done[0]}
        for figure in figures
    }
    return {
        "warm_up": warm,
        "settled": {name: settled(done, settles) for name, done in warm.items()},
        "absent": absent,
        "rounds": rounds,
        **told,
    }
