"""Any history of a consumer group: what clients believe never contradicts, and what the log says is what there is.

Clients join, send heartbeats whose answers may be lost, repeat them, leave for good or for now, fall silent and come
back as zombies; topics come, grow and go; appends fail; the coordinator is started again in the middle. After every
step hold the invariants of the group and these:

- of the clients that are members no two use one partition, though some are slow to give up what they were told to, and
  none believes to own more than the coordinator gave it
- nobody is waited for longer than its rebalance time-out to give something up
- group, assignment and member epochs never go back while the group is there
- who is no member any more, or speaks for an instance that is another's, commits nothing; an instance that is in use is
  nobody else's, and what it has stays with it while it is away
- a coordinator that replays the log shows what the one before it showed

When it is quiet afterwards every partition has one owner, and the shares are even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode, StorageError
from tests.coordinator.both_ways import both_ways
from tests.coordinator.consumers import Consumer, Partitions, beat, commit, describe, join
from tests.coordinator.world import Box, World

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSION_MS = 6_000
REBALANCE_MS = 8_000
TOPICS = ("t", "u")
clients = st.integers(0, 5)
PATTERN_CLIENT = 4
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


@pytest.fixture(autouse=True, scope="module")
def short_and_whole() -> Iterator[None]:
    """What goes the short way of a quiet heartbeat is decided the whole way, too."""
    with both_ways() as seen:
        yield
    assert seen.unchanged
    assert seen.next_epoch


class Client(Consumer):
    """A consumer as a library plays it: told to begin anew it gives up everything."""

    lives = 0

    def __init__(self, world: World, name: str, instance: str | None, pattern: str | None = None) -> None:
        super().__init__(world, name, *(() if pattern else TOPICS), instance=instance)
        self.name = name
        self.pattern = pattern
        # It has an id that the coordinator may know.
        self.joined = False
        self.away = False
        # It means to be a member.
        self.wants = False
        # An answer did not come: the next heartbeat says everything, and is answered with everything.
        self.missed = False
        # What it was told to give up, and has not yet; only if it is slow.
        self.slow = False
        self.holding: Partitions = {}

    @property
    def using(self) -> Partitions:
        """What it owns, and what it has still to give up."""
        both = [*self.owned.items(), *self.holding.items()]
        return {
            topic_id: sorted({each for of, part in both if of == topic_id for each in part}) for topic_id, _ in both
        }

    def begin(self, *, lose: bool = False) -> ErrorCode:
        if not self.joined:
            # Every life has an id of its own.
            Client.lives += 1
            self.member_id = f"{self.name}-{Client.lives}"
        self.epoch, self.owned, self.holding = 0, {}, {}
        box = join(
            self.world,
            self.member_id,
            *self.topics,
            instance=self.instance,
            pattern=self.pattern,
            rebalance_ms=REBALANCE_MS,
        )
        self.joined, self.away, self.wants = True, False, True
        return self.hear(box, lose=lose)

    def say(self, *, lose: bool = False, nothing: bool = False) -> ErrorCode:
        box = beat(
            self.world,
            self.member_id,
            self.epoch,
            instance=self.instance,
            rebalance_ms=REBALANCE_MS if self.missed else -1,
            topics=self.topics if self.missed else None,
            pattern=self.pattern if self.missed else None,
            owned=None if nothing and not self.missed else self.using,
        )
        return self.hear(box, lose=lose)

    def hear(self, box: Box, *, lose: bool) -> ErrorCode:
        code = box.code
        assert code in EXPECTED, (self.name, code)
        self.missed = lose
        if lose:
            return code
        if code is ErrorCode.NONE:
            had = self.using
            self.take(box)
            if self.slow:
                gone = {of: sorted(set(part) - set(self.owned.get(of, ()))) for of, part in had.items()}
                self.holding = {of: part for of, part in gone.items() if part}
        elif code in BEGINS_ANEW:
            self.epoch, self.owned, self.holding, self.joined = 0, {}, {}, False
        return code


class Histories(RuleBasedStateMachine):
    """One group, six clients, three of them static: two have the same instance. One subscribes by a pattern."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            GroupSettings(
                consumer_session_timeout_ms=SESSION_MS,
                consumer_session_timeout_ms_min=1_000,
                consumer_assignment_interval_ms=0,
            )
        )
        instances = ["i0", "i1", None, None, None, "i0"]
        self.clients = [
            Client(self.world, f"c{index}", instance, "t|u" if index == PATTERN_CLIENT else None)
            for index, instance in enumerate(instances)
        ]
        # Who has something to give up, since when and at which epoch.
        self.revoking: dict[str, tuple[int, object]] = {}
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

    @rule(index=clients, lose=st.booleans())
    def joins(self, index: int, lose: bool) -> None:
        client, group = self.clients[index], self.group()
        holder = None if group is None else group.static_member(client.instance)
        in_use = holder is not None and holder.member_id != client.member_id and not holder.is_away
        code = client.begin(lose=lose)
        if in_use and holder is not None and holder.member_id != client.member_id:
            assert code is not ErrorCode.NONE, f"{client.instance} belongs to {holder.member_id}"

    @rule(index=clients, slow=st.booleans())
    def takes_its_time(self, index: int, slow: bool) -> None:
        """To give up what it is told to; or has given up."""
        client = self.clients[index]
        client.slow, client.holding = slow, client.holding if slow else {}

    @rule(index=clients, lose=st.booleans(), nothing=st.booleans())
    def beats(self, index: int, lose: bool, nothing: bool) -> None:
        client = self.clients[index]
        if client.joined and client.epoch > 0 and not client.away:
            client.say(lose=lose, nothing=nothing)

    @rule(other=clients, seconds=st.sampled_from([0, 3, 12]), nothing=st.booleans(), again=st.booleans())
    def one_is_slow_when_another_comes(self, other: int, seconds: int, nothing: bool, again: bool) -> None:
        """What it uses is nobody else's until it has said that it does not any more, or is fenced."""
        there = [client for client in self.clients if client.joined and client.epoch > 0 and not client.away]
        another = self.clients[other]
        if not there or another in there:
            return
        slow = max(there, key=lambda client: client.count)
        slow.slow = True
        another.begin()
        for second in range(2 + seconds):
            if again and second == 1:
                self.the_coordinator_starts_again()
            for each in [*there, another]:
                if each.joined and each.epoch > 0 and not each.away:
                    each.say(nothing=nothing and each is slow)
            self.beliefs_do_not_contradict()
            self.nobody_is_waited_for_too_long()
            if seconds:
                self.world.wait(1_000)

    @rule(index=clients, back=st.integers(0, 3), more=st.booleans())
    def a_late_heartbeat_comes(self, index: int, back: int, more: bool) -> None:
        """Only the epoch before is taken, from who owns no more than it was given; nobody hears the answer."""
        client, group = self.clients[index], self.group()
        member = None if group is None else group.members.get(client.member_id)
        if member is None or member.is_away or client.epoch <= back:
            return
        previous = member.previous_epoch
        epoch = client.epoch - back if back or previous <= 0 else previous
        owned = client.using
        if more and (topic := self.world.topics.named("t")) is not None:
            owned = {**owned, topic.topic_id: list(range(topic.partition_count))}
        box = beat(self.world, client.member_id, epoch, instance=client.instance, owned=owned)
        client.missed = True
        if box.code is ErrorCode.NONE:
            assert epoch in {previous, member.epoch}
            if epoch != member.epoch:
                assert all(set(part) <= set(member.assigned.get(of, ())) for of, part in owned.items())

    @rule(rounds=st.integers(1, 3))
    def all_beat(self, rounds: int) -> None:
        for _ in range(rounds):
            for client in self.clients:
                if client.joined and client.epoch > 0 and not client.away:
                    client.say()
        for index in range(len(self.clients)):
            self.commits(index, 1)

    @rule(index=clients, lose=st.booleans())
    def leaves(self, index: int, lose: bool) -> None:
        client = self.clients[index]
        if client.joined:
            box = beat(self.world, client.member_id, -1, instance=client.instance)
            if not lose:
                client.hear(box, lose=True)
                if box.code is not ErrorCode.NOT_COORDINATOR:
                    client.epoch, client.owned, client.joined, client.wants = 0, {}, False, False
                    client.holding = {}

    @rule(index=clients)
    def leaves_and_the_others_share_what_it_had(self, index: int) -> None:
        self.leaves(index, lose=False)
        if any(client.wants for client in self.clients):
            self.it_becomes_quiet()

    @rule(other=clients, comes=st.booleans())
    def all_answers_get_lost(self, other: int, comes: bool) -> None:
        """When somebody comes or goes. Who did not hear is told again."""
        if comes:
            self.clients[other].begin(lose=True)
        else:
            self.leaves(other, lose=False)
        for client in self.clients:
            if client.joined and client.epoch > 0 and not client.away:
                client.say(lose=True)
        if any(client.wants for client in self.clients):
            self.it_becomes_quiet()

    @rule(name=st.sampled_from(TOPICS))
    def only_the_pattern_is_left(self, name: str) -> None:
        """It matches topics that come later."""
        for index, client in enumerate(self.clients):
            if index != PATTERN_CLIENT and client.joined:
                self.leaves(index, lose=False)
        self.clients[PATTERN_CLIENT].begin()
        self.a_topic_goes(name)
        self.it_becomes_quiet()
        self.a_topic_grows_or_comes(name, 2)
        self.it_becomes_quiet()

    @rule(index=st.sampled_from([0, 1, 5]))
    def leaves_for_now(self, index: int) -> None:
        client, group = self.clients[index], self.group()
        if client.joined and client.epoch > 0 and not client.away:
            member = None if group is None else group.members.get(client.member_id)
            box = beat(self.world, client.member_id, -2, instance=client.instance)
            if box.code is ErrorCode.NONE:
                # The process ends; its next life has another id.
                client.epoch, client.owned, client.joined, client.away = 0, {}, False, True
                client.holding = {}
                assert member is not None
                group = self.group()
                assert group is not None
                away = group.member(client.member_id)
                assert {of: sorted(part) for of, part in away.assigned.items()} == {
                    of: sorted(part) for of, part in member.assigned.items()
                }

    @rule(index=clients)
    def one_commits_that_has_left(self, index: int) -> None:
        """And was not told that it has."""
        self.leaves(index, lose=True)
        self.commits(index, 0)

    @rule(index=clients, back=st.integers(0, 3))
    def commits(self, index: int, back: int) -> None:
        """For everything there is."""
        client = self.clients[index]
        topic = self.world.topics.named("t")
        if client.epoch <= back or topic is None:
            return
        group = self.group()
        member = None if group is None else group.members.get(client.member_id)
        for partition in range(topic.partition_count):
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

    @rule(index=clients)
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
        self.revoking = {}

    @rule()
    def the_coordinator_starts_again(self) -> None:
        before = describe(self.world, "g")
        self.world.start()
        self.revoking = {}
        assert describe(self.world, "g") == before

    @precondition(lambda self: any(client.wants for client in self.clients))
    @rule()
    def it_becomes_quiet(self) -> None:
        """Who means to be a member goes on until all is shared out; lives nobody goes on with expire meanwhile."""
        there = [client for client in self.clients if client.wants]
        for client in there:
            client.slow, client.holding = False, {}
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
        # Whose instance is in use is not in.
        counts = [client.count for client in there if client.epoch > 0]
        assert len({client.instance or client.name for client in there}) == len(counts)
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
            for topic_id, partitions in client.using.items():
                for partition in partitions:
                    other = seen.setdefault((topic_id, partition), client.name)
                    assert other == client.name, (topic_id, partition, other, client.name)
                    assert member.assignment_epoch(topic_id, partition) is not None, (client.name, topic_id, partition)

    @invariant()
    def nobody_is_waited_for_too_long(self) -> None:
        """A coordinator that starts again gives everybody the full time."""
        group, now_ms = self.group(), self.world.clock.now_ms()
        members = {} if group is None else dict(group.members.items())
        asked = {of: (each.epoch, each.revoking) for of, each in members.items() if each.revoking}
        self.revoking = {
            of: self.revoking[of] if of in self.revoking and self.revoking[of][1] == what else (now_ms, what)
            for of, what in asked.items()
        }
        for of, (since_ms, _) in self.revoking.items():
            assert now_ms <= since_ms + REBALANCE_MS, f"{of} has not given up what it should"

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
TestHistories.settings = settings(max_examples=80, stateful_step_count=40)
