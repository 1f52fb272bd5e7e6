"""How long a group needs to rebalance: 3 and 50 members, each a socket that speaks the protocol and nothing else.

One generator for every broker: this file, over plain sockets and our codec, in one thread. A rebalance begins when the
leader of a stable group sends JoinGroup. The others send heartbeats until they are told (REBALANCE_IN_PROGRESS), join
and sync, the leader assigns, and it ends when the last member has its part. Nobody waits between its requests, so the
figure is what the broker and the generator need, not how often a client asks; members of a real group ask every three
seconds. `group.initial.rebalance.delay.ms` is 0, and does not count in a group that has members.

A round is `REBALANCES` of one group of its own; its figure is their median. CPU is that of the broker process.
"""

from __future__ import annotations

import itertools
import selectors
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from benches.link import CODEC, WAIT_S, Link
from benches.meters import Meter
from benches.peers import Peer
from benches.rounds import Round, interleaved, settled, summary, warm_up
from ottla.errors import ErrorCode
from ottla.messages import (
    ConsumerProtocolSubscription,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
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

SIZES = (3, 50)
REBALANCES = {3: 300, 50: 60}
ROUNDS = 5
SETTLES = ("rebalance_ms",)
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
        # A heartbeat is on its way.
        self.asking = False

    def join(self) -> None:
        subscription = CODEC.encode_struct(
            "ConsumerProtocolSubscription", 0, ConsumerProtocolSubscription(topics=["t"])
        )
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=1_800_000,
            rebalance_timeout_ms=300_000,
            member_id=self.member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"\0\0" + subscription)],
        )
        self.stable = False
        self.link.send(11, request)

    def sync(self) -> None:
        assignments = [SyncGroupRequestAssignment(member_id=each, assignment=ASSIGNMENT) for each in self.members]
        request = SyncGroupRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=assignments,
        )
        self.link.send(14, request)

    def heartbeat(self) -> None:
        self.asking = True
        request = HeartbeatRequest(
            group_id=self.group, generation_id=self.generation, member_id=self.member_id, group_instance_id=None
        )
        self.link.send(12, request)

    def react(self) -> None:
        """Something came: take it, and send what follows from it."""
        match self.link.receive():
            case None:
                return
            case JoinGroupResponse(error_code=ErrorCode.NONE) as joined:
                self.generation, self.leads = joined.generation_id, joined.leader == joined.member_id
                self.member_id = joined.member_id
                self.members = [each.member_id for each in joined.members]
                self.sync()
            case JoinGroupResponse(error_code=ErrorCode.MEMBER_ID_REQUIRED) as known:
                self.member_id = known.member_id
                self.join()
            case SyncGroupResponse(error_code=ErrorCode.NONE):
                self.stable = True
            case HeartbeatResponse(error_code=ErrorCode.NONE):
                self.asking = False
            case HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS):
                self.asking = False
                self.join()
            case SyncGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS):
                self.join()
            case other:
                raise RuntimeError(f"a member of {self.group} was answered {other}")


class Group:
    """A group of members that share one thread."""

    def __init__(self, peer: Peer, size: int) -> None:
        self.name = f"rebalance-{next(numbers)}"
        wait_for_coordinator(peer, self.name)
        self.members = [Member(peer, self.name) for _ in range(size)]
        self._selector = selectors.DefaultSelector()
        for member in self.members:
            self._selector.register(member.link.socket, selectors.EVENT_READ, member)
            member.join()
        self._run(self._is_whole)

    def _is_whole(self) -> bool:
        generations = {member.generation for member in self.members if member.stable}
        return (
            all(member.stable for member in self.members)
            and len(generations) == 1
            and any(len(member.members) == len(self.members) for member in self.members if member.leads)
        )

    def _run(self, until: Callable[[], bool]) -> None:
        """Until that is so, everyone does what it is told, and who has its part asks whether it still holds."""
        deadline = time.monotonic() + WAIT_S
        last = max(member.generation for member in self.members)
        while not until():
            for member in self.members:
                # Who has its part of a later generation has done its work.
                if member.stable and not member.asking and (last < 0 or member.generation <= last):
                    member.heartbeat()
            self._take()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} was not stable within {WAIT_S} s")
        # The last heartbeats are not part of the next rebalance.
        while any(member.asking for member in self.members):
            self._take()

    def _take(self) -> None:
        for key, _ in self._selector.select(WAIT_S):
            key.data.react()

    def rebalance(self) -> float:
        """Seconds from the leader's JoinGroup to the last member's part."""
        generation = self.members[0].generation
        done_s = 0.0

        def is_done() -> bool:
            nonlocal done_s
            if not all(member.stable and member.generation > generation for member in self.members):
                return False
            done_s = done_s or time.perf_counter()
            return True

        begun_s = time.perf_counter()
        next(member for member in self.members if member.leads).join()
        self._run(is_done)
        return done_s - begun_s

    def close(self) -> None:
        identities = [LeaveGroupRequestMemberIdentity(member_id=member.member_id) for member in self.members]
        self.members[0].link.ask(13, LeaveGroupRequest(group_id=self.name, members=identities))
        for member in self.members:
            member.link.socket.close()
        self._selector.close()


def wait_for_coordinator(peer: Peer, group: str) -> None:
    """The first question makes the internal topic."""
    link = Link(peer.process)
    deadline = time.monotonic() + WAIT_S
    while True:
        answer = link.ask(10, FindCoordinatorRequest(key_type=0, coordinator_keys=[group]))
        assert isinstance(answer, FindCoordinatorResponse)
        if answer.coordinators[0].error_code == ErrorCode.NONE:
            beat = link.ask(12, HeartbeatRequest(group_id=group, generation_id=1, member_id="nobody"))
            assert isinstance(beat, HeartbeatResponse)
            if beat.error_code == ErrorCode.UNKNOWN_MEMBER_ID:
                link.socket.close()
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{peer.name} coordinates no groups: {answer}")


def one_round(peer: Peer, size: int) -> Round:
    """One group, rebalanced again and again."""
    group = Group(peer, size)
    meter = Meter(peer.process)
    took_ms = [group.rebalance() * 1000 for _ in range(REBALANCES[size])]
    usage = meter.stop()
    group.close()
    return {
        "rebalance_ms": statistics.median(took_ms),
        "p90_ms": statistics.quantiles(took_ms, n=10)[-1],
        "max_ms": max(took_ms),
        **asdict(usage),
        "broker_cpu_ms_per_rebalance": usage.broker_cpu_s * 1000 / REBALANCES[size],
    }


def run(peers: Sequence[Peer], size: int) -> dict[str, Any]:
    """Warm-up per peer, then interleaved rounds on the same processes."""
    warm = {peer.name: warm_up(peer, lambda each: one_round(each, size), SETTLES) for peer in peers}
    rounds: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for peer in interleaved(peers, ROUNDS):
        rounds[peer.name].append(one_round(peer, size))
    figures = ("rebalance_ms", "p90_ms", "broker_cpu_ms_per_rebalance")
    return {
        "workload": "rebalance",
        "members": size,
        "rebalances": REBALANCES[size],
        "warm_up": warm,
        "settled": {name: settled(done, SETTLES) for name, done in warm.items()},
        "rounds": rounds,
        **{figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in figures},
    }
