"""Groups under lost answers, repeated, late and reordered requests, dead clients, slow commits and restarts.

Hypothesis plays clients against the coordinator on a virtual clock. The model beside it is plain: it only believes what
the coordinator has said (answers) and what the log holds (a naive fold), never how it works. Invariants:

- no partition is owned twice in one generation, over restarts too
- no acknowledged commit is lost: what is fetched is the last acknowledged one, or a later one whose answer is unknown
- generations in the log grow
- who has been fenced, has left, or is of another generation never commits
- a request is answered once; and in the end, when time has passed, every one is
- a coordinator that starts again has the state that the naive fold of its log has
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.group.state import GroupState
from ottla.coordinator.shard import State
from ottla.errors import ErrorCode, StorageError
from ottla.messages import GroupMetadataKey, OffsetCommitKey
from tests.coordinator.world import Box, World

PARTITIONS = range(3)
# Answers after which the records of a commit may still be in the log, or come to be.
UNKNOWN = {ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_COORDINATOR}


class Client:
    """A consumer, as simple as one can be: it does what the rules say, in any order."""

    def __init__(self, name: str, instance: str | None) -> None:
        self.name = name
        self.instance = instance
        self.forget()

    def forget(self) -> None:
        """The process is new: it knows nothing."""
        self.member_id = ""
        self.generation = -1
        self.members: list[str] = []
        self.synced = False
        self.box: WatchedBox | None = None

    @property
    def key(self) -> str:
        """What stays the same when a static member comes back."""
        return self.instance or self.member_id


class WatchedBox(Box):
    """Tells the model what the coordinator has said, whether or not the client ever hears it."""

    def __init__(self, what: str, told: Callable[[Any], None]) -> None:
        super().__init__(what)
        self.told = told

    def __call__(self, response: Any) -> None:
        assert not self.answers, f"{self.what} is answered twice"
        super().__call__(response)
        self.told(response)


class WatchedWorld(World):
    """A world whose next box is the model's."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.told: Callable[[Any], None] = lambda _: None
        super().__init__(*arguments, **keywords)

    def _box(self, what: str) -> Box:
        box = WatchedBox(what, self.told)
        self.boxes.append(box)
        return box


class Groups(RuleBasedStateMachine):
    """One group, five clients."""

    def __init__(self) -> None:
        super().__init__()
        self.world = WatchedWorld(
            GroupSettings(initial_rebalance_delay_ms=1_000, offset_commit_timeout_ms=5_000, group_size_max=8)
        )
        self.clients = [Client(f"c{number}", None) for number in range(3)]
        self.clients += [Client("s0", "one"), Client("s1", "two")]
        # Requests on their way; whoever sent them has given up on them.
        self.delayed: list[Callable[[], Any]] = []
        self.value = 0
        # Boxes from before a restart belong to connections that are gone.
        self.born = 0
        # By partition the commits handled, in order: value, and whether it was acknowledged (None: refused).
        self.commits: dict[int, list[list[Any]]] = {partition: [] for partition in PARTITIONS}
        self.generation = 0
        self.roster: set[str] = set()
        self.gone: set[str] = set()
        self.instances: dict[str, str] = {}
        # By generation and partition who was told that it owns it.
        self.owners: dict[tuple[int, int], str] = {}

    # What the coordinator says.

    def told_join(self, instance: str | None, response: Any) -> None:
        if response.error_code != ErrorCode.NONE:
            return
        if instance is not None:
            # Whoever had the instance before is fenced.
            old = self.instances.get(instance)
            if old is not None and old != response.member_id and old in self.roster:
                self.roster = self.roster - {old} | {response.member_id}
            self.instances[instance] = response.member_id
        assert response.generation_id >= self.logged()[0], "a generation older than the log's was given out"
        self.generation = response.generation_id
        if response.members:
            assert response.leader == response.member_id or response.skip_assignment
            self.roster = {member.member_id for member in response.members}
            assert response.member_id in self.roster

    def told_sync(self, key: str, generation: int, response: Any) -> None:
        if response.error_code != ErrorCode.NONE:
            return
        for partition in response.assignment:
            owner = self.owners.setdefault((generation, partition), key)
            assert owner == key, f"partition {partition} of generation {generation}: {owner} and {key}"

    def told_leave(self, response: Any) -> None:
        for member in response.members:
            if member.error_code == ErrorCode.NONE:
                self.gone.add(member.member_id)

    # The log, folded naively.

    def fold(self) -> tuple[dict[str, Any], dict[tuple[str, int], int]]:
        groups: dict[str, Any] = {}
        offsets: dict[tuple[str, int], int] = {}
        end = self.world.journal().high_watermark
        for offset, _, key, value in self.world.journal().records:
            if offset >= end:
                break
            read_key, read_value = self.world.codec.decode_coordinator_record("group", key, value)
            match read_key:
                case GroupMetadataKey():
                    groups[read_key.group] = read_value
                case OffsetCommitKey():
                    offsets[read_key.topic, read_key.partition] = read_value.offset
        return groups, offsets

    def logged(self) -> tuple[int, dict[str, str | None]]:
        """Generation and members, with their instances, of the last committed record of the group."""
        group = self.fold()[0].get("g")
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
            return self.world.join(member_id, client=client.name, instance=instance, version=version)

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

    @rule(index=clients_index, partition=st.sampled_from(PARTITIONS), times=times, late=late, simple=st.booleans())
    def commit(self, index: int, partition: int, times: int, late: bool, simple: bool) -> None:
        client = self.clients[index]
        member_id, generation = ("", -1) if simple else (client.member_id, client.generation)
        instance = None if simple else client.instance
        self.value += 1
        value = self.value

        def request() -> Any:
            state = self.world.describe("g").response.groups[0].group_state
            allowed = (
                state in {GroupState.EMPTY.value, GroupState.DEAD.value}
                if generation < 0
                else generation == self.generation and member_id in self.roster - self.gone
            )
            entry: list[Any] = [value, False]
            self.commits[partition].append(entry)

            def told(response: Any) -> None:
                code = ErrorCode(response.topics[0].partitions[0].error_code)
                if code is ErrorCode.NONE:
                    entry[1] = True
                    assert allowed, f"{member_id or 'nobody'} of generation {generation} has committed in {state}"
                elif code not in UNKNOWN:
                    entry[1] = None

            self.world.told = told
            return self.world.commit(
                {("t", partition): value}, member_id=member_id, generation=generation, instance=instance
            )

        self.send(request, lambda _: None, times, late)

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
        elif response.error_code in {ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID}:
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
            self.commit(index, index % len(PARTITIONS), 1, False, False)

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

    @rule(elapsed_ms=st.sampled_from([1, 500, 1_000, 3_000, 6_000, 10_000]))
    def wait(self, elapsed_ms: int) -> None:
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

    def visible(self) -> Any:
        group = self.world.describe("g").response.groups[0]
        members = {member.member_id: member.member_assignment for member in group.members}
        return group.group_state, members, self.world.fetched()

    def fold_visible(self) -> Any:
        groups, offsets = self.fold()
        group = groups.get("g")
        members = {} if group is None else {member.member_id: member.assignment for member in group.members}
        state = GroupState.DEAD if group is None and not offsets else GroupState.STABLE if members else GroupState.EMPTY
        return state.value, members, offsets

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
                generation = getattr(value, "generation")  # noqa: B009
                assert generation >= last
                last = generation

    @invariant()
    def acknowledged_commits_stay(self) -> None:
        fetched = self.world.fetched()
        for partition, history in self.commits.items():
            acknowledged = max((place for place, (_, kept) in enumerate(history) if kept), default=-1)
            possible = {value for value, kept in history[max(acknowledged, 0) :] if kept is not None}
            if acknowledged >= 0:
                assert fetched.get(("t", partition)) in possible, (partition, history, fetched)
            else:
                assert fetched.get(("t", partition)) in possible | {None}

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
        group = self.world.machine().groups.get("g")
        assert group is None or group.is_in(GroupState.EMPTY), group.state.current
        self.groups_are_consistent()
        self.acknowledged_commits_stay()
        super().teardown()


TestGroups = Groups.TestCase
TestGroups.settings = settings(
    max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
