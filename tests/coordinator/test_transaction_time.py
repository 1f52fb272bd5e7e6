"""Transactions and time: what runs out of it, and what others ask about transactions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ottla.coordinator.transaction.machine import ENDED_PER_TURN, FORGOTTEN_PER_TURN
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.state import TransactionState
from ottla.coordinator.transaction.transaction import EPOCH_MAX
from ottla.errors import ErrorCode
from ottla.types import TransactionMarker
from tests.coordinator.transaction_world import TransactionWorld, given

T0, T1 = ("t", 0), ("t", 1)


@pytest.mark.parametrize("server_version", [0, 2])
def test_a_transaction_that_takes_too_long_is_aborted(server_version: int) -> None:
    """At the next look after its time-out, with an epoch its producer does not have."""
    world = TransactionWorld(server_version=server_version)
    producer = given(world.init(timeout_ms=15_000))
    world.wait(4_000)
    world.add(producer, T0)
    world.wait(15_999)
    assert world.now().state is TransactionState.ONGOING
    world.wait(10_001)
    assert world.now().state is TransactionState.COMPLETE_ABORT
    assert world.markers.written == [TransactionMarker(1001, 1, False, 0, server_version, (T0,))]
    assert world.end(producer, client_version=0).code is ErrorCode.PRODUCER_FENCED
    assert world.add(producer, T0).code is ErrorCode.PRODUCER_FENCED
    # It asks for another epoch (KIP-360): nobody else has been there, but its transaction is lost.
    assert world.init(producer=producer).code is (ErrorCode.NONE if server_version == 2 else ErrorCode.PRODUCER_FENCED)


@pytest.mark.parametrize("ids_at_once", [True, False])
def test_a_time_out_at_the_last_epoch_takes_another_producer_id(ids_at_once: bool) -> None:
    """Also if that takes a while."""
    world = TransactionWorld()
    world.init()
    world.put(world.now()._replace(producer_epoch=EPOCH_MAX - 1))
    world.add((1001, EPOCH_MAX - 1), T0)
    world.ids_at_once = ids_at_once
    world.wait(70_000)
    if not ids_at_once:
        assert world.now().state is TransactionState.ONGOING
        world.give_ids()
    assert (world.now().producer_id, world.now().producer_epoch) == (1002, 0)
    assert world.now().state is TransactionState.COMPLETE_ABORT


def test_ids_that_nobody_uses_expire() -> None:
    """With a tombstone, unless a transaction is open; who comes back is a new producer."""
    world = TransactionWorld(TransactionSettings(id_expiration_ms=600_000, expiration_interval_ms=60_000))
    world.init("x")
    producer = given(world.init("y"))
    world.init("z", timeout_ms=900_000)
    world.wait(300_000)
    world.add(producer, T0, transactional_id="y")
    world.wait(299_999)
    assert world.described("x")[0].error_code == ErrorCode.NONE
    world.wait(60_001)
    assert world.described("x")[0].error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
    assert [name for name, transaction in world.logged() if transaction is None] == ["x", "z"]
    assert world.described("y")[0].transaction_state == "CompleteAbort", "its own time-out ended it"
    assert given(world.init("x")) == (1004, 0)
    world.start()
    assert world.described("z")[0].error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND


def turns_until_nothing_is_due(world: TransactionWorld, look: Callable[[], int]) -> list[int]:
    """What `look` gives after each turn."""
    seen = []
    while (next_ms := world.deadlines.next_deadline_ms) is not None and next_ms <= world.clock.monotonic_ms():
        for callback in world.deadlines.due(world.clock.monotonic_ms()):
            callback()
        world.turn()
        seen.append(look())
    return seen


def test_thousands_that_time_out_hold_nobody_up() -> None:
    """A part of them is aborted in each turn; who commits in between is not aborted."""
    world = TransactionWorld()
    names = [f"x{index}" for index in range(3 * ENDED_PER_TURN)]
    producers = {name: given(world.init(name, timeout_ms=1_000)) for name in names}
    for name in names:
        world.add(producers[name], T0, transactional_id=name)
    world.wait(9_999)
    world.clock.advance(1)
    last: list[ErrorCode] = []

    def open_now() -> int:
        if not last:
            last.append(world.end(producers[names[-1]], transactional_id=names[-1], client_version=0).code)
        return len(world.listed(state_filters=["Ongoing"]).transaction_states)

    assert turns_until_nothing_is_due(world, open_now) == [2 * ENDED_PER_TURN - 1, ENDED_PER_TURN - 1, 0]
    assert last == [ErrorCode.NONE]
    assert world.now(names[-1]).state is TransactionState.COMPLETE_COMMIT
    assert world.now(names[0]).state is TransactionState.COMPLETE_ABORT


def test_thousands_that_expire_hold_nobody_up() -> None:
    """A part of them is forgotten in each turn; who comes back in between is not."""
    world = TransactionWorld(TransactionSettings(id_expiration_ms=1_000, expiration_interval_ms=60_000))
    names = [f"x{index}" for index in range(3 * FORGOTTEN_PER_TURN)]
    for name in names:
        world.init(name)
    world.wait(59_999)
    world.clock.advance(1)
    epochs: list[int] = []

    def left() -> int:
        if not epochs:
            epochs.append(given(world.init(names[-1]))[1])
        return len(world.listed().transaction_states)

    assert turns_until_nothing_is_due(world, left) == [2 * FORGOTTEN_PER_TURN, FORGOTTEN_PER_TURN, 1]
    assert epochs == [1]


# Reads.


def test_listing_shows_what_the_filters_let_through() -> None:
    """States by name, unknown ones said; producer ids; how long. The pattern is the handler's matter."""
    world = TransactionWorld()
    world.init("a")
    producer = given(world.init("b"))
    world.add(producer, T0, transactional_id="b")
    world.wait(1_000)

    def names(**filters: object) -> list[str]:
        return [each.transactional_id for each in world.listed(**filters).transaction_states]

    assert names() == ["a", "b"]
    assert names(state_filters=["Ongoing"]) == ["b"]
    assert names(state_filters=["Empty", "CompleteCommit"]) == ["a"]
    assert names(state_filters=["nonsense"]) == []
    assert list(world.listed(state_filters=["nonsense", "Empty"]).unknown_state_filters) == ["nonsense"]
    assert names(producer_id_filters=[1002]) == ["b"]
    assert names(duration_filter=999) == ["a", "b"], "without a transaction the start is long ago"
    assert names(duration_filter=1_000, state_filters=["Ongoing"]) == []
    listed = world.listed(producer_id_filters=[1002]).transaction_states[0]
    assert (listed.producer_id, listed.transaction_state) == (1002, "Ongoing")


def test_describing_shows_only_what_is_committed() -> None:
    """An id, its transaction, its partitions; one that is not there, one that is empty."""
    world = TransactionWorld(commit_at_once=False)
    first = world.init()
    world.commit()
    world.add(given(first), T1, T0, ("a", 2))
    assert world.described("x")[0].transaction_state == "Empty"
    world.commit()
    found, missing, empty = world.described("x", "y", "")
    assert [(topic.topic, topic.partitions) for topic in found.topics] == [("a", [2]), ("t", [0, 1])]
    assert (found.transaction_state, found.producer_id, found.producer_epoch) == ("Ongoing", 1001, 0)
    assert (found.transaction_timeout_ms, found.transaction_start_time_ms) == (60_000, world.clock.now_ms())
    assert missing.error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
    assert empty.error_code == ErrorCode.INVALID_REQUEST
