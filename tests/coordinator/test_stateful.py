"""Groups under lost answers, repeated, late and reordered requests, dead clients, slow commits and restarts.

Hypothesis plays clients against the coordinator on a virtual clock. The model beside it is plain: it only believes what
the coordinator has said (answers) and what the log holds (a naive fold), never how it works. Invariants:

- no partition is owned twice in one generation, over restarts too
- no acknowledged commit is lost: what is fetched is the last acknowledged one, or a later one whose answer is unknown;
  none is gone before its time unless it was deleted, and none that was deleted or has expired comes back
- generations in the log grow as long as the group lives
- who has been fenced, has left, or is of another generation never commits
- a group has at most `group.max.size` members, and nobody is refused for that while there is room
- a group with members is not deleted, nor is an offset of a topic that they consume
- a request is answered once; and in the end, when time has passed, every one is
- a coordinator that starts again has the state that the naive fold of its log has
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.shard import State
from ottla.errors import ErrorCode, StorageError
from ottla.messages import GroupMetadataKey
from tests.coordinator.model import Client, OffsetModel, WatchedWorld, Written, endings, fold
from tests.coordinator.world import subscription

PARTITIONS = range(3)
# The last one is of a topic that no member subscribes to.
OFFSETS = (("t", 0), ("t", 1), ("u", 0))
RETENTION_MS = 60_000
FATAL = {ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID, ErrorCode.GROUP_MAX_SIZE_REACHED}
# Answers after which the records of a commit may still be in the log, or come to be.
UNKNOWN = {ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR}


class Groups(RuleBasedStateMachine):
    """One group, five clients."""

    def __init__(self) -> None:
        super().__init__()
        self.make_world(8)
        self.clients = [Client(f"c{number}", None) for number in range(3)]
        self.clients += [Client("s0", "one"), Client("s1", "two")]
        # Requests on their way; whoever sent them has given up on them.
        self.delayed: list[Callable[[], Any]] = []
        self.value = 0
        # Boxes from before a restart belong to connections that are gone.
        self.born = 0
        self.offsets = OffsetModel(OFFSETS)
        self.generation = 0
        self.roster: set[str] = set()
        self.gone: set[str] = set()
        self.instances: dict[str, str] = {}
        # By life of the group, generation and partition who was told that it owns it.
        self.owners: dict[tuple[int, int, int], str] = {}

    def make_world(self, size_max: int) -> None:
        """A world with groups of at most so many members."""
        self.world = WatchedWorld(
            GroupSettings(
                initial_rebalance_delay_ms=1_000,
                offset_commit_timeout_ms=5_000,
                group_size_max=size_max,
                offsets_retention_ms=RETENTION_MS,
                offsets_retention_check_interval_ms=7_000,
            )
        )

    @initialize(size_max=st.sampled_from([2, 3, 8]))
    def begin(self, size_max: int) -> None:
        """How large a group may be."""
        self.make_world(size_max)

    # What the coordinator says.

    def told_join(self, instance: str | None, response: Any) -> None:
        size_max = self.world.settings.group_size_max
        if response.error_code == ErrorCode.GROUP_MAX_SIZE_REACHED:
            group = self.world.machine().groups.get("g")
            assert group is not None
            assert len(group.members) >= size_max, "there was room"
        if response.error_code != ErrorCode.NONE:
            return
        assert len(response.members) <= size_max
        if instance is not None:
            # Whoever had the instance before is fenced.
            old = self.instances.get(instance)
            if old is not None and old != response.member_id and old in self.roster:
                self.roster = self.roster - {old} | {response.member_id}
            self.instances[instance] = response.member_id
        folded = fold(self.world)
        if folded.group is not None and folded.endings == endings(self.world):
            assert response.generation_id >= folded.group.generation, "a generation older than the log's was given out"
        self.generation = response.generation_id
        if response.members:
            assert response.leader == response.member_id or response.skip_assignment
            self.roster = {member.member_id for member in response.members}
            assert response.member_id in self.roster

    def told_sync(self, key: str, generation: int, response: Any) -> None:
        if response.error_code != ErrorCode.NONE:
            return
        life = endings(self.world)
        for partition in response.assignment:
            owner = self.owners.setdefault((life, generation, partition), key)
            assert owner == key, f"partition {partition} of generation {generation}: {owner} and {key}"

    def told_leave(self, response: Any) -> None:
        for member in response.members:
            if member.error_code == ErrorCode.NONE:
                self.gone.add(member.member_id)

    def logged(self) -> tuple[int, dict[str, str | None]]:
        """Generation and members, with their instances, of the last committed record of the group."""
        group = fold(self.world).group
        if group is None:
            return 0, {}
        return group.generation, {member.member_id: member.group_instance_id for member in group.members}

    # Clients act. A request may be sent twice, or arrive late.

    def send(self, request: Callable[[], Any], told: Callable[[Any], None], times: int, late: bool) -> Any:
        def deliver() -> Any:
            self.world.told = told
            try:
                return request()
            finally:
                self.world.told = lambda _: None

        if late:
            self.delayed.append(deliver)
            return None
        box = deliver()
        for _ in range(times - 1):
            box = deliver()
        return box

    clients_index = st.integers(0, 4)
    times = st.sampled_from([1, 1, 1, 2])
    late = st.sampled_from([False, False, False, True])

    @rule(index=clients_index, times=times, late=late, version=st.sampled_from([3, 5, 8, 9]))
    def join(self, index: int, times: int, late: bool, version: int) -> None:
        client = self.clients[index]
        member_id = client.member_id
        instance = client.instance if version >= 5 else None

        def request() -> Any:
            return self.world.join(
                member_id,
                client=client.name,
                instance=instance,
                version=version,
                protocols=(("range", subscription("t")),),
            )

        client.box = self.send(request, lambda response: self.told_join(instance, response), times, late)

    @rule(index=clients_index, times=times, late=late)
    def sync(self, index: int, times: int, late: bool) -> None:
        client = self.clients[index]
        member_id, generation, key = client.member_id, client.generation, client.key
        assignment = {
            member: bytes(partition for partition in PARTITIONS if partition % len(client.members) == place)
            for place, member in enumerate(sorted(client.members))
        }

        def request() -> Any:
            return self.world.sync(member_id, generation, assignment, instance=client.instance)

        client.box = self.send(request, lambda response: self.told_sync(key, generation, response), times, late)

    @rule(index=clients_index, times=times, late=late)
    def heartbeat(self, index: int, times: int, late: bool) -> None:
        client = self.clients[index]
        member_id, generation = client.member_id, client.generation

        def request() -> Any:
            return self.world.heartbeat(member_id, generation, instance=client.instance)

        box = self.send(request, lambda _: None, times, late)
        if client.box is None:
            client.box = box

    @rule(index=clients_index, late=late)
    def leave(self, index: int, late: bool) -> None:
        client = self.clients[index]
        member_id, instance = client.member_id, client.instance
        if member_id:
            self.send(lambda: self.world.leave((member_id, instance)), self.told_leave, 1, late)

    @rule(instance=st.sampled_from(["one", "two", "nobody"]), late=late)
    def remove(self, instance: str, late: bool) -> None:
        """An admin tool takes a static member out by its instance."""
        member_id = self.instances.get(instance)

        def told(response: Any) -> None:
            if response.error_code == ErrorCode.NONE and response.members[0].error_code == ErrorCode.NONE:
                self.gone.add(member_id or "")

        self.send(lambda: self.world.leave(("", instance)), told, 1, late)

    @rule(
        index=clients_index,
        place=st.sampled_from(OFFSETS),
        times=times,
        late=late,
        simple=st.booleans(),
        retention_ms=st.sampled_from([-1, -1, -1, 10_000]),
    )
    def commit(
        self, index: int, place: tuple[str, int], times: int, late: bool, simple: bool, retention_ms: int
    ) -> None:
        client = self.clients[index]
        member_id, generation = ("", -1) if simple else (client.member_id, client.generation)
        instance = None if simple else client.instance
        self.value += 1
        value = self.value

        def request() -> Any:
            state = self.visible_group().group_state
            allowed = (
                state in {GroupState.EMPTY.value, GroupState.DEAD.value}
                if generation < 0
                else generation == self.generation and member_id in self.roster - self.gone
            )
            written = Written(
                value,
                at_ms=self.world.clock.now_ms(),
                retention_ms=RETENTION_MS if retention_ms < 0 else retention_ms,
                has_end=retention_ms >= 0,
            )
            self.offsets.write(place, written)

            def told(response: Any) -> None:
                code = ErrorCode(response.topics[0].partitions[0].error_code)
                if code is ErrorCode.NONE:
                    written.kept = True
                    assert allowed, f"{member_id or 'nobody'} of generation {generation} has committed in {state}"
                elif code not in UNKNOWN:
                    written.kept = None

            self.world.told = told
            return self.world.commit(
                {place: value}, member_id=member_id, generation=generation, instance=instance, retention_ms=retention_ms
            )

        self.send(request, lambda _: None, times, late)

    # Admin tools act.

    @rule(late=late)
    def delete_group(self, late: bool) -> None:
        def request() -> Any:
            members = self.visible_group().members
            gone = [self.offsets.write(place, Written(None)) for place in OFFSETS]

            def told(response: Any) -> None:
                code = ErrorCode(response.results[0].error_code)
                if code is ErrorCode.NONE:
                    assert not members, "a group with members was deleted"
                self.end(gone, code)

            self.world.told = told
            return self.world.delete_groups("g")

        self.send(request, lambda _: None, 1, late)

    @rule(place=st.sampled_from(OFFSETS), late=late)
    def delete_offset(self, place: tuple[str, int], late: bool) -> None:
        def request() -> Any:
            state = self.visible_group().group_state
            gone = self.offsets.write(place, Written(None))

            def told(response: Any) -> None:
                code = ErrorCode(response.error_code or response.topics[0].partitions[0].error_code)
                if code is ErrorCode.NONE and state == GroupState.STABLE.value:
                    assert place[0] != "t", "the members consume it"
                self.end([gone], code)

            self.world.told = told
            return self.world.delete_offsets([place])

        self.send(request, lambda _: None, 1, late)

    def end(self, gone: list[Written], code: ErrorCode) -> None:
        """A deletion was answered."""
        for each in gone:
            if code is ErrorCode.NONE:
                each.kept = True
            elif code not in UNKNOWN:
                each.kept = None

    @rule(index=clients_index)
    def receive(self, index: int) -> None:
        """The client reads its answer; without this rule it is lost."""
        client = self.clients[index]
        box = client.box
        if box is None or not box.answered:
            return
        client.box = None
        response: Any = box.response
        if box.what.startswith("join") and response.error_code in {ErrorCode.NONE, ErrorCode.MEMBER_ID_REQUIRED}:
            client.member_id = response.member_id
            client.generation = response.generation_id
            client.members = [member.member_id for member in response.members]
            client.synced = False
        elif box.what.startswith("sync") and response.error_code == ErrorCode.NONE:
            client.synced = True
        elif response.error_code in {ErrorCode.REBALANCE_IN_PROGRESS, ErrorCode.ILLEGAL_GENERATION}:
            client.generation = -1
        elif response.error_code in FATAL:
            client.forget()

    @rule(index=clients_index)
    def behave(self, index: int) -> None:
        """The client does what a consumer would do next."""
        self.receive(index)
        client = self.clients[index]
        if client.box is not None:
            return
        if client.generation < 0:
            self.join(index, 1, False, 9)
        elif not client.synced:
            self.sync(index, 1, False)
        else:
            self.heartbeat(index, 1, False)
            self.commit(index, OFFSETS[index % len(OFFSETS)], 1, False, False, -1)

    @rule(rounds=st.integers(2, 6), asleep=st.sets(clients_index, max_size=4))
    def settle(self, rounds: int, asleep: set[int]) -> None:
        """Some of them behave for a while, which usually ends in a stable group."""
        for _ in range(rounds):
            for index in range(len(self.clients)):
                if index not in asleep:
                    self.behave(index)
            self.world.wait(1_000)

    @rule(index=clients_index)
    def die(self, index: int) -> None:
        self.clients[index].forget()

    @precondition(lambda self: self.delayed)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A late request arrives, in any order."""
        self.delayed.pop(data.draw(st.integers(0, len(self.delayed) - 1)))()

    # The world turns.

    @rule(elapsed_ms=st.sampled_from([1, 500, 1_000, 3_000, 6_000, 10_000, 40_000, 80_000]))
    def wait(self, elapsed_ms: int) -> None:
        self.world.wait(elapsed_ms)

    @rule(place=st.sampled_from(OFFSETS), elapsed_ms=st.sampled_from([20_000, 45_000, 59_000, 67_000]))
    def age(self, place: tuple[str, int], elapsed_ms: int) -> None:
        """An admin tool sets an offset, which it can while nobody is in the group, and then nobody does anything."""
        self.world.wait(2_000)
        self.commit(0, place, 1, False, True, -1)
        self.world.wait(elapsed_ms)

    @rule()
    def hold(self) -> None:
        self.world.journal().commit_at_once = False

    @rule()
    def hang(self) -> None:
        """Held for longer than a commit may take, and clients go on as if it were not."""
        self.hold()
        for _ in range(3):
            for index in range(len(self.clients)):
                self.behave(index)
            self.world.wait(3_000)

    @rule()
    def release(self) -> None:
        self.world.journal().commit_at_once = True
        self.world.journal().commit()
        self.world.turn()

    @rule(lose=st.booleans())
    def restart(self, lose: bool) -> None:
        """The broker is killed, with or without what was not committed."""
        journal = self.world.journal()
        if lose:
            journal.crash()
        else:
            journal._waiting.clear()
            journal.commit()
        journal.commit_at_once = True
        self.world.start()
        self.born = len(self.world.boxes)
        self.start_again()

    @rule()
    def fail(self) -> None:
        """The disk refuses an append: the shard takes it back, or starts again from its log."""
        self.release()
        machine = self.world.machine()
        self.world.journal().fail_with = StorageError("no space")
        for index in range(len(self.clients)):
            self.behave(index)
        self.world.journal().fail_with = None
        self.world.wait(0)
        while self.world.coordinator.status.shards[0].state is not State.ACTIVE:
            self.world.wait(100)
        if self.world.machine() is not machine:
            self.start_again()

    def start_again(self) -> None:
        """The model forgets what the log does not say, as the coordinator does."""
        self.generation, members = self.logged()
        self.roster = set(members)
        self.instances = {instance: member_id for member_id, instance in members.items() if instance is not None}
        self.gone.clear()
        assert self.visible() == self.fold_visible()

    def visible_group(self) -> Any:
        told, self.world.told = self.world.told, lambda _: None
        found = self.world.describe("g").response.groups[0]
        self.world.told = told
        return found

    def visible(self) -> Any:
        group = self.visible_group()
        members = {member.member_id: member.member_assignment for member in group.members}
        return group.group_state, members, self.world.fetched()

    def fold_visible(self) -> Any:
        folded = fold(self.world)
        said = [] if folded.group is None else folded.group.members
        members = {member.member_id: member.assignment for member in said}
        state = GroupState.STABLE if members else GroupState.EMPTY if folded.exists else GroupState.DEAD
        return state.value, members, folded.offsets

    # What always holds.

    @invariant()
    def groups_are_consistent(self) -> None:
        for group in self.world.machine().groups.values():
            group.check()

    @invariant()
    def generations_in_the_log_grow(self) -> None:
        last = -1
        for key, value in self.world.records():
            if isinstance(key, GroupMetadataKey):
                generation = getattr(value, "generation", -1)  # -1: the group has ended, and may begin anew
                assert generation >= last or value is None
                last = generation

    @invariant()
    def acknowledged_commits_stay(self) -> None:
        self.offsets.compare(self.world.fetched(), self.world.clock.now_ms(), fold(self.world).empty_since_ms)

    @invariant()
    def a_group_is_listed_as_it_is_described(self) -> None:
        described = self.visible_group()
        listed = self.world.list_groups().response.groups
        assert [group.group_state for group in listed] == [described.group_state] * len(listed)
        assert bool(listed) == (described.group_state != GroupState.DEAD.value)

    @invariant()
    def a_group_has_room(self) -> None:
        group = self.visible_group()
        if group.group_state in {GroupState.COMPLETING_REBALANCE.value, GroupState.STABLE.value}:
            assert len(group.members) <= self.world.settings.group_size_max

    @invariant()
    def nothing_is_left_for_the_next_turn(self) -> None:
        assert all(shard.buffered_records == 0 for shard in self.world.coordinator.status.shards)

    def teardown(self) -> None:
        """Everything is answered in the end, and the group is empty when nobody sends heartbeats."""
        # Whether or not the disk ever answers.
        self.world.wait(20 * 60_000)
        assert all(box.answered for box in self.world.boxes[self.born :])
        self.release()
        self.world.wait(20 * 60_000)
        # Nothing holds what was committed any more: it has expired, and the group with it.
        assert self.world.machine().groups.get("g") is None
        assert not self.world.fetched()
        self.groups_are_consistent()
        self.acknowledged_commits_stay()
        super().teardown()


TestGroups = Groups.TestCase
TestGroups.settings = settings(max_examples=120, stateful_step_count=50, suppress_health_check=list(HealthCheck))
