"""`python -m benches.consumer_groups`: what the consumer protocol costs the coordinator, without sockets and a disk.

Three figures: a heartbeat in which nothing has changed; the target of 5,000 partitions for 500 members, computed anew
and with one member more; and a group of so many members from the first heartbeat until everyone has what it shall have,
in processor time and heartbeats per member.
"""

from __future__ import annotations

import statistics
import time

from msgspec import Struct
from msgspec.structs import replace

from ottla._core import Codec
from ottla.clock import DeadlineQueue, SystemRandom, VirtualClock
from ottla.coordinator.group.consumer.assignors import ASSIGNORS
from ottla.coordinator.group.consumer.assignors.subject import Subject
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.settings import GroupSettings
from ottla.messages import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)
from ottla.testing import MemoryJournal, MemoryTopics, memory_cluster
from ottla.types import RequestContext

ROUNDS = 5
HEARTBEATS = 20_000
PER_TURN = 256
TOPICS, PARTITIONS_EACH, MEMBERS = 10, 500, 500
CONTEXT = RequestContext(68, 1, 0, "bench", "127.0.0.1", 1, "PLAINTEXT", 0)


class Rig:
    """A coordinator of one partition, and members that do as they are told."""

    def __init__(self, topics: int, partitions_each: int) -> None:
        self.clock = VirtualClock()
        self.topics = MemoryTopics()
        self.names = [f"topic-{index}" for index in range(topics)]
        for name in self.names:
            self.topics.create(name, partitions_each)
        self.coordinator = GroupCoordinator(
            lambda _: MemoryJournal(),
            1,
            Codec(),
            DeadlineQueue(),
            self.clock,
            SystemRandom(),
            memory_cluster(self.topics),
            GroupSettings(),
        )
        self.coordinator.load(0)
        self.epochs: dict[str, int] = {}
        self.owned: dict[str, list[ConsumerGroupHeartbeatRequestTopicPartitions]] = {}
        self.sent = 0

    def beat(self, member_id: str) -> None:
        joins = member_id not in self.epochs
        request = ConsumerGroupHeartbeatRequest(
            group_id="g",
            member_id=member_id,
            member_epoch=self.epochs.get(member_id, 0),
            rebalance_timeout_ms=60_000 if joins else -1,
            subscribed_topic_names=self.names if joins else None,
            topic_partitions=self.owned.get(member_id, []),
        )
        self.sent += 1
        self.coordinator.consumer_group_heartbeat(CONTEXT, request, lambda answer: self._told(member_id, answer))

    def _told(self, member_id: str, answer: Struct) -> None:
        assert isinstance(answer, ConsumerGroupHeartbeatResponse)
        assert not answer.error_code, answer
        self.epochs[member_id] = answer.member_epoch
        if answer.assignment is not None:
            self.owned[member_id] = [
                ConsumerGroupHeartbeatRequestTopicPartitions(said.topic_id, said.partitions)
                for said in answer.assignment.topic_partitions
            ]

    def settle(self, members: list[str]) -> None:
        """Heartbeats of all, five seconds apart, until nobody hears anything new."""
        while True:
            before = dict(self.epochs), dict(self.owned)
            for start in range(0, len(members), PER_TURN):
                for member_id in members[start : start + PER_TURN]:
                    self.beat(member_id)
                self.coordinator.flush_turn()
            self.clock.advance(5_000)
            if before == (self.epochs, self.owned):
                return


def heartbeats() -> float:
    """Microseconds of one."""
    rig = Rig(1, 8)
    rig.settle(["m"])
    begun = time.process_time()
    for number in range(HEARTBEATS):
        rig.beat("m")
        if number % PER_TURN == 0:
            rig.coordinator.flush_turn()
    return (time.process_time() - begun) / HEARTBEATS * 1e6


def assignment(name: str, *, alike: bool) -> tuple[float, float]:
    """Milliseconds of a first target, and of the next one with another member."""
    topics = tuple(index.to_bytes(16, "big") for index in range(1, TOPICS + 1))
    counts = dict.fromkeys(topics, PARTITIONS_EACH)
    subjects = [
        Subject(f"m{index}", None, topics if alike or index % 10 else topics[1:], {}) for index in range(MEMBERS)
    ]
    begun = time.process_time()
    found = ASSIGNORS[name](subjects, counts, alike=alike)
    first = time.process_time() - begun
    more = [replace(subject, target=found[subject.member_id]) for subject in subjects]
    more.append(Subject("new", None, topics, {}))
    begun = time.process_time()
    ASSIGNORS[name](more, counts, alike=alike)
    return first * 1e3, (time.process_time() - begun) * 1e3


def rebalance(members: int) -> tuple[float, float]:
    """Milliseconds and heartbeats per member."""
    rig = Rig(1, members * 2)
    begun = time.process_time()
    rig.settle([f"m{index}" for index in range(members)])
    return (time.process_time() - begun) * 1e3 / members, rig.sent / members


def tell(what: str, unit: str, took: list[float]) -> None:
    print(f"{what}: {min(took):.2f} {unit} at best, {statistics.median(took):.2f} {unit} in the middle")


def main() -> None:
    tell("heartbeat in which nothing has changed", "us", [heartbeats() for _ in range(ROUNDS)])
    for name in ASSIGNORS:
        for alike in (True, False):
            how = "alike" if alike else "different"
            what = f"{name}, {TOPICS * PARTITIONS_EACH} partitions, {MEMBERS} members, subscriptions {how}"
            took = [assignment(name, alike=alike) for _ in range(ROUNDS)]
            tell(what, "ms", [first for first, _ in took])
            tell(f"{what}, one member more", "ms", [again for _, again in took])
    for members in (3, 50, 500):
        took = [rebalance(members) for _ in range(ROUNDS)]
        tell(f"{members} members until all have their part, each", "ms", [cost for cost, _ in took])
        print(f"  with {took[0][1]:.1f} heartbeats each")


if __name__ == "__main__":
    main()
