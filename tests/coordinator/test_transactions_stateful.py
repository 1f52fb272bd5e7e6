"""Transactions under lost answers, repeated and late requests, reordered markers, slow and failing appends, restarts.

Hypothesis plays producers against the coordinator on a virtual clock, with partitions that know what Kafka's do
(`transaction_model`). Invariants:

- epochs grow, and no epoch is given out twice: who has been given one is the only producer until the next
- the gate lets nobody write but the newest producer
- no marker is there for a transaction whose end is not committed in the log, none with another result, and none of a
  partition that took no part
- a transaction ends once: its records are all committed or all aborted, those of two transactions never by one marker,
  as its producer was told, and committed only if its producer asked for that
- the last stable offset never sticks: no transaction is open longer than its time-out and the next look at it, and when
  time has passed, none
- a coordinator that starts again has the state that its log says
- every request is answered once
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ottla.coordinator.transaction.records import transaction_record
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.state import TransactionState
from ottla.coordinator.transaction.transaction import EPOCH_MAX, begun
from ottla.errors import ErrorCode, StorageError
from ottla.types import TransactionMarker
from tests.coordinator.transaction_model import ModelMarkers, ModelPartition, Producer
from tests.coordinator.transaction_world import TransactionWorld

PLACES = [("t", 0), ("t", 1), ("u", 0)]
FENCED = {
    ErrorCode.PRODUCER_FENCED,
    ErrorCode.INVALID_PRODUCER_EPOCH,
    ErrorCode.INVALID_PRODUCER_ID_MAPPING,
    ErrorCode.INVALID_TXN_STATE,
}
TIMEOUT_MS = 20_000
LOOK_MS = 5_000
producers = st.integers(0, 2)
places = st.sampled_from(PLACES)
smooth = st.lists(st.sampled_from([True, True, True, False]), min_size=4, max_size=4)


class Transactions(RuleBasedStateMachine):
    """One transactional id, two producers of v2 and one of v1, three partitions."""

    @initialize(
        version=st.sampled_from([0, 2]), at_once=st.booleans(), epochs_left=st.sampled_from([None, None, 0, 1, 2])
    )
    def begin(self, version: int, at_once: bool, epochs_left: int | None) -> None:
        """What the cluster has finalized, whether the disk commits at once, and how near the last epoch is."""
        self.partitions = {place: ModelPartition() for place in PLACES}
        markers = ModelMarkers(self.partitions, self.every_marker_has_its_decision)
        self.world = TransactionWorld(
            TransactionSettings(abort_interval_ms=LOOK_MS, commit_timeout_ms=3_000),
            server_version=version,
            commit_at_once=at_once,
            markers=markers,
        )
        self.markers = markers
        versions = (2, 2, 0) if version == 2 else (0, 0, 0)
        self.producers = [Producer(f"p{number}", each) for number, each in enumerate(versions)]
        # (producer id, epoch) -> who was given it.
        self.given: dict[tuple[int, int], str] = {}
        # The result a producer was told of its transaction.
        self.told: dict[str, bool] = {}
        # Transactions whose producer has asked to commit them.
        self.to_commit: set[str] = set()
        # Requests of v2 that were sent, to be sent again, and those to end a transaction.
        self.sent: list[Callable[[], None]] = []
        self.ends: list[Callable[[], None]] = []
        # Requests that are not answered, and what their senders make of the answer.
        self.pending: list[tuple[Any, Any]] = []
        # Since when no append has failed, and whether the next one will.
        self.smooth_since_ms, self.was_full = 0, False
        if epochs_left is not None:
            self.grow_old(epochs_left)

    def grow_old(self, epochs_left: int) -> None:
        """The id has been used so often already, and is used on."""
        used = begun(500, TIMEOUT_MS, self.world.clock.now_ms())._replace(producer_epoch=EPOCH_MAX - 1 - epochs_left)
        record = transaction_record("x", used, self.version)
        encoded = self.world.codec.encode_coordinator_record(record.key, record.value, record.version)
        self.world.journal.append([encoded], self.world.clock.now_ms())
        self.world.journal.commit()
        self.world.start()
        self.transact(0, [PLACES[0]], commits=True, smooth=[True] * 4, pause_ms=0, late=False)

    # Producers. An answer may get lost: then the producer asks again some time.

    @rule(
        number=producers,
        where=st.lists(places, min_size=1, max_size=3),
        commits=st.booleans(),
        smooth=smooth,
        pause_ms=st.sampled_from([0, 0, 15_000, TIMEOUT_MS + LOOK_MS, TIMEOUT_MS + LOOK_MS]),
        late=st.booleans(),
    )
    def transact(
        self,
        number: int,
        where: list[tuple[str, int]],
        commits: bool,
        smooth: list[bool],
        pause_ms: int,
        late: bool,
    ) -> None:
        """A transaction as it should be, though the disk or the markers may not keep up with each of its steps, and
        its producer not with its time-out.
        """
        if self.producers[number].id is None:
            self.initiate(number, goes_on=False, lost=False)
            self.settle(smooth[0])
        for index, place in enumerate(where):
            if pause_ms and index:
                self.wait(pause_ms)
                self.settle(smooth[1])
            self.write(number, place, lost=False)
            self.settle(smooth[1])
            self.write(number, place, lost=False, unasked=not smooth[1])
        if pause_ms and late:
            self.wait(pause_ms)
        self.settle(smooth[2])
        self.end(number, commits, lost=not smooth[3])
        self.settle(smooth[3])

    def settle(self, smooth: bool) -> None:
        """Everything that is on its way arrives."""
        if smooth:
            self.world.commit()
            while self.markers.waiting:
                self.markers.deliver(0, written=True, told=True)
                self.world.commit()
            self.look()

    @rule(number=producers, other=producers)
    def is_taken_over(self, number: int, other: int) -> None:
        """Somebody else has started since: who goes on with what it had is fenced."""
        if self.producers[number].id is not None and number != other:
            self.settle(smooth=True)
            self.initiate(other, goes_on=False, lost=False)
            self.settle(smooth=True)
            self.initiate(number, goes_on=True, lost=False)

    @rule(number=producers, goes_on=st.booleans(), lost=st.booleans())
    def initiate(self, number: int, goes_on: bool, lost: bool) -> None:
        """Start, or go on after an error."""
        producer = self.producers[number]
        had = producer.id if goes_on and producer.id is not None else (-1, -1)
        box = self.world.init(timeout_ms=TIMEOUT_MS, producer=had)

        def receive(response: Any) -> None:
            if response.error_code != ErrorCode.NONE or lost:
                if response.error_code in FENCED:
                    producer.give_up()
                return
            told = (response.producer_id, response.producer_epoch)
            for (producer_id, epoch), name in self.given.items():
                fenced = producer_id == had[0] and epoch > had[1] and name != producer.name
                assert not fenced, f"{producer.name} goes on with {had}, and {name} has {epoch}"
            # Going on may be asked twice, and then gives what it gave.
            assert told not in self.given or (goes_on and self.given[told] == producer.name), f"{told} is taken"
            assert told[1] < EPOCH_MAX, "the last epoch is nobody's"
            for other in self.given:
                assert other[0] != told[0] or other[1] <= told[1], f"{told} after {other}"
            self.given[told] = producer.name
            producer.give_up()
            producer.id = told

        self.when_answered(box, receive)

    @rule(number=producers, place=places, lost=st.booleans(), unasked=st.booleans())
    def write(self, number: int, place: tuple[str, int], lost: bool, unasked: bool = False) -> None:
        """Write a record; the data plane asks first where nothing is open. A client of v1 may have forgotten to."""
        producer = self.producers[number]
        if producer.id is None or producer.ending is not None:
            return
        if producer.client_version < 2 and place not in producer.added and not unasked:
            self.add(producer, place)
            return
        had, transaction = producer.id, producer.transaction
        if producer.client_version == 2:
            self.sent.append(lambda: self.write_to(producer, had, place, transaction, lost=True))
        self.write_to(producer, had, place, transaction, lost=lost)

    def write_to(
        self, producer: Producer, had: tuple[int, int], place: tuple[str, int], transaction: str, *, lost: bool
    ) -> None:
        partition = self.partitions[place]
        if partition.is_open(had):
            wrote = partition.write(had, transaction, -1)
            if wrote and not lost and transaction == producer.transaction:
                producer.wrote.append(place)
            return
        guard = partition.guard(had[0])
        box = self.world.ask(had, place, adds=producer.client_version == 2)

        def receive(code: ErrorCode) -> None:
            if code is ErrorCode.NONE:
                assert self.has_joined(had, place), f"{had} may write to {place}, and is not in the log"
                if partition.write(had, transaction, guard) and not lost and transaction == producer.transaction:
                    producer.wrote.append(place)
            elif code in FENCED and producer.id == had and not lost:
                producer.give_up()

        self.when_answered(box, receive)

    def has_joined(self, had: tuple[int, int], place: tuple[str, int]) -> bool:
        """It is committed that the partition takes part in a transaction of this producer."""
        return any(
            had == (each.producer_id, each.producer_epoch) and place in each.partitions
            for _, each in self.world.logged()[: self.world.journal.high_watermark]
            if each is not None and each.state is TransactionState.ONGOING
        )

    def add(self, producer: Producer, place: tuple[str, int]) -> None:
        had = producer.id
        assert had is not None
        box = self.world.add(had, place, waits=True)
        transaction = producer.transaction

        def receive(code: ErrorCode) -> None:
            if code is ErrorCode.NONE and transaction == producer.transaction:
                producer.added.add(place)
            elif code in FENCED and producer.id == had:
                producer.give_up()

        self.when_answered(box, receive)

    @rule(number=producers, commits=st.booleans(), lost=st.booleans())
    def end(self, number: int, commits: bool, lost: bool) -> None:
        """End the transaction; who is not told asks again, for the same."""
        producer = self.producers[number]
        if producer.id is None:
            return
        if producer.ending is None:
            if not producer.wrote and (producer.client_version < 2 or commits):
                return
            producer.ending = commits
        had, wanted = producer.id, producer.ending
        if wanted:
            self.to_commit.add(producer.transaction)
        if producer.client_version == 2:
            self.ends.append(lambda: self.end_as(producer, had, wanted, lost=True))
            self.sent.append(self.ends[-1])
        self.end_as(producer, had, wanted, lost=lost)

    def end_as(self, producer: Producer, had: tuple[int, int], commits: bool, *, lost: bool) -> None:
        transaction = producer.transaction
        box = self.world.end(had, commits=commits, client_version=producer.client_version)

        def receive(response: Any) -> None:
            if lost or producer.id != had or transaction != producer.transaction:
                return
            if response.error_code == ErrorCode.NONE:
                self.told[transaction] = commits
                producer.next()
                if producer.client_version == 2:
                    producer.id = (response.producer_id, response.producer_epoch)
                    assert producer.id[1] == had[1] + 1 or (producer.id[0] > had[0] and producer.id[1] == 0)
                    assert producer.id[1] < EPOCH_MAX, "the last epoch is nobody's"
                    self.given[producer.id] = producer.name
            elif response.error_code in FENCED:
                producer.give_up()

        self.when_answered(box, receive)

    @precondition(lambda self: self.sent)
    @rule(place=st.integers(0, 100))
    def repeat(self, place: int) -> None:
        """A request of v2 that was sent some time arrives again: it finds its transaction, or nothing.

        (v1 has no defence against this but the sequence numbers of records.)
        """
        self.sent[place % len(self.sent)]()

    @precondition(lambda self: self.ends)
    @rule(back=st.integers(1, 3))
    def an_end_comes_late(self, back: int) -> None:
        """The next transaction may be open: it goes on."""
        self.ends[-min(back, len(self.ends))]()

    def when_answered(self, box: Any, receive: Any) -> None:
        """Believe the answer, now or when it comes."""
        self.pending.append((box, receive))
        self.look()

    def look(self) -> None:
        for box, receive in [each for each in self.pending if each[0].answered]:
            self.pending.remove((box, receive))
            (answer,) = box.answers
            receive(answer)

    # The world.

    @rule()
    def commit(self) -> None:
        """The disk catches up."""
        self.world.commit()
        self.look()

    @rule()
    def fail(self) -> None:
        """The next append fails."""
        self.world.journal.fail_with = StorageError("the disk is full")

    @precondition(lambda self: self.markers.waiting)
    @rule(place=st.integers(0, 100), written=st.booleans(), told=st.booleans())
    def deliver(self, place: int, written: bool, told: bool) -> None:
        """Markers arrive, or not, and the coordinator is told, or not."""
        self.markers.deliver(place, written=written, told=told)
        self.world.turn()
        self.look()

    @rule(elapsed_ms=st.sampled_from([1, 50, 200, 4_000, 15_000, 30_000]))
    def wait(self, elapsed_ms: int) -> None:
        """Time passes."""
        self.world.wait(elapsed_ms)
        self.look()
        self.nothing_is_open_for_too_long()

    @rule(survives=st.booleans())
    def restart(self, survives: bool) -> None:
        """The coordinator is another process; what was not committed may be there or not."""
        if survives:
            self.world.journal.commit()
        self.world.journal.crash()
        self.world.coordinator_epoch += 1
        # Who waits for an answer has lost its connection.
        self.pending = []
        self.world.start()
        self.was_full = True
        for name, transaction in dict(self.world.logged()).items():
            now = self.world.machine.transactions.get(name)
            assert now == transaction, f"{now} where the log says {transaction}"

    # What must hold.

    @property
    def version(self) -> int:
        return self.world.server_version

    def every_marker_has_its_decision(self, marker: TransactionMarker) -> None:
        """The last committed record says so, of the same producer and result, and the partition takes part."""
        decided = self.world.logged()[self.world.journal.high_watermark - 1][1]
        assert decided is not None
        assert decided.state.is_prepared
        assert marker.committed == (decided.state is TransactionState.PREPARE_COMMIT)
        assert (marker.producer_id, marker.producer_epoch) == (decided.producer_id, decided.producer_epoch)
        assert marker.transaction_version == decided.client_version
        assert decided.partitions >= set(marker.partitions)

    @invariant()
    def transactions_end_once_and_as_told(self) -> None:
        """No record of one is committed where another is aborted."""
        results: dict[str, bool] = {}
        for partition in self.partitions.values():
            for record in partition.records:
                if record.committed is not None:
                    known = results.setdefault(record.transaction, record.committed)
                    assert known == record.committed, f"{record.transaction} is committed and aborted"
        for transaction, result in results.items():
            assert self.told.get(transaction, result) == result, f"{transaction} was told otherwise"
            assert not result or transaction in self.to_commit, f"{transaction} is committed and nobody asked for it"

    @invariant()
    def no_end_is_forgotten(self) -> None:
        """What is decided and committed is being completed."""
        current = self.world.machine.transactions.committed_get("x")
        if current is not None and current.state.is_prepared and self.world.machine.transactions.get("x") is current:
            assert "x" in self.world.machine.completions

    @invariant()
    def nothing_is_open_for_too_long(self) -> None:
        """As long as the log can be written."""
        now_ms = self.world.clock.now_ms()
        is_full = self.world.journal.fail_with is not None
        if is_full or self.was_full:
            self.smooth_since_ms = now_ms
        self.was_full = is_full
        current = self.world.machine.transactions.get("x")
        if current is not None and current.state is TransactionState.ONGOING:
            until_ms = max(current.started_ms + TIMEOUT_MS + LOOK_MS, self.smooth_since_ms + 2 * LOOK_MS)
            assert now_ms <= until_ms, f"{current} is still open"

    @invariant()
    def epochs_grow_in_the_log(self) -> None:
        """And a producer id that was left never comes back, and what has ended has no partitions."""
        seen: dict[int, int] = {}
        last = None
        for _, transaction in self.world.logged():
            assert transaction is not None
            assert not (transaction.state.is_idle and transaction.partitions)
            assert transaction.producer_epoch >= seen.get(transaction.producer_id, 0)
            assert last in {None, transaction.producer_id} or transaction.producer_id not in seen
            seen[transaction.producer_id] = transaction.producer_epoch
            last = transaction.producer_id

    def teardown(self) -> None:
        """When time has passed and nothing fails any more, nothing is open and everybody is answered."""
        if not hasattr(self, "world"):
            return
        self.world.journal.fail_with = None
        self.world.journal.commit_at_once = True
        for repeated in self.sent:
            repeated()
        self.world.commit()
        for _ in range(20):
            self.world.wait(10_000)
            while self.markers.waiting:
                self.markers.deliver(0, written=True, told=True)
                self.world.turn()
        self.look()
        assert not self.pending
        self.transactions_end_once_and_as_told()
        for place, partition in self.partitions.items():
            assert all(record.committed is not None for record in partition.records), f"{place} is not stable"
        current = self.world.machine.transactions.get("x")
        assert current is None or current.state.is_idle


TestTransactions = Transactions.TestCase
TestTransactions.settings = settings(max_examples=200, stateful_step_count=50, suppress_health_check=list(HealthCheck))
