"""The transaction coordinator in a world that a test owns, as `world` is for groups: markers, producer ids and topics
come from the test too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ottla.clock import DeadlineQueue, VirtualClock
from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.coordinator.transaction.ending import Ending
from ottla.coordinator.transaction.machine import TransactionMachine
from ottla.coordinator.transaction.records import read
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.transaction import Partition, Transaction
from ottla.errors import ErrorCode, RequestError
from ottla.messages import InitProducerIdRequest, ListTransactionsRequest
from ottla.testing import MemoryJournal, MemoryMarkers
from tests.coordinator.world import RAISED, Box, FakeCodec

TIMEOUT_MS = 60_000


class Codes(Box):
    """Where codes land that are no response."""

    def tell(self, code: Any) -> None:
        self.answers.append(code)

    @property
    def code(self) -> ErrorCode:
        assert len(self.answers) == 1, f"{self.what}: {len(self.answers)} answers"
        return ErrorCode(self.answers[0])

    @property
    def by_partition(self) -> dict[Partition, ErrorCode]:
        assert len(self.answers) == 1, f"{self.what}: {len(self.answers)} answers"
        found: dict[Partition, ErrorCode] = self.answers[0]
        return found


class TransactionWorld:
    """A coordinator, and everything around it."""

    def __init__(
        self,
        settings: TransactionSettings | None = None,
        *,
        server_version: int = 2,
        commit_at_once: bool = True,
        markers_at_once: bool = True,
        codec: Any = None,
        markers: Any = None,
    ) -> None:
        self.settings = settings or TransactionSettings()
        self.server_version = server_version
        self.clock = VirtualClock()
        self.codec: Any = codec or FakeCodec()
        self.journal = MemoryJournal(commit_at_once=commit_at_once)
        self.markers: Any = markers or MemoryMarkers(answer_at_once=markers_at_once)
        self.coordinator_epoch = 0
        # Topics that have no partition any more.
        self.deleted: set[str] = set()
        # Handed out so far; `without_ids` says that there are none, `later` who waits for one.
        self.ids = 1000
        self.without_ids = False
        self.ids_at_once = True
        self.later: list[Callable[[int | RequestError], None]] = []
        RAISED.errors.clear()
        self.start()

    # The loop.

    def start(self) -> None:
        """A coordinator on the journal as it is: a new process, deadlines and markers on their way gone."""
        self.deadlines = DeadlineQueue()
        self.markers.lose()
        self.coordinator = TransactionCoordinator(
            journals=lambda _partition: self.journal,
            partition_count=1,
            codec=self.codec,
            scheduler=self.deadlines,
            clock=self.clock,
            markers=self.markers,
            producer_ids=self.take_id,
            exists=lambda topic, _index: topic not in self.deleted,
            coordinator_epoch=lambda _partition: self.coordinator_epoch,
            server_version=lambda: self.server_version,
            settings=self.settings,
        )
        self.coordinator.load(0)
        self.turn()

    def turn(self) -> None:
        """The turn of the loop is over."""
        self.coordinator.flush_turn()
        RAISED.check()

    def wait(self, elapsed_ms: int) -> None:
        """Let time pass; each deadline fires in a turn of its own moment."""
        end_ms = self.clock.monotonic_ms() + elapsed_ms
        while (next_ms := self.deadlines.next_deadline_ms) is not None and next_ms <= end_ms:
            self.clock.advance(max(0, next_ms - self.clock.monotonic_ms()))
            for callback in self.deadlines.due(self.clock.monotonic_ms()):
                callback()
            self.turn()
        self.clock.advance(end_ms - self.clock.monotonic_ms())

    def commit(self) -> None:
        """The disk has caught up."""
        self.journal.commit()
        self.turn()

    def settle(self, count: int | None = None) -> None:
        """The oldest markers are answered."""
        self.markers.settle(count)
        self.turn()

    # What comes from outside.

    def take_id(self, taken: Callable[[int | RequestError], None]) -> None:
        if not self.ids_at_once:
            self.later.append(taken)
            return
        self.give_id(taken)

    def give_id(self, taken: Callable[[int | RequestError], None]) -> None:
        if self.without_ids:
            taken(RequestError(ErrorCode.KAFKA_STORAGE_ERROR))
        else:
            self.ids += 1
            taken(self.ids)

    def give_ids(self) -> None:
        """Who waits for an id gets one."""
        later, self.later = self.later, []
        for taken in later:
            self.give_id(taken)
        self.turn()

    # What there is.

    @property
    def machine(self) -> TransactionMachine:
        return self.coordinator._runtime._shards[0].machine

    def now(self, transactional_id: str = "x") -> Transaction:
        """The id as it is."""
        found = self.machine.transactions.get(transactional_id)
        assert found is not None
        return found

    def put(self, transaction: Transaction, transactional_id: str = "x") -> None:
        """The id is in such a state."""
        self.machine.transactions.set(transactional_id, transaction)

    def logged(self) -> list[tuple[str, Transaction | None]]:
        """What the log holds: each id after each step."""
        found = []
        for _, _, key, value in self.journal.records:
            decoded = self.codec.decode_coordinator_record("transaction", key, value)
            found.append((decoded[0].transactional_id, None if decoded[1] is None else read(decoded[1])))
        return found

    # Requests; each is a turn of its own unless `end_turn` is False.

    def _box(self, what: str) -> Box:
        return Box(what)

    def _codes(self, what: str) -> Codes:
        return Codes(what)

    def _end(self, box: Any, end_turn: bool) -> Any:
        if end_turn:
            self.turn()
        else:
            RAISED.check()
        return box

    def init(
        self,
        transactional_id: str | None = "x",
        *,
        timeout_ms: int = TIMEOUT_MS,
        producer: tuple[int, int] = (-1, -1),
        end_turn: bool = True,
    ) -> Box:
        box = self._box(f"init {transactional_id}")
        request = InitProducerIdRequest(
            transactional_id=transactional_id,
            transaction_timeout_ms=timeout_ms,
            producer_id=producer[0],
            producer_epoch=producer[1],
        )
        self.coordinator.init_producer_id(request, box)
        result: Box = self._end(box, end_turn)
        return result

    def add(
        self,
        producer: tuple[int, int],
        *partitions: Partition,
        transactional_id: str = "x",
        client_version: int = 0,
        waits: bool = False,
        end_turn: bool = True,
    ) -> Codes:
        box = self._codes(f"add {partitions}")
        self.coordinator.add_partitions(transactional_id, *producer, partitions, client_version, box.tell, waits=waits)
        result: Codes = self._end(box, end_turn)
        return result

    def ask(
        self,
        producer: tuple[int, int],
        *partitions: Partition,
        adds: bool = True,
        transactional_id: str = "x",
        end_turn: bool = True,
    ) -> Codes:
        box = self._codes(f"ask {partitions}")
        self.coordinator.ask(transactional_id, *producer, partitions, adds=adds, answer=box.tell)
        result: Codes = self._end(box, end_turn)
        return result

    def verify(self, producer: tuple[int, int], *partitions: Partition, transactional_id: str = "x") -> Codes:
        box = self._codes(f"verify {partitions}")
        self.coordinator.verify_partitions(transactional_id, *producer, partitions, box.tell)
        result: Codes = self._end(box, end_turn=True)
        return result

    def end(
        self,
        producer: tuple[int, int],
        *,
        commits: bool = True,
        client_version: int = 2,
        transactional_id: str = "x",
        end_turn: bool = True,
    ) -> Box:
        box = self._box(f"end {producer}")
        self.coordinator.end(transactional_id, Ending(*producer, commits, client_version), box)
        result: Box = self._end(box, end_turn)
        return result

    def listed(self, **filters: Any) -> Any:
        box = self._box("list")
        self.coordinator.list_transactions(ListTransactionsRequest(**filters), box)
        return box.response

    def described(self, *transactional_ids: str) -> Any:
        box = self._box("describe")
        self.coordinator.describe_transactions(transactional_ids, box)
        return box.response.transaction_states


def given(box: Box) -> tuple[int, int]:
    """Producer id and epoch of an answer that is no refusal."""
    assert box.code is ErrorCode.NONE, box.code
    return box.response.producer_id, box.response.producer_epoch
