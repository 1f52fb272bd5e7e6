"""The runtime alone, with a state machine of one line: what is appended and answered when, what a replay gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from ottla.clock import DeadlineQueue, VirtualClock
from ottla.coordinator.runtime import CoordinatorRuntime, RuntimeSettings
from ottla.coordinator.shard import CoordinatorRecord, Result, ShardContext, State
from ottla.coordinator.timeline import TimelineDict
from ottla.errors import CodecError, ErrorCode, RequestError, StorageError
from ottla.messages import HeartbeatResponse, OffsetCommitKey, OffsetCommitValue
from ottla.testing import MemoryJournal, run_until
from tests.coordinator.world import FakeCodec


class Numbers:
    """A state machine that remembers a number under a name."""

    def __init__(self, shard: ShardContext) -> None:
        self.shard = shard
        self.numbers: TimelineDict[str, int] = TimelineDict(shard.timeline)
        self.loaded = False
        self.unloaded = False

    def apply(self, _offset: int, key: Struct, value: Struct | None) -> None:
        assert isinstance(key, OffsetCommitKey)
        if value is None:
            self.numbers.remove(key.topic)
        else:
            assert isinstance(value, OffsetCommitValue)
            self.numbers.set(key.topic, value.offset)

    def on_loaded(self) -> None:
        self.loaded = True

    def on_unloaded(self) -> None:
        self.unloaded = True

    def put(self, name: str, number: int, **keywords: Any) -> Result:
        return Result(records=[record(name, number)], response=HeartbeatResponse(throttle_time_ms=number), **keywords)


def record(name: str, number: int | None) -> CoordinatorRecord:
    value = None if number is None else OffsetCommitValue(offset=number)
    return CoordinatorRecord(OffsetCommitKey(topic=name), value, None if number is None else 4)


def noting(what: str, fired: list[str]) -> Callable[[], Result]:
    """An operation that leaves a trace."""

    def operation() -> Result:
        fired.append(what)
        return Result()

    return operation


class Rig:
    """One runtime with its journals."""

    machine_type: Callable[[ShardContext], Numbers] = Numbers

    def __init__(self, *, commit_at_once: bool = True, settings: RuntimeSettings | None = None) -> None:
        self.clock = VirtualClock()
        self.deadlines = DeadlineQueue()
        self.journals = {partition: MemoryJournal(commit_at_once=commit_at_once) for partition in range(3)}
        self.settings = settings
        self.codec: Any = FakeCodec()
        self.answers: list[Any] = []
        self.runtime = self.make()

    def make(self) -> CoordinatorRuntime[Numbers]:
        return CoordinatorRuntime(
            topic_kind="group",
            journals=self.journals.__getitem__,
            make=self.machine_type,
            codec=self.codec,
            clock=self.clock,
            scheduler=self.deadlines,
            settings=self.settings,
        )

    def put(self, name: str, number: int, partition: int = 0, **keywords: Any) -> None:
        self.write(lambda machine: machine.put(name, number, **keywords), partition)

    def write(self, operation: Any, partition: int = 0) -> None:
        self.runtime.write(partition, operation, self.answered, self.refused)

    def answered(self, response: Any) -> None:
        self.answers.append(response.throttle_time_ms)

    def refused(self, code: ErrorCode) -> None:
        self.answers.append(code.name)

    def read(self, name: str) -> Any:
        found: list[Any] = []
        self.runtime.read(
            0,
            lambda machine: HeartbeatResponse(throttle_time_ms=machine.numbers.committed_get(name) or 0),
            lambda response: found.append(getattr(response, "throttle_time_ms")),  # noqa: B009
            found.append,
        )
        return found[0]

    def pass_time(self, elapsed_ms: int) -> None:
        run_until(self.clock, self.deadlines, elapsed_ms)
        self.runtime.flush_turn()

    def machine(self, partition: int = 0) -> Numbers:
        return self.runtime._shards[partition].machine


@pytest.fixture
def rig() -> Rig:
    """A loaded shard whose journal commits at once."""
    rig = Rig()
    rig.runtime.load(0)
    return rig


@pytest.fixture
def slow() -> Rig:
    """A loaded shard whose journal commits when told to."""
    rig = Rig(commit_at_once=False)
    rig.runtime.load(0)
    return rig


def test_a_shard_that_is_not_here_refuses(rig: Rig) -> None:
    """NOT_COORDINATOR sends the client to look for it elsewhere."""
    rig.put("a", 1, partition=1)
    assert rig.answers == ["NOT_COORDINATOR"]


def test_one_turn_is_one_append_per_shard(rig: Rig) -> None:
    """Whatever the number of requests; each shard has its own."""
    rig.runtime.load(1)
    rig.put("a", 1)
    rig.put("b", 2, partition=1)
    rig.put("c", 3)
    assert rig.answers == []
    rig.runtime.flush_turn()
    assert rig.answers == [1, 3, 2]
    assert [len(batch) for batch in rig.journals[0].batches] == [2]
    assert [len(batch) for batch in rig.journals[1].batches] == [1]
    rig.runtime.flush_turn()
    assert rig.runtime.status.appended_batches == 2


def test_the_first_of_very_many_does_not_wait_for_the_last() -> None:
    """Where enough wait for one append it is made, and the rest of the turn has another; each shard counts its own."""
    rig = Rig(settings=RuntimeSettings(batch_waiters_max=3))
    rig.runtime.load(0)
    rig.runtime.load(1)
    for number in range(1, 6):
        rig.put(f"{number}", number)
        rig.put(f"{number}", 10 * number, partition=number % 2)
    # The fourth write of the first shard and the third of the second one were not waited for.
    assert rig.answers[:3] == [1, 2, 20]
    rig.runtime.flush_turn()
    assert sorted(rig.answers) == [1, 2, 3, 4, 5, 10, 20, 30, 40, 50]
    assert [len(batch) for batch in rig.journals[0].batches] == [3, 3, 1]
    assert [len(batch) for batch in rig.journals[1].batches] == [3]


def test_what_an_early_append_could_not_write_is_refused_in_the_turn() -> None:
    """As at its end."""
    rig = Rig(settings=RuntimeSettings(batch_waiters_max=2))
    rig.runtime.load(0)
    rig.journals[0].fail_with = StorageError("full")
    rig.put("a", 1)
    rig.put("b", 2)
    assert rig.answers == ["KAFKA_STORAGE_ERROR", "KAFKA_STORAGE_ERROR"]


def test_an_answer_waits_for_the_commit(slow: Rig) -> None:
    """In the order of the writes, batch by batch."""
    slow.put("a", 1)
    slow.runtime.flush_turn()
    slow.put("a", 2)
    slow.runtime.flush_turn()
    assert slow.answers == []
    slow.journals[0].commit(1)
    assert slow.answers == [1]
    assert slow.read("a") == 1
    slow.journals[0].commit()
    assert slow.answers == [1, 2]
    assert slow.read("a") == 2


def test_a_write_sees_what_is_not_committed_and_a_read_does_not(slow: Rig) -> None:
    """The second write of a turn builds on the first; readers see it when it cannot be taken back."""
    slow.put("a", 1)
    seen: list[int | None] = []

    def look(machine: Numbers) -> Result:
        seen.append(machine.numbers.get("a"))
        return Result(response=HeartbeatResponse(throttle_time_ms=9))

    slow.write(look)
    assert seen == [1]
    assert slow.read("a") == 0
    slow.runtime.flush_turn()
    assert slow.read("a") == 0
    assert slow.answers == []
    slow.journals[0].commit()
    assert slow.read("a") == 1
    assert slow.answers == [1, 9]


def test_a_write_without_records_is_answered_at_once_when_nothing_is_under_way(slow: Rig) -> None:
    """It waits for others only if it may have seen something of theirs."""
    slow.write(lambda _: Result(response=HeartbeatResponse(throttle_time_ms=7)))
    assert slow.answers == [7]


def test_a_refused_write_changes_nothing(rig: Rig) -> None:
    """A RequestError is the answer; any other error is UNKNOWN_SERVER_ERROR and the shard lives on."""

    def refuse(_machine: Numbers) -> Result:
        raise RequestError(ErrorCode.ILLEGAL_GENERATION)

    def break_down(_machine: Numbers) -> Result:
        raise ZeroDivisionError

    rig.write(refuse)
    rig.write(break_down)
    rig.put("a", 1)
    rig.runtime.flush_turn()
    assert rig.answers == ["ILLEGAL_GENERATION", "UNKNOWN_SERVER_ERROR", 1]


def test_batches_are_bounded_in_bytes() -> None:
    """What does not fit begins another batch; what never fits is refused, and what need not be atomic is spread."""
    rig = Rig(settings=RuntimeSettings(batch_bytes_max=400))
    rig.runtime.load(0)
    for number in range(1, 6):
        rig.put("n" * 40, number)
    rig.runtime.flush_turn()
    batches = rig.journals[0].batches
    assert rig.answers == [1, 2, 3, 4, 5]
    assert len(batches) > 1
    assert sum(len(batch) for batch in batches) == 5

    many = [record(f"{number}", number) for number in range(10)]
    before = len(batches)
    rig.write(lambda _: Result(records=many, response=HeartbeatResponse(throttle_time_ms=6)))
    rig.runtime.flush_turn()
    assert rig.answers[5:] == ["RECORD_LIST_TOO_LARGE"]
    assert len(rig.journals[0].batches) == before
    assert rig.machine().numbers.get("3") is None

    rig.write(lambda _: Result(records=many, response=HeartbeatResponse(throttle_time_ms=7), atomic=False))
    rig.runtime.flush_turn()
    assert rig.answers[6:] == [7]
    assert len(rig.journals[0].batches) > before + 1
    assert rig.read("3") == 3


def test_records_that_cannot_be_encoded_are_refused(rig: Rig) -> None:
    """Whoever waits for them hears it, nothing is changed, and the shard lives on."""

    def encode(*_: Any) -> Any:
        raise CodecError("too long")

    told: list[ErrorCode | None] = []
    rig.codec.encode_coordinator_record = encode
    rig.put("a", 1, done=told.append)
    del rig.codec.encode_coordinator_record
    rig.put("b", 2)
    rig.runtime.flush_turn()
    assert rig.answers == ["UNKNOWN_SERVER_ERROR", 2]
    assert told == [ErrorCode.UNKNOWN_SERVER_ERROR]
    assert rig.read("a") == 0


def test_a_failed_append_starts_again_from_the_log(rig: Rig) -> None:
    """Everyone of the batch is refused, the state goes back to what the log holds, and the shard serves again."""
    rig.put("a", 1)
    rig.runtime.flush_turn()
    old = rig.machine()
    rig.journals[0].fail_with = StorageError("no space")
    rig.put("a", 2)
    rig.put("b", 2)
    rig.runtime.flush_turn()
    assert rig.answers == [1, "KAFKA_STORAGE_ERROR", "KAFKA_STORAGE_ERROR"]
    assert old.unloaded
    rig.put("a", 3)
    assert rig.answers[3:] == ["NOT_COORDINATOR"]
    rig.pass_time(0)
    assert rig.machine() is not old
    assert rig.read("a") == 1
    assert rig.read("b") == 0
    rig.put("a", 4)
    rig.runtime.flush_turn()
    assert rig.answers[4:] == [4]
    assert rig.runtime.status.failed_appends == 1


def test_a_failed_append_waits_for_what_was_appended_before(slow: Rig) -> None:
    """A replay before that commit would miss it; who waits for it still hears that it was committed."""
    slow.put("a", 1)
    slow.runtime.flush_turn()
    slow.journals[0].fail_with = StorageError("no space")
    slow.put("a", 2)
    slow.runtime.flush_turn()
    slow.pass_time(1)
    assert slow.runtime.status.shards[0].state is State.FAILED
    slow.journals[0].commit()
    slow.pass_time(1)
    assert slow.answers == ["KAFKA_STORAGE_ERROR", 1]
    assert slow.read("a") == 1


def test_a_commit_that_takes_too_long_is_answered_once() -> None:
    """REQUEST_TIMED_OUT after offsets.commit.timeout.ms; the records may still be committed, and nobody hears twice."""
    rig = Rig(commit_at_once=False, settings=RuntimeSettings(commit_timeout_ms=5000))
    rig.runtime.load(0)
    rig.put("a", 1)
    rig.runtime.flush_turn()
    rig.pass_time(4999)
    assert rig.answers == []
    rig.pass_time(1)
    assert rig.answers == ["REQUEST_TIMED_OUT"]
    rig.journals[0].commit()
    assert rig.answers == ["REQUEST_TIMED_OUT"]
    assert rig.read("a") == 1


def test_unloading_refuses_who_waits(slow: Rig) -> None:
    """In the buffer or on an append: NOT_COORDINATOR; and deadlines of the shard fire no more."""
    fired: list[str] = []
    slow.machine().shard.after("soon", 10, noting("soon", fired))
    slow.put("a", 1)
    slow.runtime.flush_turn()
    slow.put("a", 2)
    slow.runtime.unload(0)
    assert slow.answers == ["NOT_COORDINATOR", "NOT_COORDINATOR"]
    slow.pass_time(100)
    assert fired == []
    slow.journals[0].commit()
    slow.runtime.load(0)
    assert slow.read("a") == 1


def test_a_large_shard_loads_in_pieces() -> None:
    """Each turn reads a bounded piece; meanwhile COORDINATOR_LOAD_IN_PROGRESS, and other shards serve."""
    rig = Rig()
    rig.runtime.load(0)
    for number in range(50):
        rig.put(f"{number}", number)
        rig.runtime.flush_turn()
    rig.settings = RuntimeSettings(load_bytes_max=500)
    rig.answers.clear()
    rig.runtime = rig.make()
    rig.runtime.load(0)
    rig.runtime.load(1)
    rig.put("a", 1)
    rig.put("a", 2, partition=1)
    rig.runtime.flush_turn()
    assert rig.answers == ["COORDINATOR_LOAD_IN_PROGRESS", 2]
    turns = 0
    while rig.runtime.status.shards[0].state is State.LOADING:
        turns += 1
        for callback in rig.deadlines.due(rig.clock.monotonic_ms()):
            callback()
    assert turns > 3
    assert rig.machine().loaded
    assert [rig.read(f"{number}") for number in range(50)] == list(range(50))


def test_a_log_that_cannot_be_read_gives_no_shard() -> None:
    """A record that is not what its key says: NOT_COORDINATOR, other shards serve, and a later attempt may succeed."""
    rig = Rig()
    key, value = FakeCodec().encode_coordinator_record(*record("a", 1))
    rig.journals[0].append([(key, b"damaged")], 0)
    rig.runtime.load(0)
    rig.runtime.load(1)
    rig.put("a", 2)
    rig.put("a", 3, partition=1)
    rig.runtime.flush_turn()
    assert rig.answers == ["NOT_COORDINATOR", 3]
    rig.journals[0].records[0] = (0, 0, key, value)
    rig.runtime.load(0)
    assert rig.read("a") == 1


def test_unknown_records_are_skipped() -> None:
    """A later version may have written types this one does not know."""
    rig = Rig()
    key, value = FakeCodec().encode_coordinator_record(*record("a", 1))
    rig.journals[0].append([(b"unknown", b""), (None, b""), (key, value)], 0)
    rig.runtime.load(0)
    assert rig.read("a") == 1


def test_records_behind_our_back_are_not_missed(rig: Rig) -> None:
    """If the log turns out to hold more than was replayed, the shard starts again from it."""
    key, value = FakeCodec().encode_coordinator_record(*record("hidden", 5))
    rig.journals[0].append([(key, value)], 0)
    assert rig.read("hidden") == 0
    rig.put("a", 1)
    rig.runtime.flush_turn()
    rig.pass_time(0)
    assert rig.answers == [1]
    assert rig.read("hidden") == 5
    assert rig.read("a") == 1


def test_a_deadline_can_be_put_off_and_cancelled(rig: Rig) -> None:
    """The last time given for a key counts, earlier or later than the one before."""
    fired: list[str] = []
    shard = rig.machine().shard
    shard.after("put off", 10, noting("too early", fired))
    shard.after("put off", 30, noting("put off", fired))
    shard.after("brought forward", 50, noting("too late", fired))
    shard.after("brought forward", 5, noting("brought forward", fired))
    shard.after("cancelled", 1, noting("cancelled", fired))
    shard.cancel("cancelled")
    rig.pass_time(9)
    assert fired == ["brought forward"]
    rig.pass_time(20)
    assert fired == ["brought forward"]
    rig.pass_time(1)
    assert fired == ["brought forward", "put off"]
    rig.pass_time(100)
    assert fired == ["brought forward", "put off"]
    assert len(rig.deadlines) == 0


def test_what_follows_a_commit_may_write_again(slow: Rig) -> None:
    """`done` submits another write; it runs in the same turn and is appended at its end."""

    def done(code: ErrorCode | None) -> None:
        assert code is None
        slow.machine().shard.submit(lambda: slow.machine().put("b", 2))

    slow.put("a", 1, done=done)
    slow.runtime.flush_turn()
    slow.journals[0].commit()
    slow.runtime.flush_turn()
    slow.journals[0].commit()
    assert slow.read("b") == 2


def test_what_follows_from_a_commit_may_write_within_the_append() -> None:
    """A log that commits at once tells so while it is appended to; what follows is no mistake."""
    rig = Rig()
    rig.runtime.load(0)
    rig.write(
        lambda machine: Result(
            records=[record("a", 1)],
            done=lambda _code: machine.shard.submit(lambda: machine.put("b", 2)),
        )
    )
    rig.runtime.flush_turn()
    assert [len(batch) for batch in rig.journals[0].batches] == [1, 1]
    assert (rig.read("a"), rig.read("b")) == (1, 2)
    assert rig.runtime.status.shards[0].state is State.ACTIVE


def test_what_is_submitted_outside_of_an_operation_runs_in_the_same_turn() -> None:
    """An answer from elsewhere may have something done, and nothing else happens in that turn."""
    rig = Rig()
    rig.runtime.load(0)
    machine = rig.runtime.machines()[0][0]
    machine.shard.submit(lambda: machine.put("a", 1))
    rig.runtime.flush_turn()
    assert rig.read("a") == 1
