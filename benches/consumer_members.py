"""Members of the consumer protocol (KIP-848), each a socket that sends ConsumerGroupHeartbeat and nothing else.

As in `benches.rebalance`, all in one thread, and nobody waits between its requests: a member that is told something new
does it and says so at once, and one that does not yet have what a change of its group brings it asks again. (Members of
a real group ask every five seconds.) All subscribe to one topic, with `PARTITIONS_EACH` partitions for each of them.
"""

from __future__ import annotations

import itertools
import selectors
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from benches.link import WAIT_S, Form, Link, create_topic, wait_for_groups
from benches.peers import Peer
from ottla.messages import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)

PARTITIONS_EACH = 2
JOINS, LEAVES, LEAVES_FOR_A_WHILE = 0, -1, -2
numbers = itertools.count(1)


class Member:
    """One member. It revokes what it is told to, and says so with its next heartbeat."""

    def __init__(self, peer: Peer, group: Group, instance_id: str | None = None) -> None:
        self.link = Link(peer.process)
        self.group = group
        self.instance_id = instance_id
        self.be_new()

    def be_new(self) -> None:
        """A new process has started, under an id of its own."""
        self.member_id = str(uuid.uuid4())
        self.epoch = JOINS
        self.owned: set[int] = set()
        # What it owns has changed since it told.
        self.untold = False
        self._beat = Form(68, self._request)

    def _request(self, epoch: int, **more: Any) -> ConsumerGroupHeartbeatRequest:
        return ConsumerGroupHeartbeatRequest(
            group_id=self.group.name, member_id=self.member_id, member_epoch=epoch, instance_id=self.instance_id, **more
        )

    def join(self) -> None:
        self.link.send(
            68,
            self._request(
                JOINS, rebalance_timeout_ms=300_000, subscribed_topic_names=[self.group.topic], topic_partitions=[]
            ),
        )

    def leave(self, epoch: int = LEAVES) -> None:
        self.link.send_frame(68, self._beat.filled(epoch))

    def beat(self) -> None:
        if self.untold:
            self.untold = False
            owned = ConsumerGroupHeartbeatRequestTopicPartitions(self.group.topic_id, sorted(self.owned))
            self.link.send(68, self._request(self.epoch, topic_partitions=[owned] if self.owned else []))
        else:
            self.link.send_frame(68, self._beat.filled(self.epoch))

    def told(self) -> bool:
        """Take what came; False if that is not a whole answer yet."""
        answer = self.link.receive()
        if answer is None:
            return False
        assert isinstance(answer, ConsumerGroupHeartbeatResponse)
        if answer.error_code:
            raise RuntimeError(f"a member of {self.group.name} was answered {answer}")
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            owned = {index for topic in answer.assignment.topic_partitions for index in topic.partitions}
            self.untold = owned != self.owned
            self.owned = owned
        return True


class Group:
    """A group of members that share one thread."""

    def __init__(self, peer: Peer, size: int, *, static: bool = False) -> None:
        self.name = f"consumers-{next(numbers)}"
        self.topic = f"of-{self.name}"
        self.partitions = size * PARTITIONS_EACH
        self.topic_id = create_topic(peer.process, self.topic, self.partitions)
        wait_for_groups(peer.process, self.name)
        self._selector = selectors.DefaultSelector()
        self.members = [Member(peer, self, f"instance-{index}" if static else None) for index in range(size)]
        for member in self.members:
            self._selector.register(member.link.socket, selectors.EVENT_READ, member)
            member.join()
        self._listen(len(self.members))
        self.settle(self.members)

    def _ready(self) -> Iterable[Member]:
        ready = [key.data for key, _ in self._selector.select(WAIT_S)]
        if not ready:
            raise RuntimeError(f"{self.name} was answered nothing for {WAIT_S} s")
        return ready

    def _listen(self, count: int) -> None:
        """Until so many answers have come."""
        while count:
            for member in self._ready():
                count -= member.told()

    def ask(self, members: Sequence[Member]) -> None:
        """One heartbeat of each."""
        for member in members:
            member.beat()
        self._listen(len(members))

    def settle(self, members: list[Member]) -> None:
        """Heartbeats of these members until all have the same epoch and own every partition between them."""
        epoch = max(member.epoch for member in members)
        share = self.partitions // len(members)
        deadline = time.monotonic() + WAIT_S
        while True:
            missing = len(members)
            for member in members:
                member.beat()
            while missing:
                for member in self._ready():
                    if not member.told():
                        continue
                    epoch = max(epoch, member.epoch)
                    if member.untold or member.epoch < epoch or len(member.owned) < share:
                        member.beat()
                    else:
                        missing -= 1
            owned = sum(len(member.owned) for member in members)
            if owned == self.partitions and all(member.epoch == epoch for member in members):
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} owns {owned} of {self.partitions} partitions after {WAIT_S} s")
        everything = set().union(*(member.owned for member in members))
        assert len(everything) == self.partitions, "a partition is owned twice"

    def change(self, member: Member, epoch: int) -> None:
        """The member joins or leaves, and is answered."""
        if epoch == JOINS:
            member.join()
        else:
            member.leave(epoch)
        self._listen(1)

    def close(self) -> None:
        for member in self.members:
            member.leave()
        self._listen(len(self.members))
        for member in self.members:
            member.link.close()
        self._selector.close()
