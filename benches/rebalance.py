"""How long a classic group needs to rebalance: each member a socket that speaks the protocol and nothing else.

One generator for every broker: this file, over plain sockets and our codec, in one thread. A rebalance begins when the
leader of a stable group sends JoinGroup. The others send heartbeats until they are told (REBALANCE_IN_PROGRESS), join
and sync, the leader assigns, and it ends when the last member has its part. Nobody waits between its requests, so the
figure is what the broker and the generator need, not how often a client asks; members of a real group ask every three
seconds. `group.initial.rebalance.delay.ms` is 0, and does not count in a group that has members.

A round is `REBALANCES` of one group of its own; its figure is their median. CPU is that of the broker process. What
members say is encoded beforehand; how much of the time this process computed is in the results.
"""

from __future__ import annotations

import itertools
import selectors
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from benches.link import CODEC, WAIT_S, Form, Link, frame, wait_for_groups
from benches.meters import Meter
from benches.peers import Peer
from benches.rounds import Round, interleaved, settled, summary, warm_up
from ottla.errors import ErrorCode
from ottla.messages import (
    ConsumerProtocolSubscription,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupRequestMemberIdentity,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)

REBALANCES = {3: 300, 50: 60, 500: 12}
ROUNDS = 5
SETTLES = ("rebalance_ms",)
FIGURES = ("rebalance_ms", "p90_ms", "broker_cpu_ms_per_rebalance", "broker_cpu_us_per_join", "generator_share")
ASSIGNMENT = bytes(100)
numbers = itertools.count(1)


class Member:
    """One member: joins whenever it is told to, and is stable once it has its part."""

    def __init__(self, peer: Peer, group: str) -> None:
        self.link = Link(peer.process)
        self.group = group
        self.member_id = ""
        self.generation = -1
        self.members: list[str] = []
        self.leads = False
        self.stable = False
        self._name_itself()

    def _name_itself(self) -> None:
        """What it will say under its id, encoded before anything is measured."""
        group, member_id = self.group, self.member_id
        subscription = CODEC.encode_struct(
            "ConsumerProtocolSubscription", 0, ConsumerProtocolSubscription(topics=["t"])
        )
        join = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=1_800_000,
            rebalance_timeout_ms=300_000,
            member_id=member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"\0\0" + subscription)],
        )
        self._join = frame(11, join)
        self._sync = Form(14, lambda generation: self._sync_request(generation, []))
        self._heartbeat = Form(
            12, lambda generation: HeartbeatRequest(group_id=group, generation_id=generation, member_id=member_id)
        )

    def _sync_request(self, generation: int, members: Sequence[str]) -> SyncGroupRequest:
        return SyncGroupRequest(
            group_id=self.group,
            generation_id=generation,
            member_id=self.member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[SyncGroupRequestAssignment(member_id=each, assignment=ASSIGNMENT) for each in members],
        )

    def join(self) -> None:
        self.stable = False
        self.link.send_frame(11, self._join)

    def sync(self) -> None:
        if self.leads:
            self.link.send(14, self._sync_request(self.generation, self.members))
        else:
            self.link.send_frame(14, self._sync.filled(self.generation))

    def heartbeat(self) -> None:
        self.link.send_frame(12, self._heartbeat.filled(self.generation))

    def react(self) -> bool:
        """Something came: take it, and send what follows from it. True if it is stable, and asks nothing."""
        match self.link.receive():
            case None:
                pass
            case JoinGroupResponse(error_code=ErrorCode.NONE) as joined:
                self.generation, self.leads = joined.generation_id, joined.leader == joined.member_id
                self.members = [each.member_id for each in joined.members]
                self.sync()
            case JoinGroupResponse(error_code=ErrorCode.MEMBER_ID_REQUIRED) as known:
                self.member_id = known.member_id
                self._name_itself()
                self.join()
            case SyncGroupResponse(error_code=ErrorCode.NONE):
                self.stable = True
                return True
            case HeartbeatResponse(error_code=ErrorCode.NONE):
                return True
            case HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS):
                self.join()
            case SyncGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS):
                self.join()
            case other:
                raise RuntimeError(f"a member of {self.group} was answered {other}")
        return False


class Group:
    """A group of members that share one thread."""

    def __init__(self, peer: Peer, size: int) -> None:
        self.name = f"rebalance-{next(numbers)}"
        wait_for_groups(peer.process, self.name)
        self.members = [Member(peer, self.name) for _ in range(size)]
        self._selector = selectors.DefaultSelector()
        for member in self.members:
            self._selector.register(member.link.socket, selectors.EVENT_READ, member)
            member.join()
        self._form()

    def _is_whole(self) -> bool:
        return len({member.generation for member in self.members}) == 1 and any(
            len(member.members) == len(self.members) for member in self.members if member.leads
        )

    def _form(self) -> None:
        """Until all are in one generation; who has its part of an earlier one asks whether it still holds."""
        missing = len(self.members)
        while missing:
            for member in self._ready():
                if member.react():
                    if self._is_whole():
                        missing -= 1
                    else:
                        member.heartbeat()

    def _ready(self) -> list[Member]:
        ready = [key.data for key, _ in self._selector.select(WAIT_S)]
        if not ready:
            raise RuntimeError(f"{self.name} was answered nothing for {WAIT_S} s")
        return ready

    def rebalance(self) -> float:
        """Seconds from the leader's JoinGroup to the last member's part."""
        last = self.members[0].generation
        missing = len(self.members)
        leader = next(member for member in self.members if member.leads)
        begun_s = time.perf_counter()
        leader.join()
        for member in self.members:
            if member is not leader:
                member.heartbeat()
        while missing:
            for member in self._ready():
                if member.react():
                    if member.generation > last:
                        missing -= 1
                    else:
                        member.heartbeat()
        return time.perf_counter() - begun_s

    def leave_request(self) -> LeaveGroupRequest:
        identities = [LeaveGroupRequestMemberIdentity(member_id=member.member_id) for member in self.members]
        return LeaveGroupRequest(group_id=self.name, members=identities)

    def close(self) -> None:
        self.members[0].link.ask(13, self.leave_request())
        for member in self.members:
            member.link.close()
        self._selector.close()


def one_round(peer: Peer, size: int) -> Round:
    """One group, rebalanced again and again."""
    group = Group(peer, size)
    meter = Meter(peer.process)
    own_cpu_s = time.process_time()
    took_ms = [group.rebalance() * 1000 for _ in range(REBALANCES[size])]
    own_cpu_s = time.process_time() - own_cpu_s
    usage = meter.stop()
    group.close()
    return {
        **times(took_ms),
        **asdict(usage),
        "broker_cpu_ms_per_rebalance": usage.broker_cpu_s * 1000 / REBALANCES[size],
        "broker_cpu_us_per_join": usage.broker_cpu_s * 1e6 / REBALANCES[size] / size,
        "generator_share": own_cpu_s * 1000 / sum(took_ms),
    }


def times(took_ms: Sequence[float]) -> Round:
    """What is told of the times of one round."""
    return {
        "rebalance_ms": statistics.median(took_ms),
        "p90_ms": statistics.quantiles(took_ms, n=10)[-1],
        "max_ms": max(took_ms),
    }


def run(peers: Sequence[Peer], size: int) -> dict[str, Any]:
    """Warm-up per peer, then interleaved rounds on the same processes."""
    return compare("classic", peers, size, lambda peer: one_round(peer, size))


def compare(protocol: str, peers: Sequence[Peer], size: int, play: Callable[[Peer], Round]) -> dict[str, Any]:
    """The same for either protocol."""
    warm = {peer.name: warm_up(peer, play, SETTLES) for peer in peers}
    rounds: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for peer in interleaved(peers, ROUNDS):
        rounds[peer.name].append(play(peer))
    return {
        "workload": "rebalance",
        "protocol": protocol,
        "members": size,
        "rebalances": REBALANCES[size],
        "warm_up": warm,
        "settled": {name: settled(done, SETTLES) for name, done in warm.items()},
        "rounds": rounds,
        **{figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in FIGURES},
    }
