"""Any history of a consumer group: what clients believe never contradicts, and what the log says is what there is.

Clients join, send heartbeats whose answers may be lost, repeat them, leave for good or for now, fall silent and come
back as zombies; topics come, grow and go; appends fail; the coordinator is started again in the middle. After every
step hold the invariants of the group and these:

- of the clients that are members no two believe to own one partition, and none more than the coordinator gave it
- group, assignment and member epochs never go back while the group is there
- who is no member any more, or speaks for an instance that is another's, commits nothing
- a coordinator that replays the log shows what the one before it showed

When it is quiet afterwards every partition has one owner, and the shares are even.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode, StorageError
from tests.coordinator.consumers import Consumer, beat, commit, describe, join
from tests.coordinator.world import Box, World

SESSION_MS = 6_000
REBALANCE_MS = 8_000
TOPICS = ("t", "u")
# What a client of the consumer protocol can be told in an ordinary life.
EXPECTED = {
    ErrorCode.NONE,
    ErrorCode.FENCED_MEMBER_EPOCH,
    ErrorCode.UNKNOWN_MEMBER_ID,
    ErrorCode.GROUP_ID_NOT_FOUND,
    ErrorCode.UNRELEASED_INSTANCE_ID,
    ErrorCode.FENCED_INSTANCE_ID,
    ErrorCode.NOT_COORDINATOR,
}
BEGINS_ANEW = EXPECTED - {ErrorCode.NONE, ErrorCode.NOT_COORDINATOR}


class Client(Consumer):
    """A consumer as a library plays it: told to begin anew it gives up everything."""

    lives = 0

    def __init__(self, world: World, name: str, instance: str | None) -> None:
        super().__init__(world, name, *TOPICS, instance=instance)
        self.name = name
        # It has an id that the coordinator may know.
        self.joined = False
        self.away = False
        # It means to be a member.
        self.wants = False
        # An answer did not come: the next heartbeat says everything, and is answered with everything.
        self.missed = False

    def begin(self, *, lose: bool = False) -> ErrorCode:
        if not self.joined:
            # Every life has an id of its own.
            Client.lives += 1
            self.member_id = f"{self.name}-{Client.lives}"
        self.epoch, self.owned = 0, {}
        box = join(self.world, self.member_id, *TOPICS, group="g", instance=self.instance, rebalance_ms=REBALANCE_MS)
        self.joined, self.away, self.wants = True, False, True
        return self.hear(box, lose=lose)

    def say(self, *, lose: bool = False, nothing: bool = False) -> ErrorCode:
        box = beat(
            self.world,
            self.member_id,
            self.epoch,
            instance=self.instance,
            rebalance_ms=REBALANCE_MS if self.missed else -1,
            topics=TOPICS if self.missed else None,
            owned=None if nothing and not self.missed else self.owned,
        )
        return self.hear(box, lose=lose)

    def hear(self, box: Box, *, lose: bool) -> ErrorCode:
        code = box.code
        assert code in EXPECTED, (self.name, code)
        self.missed = lose
        if lose:
            return code
        if code is ErrorCode.NONE:
            self.take(box)
        elif code in BEGINS_ANEW:
            self.epoch, self.owned, self.joined = 0, {}, False
        return code


class Histories(RuleBasedStateMachine):
    """One group, six clients, two of them static."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            GroupSettings(
                consumer_session_timeout_ms=SESSION_MS,
                consumer_session_timeout_ms_min=1_000,
                consumer_assignment_interval_ms=0,
            )
        )
        self.clients = [Client(self.world, f"c{index}", f"i{index}" if index < 2 else None) for index in range(5)]
        self.epochs = (0, 0)
        self.member_epochs: dict[str, int] = {}

    @initialize(counts=st.tuples(st.integers(2, 6), st.integers(0, 3)), members=st.integers(0, 4))
    def begin(self, counts: tuple[int, int], members: int) -> None:
        for name, count in zip(TOPICS, counts, strict=True):
            if count:
                self.world.topics.create(name, count)
        for client in self.clients[:members]:
            client.begin()

    def group(self) -> ConsumerGroup | None:
        group = self.world.machine().groups.get("g")
        return group if isinstance(group, ConsumerGroup) else None

    # What clients do.

    @rule(index=st.integers(0, 4), lose=st.booleans())
    def joins(self, index: int, lose: bool) -> None:
        self.clients[index].begin(lose=lose)

    @rule(index=st.integers(0, 4), lose=st.booleans(), nothing=st.booleans())
    def beats(self, index: int, lose: bool, nothing: bool) -> None:
        client = self.clients[index]
        if client.joined and client.epoch > 0 and not client.away:
            client.say(lose=lose, nothing=nothing)

    @rule(index=st.integers(0, 4), back=st.integers(1, 3))
    def a_late_heartbeat_comes(self, index: int, back: int) -> None:
        """Only the epoch before is taken, from who owns no more than it was given; nobody hears the answer."""
        client, group = self.clients[index], self.group()
        member = None if group is None else group.members.get(client.member_id)
        if member is None or member.is_away or client.epoch <= back:
            return
        epoch, previous = client.epoch - back, member.previous_epoch
        box = beat(self.world, client.member_id, epoch, instance=client.instance, owned=client.owned)
        client.missed = True
        if box.code is ErrorCode.NONE:
            assert epoch in {previous, member.epoch}

    @rule(rounds=st.integers(1, 3))
    def all_beat(self, rounds: int) -> None:
        for _ in range(rounds):
            for client in self.clients:
                if client.joined and client.epoch > 0 and not client.away:
                    client.say()

    @rule(index=st.integers(0, 4), lose=st.booleans())
    def leaves(self, index: int, lose: bool) -> None:
        client = self.clients[index]
        if client.joined:
            box = beat(self.world, client.member_id, -1, instance=client.instance)
            if not lose:
                client.hear(box, lose=True)
                if box.code is not ErrorCode.NOT_COORDINATOR:
                    client.epoch, client.owned, client.joined, client.wants = 0, {}, False, False

    @rule(index=st.integers(0, 1))
    def leaves_for_now(self, index: int) -> None:
        client = self.clients[index]
        if client.joined and client.epoch > 0 and not client.away:
            box = beat(self.world, client.member_id, -2, instance=client.instance)
            if box.code is ErrorCode.NONE:
                # The process ends; its next life has another id.
                client.epoch, client.owned, client.joined, client.away = 0, {}, False, True

    @rule(index=st.integers(0, 4), back=st.integers(0, 2), which=st.integers(0, 5))
    def commits(self, index: int, back: int, which: int) -> None:
        client = self.clients[index]
        topic = self.world.topics.named("t")
        if client.epoch <= back or topic is None:
            return
        group = self.group()
        member = None if group is None else group.members.get(client.member_id)
        partition = which % topic.partition_count
        code = commit(self.world, client.member_id, client.epoch - back, topic.topic_id, partition)
        if code is ErrorCode.NONE:
            assert member is not None, "who is no member commits nothing"
            since = member.assignment_epoch(topic.topic_id, partition)
            assert client.epoch - back == member.epoch or (since is not None and since <= client.epoch - back)

    # What happens to them all.

    @rule(elapsed_ms=st.sampled_from([100, 1_000, 3_000, 5_000, SESSION_MS, 10_000]))
    def time_passes(self, elapsed_ms: int) -> None:
        self.world.wait(elapsed_ms)

    @rule(name=st.sampled_from(TOPICS), count=st.integers(1, 3))
    def a_topic_grows_or_comes(self, name: str, count: int) -> None:
        there = self.world.topics.named(name)
        if there is None:
            self.world.topics.create(name, count)
        elif there.partition_count < 9:
            self.world.topics.grow(name, there.partition_count + count)
        self.world.coordinator.on_topics_changed({name}, created=there is None)

    @rule(name=st.sampled_from(TOPICS))
    def a_topic_goes(self, name: str) -> None:
        self.world.topics.delete(name)
        self.world.coordinator.on_topics_changed({name}, created=False)

    @rule(index=st.integers(0, 4))
    def an_append_fails(self, index: int) -> None:
        self.world.journal().fail_with = StorageError("the disk is full")
        client = self.clients[index]
        if client.joined and client.epoch > 0 and not client.away:
            client.say()
        else:
            client.begin()
        self.world.journal().fail_with = None
        # Until the shard is back; each failure in a row keeps it away for longer.
        while describe(self.world, "g")[0].error_code == ErrorCode.NOT_COORDINATOR:
            self.world.wait(100)

    @rule()
    def the_coordinator_starts_again(self) -> None:
        before = describe(self.world, "g")
        self.world.start()
        assert describe(self.world, "g") == before

    @precondition(lambda self: any(client.wants for client in self.clients))
    @rule()
    def it_becomes_quiet(self) -> None:
        """Who means to be a member goes on until all is shared out; lives nobody goes on with expire meanwhile."""
        there = [client for client in self.clients if client.wants]
        for _ in range(3 * SESSION_MS // 500):
            self.world.wait(500)
            for client in there:
                if client.epoch == 0:
                    client.begin()
                else:
                    client.say()
        owned = [
            (topic_id, partition)
            for client in there
            for topic_id, partitions in client.owned.items()
            for partition in partitions
        ]
        views = [view for name in TOPICS if (view := self.world.topics.named(name)) is not None]
        assert sorted(owned) == sorted(
            (view.topic_id, index) for view in views for index in range(view.partition_count)
        )
        counts = [client.count for client in there]
        assert max(counts) - min(counts) <= 1
        group = self.group()
        assert group is not None
        assert describe(self.world, "g")[0].group_state == "Stable"

    # What always holds.

    @invariant()
    def groups_are_consistent(self) -> None:
        for group in self.world.machine().groups.values():
            group.check()

    @invariant()
    def beliefs_do_not_contradict(self) -> None:
        group = self.group()
        seen: dict[tuple[bytes, int], str] = {}
        for client in self.clients:
            member = None if group is None else group.members.get(client.member_id)
            if member is None or not client.joined:
                continue
            for topic_id, partitions in client.owned.items():
                for partition in partitions:
                    other = seen.setdefault((topic_id, partition), client.name)
                    assert other == client.name, (topic_id, partition, other, client.name)
                    assert member.assignment_epoch(topic_id, partition) is not None, (client.name, topic_id, partition)

    @invariant()
    def epochs_never_go_back(self) -> None:
        group = self.group()
        if group is None:
            self.epochs, self.member_epochs = (0, 0), {}
            return
        now = (group.epoch, group.assignment_epoch)
        assert now >= self.epochs
        assert now[1] >= self.epochs[1]
        self.epochs = now
        for member in group.members.values():
            last = self.member_epochs.get(member.member_id, 0)
            # Away is no epoch; a member that joins anew keeps its own.
            assert member.is_away or member.epoch >= last, member
            self.member_epochs[member.member_id] = max(member.epoch, last)


TestHistories: Any = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
