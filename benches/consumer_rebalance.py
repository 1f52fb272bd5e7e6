"""How long a group of the consumer protocol (KIP-848) needs until a change has come to everyone.

A rebalance begins with the heartbeat by which a member joins the group, or leaves it. As soon as that is answered, the
others send theirs, revoke what they are told to, say so and ask again (`benches.consumer_members`), and it ends when
every member has the new epoch and all partitions are owned again. A member joins and leaves in turn; the group has as
many members as the row says when it is in. `group.consumer.assignment.interval.ms` is 0 on both brokers, since the
second it is by default is no work of anybody's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benches.consumer_members import JOINS, LEAVES, Group
from benches.meters import Meter
from benches.peers import Peer
from benches.rebalance import REBALANCES, compare, times
from benches.rounds import Round


def one_round(peer: Peer, size: int) -> Round:
    """One group that a member leaves and joins again and again."""
    group = Group(peer, size)
    *others, last = group.members
    took_ms: dict[int, list[float]] = {JOINS: [], LEAVES: []}
    meter = Meter(peer.process)
    own_cpu_s = 0.0
    for _ in range(REBALANCES[size] // 2):
        for change, members in ((LEAVES, others), (JOINS, group.members)):
            if change == JOINS:
                last.be_new()
            cpu_s, begun_s = time.process_time(), time.perf_counter()
            group.change(last, change)
            group.settle(members)
            took_ms[change].append((time.perf_counter() - begun_s) * 1000)
            own_cpu_s += time.process_time() - cpu_s
    usage = meter.stop()
    group.close()
    everything = took_ms[JOINS] + took_ms[LEAVES]
    return {
        **times(took_ms[JOINS]),
        "leave_ms": times(took_ms[LEAVES]),
        **asdict(usage),
        "broker_cpu_ms_per_rebalance": usage.broker_cpu_s * 1000 / len(everything),
        "broker_cpu_us_per_join": usage.broker_cpu_s * 1e6 / len(everything) / size,
        "generator_share": own_cpu_s * 1000 / sum(everything),
    }


def run(peers: Sequence[Peer], size: int) -> dict[str, Any]:
    """Warm-up per peer, then interleaved rounds on the same processes."""
    return compare("consumer", peers, size, lambda peer: one_round(peer, size))
