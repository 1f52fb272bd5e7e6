"""The transaction coordinator: producers, partitions, ends and markers, without a socket."""

from __future__ import annotations

import logging

import pytest

from ottla.coordinator.transaction.ending import Ending
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.state import TransactionState
from ottla.coordinator.transaction.transaction import EPOCH_MAX
from ottla.errors import ErrorCode, StorageError
from ottla.types import TransactionMarker
from tests.coordinator.transaction_world import TransactionWorld, given
from tests.coordinator.world import RAISED, Box

T0, T1 = ("t", 0), ("t", 1)


def states(world: TransactionWorld) -> list[str]:
    return ["gone" if transaction is None else transaction.state.label for _, transaction in world.logged()]


# InitProducerId.


def test_a_new_id_gets_a_producer_id_and_epoch_0_then_1() -> None:
    """Whoever starts fences who was there, also if nothing is open; answers come when they are committed."""
    world = TransactionWorld(commit_at_once=False)
    first = world.init()
    assert not first.answered
    world.commit()
    assert given(first) == (1001, 0)
    second = world.init()
    world.commit()
    assert given(second) == (1001, 1)
    assert world.add((1001, 0), T0).code is ErrorCode.PRODUCER_FENCED


def test_without_a_transactional_id_every_request_gets_an_id_of_its_own() -> None:
    """Nothing is written for it."""
    world = TransactionWorld()
    assert [given(world.init(None)), given(world.init(None))] == [(1001, 0), (1002, 0)]
    assert world.logged() == []


@pytest.mark.parametrize(
    "transactional_id, timeout_ms, producer, code",
    [
        ("", 1000, (-1, -1), ErrorCode.INVALID_REQUEST),
        ("x", 1000, (7, -1), ErrorCode.INVALID_REQUEST),
        ("x", 1000, (-1, 7), ErrorCode.INVALID_REQUEST),
        ("x", 0, (-1, -1), ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ("x", -1, (-1, -1), ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ("x", 900_001, (-1, -1), ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ("x", 900_000, (-1, -1), ErrorCode.NONE),
        # The producer id is of a coordinator that has forgotten it: it gets another (KIP-360).
        ("x", 1000, (7, 3), ErrorCode.NONE),
    ],
)
def test_what_is_wrong_with_a_request_is_said(
    transactional_id: str, timeout_ms: int, producer: tuple[int, int], code: ErrorCode
) -> None:
    """Before its shard is asked."""
    world = TransactionWorld()
    answer = world.init(transactional_id, timeout_ms=timeout_ms, producer=producer)
    assert answer.code is code
    if code is not ErrorCode.NONE:
        assert (answer.response.producer_id, answer.response.producer_epoch) == (-1, -1)


def test_who_goes_on_gets_the_next_epoch_and_the_same_again_if_it_asks_again() -> None:
    """KIP-360; another producer in between makes it a fenced one, and so does a coordinator that starts again."""
    world = TransactionWorld()
    assert given(world.init()) == (1001, 0)
    assert given(world.init(producer=(1001, 0))) == (1001, 1)
    assert given(world.init(producer=(1001, 0))) == (1001, 1)
    assert given(world.init(producer=(1001, 1))) == (1001, 2)
    assert world.init(producer=(1001, 0)).code is ErrorCode.PRODUCER_FENCED
    assert given(world.init()) == (1001, 3)
    assert world.init(producer=(1001, 2)).code is ErrorCode.PRODUCER_FENCED
    assert world.init(producer=(1002, 3)).code is ErrorCode.PRODUCER_FENCED
    assert given(world.init(producer=(1001, 3))) == (1001, 4)
    world.start()
    assert world.init(producer=(1001, 3)).code is ErrorCode.PRODUCER_FENCED


@pytest.mark.parametrize("ids_at_once", [True, False])
def test_when_the_epochs_are_used_up_there_is_another_producer_id(ids_at_once: bool) -> None:
    """The last epoch is never given out; who asks again with what it had gets the same answer."""
    world = TransactionWorld()
    world.init()
    world.put(world.now()._replace(producer_epoch=EPOCH_MAX - 1))
    world.ids_at_once = ids_at_once
    answer = world.init(producer=(1001, EPOCH_MAX - 1))
    if not ids_at_once:
        assert not answer.answered
        world.give_ids()
    assert given(answer) == (1002, 0)
    assert given(world.init(producer=(1001, EPOCH_MAX - 1))) == (1002, 0)
    assert world.init(producer=(1001, EPOCH_MAX - 2)).code is ErrorCode.PRODUCER_FENCED


def test_no_id_to_be_had_is_said() -> None:
    """Clients come back for it; nothing is written."""
    world = TransactionWorld()
    world.without_ids = True
    assert world.init().code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert world.init(None).code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert world.logged() == []


@pytest.mark.parametrize("server_version, epochs", [(2, (1, 2)), (0, (1, 2))])
def test_a_second_producer_aborts_what_the_first_has_open(server_version: int, epochs: tuple[int, int]) -> None:
    """It is told to come back; the abort's epoch is nobody's, the next one is its own."""
    world = TransactionWorld(server_version=server_version, markers_at_once=False)
    producer = given(world.init())
    assert world.add(producer, T0).code is ErrorCode.NONE
    assert world.init().code is ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.end(producer, client_version=0).code is ErrorCode.PRODUCER_FENCED
    assert world.init().code is ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.markers.written == [
        TransactionMarker(
            producer_id=1001,
            producer_epoch=epochs[0],
            committed=False,
            coordinator_epoch=0,
            transaction_version=server_version,
            partitions=(T0,),
        )
    ]
    world.settle()
    assert given(world.init()) == (1001, epochs[1])
    assert states(world) == ["Empty", "Ongoing", "PrepareAbort", "CompleteAbort", "Empty"]


# Partitions, and the end.


def test_a_transaction_of_v1_keeps_its_epoch() -> None:
    """Partitions, decision, markers, completion; then the next one."""
    world = TransactionWorld()
    producer = given(world.init())
    assert world.add(producer, T0, ("__consumer_offsets", 3)).code is ErrorCode.NONE
    assert world.add(producer, T0).code is ErrorCode.NONE
    assert world.add(producer, T1).code is ErrorCode.NONE
    answer = world.end(producer, client_version=0)
    assert (answer.code, answer.response.producer_id) == (ErrorCode.NONE, -1)
    assert world.markers.written == [
        TransactionMarker(1001, 0, True, 0, 0, (("__consumer_offsets", 3), T0, T1)),
    ]
    assert states(world) == ["Empty", "Ongoing", "Ongoing", "PrepareCommit", "CompleteCommit"]
    assert world.add(producer, T0).code is ErrorCode.NONE
    assert world.end(producer, client_version=0, commits=False).code is ErrorCode.NONE
    assert states(world)[5:] == ["Ongoing", "PrepareAbort", "CompleteAbort"]


def test_a_transaction_of_v2_ends_with_its_epoch() -> None:
    """The answer has the next one, the marker too."""
    world = TransactionWorld()
    producer = given(world.init())
    assert world.ask(producer, T0).code is ErrorCode.NONE
    assert given(world.end(producer)) == (1001, 1)
    assert world.markers.written == [TransactionMarker(1001, 1, True, 0, 2, (T0,))]
    assert given(world.end(producer)) == (1001, 1), "the same request again"
    assert world.ask(producer, T0).code is ErrorCode.INVALID_PRODUCER_EPOCH
    assert world.ask((1001, 1), T1).code is ErrorCode.NONE
    assert given(world.end((1001, 1), commits=False)) == (1001, 2)


def test_the_last_epoch_of_v2_ends_with_another_producer_id() -> None:
    """Markers carry the old id and the last epoch; then the new id counts, also for who asks again."""
    world = TransactionWorld(markers_at_once=False)
    world.init()
    world.put(world.now()._replace(producer_epoch=EPOCH_MAX - 1))
    old = (1001, EPOCH_MAX - 1)
    assert world.ask(old, T0).code is ErrorCode.NONE
    assert given(world.end(old)) == (1002, 0)
    assert world.markers.written == [TransactionMarker(1001, EPOCH_MAX, True, 0, 2, (T0,))]
    waiting = world.ask((1002, 0), T0)
    world.settle()
    assert waiting.code is ErrorCode.NONE
    assert world.end(old).code is ErrorCode.INVALID_PRODUCER_ID_MAPPING, "the next transaction is open already"
    assert [(t.producer_id, t.previous_producer_id, t.next_producer_id) for _, t in world.logged()[-3:] if t] == [
        (1001, 1001, 1002),
        (1002, 1001, -1),
        (1002, 1002, -1),
    ]


def test_a_lost_answer_about_another_producer_id_is_given_again() -> None:
    """The end that used up the epochs is known by the producer id and epoch it was asked with."""
    world = TransactionWorld()
    world.init()
    world.put(world.now()._replace(producer_epoch=EPOCH_MAX - 1))
    old = (1001, EPOCH_MAX - 1)
    world.ask(old, T0)
    assert given(world.end(old)) == (1002, 0)
    assert given(world.end(old)) == (1002, 0)
    assert world.end(old, commits=False).code is ErrorCode.INVALID_TXN_STATE
    assert world.end((1001, EPOCH_MAX - 2)).code is ErrorCode.INVALID_PRODUCER_ID_MAPPING


def test_a_write_that_finds_markers_on_their_way_waits_for_them() -> None:
    """Not longer than `add.partitions.to.txn.retry.backoff.max.ms`; who asks for partitions may be told at once."""
    world = TransactionWorld(markers_at_once=False)
    producer = given(world.init())
    world.ask(producer, T0)
    producer = given(world.end(producer))
    first = world.ask(producer, T0)
    assert not first.answered
    assert world.add(producer, T0).code is ErrorCode.CONCURRENT_TRANSACTIONS
    world.wait(99)
    assert not first.answered
    world.wait(1)
    assert first.code is ErrorCode.CONCURRENT_TRANSACTIONS
    second, third = world.ask(producer, T0), world.ask(producer, T1)
    world.settle()
    assert (second.code, third.code) == (ErrorCode.NONE, ErrorCode.NONE)
    assert world.now().partitions == {T0, T1}
    world.wait(1000)


def test_who_waits_for_markers_is_sent_away_when_the_shard_goes() -> None:
    """NOT_COORDINATOR, once."""
    world = TransactionWorld(markers_at_once=False)
    producer = given(world.init())
    world.ask(producer, T0)
    answer = world.ask(given(world.end(producer)), T0)
    world.coordinator.unload(0)
    assert answer.code is ErrorCode.NOT_COORDINATOR
    world.settle()
    assert world.init().code is ErrorCode.NOT_COORDINATOR


def test_verification_says_of_each_partition_whether_it_takes_part() -> None:
    """v1: what is not in the transaction is not written, whoever asks; a setting turns that off."""
    world = TransactionWorld(markers_at_once=False)
    producer = given(world.init())
    world.add(producer, T0)
    assert world.verify(producer, T0, T1).by_partition == {T0: ErrorCode.NONE, T1: ErrorCode.TRANSACTION_ABORTABLE}
    assert world.ask(producer, T0, T1, adds=False).code is ErrorCode.TRANSACTION_ABORTABLE
    assert world.verify((1001, 1), T0).by_partition == {T0: ErrorCode.PRODUCER_FENCED}
    assert world.ask((1001, 1), T0, adds=False).code is ErrorCode.INVALID_PRODUCER_EPOCH
    assert world.verify((1, 0), T0).by_partition == {T0: ErrorCode.INVALID_PRODUCER_ID_MAPPING}
    assert world.verify(producer, T0, transactional_id="y").by_partition == {T0: ErrorCode.INVALID_PRODUCER_ID_MAPPING}
    assert world.verify(producer, T0, transactional_id="").by_partition == {T0: ErrorCode.INVALID_REQUEST}
    assert world.ask(producer, T0, transactional_id="").code is ErrorCode.INVALID_REQUEST
    world.end(producer, client_version=0)
    assert world.ask(producer, T0, adds=False).code is ErrorCode.CONCURRENT_TRANSACTIONS
    world.settle()
    assert world.ask(producer, T0, adds=False).code is ErrorCode.TRANSACTION_ABORTABLE
    world.settings = TransactionSettings(verifies=False)
    world.start()
    assert world.ask(producer, T0, adds=False).code is ErrorCode.NONE


# Markers.


def test_no_marker_is_written_before_its_decision_is_committed() -> None:
    """Nor is the client told; a commit that takes longer than the request's time-out changes nothing of that."""
    world = TransactionWorld(commit_at_once=False)
    first = world.init()
    world.commit()
    producer = given(first)
    world.add(producer, T0)
    answer = world.end(producer)
    assert not answer.answered
    world.wait(world.settings.commit_timeout_ms)
    assert answer.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert world.markers.written == []
    world.wait(3 * world.settings.commit_timeout_ms)
    assert world.markers.written == []
    world.commit()
    assert len(world.markers.written) == 1
    world.commit()
    assert states(world) == ["Empty", "Ongoing", "PrepareCommit", "CompleteCommit"]


def test_markers_are_tried_again_until_they_are_there(caplog: pytest.LogCaptureFixture) -> None:
    """Only where they are missing, with pauses that grow; a partition that is deleted needs none. The log says it once,
    however long it takes.
    """
    caplog.set_level(logging.INFO)
    world = TransactionWorld()
    producer = given(world.init())
    world.add(producer, T0, T1, ("u", 0))
    world.markers.codes = {T1: ErrorCode.KAFKA_STORAGE_ERROR, ("u", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
    world.end(producer, client_version=0)
    assert [marker.partitions for marker in world.markers.written] == [(T0, T1, ("u", 0))]
    world.wait(20)
    assert [marker.partitions for marker in world.markers.written[1:]] == [(T1, ("u", 0))]
    world.wait(39)
    assert len(world.markers.written) == 2
    world.deleted.add("u")
    world.wait(1)
    assert [marker.partitions for marker in world.markers.written[2:]] == [(T1,)]
    assert world.described("x")[0].topics[0].partitions == [1]
    assert world.now().state is TransactionState.PREPARE_COMMIT
    world.wait(100_000)
    assert len(world.markers.written) < 70, "not more often than every two seconds in the end"
    said = [record.getMessage() for record in caplog.records if "tried again" in record.getMessage()]
    assert [line.split("marker for ")[1].split()[0] for line in said] == ["t-1", "u-0"]
    world.markers.codes = {}
    world.wait(2_000)
    assert world.now().state is TransactionState.COMPLETE_COMMIT
    before = len(world.markers.written)
    world.wait(10_000)
    assert len(world.markers.written) == before


def test_a_transaction_survives_whoever_writes_its_markers(caplog: pytest.LogCaptureFixture) -> None:
    """An error nobody foresaw, a Rust panic for one, is logged, and they are written later."""

    class Panic(BaseException):
        pass

    world = TransactionWorld()
    producer = given(world.init())
    world.add(producer, T0)
    write = world.markers.write

    def broken(*_: object) -> None:
        world.markers.write = write
        raise Panic("mine")

    world.markers.write = broken
    world.coordinator.end("x", Ending(*producer, commits=True, client_version=0), Box("end"))
    world.coordinator.flush_turn()
    assert world.now().state is TransactionState.PREPARE_COMMIT
    assert "its markers could not be written" in caplog.text
    RAISED.errors.clear()
    world.wait(20)
    assert world.now().state is TransactionState.COMPLETE_COMMIT


def test_a_transaction_of_deleted_topics_only_ends_without_markers() -> None:
    """Nothing waits for what is not there."""
    world = TransactionWorld()
    producer = given(world.init())
    world.add(producer, T0)
    world.deleted.add("t")
    assert world.end(producer, client_version=0).code is ErrorCode.NONE
    assert world.markers.written == []
    assert world.now().state is TransactionState.COMPLETE_COMMIT


@pytest.mark.parametrize("code", [ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED])
def test_a_marker_that_comes_too_late_keeps_nobody(code: ErrorCode) -> None:
    """Somebody else has ended the transaction in that partition; it ends here all the same."""
    world = TransactionWorld()
    producer = given(world.init())
    world.add(producer, T0, T1)
    world.markers.codes = {T0: code}
    world.end(producer, client_version=0)
    assert world.now().state is TransactionState.COMPLETE_COMMIT


def test_a_restart_between_decision_and_markers_completes_once() -> None:
    """With the epoch of the coordinator that does it."""
    world = TransactionWorld(markers_at_once=False)
    producer = given(world.init())
    world.ask(producer, T0)
    world.end(producer, commits=False)
    world.coordinator_epoch = 5
    world.start()
    assert world.init().code is ErrorCode.CONCURRENT_TRANSACTIONS
    assert world.markers.written == [
        TransactionMarker(1001, 1, False, 0, 2, (T0,)),
        TransactionMarker(1001, 1, False, 5, 2, (T0,)),
    ]
    world.settle()
    assert states(world) == ["Empty", "Ongoing", "PrepareAbort", "CompleteAbort"]
    world.start()
    assert len(world.markers.written) == 2


def test_a_decision_that_cannot_be_appended_was_never_made() -> None:
    """The transaction is open as before, the client comes back, and no marker is written."""
    world = TransactionWorld()
    producer = given(world.init())
    world.ask(producer, T0)
    world.journal.fail_with = StorageError("the disk is full")
    assert world.end(producer).code is ErrorCode.NOT_COORDINATOR
    assert world.markers.written == []
    assert (world.now().state, world.now().producer_epoch) == (TransactionState.ONGOING, 0)
    assert given(world.end(producer)) == (1001, 1)


def test_a_completion_that_cannot_be_appended_is_tried_again() -> None:
    """Without its markers once more; who waited for it is told."""
    world = TransactionWorld(markers_at_once=False)
    producer = given(world.init())
    world.ask(producer, T0)
    producer = given(world.end(producer))
    waiting = world.ask(producer, T1)
    world.journal.fail_with = StorageError("the disk is full")
    world.settle()
    assert waiting.code is ErrorCode.NOT_COORDINATOR
    assert world.now().state is TransactionState.PREPARE_COMMIT
    world.wait(2_000)
    assert world.now().state is TransactionState.COMPLETE_COMMIT
    assert len(world.markers.written) == 1


def test_a_fence_that_cannot_be_appended_does_not_use_up_epochs() -> None:
    """The next attempt takes the same epoch."""
    world = TransactionWorld(server_version=0)
    producer = given(world.init())
    world.add(producer, T0)
    for _ in range(3):
        world.journal.fail_with = StorageError("the disk is full")
        assert world.init().code is ErrorCode.NOT_COORDINATOR
    assert world.init().code is ErrorCode.CONCURRENT_TRANSACTIONS
    assert given(world.init()) == (1001, 2)
