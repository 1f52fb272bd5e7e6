"""Any history of a group with members of both protocols: up, down, up again, with lost answers and restarts.

Classic clients are eager: told to rebalance they give up everything, join, and whoever leads shares out round robin.
After every step: what clients of the running generation or epoch believe to own does not overlap, the group's own
invariants hold, and a coordinator that starts again finds a group of the same protocol with the same members. When it
is quiet every partition has one owner, and no member is left behind in a protocol the group does not speak.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode
from tests.coordinator.consumers import describe
from tests.coordinator.test_consumer_stateful import SESSION_MS, Client
from tests.coordinator.test_migration import ClassicConsumer, encoded
from tests.coordinator.world import Box, World

REJOIN = {ErrorCode.REBALANCE_IN_PROGRESS}
RETRY = {ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE}
BEGIN_ANEW = {ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION, ErrorCode.FENCED_INSTANCE_ID}


class EagerClient(ClassicConsumer):
    """A classic client that takes one step at a time, since its requests may be parked."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, "t")
        self.waiting: Box | None = None
        self.wants = False
        self.syncs = True

    def reset(self) -> None:
        self.member_id, self.generation, self.owned, self.waiting = "", -1, {}, None

    def ask_join(self) -> Box:
        self.owned, self.generation = {}, -1
        self.waiting = self.world.join(
            self.member_id,
            client=self.name,
            protocols=(("range", self.subscription()),),
            session_ms=SESSION_MS,
            rebalance_ms=SESSION_MS,
        )
        return self.waiting

    def step(self) -> None:
        """Whatever comes next for it."""
        self.wants = True
        if self.waiting is None:
            if self.generation < 0:
                self.ask_join()
            else:
                self.took(self.heartbeat())
        elif self.waiting.answered:
            box, self.waiting = self.waiting, None
            if box.what.startswith("join"):
                self.heard_of_join(box)
            elif self.took(box.code):
                self.synced(box)

    def heard_of_join(self, box: Box) -> None:
        if box.code is ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = box.response.member_id
            self.ask_join()
        elif self.took(box.code):
            self.member_id, self.generation = box.response.member_id, box.response.generation_id
            if not self.syncs:
                return
            names = sorted(member.member_id for member in box.response.members)
            parts: dict[str, Any] = {}
            topic = self.world.topics.named("t")
            assert topic is not None
            for index in range(topic.partition_count if names else 0):
                parts.setdefault(names[index % len(names)], {"t": []})["t"].append(index)
            sent = {name: encoded(self.world, owned) for name, owned in parts.items()}
            self.waiting = self.world.sync(self.member_id, self.generation, sent)

    def took(self, code: ErrorCode) -> bool:
        """Whether all is well; else what the code asks for."""
        if code in REJOIN | RETRY:
            self.owned, self.generation = {}, -1
        elif code in BEGIN_ANEW:
            self.reset()
        else:
            assert code is ErrorCode.NONE, (self.name, code)
        return code is ErrorCode.NONE

    def only_beat(self) -> None:
        """It goes on as if it had not been told to rebalance."""
        if self.member_id and self.generation >= 0 and self.waiting is None:
            code = self.heartbeat()
            if code in BEGIN_ANEW:
                self.reset()

    def leave(self) -> None:
        self.wants = False
        if self.member_id:
            self.world.leave((self.member_id, None))
        self.reset()


class Mixed(RuleBasedStateMachine):
    """Two clients of each protocol, one topic."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            GroupSettings(
                initial_rebalance_delay_ms=100,
                session_timeout_ms_min=1_000,
                consumer_session_timeout_ms=SESSION_MS,
                consumer_session_timeout_ms_min=1_000,
                consumer_assignment_interval_ms=0,
            )
        )
        self.world.topics.create("t", 4)
        # They subscribe to a topic more, which does not exist.
        self.news = [Client(self.world, f"new{index}", None) for index in range(2)]
        self.olds = [EagerClient(self.world, f"old{index}") for index in range(2)]

    def group(self) -> ClassicGroup | ConsumerGroup | None:
        return self.world.machine().groups.get("g")

    @initialize(olds=st.integers(0, 2), news=st.integers(0, 2))
    def begin(self, olds: int, news: int) -> None:
        """So many are in, and settled."""
        for old in self.olds[:olds]:
            old.step()
        for client in self.news[:news]:
            client.begin()
        if olds or news:
            self.it_becomes_quiet()

    @rule(index=st.integers(0, 1), lose=st.booleans())
    def a_new_one_joins(self, index: int, lose: bool) -> None:
        self.news[index].begin(lose=lose)

    @rule(index=st.integers(0, 1), lose=st.booleans())
    def a_new_one_beats(self, index: int, lose: bool) -> None:
        client = self.news[index]
        if client.joined and client.epoch > 0:
            client.say(lose=lose)

    @rule(index=st.integers(0, 1))
    def a_new_one_leaves(self, index: int) -> None:
        client = self.news[index]
        if client.joined:
            client.leave()
            client.epoch, client.owned, client.joined, client.wants = 0, {}, False, False

    @rule(index=st.integers(0, 1), steps=st.integers(1, 4))
    def an_old_one_goes_on(self, index: int, steps: int) -> None:
        for _ in range(steps):
            self.olds[index].step()

    @rule(steps=st.integers(1, 8))
    def old_ones_go_on(self, steps: int) -> None:
        for _ in range(steps):
            for client in self.olds:
                if client.wants:
                    client.step()
            self.world.wait(100)

    @rule(index=st.integers(0, 1), steps=st.integers(1, 4), lose=st.booleans())
    def a_new_one_finds_an_old_one_waiting(self, index: int, steps: int, lose: bool) -> None:
        """Whatever it waits for in the old group, it is told to join again."""
        self.an_old_one_goes_on(index, steps)
        self.a_new_one_joins(index, lose)
        self.it_becomes_quiet()

    @rule(starts_again=st.booleans())
    def all_new_ones_leave(self, starts_again: bool) -> None:
        """The others share what they had, also if the coordinator starts again at that moment."""
        self.an_old_one_goes_on(0, 1)
        self.a_new_one_joins(0, lose=False)
        self.it_becomes_quiet()
        for index in range(len(self.news)):
            self.a_new_one_leaves(index)
        if starts_again:
            self.the_coordinator_starts_again()
        if any(client.wants for client in self.olds):
            self.it_becomes_quiet()
        # And up again: what the others have they keep until they are told.
        new = self.news[0]
        new.begin()
        for _ in range(3):
            self.beliefs_do_not_overlap()
            if new.epoch > 0:
                new.say()

    @rule(index=st.integers(0, 1), syncs=st.booleans())
    def an_old_one_only_beats(self, index: int, syncs: bool) -> None:
        """It takes no further step when a new one comes; or joins, and does not ask what it is assigned. Others do not
        wait for it longer than its rebalance time-out.
        """
        stubborn = self.olds[index]
        if not syncs:
            stubborn.leave()
            stubborn.syncs = False
            for _ in range(8):
                stubborn.step()
                self.world.wait(100)
        member_id, stubborn.wants = stubborn.member_id, False
        is_in = stubborn.generation >= 0
        self.news[0].begin()
        for _ in range(4 * SESSION_MS // 250):
            self.world.wait(250)
            stubborn.only_beat()
            self.go_on()
        group = self.group()
        assert group is not None
        if isinstance(group, ConsumerGroup):
            assert describe(self.world, "g")[0].group_state == "Stable"
        else:
            assert group.state.current.value == "Stable"
        assert syncs or not is_in or member_id not in group.members
        stubborn.syncs = True
        stubborn.leave()
        self.it_becomes_quiet()

    def go_on(self) -> None:
        """Everybody who means to be a member."""
        for client in self.news:
            if client.wants and client.epoch == 0:
                client.begin()
            elif client.wants:
                client.say()
        for old in self.olds:
            if old.wants:
                old.step()

    @rule(index=st.integers(0, 1))
    def an_old_one_leaves(self, index: int) -> None:
        self.olds[index].leave()

    @rule(elapsed_ms=st.sampled_from([100, 1_000, 3_000, SESSION_MS]))
    def time_passes(self, elapsed_ms: int) -> None:
        self.world.wait(elapsed_ms)

    @rule()
    def the_coordinator_starts_again(self) -> None:
        before = self.group()
        was = None if before is None else (type(before), set(before.members))
        rebalancing = isinstance(before, ClassicGroup) and before.state.current.value != "Stable"
        self.world.start()
        for client in self.olds:
            if client.waiting is not None:
                # Its connection is gone, and with it the answer.
                client.waiting, client.owned, client.generation = None, {}, -1
        after = self.group()
        if not rebalancing:
            assert was == (None if after is None else (type(after), set(after.members)))

    def somebody_wants(self) -> bool:
        return any(client.wants for client in self.news) or any(client.wants for client in self.olds)

    @precondition(lambda self: self.somebody_wants())
    @rule()
    def it_becomes_quiet(self) -> None:
        """Who means to be a member goes on until all is shared out."""
        news = [client for client in self.news if client.wants]
        olds = [client for client in self.olds if client.wants]
        for _ in range(4 * SESSION_MS // 250):
            self.world.wait(250)
            self.go_on()
        topic = self.world.topics.named("t")
        assert topic is not None
        owned = [partition for client in news for partitions in client.owned.values() for partition in partitions]
        owned += [partition for old in olds for partitions in old.owned.values() for partition in partitions]
        assert sorted(owned) == list(range(topic.partition_count))
        group = self.group()
        assert group is not None
        assert len(group.members) == len(news) + len(olds)
        assert isinstance(group, ConsumerGroup if news else ClassicGroup | ConsumerGroup)

    @invariant()
    def groups_are_consistent(self) -> None:
        for group in self.world.machine().groups.values():
            group.check()

    @invariant()
    def beliefs_do_not_overlap(self) -> None:
        group = self.group()
        seen: dict[int, str] = {}
        for name, partitions in self.beliefs(group):
            for partition in partitions:
                assert seen.setdefault(partition, name) == name, (partition, seen[partition], name)

    def beliefs(self, group: ClassicGroup | ConsumerGroup | None) -> list[tuple[str, list[int]]]:
        """Of those who are members of what is running."""
        if group is None:
            return []
        there: list[Client | EagerClient] = [client for client in self.news if client.member_id in group.members]
        for old in self.olds:
            member = group.members.get(old.member_id)
            generation = group.generation if isinstance(group, ClassicGroup) else getattr(member, "epoch", None)
            if member is not None and old.generation == generation:
                there.append(old)
        return [(client.name, [index for part in client.owned.values() for index in part]) for client in there]


TestMixed: Any = Mixed.TestCase
TestMixed.settings = settings(max_examples=60, stateful_step_count=25)
