"""The runtime with records of producers' transactions: the order in the log, what is asked first, what a load gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from ottla.coordinator.runtime import RuntimeSettings
from ottla.coordinator.shard import Result, ShardContext, State
from ottla.coordinator.timeline import TimelineDict
from ottla.errors import ErrorCode, RequestError, StorageError
from ottla.messages import HeartbeatResponse, OffsetCommitKey, OffsetCommitValue
from ottla.types import TransactionMarker
from tests.coordinator.test_runtime import Numbers, Rig, record
from tests.coordinator.world import FakeCodec


class PendingNumbers(Numbers):
    """Remembers numbers under names, those of transactions once they are committed."""

    def __init__(self, shard: ShardContext) -> None:
        super().__init__(shard)
        self.pending: TimelineDict[tuple[int, str], tuple[int, int]] = TimelineDict(shard.timeline)

    def apply_pending(self, offset: int, producer_id: int, key: Struct, value: Struct) -> None:
        assert isinstance(key, OffsetCommitKey)
        assert isinstance(value, OffsetCommitValue)
        self.pending.set((producer_id, key.topic), (offset, value.offset))

    def apply_marker(self, producer_id: int, *, committed: bool) -> None:
        for (pending_id, name), (_, number) in self.pending.items():
            if pending_id == producer_id:
                self.pending.remove((pending_id, name))
                if committed:
                    self.numbers.set(name, number)


class TransactionalRig(Rig):
    """A runtime whose topic has transactions."""

    machine_type = PendingNumbers

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.asked: list[Callable[[ErrorCode], None]] = []
        self.agree = True

    def put_in(self, producer_id: int, name: str, number: int, *, epoch: int = 0, partition: int = 0) -> None:
        self.write_in(producer_id, lambda machine: machine.put(name, number, undoable=True), epoch, partition)

    def write_in(self, producer_id: int, operation: Any, epoch: int = 0, partition: int = 0) -> None:
        def verify(verified: Callable[[ErrorCode], None]) -> None:
            self.asked.append(verified)
            if self.agree:
                verified(ErrorCode.NONE)

        self.runtime.transactional.write(
            partition,
            producer_id,
            epoch,
            bumps_epoch=False,
            verify=verify,
            operation=operation,
            answer=self.answered,
            refuse=self.refused,
        )

    def end(
        self, producer_id: int, *, committed: bool = True, epoch: int = 0, partition: int = 0, **other: int
    ) -> None:
        marker = TransactionMarker(
            producer_id,
            epoch,
            committed,
            other.get("coordinator_epoch", 0),
            other.get("version", 0),
            (("numbers", partition),),
        )
        self.runtime.transactional.end(partition, marker, lambda code: self.answers.append(code.name))

    @property
    def numbers(self) -> dict[str, int]:
        return dict(self.machine().numbers.items())


@pytest.fixture
def rig() -> TransactionalRig:
    """A loaded shard whose journal commits at once."""
    rig = TransactionalRig()
    rig.runtime.load(0)
    return rig


@pytest.fixture
def slow() -> TransactionalRig:
    """A loaded shard whose journal commits when told to."""
    rig = TransactionalRig(commit_at_once=False)
    rig.runtime.load(0)
    return rig


def test_what_is_decided_first_is_first_in_the_log(rig: TransactionalRig) -> None:
    """A batch has one producer: each transactional write is one, and what was buffered before it goes before it."""
    rig.put("plain", 1)
    rig.put("plain", 2)
    rig.put_in(7, "a", 3)
    rig.put_in(7, "a", 4)
    rig.put_in(8, "b", 5)
    rig.put("plain", 6)
    rig.end(7)
    rig.put("plain", 7)
    assert rig.answers == [1, 2, 3, 4, 5, 6, "NONE"]
    rig.runtime.flush_turn()
    assert rig.answers[-1] == 7
    journal = rig.journals[0]
    assert [len(batch) for batch in journal.batches] == [2, 1, 1, 1, 1, 1]
    assert journal.producers == {2: (7, 0), 3: (7, 0), 4: (8, 0)}
    assert list(journal.markers) == [6]
    assert rig.numbers == {"plain": 7, "a": 4}


def test_answers_wait_for_the_commit(slow: TransactionalRig) -> None:
    """Of records and of markers; until then a reader of committed state sees neither."""
    slow.put_in(7, "a", 1)
    slow.end(7)
    assert (slow.answers, slow.read("a"), slow.numbers) == ([], 0, {"a": 1})
    slow.journals[0].commit(1)
    assert (slow.answers, slow.read("a")) == ([1], 0)
    slow.journals[0].commit()
    assert (slow.answers, slow.read("a")) == ([1, "NONE"], 1)


def test_the_coordinator_is_asked_once_per_transaction(rig: TransactionalRig) -> None:
    """While it is open here there is nothing to ask for; what it refuses is not written."""
    rig.put_in(7, "a", 1)
    rig.put_in(7, "a", 2)
    assert len(rig.asked) == 1
    rig.end(7)
    rig.agree = False
    rig.put_in(7, "a", 3)
    assert len(rig.asked) == 2
    rig.asked[1](ErrorCode.INVALID_TXN_STATE)
    assert rig.answers == [1, 2, "NONE", "INVALID_TXN_STATE"]
    assert rig.numbers == {"a": 2}


def test_a_late_answer_opens_no_transaction(rig: TransactionalRig) -> None:
    """It has ended meanwhile: nobody would end what this began, and consumers would wait for ever."""
    rig.agree = False
    rig.put_in(7, "a", 1)
    rig.end(7, committed=False)
    rig.asked[0](ErrorCode.NONE)
    assert rig.answers == ["NONE", "INVALID_TXN_STATE"]
    assert rig.journals[0].producers == {}
    assert rig.machine().shard.timeline.offset == 1


def test_an_answer_that_finds_no_shard_any_more(rig: TransactionalRig) -> None:
    """The shard went away, or is loading again, while the transaction's coordinator was asked."""
    rig.agree = False
    rig.put_in(7, "a", 1)
    rig.put_in(7, "a", 2)
    rig.runtime.unload(0)
    rig.asked[0](ErrorCode.NONE)
    rig.journals[0].append([(b"x", b"y")], 0)
    rig.journals[0].load_at_once = False
    rig.runtime.load(0)
    rig.asked[1](ErrorCode.NONE)
    rig.put_in(7, "a", 3)
    rig.end(7)
    assert rig.answers == ["NOT_COORDINATOR", *["COORDINATOR_LOAD_IN_PROGRESS"] * 3]


def test_zombies_are_refused_and_nothing_else(rig: TransactionalRig) -> None:
    """A producer of an older epoch; a marker of one; an older coordinator. What is buffered stays."""
    rig.put_in(7, "a", 1, epoch=5)
    rig.put("plain", 2)
    rig.put_in(7, "a", 3, epoch=4)
    rig.end(7, epoch=4)
    rig.end(7, epoch=5, version=2)
    rig.end(7, epoch=6, version=2, coordinator_epoch=3)
    rig.end(7, epoch=6, version=2, coordinator_epoch=3)
    rig.end(7, epoch=6, version=2, coordinator_epoch=2)
    rig.runtime.flush_turn()
    fenced = "INVALID_PRODUCER_EPOCH"
    assert rig.answers == [1, fenced, 2, fenced, fenced, "NONE", "NONE", "TRANSACTION_COORDINATOR_FENCED"]
    assert rig.numbers == {"a": 1, "plain": 2}
    assert len(rig.asked) == 1


def test_a_write_that_decides_nothing_or_refuses(rig: TransactionalRig) -> None:
    """Answered like any other write."""

    def refuse(_: Any) -> Result:
        raise RequestError(ErrorCode.ILLEGAL_GENERATION)

    rig.write_in(7, lambda _: Result(response=HeartbeatResponse(throttle_time_ms=9)))
    rig.write_in(7, refuse)
    rig.write_in(7, lambda _: 1 / 0)
    assert rig.answers == [9, "ILLEGAL_GENERATION", "UNKNOWN_SERVER_ERROR"]


def test_one_that_is_too_large_is_refused() -> None:
    """A transaction's write is one batch, whatever it says of itself."""
    rig = TransactionalRig(settings=RuntimeSettings(batch_bytes_max=300))
    rig.runtime.load(0)
    rig.write_in(7, lambda _: Result(records=[record("x" * 300, 1)], atomic=False))
    assert rig.answers == ["RECORD_LIST_TOO_LARGE"]
    assert rig.journals[0].batches == []


def test_a_failed_append_takes_nothing_with_it(rig: TransactionalRig) -> None:
    """It is not applied before it is in the log; what was buffered before it may fail, and then it is not tried."""
    rig.put("plain", 1)
    rig.journals[0].fail_with = StorageError("no space")
    rig.put_in(7, "a", 2)
    assert rig.answers == ["KAFKA_STORAGE_ERROR", "KAFKA_STORAGE_ERROR"]
    rig.pass_time(0)
    rig.put_in(7, "a", 3)
    rig.journals[0].fail_with = StorageError("no space")
    rig.put_in(7, "a", 4)
    rig.journals[0].fail_with = StorageError("no space")
    rig.end(7)
    shard = rig.runtime.status.shards[0]
    assert (shard.state, shard.next_offset) == (State.ACTIVE, 1)
    rig.end(7)
    assert rig.answers[2:] == [3, "KAFKA_STORAGE_ERROR", "KAFKA_STORAGE_ERROR", "NONE"]
    assert rig.numbers == {"a": 3}


def test_a_bug_in_the_append_starts_again_from_the_log(rig: TransactionalRig) -> None:
    """Nobody knows what was written; the log does."""
    rig.put_in(7, "a", 1)
    before = rig.machine()
    rig.journals[0].fail_with = ZeroDivisionError()
    rig.end(7)
    assert rig.answers == [1, "KAFKA_STORAGE_ERROR"]
    rig.pass_time(0)
    assert rig.machine() is not before
    rig.end(7)
    assert rig.numbers == {"a": 1}


def test_a_state_that_cannot_take_it_starts_again_from_the_log(rig: TransactionalRig) -> None:
    """The log has it: the next load decides."""
    before: Any = rig.machine()
    before.apply_pending = lambda *_: 1 / 0
    rig.put_in(7, "a", 1)
    assert rig.answers == ["UNKNOWN_SERVER_ERROR"]
    rig.pass_time(0)
    assert rig.machine() is not before
    rig.end(7)
    assert rig.numbers == {"a": 1}


def test_records_behind_our_back_are_not_missed(rig: TransactionalRig) -> None:
    """If the log holds more than was loaded, the shard starts again from it."""
    rig.journals[0].append([FakeCodec().encode_coordinator_record(*record("hidden", 5))], 0)
    rig.put_in(7, "a", 1)
    rig.pass_time(0)
    rig.end(7)
    assert rig.answers == [1, "NONE"]
    assert rig.numbers == {"hidden": 5, "a": 1}


def test_a_load_gives_what_counts_and_what_is_open(rig: TransactionalRig) -> None:
    """Transactions that have ended are over; those that are open go on, and the higher offset counts."""
    rig.put_in(7, "a", 1)
    rig.put_in(8, "a", 2)
    rig.put_in(9, "c", 3)
    rig.put("b", 4)
    rig.put_in(8, "b", 5)
    rig.end(7)
    rig.end(9, committed=False)
    rig.runtime = rig.make()
    rig.runtime.load(0)
    machine: Any = rig.machine()
    assert rig.numbers == {"a": 1, "b": 4}
    assert dict(machine.pending.items()) == {(8, "a"): (1, 2), (8, "b"): (4, 5)}
    rig.put_in(8, "d", 6)
    rig.end(8)
    assert rig.numbers == {"a": 2, "b": 5, "d": 6}
    assert len(rig.asked) == 3, "it is still open in the log"


def test_each_shard_serves_when_it_is_loaded() -> None:
    """One after the other, a piece per turn; who has a shard already does not wait."""
    rig = TransactionalRig(settings=RuntimeSettings(load_bytes_max=200))
    for partition in (0, 1):
        rig.runtime.load(partition)
        for number in range(20):
            rig.put(f"{number}", number, partition=partition)
    rig.runtime.flush_turn()
    rig.runtime = rig.make()
    for partition in (0, 1, 2):
        rig.runtime.load(partition)
    states = []
    while rig.deadlines.next_deadline_ms is not None:
        states.append([shard.state for shard in rig.runtime.status.shards])
        for callback in rig.deadlines.due(rig.clock.monotonic_ms()):
            callback()
    assert {state[2] for state in states} == {State.ACTIVE}
    assert [State.ACTIVE, State.LOADING, State.ACTIVE] in states
    assert [State.LOADING, State.ACTIVE, State.ACTIVE] not in states
    assert len(states) > 10
    assert len(rig.machine(0).numbers) == len(rig.machine(1).numbers) == 20


def test_a_shard_that_is_not_wanted_any_more_is_not_loaded(rig: TransactionalRig) -> None:
    """What its log said comes late, and is nobody's."""
    rig.put("a", 1)
    rig.runtime.flush_turn()
    rig.runtime = rig.make()
    rig.journals[0].load_at_once = False
    rig.runtime.load(0)
    rig.runtime.unload(0)
    rig.runtime.load(0)
    late = rig.machine()
    rig.runtime.unload(0)
    rig.journals[0].finish_loading()
    rig.pass_time(0)
    assert not late.loaded
    assert rig.runtime.status.shards == ()
