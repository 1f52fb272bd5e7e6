"""Members of the consumer protocol, as a test plays them: each remembers what it was told and says it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.errors import ErrorCode
from ottla.messages import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ottla.messages import ConsumerGroupDescribeResponseDescribedGroup, ConsumerGroupHeartbeatResponse
    from tests.coordinator.world import Box, World

Partitions = dict[bytes, list[int]]


def beat(
    world: World,
    member_id: str,
    epoch: int,
    *,
    group: str = "g",
    client: str = "client",
    version: int = 1,
    instance: str | None = None,
    rack: str | None = None,
    rebalance_ms: int = -1,
    topics: Collection[str] | None = None,
    pattern: str | None = None,
    assignor: str | None = None,
    owned: Mapping[bytes, Collection[int]] | None = None,
    end_turn: bool = True,
) -> Box:
    """One ConsumerGroupHeartbeat."""
    box = world._box(f"beat {member_id}")
    request = ConsumerGroupHeartbeatRequest(
        group_id=group,
        member_id=member_id,
        member_epoch=epoch,
        instance_id=instance,
        rack_id=rack,
        rebalance_timeout_ms=rebalance_ms,
        subscribed_topic_names=None if topics is None else list(topics),
        subscribed_topic_regex=pattern,
        server_assignor=assignor,
        topic_partitions=None
        if owned is None
        else [
            ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=topic_id, partitions=list(partitions))
            for topic_id, partitions in owned.items()
        ],
    )
    world.coordinator.consumer_group_heartbeat(world.context("beat", version, client), request, box)
    return world._end(box, end_turn)


def join(
    world: World,
    member_id: str,
    *topics: str,
    group: str = "g",
    instance: str | None = None,
    pattern: str | None = None,
    assignor: str | None = None,
    rebalance_ms: int = 60_000,
    end_turn: bool = True,
) -> Box:
    """The first heartbeat of a member."""
    return beat(
        world,
        member_id,
        0,
        group=group,
        instance=instance,
        rebalance_ms=rebalance_ms,
        topics=topics,
        pattern=pattern,
        assignor=assignor,
        owned={},
        end_turn=end_turn,
    )


def describe(world: World, *groups: str) -> list[ConsumerGroupDescribeResponseDescribedGroup]:
    """ConsumerGroupDescribe."""
    box = world._box("describe consumers")
    world.coordinator.describe_consumer_groups(groups, box)
    found: list[ConsumerGroupDescribeResponseDescribedGroup] = box.response.groups
    return found


def commit(world: World, member_id: str, epoch: int, topic_id: bytes, partition: int = 0) -> ErrorCode:
    """Commit offset 5 for a partition of topic "t"."""
    box = world.commit({("t", partition): 5}, member_id=member_id, generation=epoch, topic_id=topic_id)
    return ErrorCode(box.response.topics[0].partitions[0].error_code)


def assigned(response: ConsumerGroupHeartbeatResponse) -> Partitions | None:
    """What an answer says the member may have; None if it says nothing."""
    if response.assignment is None:
        return None
    return {said.topic_id: said.partitions for said in response.assignment.topic_partitions}


class Consumer:
    """A client: takes what it is told, gives up what it is told, and keeps its epoch."""

    def __init__(
        self, world: World, member_id: str, *topics: str, group: str = "g", instance: str | None = None
    ) -> None:
        self.world = world
        self.member_id = member_id
        self.topics = topics
        self.group = group
        self.instance = instance
        self.epoch = 0
        self.owned: Partitions = {}

    def join(self) -> ErrorCode:
        """Begin anew, with nothing."""
        self.epoch, self.owned = 0, {}
        return self.take(join(self.world, self.member_id, *self.topics, group=self.group, instance=self.instance))

    def beat(self) -> ErrorCode:
        """One heartbeat that says what it owns."""
        box = beat(self.world, self.member_id, self.epoch, group=self.group, instance=self.instance, owned=self.owned)
        return self.take(box)

    def leave(self, epoch: int = -1) -> ErrorCode:
        """Leave, for good unless the epoch says for now."""
        return beat(self.world, self.member_id, epoch, group=self.group, instance=self.instance).code

    def take(self, box: Box) -> ErrorCode:
        """Do as the answer says."""
        if box.code is ErrorCode.NONE:
            self.epoch = box.response.member_epoch
            told = assigned(box.response)
            if told is not None:
                self.owned = told
        return box.code

    @property
    def count(self) -> int:
        """How many partitions it owns."""
        return sum(map(len, self.owned.values()))


def settle(world: World, *consumers: Consumer, rounds: int = 20) -> None:
    """Heartbeats of all until nobody is told anything new; the interval between targets passes in each round."""
    for _ in range(rounds):
        before = [(consumer.epoch, dict(consumer.owned)) for consumer in consumers]
        world.wait(1_000)
        for consumer in consumers:
            code = consumer.beat()
            assert code is ErrorCode.NONE, (consumer.member_id, code)
        if before == [(consumer.epoch, consumer.owned) for consumer in consumers]:
            return
    raise AssertionError(f"not settled after {rounds} rounds")
