"""What the runtime makes of trouble: partitions that cannot be opened, disks full or slow, callbacks that raise.

Whoever waits is answered, exactly once, and what is well goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from ottla.coordinator.runtime import RuntimeSettings
from ottla.coordinator.shard import Result, State
from ottla.errors import ErrorCode, StorageError
from ottla.messages import HeartbeatResponse
from ottla.testing import MemoryJournal
from tests.coordinator.test_runtime import Numbers, Rig
from tests.coordinator.world import Box, World


class Panic(BaseException):
    """A Rust panic, as it arrives in Python: not an Exception."""


@pytest.fixture
def rig() -> Rig:
    """A loaded shard whose journal commits at once."""
    rig = Rig()
    rig.runtime.load(0)
    return rig


@pytest.fixture
def slow() -> Rig:
    """A loaded shard whose journal commits when told to."""
    rig = Rig(commit_at_once=False, settings=RuntimeSettings(commit_timeout_ms=5000))
    rig.runtime.load(0)
    return rig


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log of the coordinator, from warnings on."""
    with caplog.at_level(logging.WARNING, "ottla.coordinator"):
        yield caplog


def ask(_machine: Numbers) -> Result:
    """A write without records."""
    return Result(response=HeartbeatResponse(throttle_time_ms=7))


# Partitions that cannot be opened.


@pytest.mark.parametrize("where", ["open", "bounds"])
def test_a_partition_that_cannot_be_opened_fails_alone(where: str, errors: pytest.LogCaptureFixture) -> None:
    """One shard is FAILED and says NOT_COORDINATOR, the others serve, and a later load may find it well again."""

    class Damaged(MemoryJournal):
        @property
        def log_start_offset(self) -> int:
            raise StorageError("partition 1 is damaged")

    class Journals(dict[int, MemoryJournal]):
        def __missing__(self, partition: int) -> MemoryJournal:
            raise StorageError(f"partition {partition} is damaged")

    rig = Rig()
    well = rig.journals
    rig.journals = Journals(well)
    if where == "open":
        del rig.journals[1]
    else:
        rig.journals[1] = Damaged()
    rig.runtime = rig.make()
    for partition in range(3):
        rig.runtime.load(partition)
    assert [shard.state for shard in rig.runtime.status.shards] == [State.ACTIVE, State.FAILED, State.ACTIVE]
    (said,) = errors.messages
    assert "coordinator 1" in said
    assert "is damaged" in said
    for partition in range(3):
        rig.put("a", partition, partition=partition)
    rig.runtime.flush_turn()
    assert rig.answers == ["NOT_COORDINATOR", 0, 2]
    rig.journals[1] = MemoryJournal()
    rig.runtime.load(1)
    assert [shard.state for shard in rig.runtime.status.shards] == [State.ACTIVE] * 3
    rig.runtime.unload(1)
    assert len(rig.runtime.status.shards) == 2


def test_a_failed_shard_can_be_unloaded() -> None:
    """The broker does not lead the partition any more: whether its shard ever came up does not matter."""
    rig = Rig()
    del rig.journals[0]
    rig.runtime.load(0)
    rig.runtime.unload(0)
    assert rig.runtime.status.shards == ()


# Commits that do not come.


def test_who_comes_after_the_deadline_of_a_batch_has_one_of_its_own(slow: Rig) -> None:
    """A heartbeat that waits for a commit which is late already waits as long as any other, not for ever."""
    slow.put("a", 1)
    slow.runtime.flush_turn()
    slow.pass_time(5000)
    assert slow.answers == ["REQUEST_TIMED_OUT"]
    slow.write(ask)
    slow.pass_time(3000)
    slow.write(ask)
    slow.pass_time(1999)
    assert len(slow.answers) == 1
    slow.pass_time(1)
    assert len(slow.answers) == 2
    slow.pass_time(2999)
    assert len(slow.answers) == 2
    slow.pass_time(1)
    assert slow.answers == ["REQUEST_TIMED_OUT"] * 3
    slow.write(ask)
    slow.journals[0].commit()
    assert slow.answers == [*["REQUEST_TIMED_OUT"] * 3, 7]
    slow.pass_time(60_000)
    assert len(slow.answers) == 4
    assert len(slow.deadlines) == 0


def test_nobody_waits_for_ever_on_a_partition_that_went_offline(slow: Rig) -> None:
    """The batch before is never committed and the next append fails: everybody who waits is answered."""
    slow.put("a", 1)
    slow.runtime.flush_turn()
    slow.pass_time(5001)
    slow.write(ask)
    slow.journals[0].fail_with = StorageError("offline")
    slow.put("a", 2)
    slow.write(ask)
    slow.runtime.flush_turn()
    slow.pass_time(5001)
    assert len(slow.answers) == 4
    assert 7 not in slow.answers


def test_a_member_is_told_when_the_log_hangs() -> None:
    """Through the coordinator: heartbeats, stable fetches and goodbyes are COORDINATOR_NOT_AVAILABLE after the wait."""
    world = World()
    members, generation = world.stable_group(1)
    world.journal().commit_at_once = False
    world.commit({("t", 0): 1}, member_id=members[0], generation=generation)
    world.wait(5001)
    boxes = [
        world.heartbeat(members[0], generation),
        world.fetch([("t", 0)], require_stable=True),
        world.leave((members[0], None)),
    ]
    world.wait(5001)
    assert [box.code for box in boxes] == [ErrorCode.COORDINATOR_NOT_AVAILABLE] * 3


# A disk that is full.


def fail_for_ever(journal: Any) -> list[int]:
    """Every append fails from now on; the list grows with each."""
    attempts: list[int] = []

    def append(records: Any, _timestamp_ms: int) -> int:
        attempts.append(len(records))
        raise StorageError("no space left on device")

    journal.append = append
    return attempts


def test_a_full_disk_costs_few_replays_and_one_line(rig: Rig, errors: pytest.LogCaptureFixture) -> None:
    """The pause before the next replay doubles from 100 ms to 10 s, and the log is not filled either."""
    rig.put("a", 1)
    rig.runtime.flush_turn()
    replays: list[int] = []
    journal: Any = rig.journals[0]
    load = journal.load

    def replay(*arguments: Any) -> Any:
        replays.append(1)
        return load(*arguments)

    journal.load = replay
    attempts = fail_for_ever(rig.journals[0])
    for _ in range(1000):
        rig.put("a", 2)
        rig.runtime.flush_turn()
        rig.pass_time(1)
    assert set(rig.answers[1:]) == {"KAFKA_STORAGE_ERROR", "NOT_COORDINATOR"}
    assert 3 <= len(replays) <= 5
    assert len(attempts) - len(replays) in {0, 1}
    for _ in range(600):
        rig.put("a", 2)
        rig.runtime.flush_turn()
        rig.pass_time(1000)
    assert 50 <= len(replays) <= 70
    (record,) = errors.records
    assert record.exc_info is None
    assert "no space left" in record.getMessage()
    errors.clear()
    del rig.journals[0].append
    rig.pass_time(10_000)
    rig.put("a", 3)
    rig.runtime.flush_turn()
    assert rig.answers[-1] == 3
    (said,) = errors.messages
    assert "again" in said
    # And the next trouble begins from the beginning.
    rig.journals[0].fail_with = StorageError("no space")
    rig.put("a", 4)
    rig.runtime.flush_turn()
    rig.pass_time(0)
    assert rig.read("a") == 3


def test_a_commit_that_cannot_be_written_leaves_the_group_as_it_was() -> None:
    """Offsets are taken back by themselves: who waits in JoinGroup goes on waiting, and gets the generation."""
    world = World()
    members, generation = world.stable_group(2)
    waiting = world.join(members[0], client="c0")
    world.commit({("t", 0): 1}, member_id=members[0], generation=generation)
    attempts = fail_for_ever(world.journal())
    for offset in (2, 3):
        failed = world.commit({("t", 0): offset, ("t", 1): offset}, member_id=members[1], generation=generation)
        assert {each.error_code for each in failed.response.topics[0].partitions} == {ErrorCode.NOT_COORDINATOR}
    assert len(attempts) == 2
    assert world.fetched() == {("t", 0): 1}
    assert not waiting.answered
    stable = world.fetch([("t", 0), ("t", 1)], require_stable=True).response.topics[0]
    assert [each.committed_offset for each in stable.partitions] == [1, -1]
    del world.journal().append
    assert world.commit({("t", 0): 4}, member_id=members[1], generation=generation).response
    other = world.join(members[1], client="c1")
    world.wait(0)
    assert waiting.code is ErrorCode.NONE
    assert other.code is ErrorCode.NONE
    assert world.fetched() == {("t", 0): 4}


def test_a_group_begun_by_a_commit_that_fails_does_not_exist() -> None:
    """A simple consumer's first commit is taken back with its group."""
    world = World()
    world.stable_group(1, group="other")
    fail_for_ever(world.journal())
    world.commit({("t", 0): 1})
    assert world.describe("g").response.groups[0].group_state == "Dead"
    del world.journal().append
    assert world.fetched() == {}
    world.commit({("t", 0): 2})
    assert world.fetched() == {("t", 0): 2}
    world.start()
    assert world.fetched() == {("t", 0): 2}


def test_a_member_that_joined_what_a_failed_commit_began_looks_for_the_coordinator() -> None:
    """In one turn a commit begins a group and a consumer joins it: that cannot be taken back, so all starts again."""
    world = World()
    fail_for_ever(world.journal())
    world.commit({("t", 0): 1}, end_turn=False)
    joined = world.join(version=3)
    assert joined.code is ErrorCode.NOT_COORDINATOR
    del world.journal().append
    world.wait(100)
    assert world.describe("g").response.groups[0].group_state == "Dead"


def test_what_was_decided_in_the_same_turn_is_refused_with_it(slow: Rig) -> None:
    """Only the failed batch is taken back: the one before it is committed, whenever that is."""
    slow.put("a", 1, undoable=True)
    slow.runtime.flush_turn()
    slow.journals[0].fail_with = StorageError("no space")
    slow.put("a", 2, undoable=True)
    slow.write(ask)
    slow.runtime.flush_turn()
    assert slow.answers == ["KAFKA_STORAGE_ERROR", "KAFKA_STORAGE_ERROR"]
    assert slow.machine().numbers.get("a") == 1
    slow.put("a", 3, undoable=True)
    slow.runtime.flush_turn()
    slow.journals[0].commit()
    assert slow.answers[2:] == [1, 3]
    assert slow.read("a") == 3
    assert [key for key, _, _, _ in slow.journals[0].records] == [0, 1]


# Callbacks and journals that raise.


def test_an_answer_that_raises_keeps_no_other(slow: Rig, errors: pytest.LogCaptureFixture) -> None:
    """A bug in what a handler does with its answer is its own: the others of the batch are answered, or refused."""

    def bad(_: Any) -> None:
        raise ZeroDivisionError

    def panic(_: Any) -> None:
        raise Panic

    for partition, outcome in enumerate(("commit", "time out", "unload")):
        if partition:
            slow.runtime.load(partition)
        for broken in (bad, panic):
            slow.runtime.write(partition, lambda machine: machine.put("a", 1), broken, broken)
        slow.put("b", 2, partition=partition)
        slow.runtime.flush_turn()
        if outcome == "commit":
            slow.journals[partition].commit()
        elif outcome == "time out":
            slow.pass_time(5000)
        else:
            slow.runtime.unload(partition)
    assert slow.answers == [2, "REQUEST_TIMED_OUT", "NOT_COORDINATOR"]
    assert len(errors.records) == 6


@pytest.mark.parametrize("error", [RuntimeError("not a StorageError"), Panic("in the log")])
def test_any_failure_of_an_append_starts_again_from_the_log(rig: Rig, error: BaseException) -> None:
    """Whatever it raises, the records are not in the log for sure: who waits is answered, and the next write works."""
    rig.put("a", 1)
    rig.runtime.flush_turn()
    rig.journals[0].fail_with = error  # type: ignore[assignment]
    rig.put("a", 2)
    rig.runtime.flush_turn()
    assert rig.answers == [1, "KAFKA_STORAGE_ERROR"]
    rig.pass_time(0)
    assert rig.read("a") == 1
    rig.put("a", 3)
    rig.runtime.flush_turn()
    assert rig.answers[2:] == [3]


@pytest.mark.parametrize("error", [RuntimeError, Panic])
def test_a_record_the_state_cannot_take_starts_again_from_the_log(rig: Rig, error: type[BaseException]) -> None:
    """Half of a write in the state and none in the log would be neither: nothing of it is written."""

    def apply(*_: Any) -> None:
        raise error

    old: Any = rig.machine()
    old.apply = apply
    rig.put("a", 1)
    rig.runtime.flush_turn()
    assert rig.answers == ["UNKNOWN_SERVER_ERROR"]
    rig.pass_time(0)
    assert rig.machine() is not old
    assert rig.journals[0].records == []
    rig.put("a", 2)
    rig.runtime.flush_turn()
    assert rig.answers[1:] == [2]


def test_a_panic_in_an_operation_is_answered(rig: Rig) -> None:
    """As any other error of the code: the shard lives on."""

    def panic(_machine: Numbers) -> Result:
        raise Panic

    rig.write(panic)
    rig.put("a", 1)
    rig.runtime.flush_turn()
    assert rig.answers == ["UNKNOWN_SERVER_ERROR", 1]


def test_a_panic_while_loading_fails_that_shard_alone() -> None:
    """A log that makes the decoder panic is a damaged log."""
    rig = Rig()
    rig.put("a", 1)
    rig.journals[0].append([(b"x", b"y")], 0)

    def decode(*_: Any) -> Any:
        raise Panic

    rig.codec.decode_coordinator_record = decode
    rig.runtime.load(0)
    rig.runtime.load(1)
    assert [shard.state for shard in rig.runtime.status.shards] == [State.FAILED, State.ACTIVE]


def test_a_state_machine_that_cannot_say_goodbye_is_replaced_all_the_same(rig: Rig) -> None:
    """The reload is on its way before anything else can go wrong."""

    def on_unloaded() -> None:
        raise ZeroDivisionError

    machine: Any = rig.machine()
    machine.on_unloaded = on_unloaded
    rig.journals[0].fail_with = StorageError("no space")
    rig.put("a", 1)
    rig.runtime.flush_turn()
    assert rig.answers == ["KAFKA_STORAGE_ERROR"]
    rig.pass_time(0)
    rig.put("a", 2)
    rig.runtime.flush_turn()
    assert rig.answers[1:] == [2]


def test_a_journal_that_cannot_watch_is_waited_for_no_longer_than_the_deadline(slow: Rig) -> None:
    """The batch is in the log, but nobody will say when it is committed."""

    def when_committed(*_: Any) -> None:
        raise StorageError("offline")

    journal: Any = slow.journals[0]
    journal.when_committed = when_committed
    slow.put("a", 1)
    slow.runtime.flush_turn()
    slow.pass_time(5000)
    assert slow.answers == ["REQUEST_TIMED_OUT"]


def test_a_world_does_not_survive_what_the_coordinator_does() -> None:
    """What is logged and survived must fail tests, or an answer that comes twice would pass them."""
    world = World()
    world.commit({("t", 0): 1}, end_turn=False)

    def broken(_: Any) -> None:
        raise AssertionError("twice")

    world.boxes[-1].__class__ = type("Broken", (Box,), {"__call__": lambda _self, response: broken(response)})
    with pytest.raises(AssertionError, match="twice"):
        world.turn()
