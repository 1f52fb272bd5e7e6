"""How many partitions change hands while fifty members of the consumer protocol are restarted one after another.

A count, and no time. A partition has moved when another process owns it than the last one did. Each process leaves its
group and comes back as a new member: *slowly*, after the others have taken over what it had, or *at once*, before they
have asked. A static member (`group.instance.id`) says that it leaves for a while (epoch -2), and nothing may move
though the others ask meanwhile. The members are those of `benches.consumer_members`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benches.consumer_members import JOINS, LEAVES, LEAVES_FOR_A_WHILE, Group
from benches.peers import Peer
from benches.rounds import Round, interleaved, summary

MEMBERS = 50
ROUNDS = 3
KINDS = ("slowly", "at once", "static")


def owners(group: Group) -> dict[int, int]:
    """Which process owns each partition."""
    return {partition: slot for slot, member in enumerate(group.members) for partition in member.owned}


def moved(before: dict[int, int], after: dict[int, int]) -> int:
    """How many partitions have another owner now; those that nobody owns have not moved yet."""
    return sum(before[partition] != slot for partition, slot in after.items())


def one_round(peer: Peer, kind: str) -> Round:
    """Restarts each member of a group of its own once."""
    group = Group(peer, MEMBERS, static=kind == "static")
    owned, total = owners(group), 0

    def look() -> None:
        nonlocal owned, total
        now = owners(group)
        total += moved(owned, now)
        owned |= now

    for slot, member in enumerate(group.members):
        group.change(member, LEAVES_FOR_A_WHILE if kind == "static" else LEAVES)
        member.be_new()
        others = [each for number, each in enumerate(group.members) if number != slot]
        if kind == "slowly":
            group.settle(others)
        elif kind == "static":
            group.ask(others)
        look()
        group.change(member, JOINS)
        group.settle(group.members)
        look()
    group.close()
    return {"moved": total}


def run(peers: Sequence[Peer]) -> dict[str, Any]:
    """Interleaved rounds of each kind; there is nothing to warm up for a count."""
    kinds = {}
    for kind in KINDS:
        rounds: dict[str, list[Round]] = {peer.name: [] for peer in peers}
        for peer in interleaved(peers, ROUNDS):
            rounds[peer.name].append(one_round(peer, kind))
        kinds[kind] = {
            "rounds": rounds,
            "moved": {name: summary(done, "moved") for name, done in rounds.items()},
        }
    return {"workload": "rolling", "members": MEMBERS, "kinds": kinds}
