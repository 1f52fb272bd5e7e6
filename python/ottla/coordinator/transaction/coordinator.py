"""The transaction coordinator as handlers see it: one method per request, each ends in exactly one answer.

Finds the shard of a transactional id (`coordinator.key_partition`), checks what does not need one, fetches a new
producer id where a decision takes one, and turns refusals of the runtime into the codes Apache Kafka gives for them.

A decision that needs a producer id is made twice: the first time it finds that out and changes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ottla.coordinator.batch import append_error
from ottla.coordinator.key_partition import partition_for
from ottla.coordinator.runtime import CoordinatorRuntime, RuntimeSettings
from ottla.coordinator.shard import NOTHING, Result
from ottla.coordinator.transaction.initiation import Initiation, ProducerIdNeeded
from ottla.coordinator.transaction.machine import TransactionMachine
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.state import BY_LABEL
from ottla.coordinator.transaction.transaction import EPOCH_PER_TRANSACTION, NO_EPOCH, NO_ID
from ottla.coordinator.transaction.waiting import once
from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    DescribeTransactionsResponse,
    DescribeTransactionsResponseTransactionState,
    EndTxnResponse,
    InitProducerIdResponse,
    ListTransactionsResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from msgspec import Struct

    from ottla.coordinator.shard import RuntimeStatus
    from ottla.coordinator.transaction.ending import Ending
    from ottla.coordinator.transaction.transaction import Partition
    from ottla.messages import InitProducerIdRequest, ListTransactionsRequest
    from ottla.types import Answer, Clock, Codec, Journal, Markers, Scheduler


# Clients come back for this one, as when Kafka's broker waits for its next block of ids.
_NO_ID_TO_GIVE: Final = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS


class TransactionCoordinator:
    """All transactional ids of this broker.

    `load` and `unload` follow the leadership of the topic's partitions; `flush_turn` is called at the end of every
    turn of the loop, after requests, commits and deadlines.
    """

    def __init__(
        self,
        *,
        journals: Callable[[int], Journal],
        partition_count: int,
        codec: Codec,
        scheduler: Scheduler,
        clock: Clock,
        markers: Markers,
        producer_ids: Callable[[Callable[[int | RequestError], None]], None],
        exists: Callable[[str, int], bool],
        coordinator_epoch: Callable[[int], int],
        server_version: Callable[[], int],
        settings: TransactionSettings | None = None,
    ) -> None:
        settings = settings or TransactionSettings()
        self._settings = settings
        self._clock = clock
        # Hands out ids that no two producers share.
        self._producer_ids = producer_ids
        self.partition_count = partition_count
        self._runtime: CoordinatorRuntime[TransactionMachine] = CoordinatorRuntime(
            topic_kind="transaction",
            journals=journals,
            make=lambda shard: TransactionMachine(
                shard,
                clock=clock,
                markers=markers,
                exists=exists,
                coordinator_epoch=lambda: coordinator_epoch(shard.partition),
                server_version=server_version,
                take_id=self._take_id,
                settings=settings,
            ),
            codec=codec,
            clock=clock,
            scheduler=scheduler,
            settings=RuntimeSettings(
                batch_bytes_max=settings.batch_bytes_max, commit_timeout_ms=settings.commit_timeout_ms
            ),
        )

    @property
    def status(self) -> RuntimeStatus:
        """For people and tests."""
        return self._runtime.status

    def partition_for(self, transactional_id: str) -> int:
        """Which partition of the transaction topic an id lives on."""
        return partition_for(transactional_id, self.partition_count)

    def load(self, partition: int) -> None:
        """This broker leads the partition now."""
        self._runtime.load(partition)

    def unload(self, partition: int) -> None:
        """It does not any more."""
        self._runtime.unload(partition)

    def flush_turn(self) -> None:
        """The turn of the loop is over: write what it decided."""
        self._runtime.flush_turn()

    # InitProducerId.

    def init_producer_id(self, request: InitProducerIdRequest, answer: Answer) -> None:
        """InitProducerId, with or without a transactional id."""
        transactional_id = request.transactional_id

        def refuse(code: ErrorCode) -> None:
            answer(InitProducerIdResponse(error_code=code, producer_id=NO_ID, producer_epoch=NO_EPOCH))

        def taken(outcome: int | RequestError) -> None:
            if isinstance(outcome, RequestError):
                refuse(_NO_ID_TO_GIVE)
            else:
                answer(InitProducerIdResponse(producer_id=outcome, producer_epoch=0))

        if (request.producer_id == NO_ID) != (request.producer_epoch == NO_EPOCH):
            refuse(ErrorCode.INVALID_REQUEST)
        elif transactional_id is None:
            self._producer_ids(taken)
        elif not transactional_id:
            refuse(ErrorCode.INVALID_REQUEST)
        elif not 0 < request.transaction_timeout_ms <= self._settings.timeout_ms_max:
            refuse(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
        else:
            initiation = Initiation(request.transaction_timeout_ms, request.producer_id, request.producer_epoch)
            self._write(
                transactional_id,
                lambda machine, new_id: machine.initiate(transactional_id, initiation, new_id),
                answer,
                refuse,
            )

    # Partitions.

    def add_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Iterable[Partition],
        client_version: int,
        answer: Callable[[ErrorCode], None],
        *,
        waits: bool = False,
    ) -> None:
        """AddPartitionsToTxn and AddOffsetsToTxn: all of the partitions, or none.

        `waits`: for the markers of the transaction before, as the first write of v2 does. Apache Kafka says
        CONCURRENT_TRANSACTIONS at once, and clients pause 20 ms before they ask again: more than most markers take.
        """
        wait_ms = self._settings.adding_wait_ms_max if waits else 0
        self._add(transactional_id, producer_id, producer_epoch, partitions, client_version, wait_ms, answer)

    def verify_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Sequence[Partition],
        answer: Callable[[dict[Partition, ErrorCode]], None],
    ) -> None:
        """Whether each of the partitions takes part in the open transaction."""
        found: list[dict[Partition, ErrorCode]] = []

        def refuse(code: ErrorCode) -> None:
            answer(dict.fromkeys(partitions, code))

        def operation(machine: TransactionMachine) -> Struct:
            found.append(machine.verify(transactional_id, producer_id, producer_epoch, partitions))
            return DescribeTransactionsResponse()

        if not transactional_id:
            refuse(ErrorCode.INVALID_REQUEST)
        else:
            self._runtime.read(
                self.partition_for(transactional_id), operation, lambda _response: answer(found[0]), refuse
            )

    def ask(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Sequence[Partition],
        *,
        adds: bool,
        answer: Callable[[ErrorCode], None],
    ) -> None:
        """Answer for the data plane and the groups: one code for all partitions (`types.TransactionGate`)."""

        def tell(codes: dict[Partition, ErrorCode]) -> None:
            answer(next((code for code in codes.values() if code is not ErrorCode.NONE), ErrorCode.NONE))

        self.ask_each(transactional_id, producer_id, producer_epoch, partitions, adds=adds, answer=tell)

    def ask_each(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Sequence[Partition],
        *,
        adds: bool,
        answer: Callable[[dict[Partition, ErrorCode]], None],
    ) -> None:
        """Add the partitions before their first write (v2), or see whether they were (v1).

        Producers know no PRODUCER_FENCED where they write: INVALID_PRODUCER_EPOCH says the same (KIP-588).
        """

        def translate(codes: dict[Partition, ErrorCode]) -> None:
            fenced, told = ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH
            answer({partition: told if code is fenced else code for partition, code in codes.items()})

        if adds:
            self._add(
                transactional_id,
                producer_id,
                producer_epoch,
                partitions,
                EPOCH_PER_TRANSACTION,
                self._settings.adding_wait_ms_max,
                lambda code: translate(dict.fromkeys(partitions, code)),
            )
        elif self._settings.verifies:
            self.verify_partitions(transactional_id, producer_id, producer_epoch, partitions, translate)
        else:
            answer(dict.fromkeys(partitions, ErrorCode.NONE))

    def _add(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Iterable[Partition],
        client_version: int,
        wait_ms: int,
        answer: Callable[[ErrorCode], None],
    ) -> None:
        wanted = frozenset(partitions)
        until_ms = self._clock.monotonic_ms() + wait_ms
        tell = once(answer)

        def written(code: ErrorCode | None) -> None:
            tell(ErrorCode.NONE if code is None else append_error(code))

        def attempt(machine: TransactionMachine) -> Result:
            try:
                result = machine.add(transactional_id, producer_id, producer_epoch, wanted, client_version)
            except RequestError as error:
                left_ms = until_ms - self._clock.monotonic_ms()
                if error.code is ErrorCode.CONCURRENT_TRANSACTIONS and left_ms > 0:
                    machine.waiting.park(transactional_id, partial(attempt, machine), tell, left_ms)
                else:
                    tell(error.code)
                return NOTHING
            return Result(records=result.records, undoable=True, done=written)

        if not transactional_id:
            tell(ErrorCode.INVALID_REQUEST)
        else:
            self._runtime.write(
                self.partition_for(transactional_id), attempt, None, lambda code: tell(append_error(code))
            )

    # The end.

    def end(self, transactional_id: str, request: Ending, answer: Answer) -> None:
        """EndTxn."""

        def refuse(code: ErrorCode) -> None:
            answer(EndTxnResponse(error_code=code))

        if not transactional_id:
            refuse(ErrorCode.INVALID_REQUEST)
        else:
            self._write(
                transactional_id,
                lambda machine, new_id: machine.end(transactional_id, request, new_id),
                answer,
                refuse,
            )

    # What others ask about transactions.

    def list_transactions(self, request: ListTransactionsRequest, answer: Answer) -> None:
        """ListTransactions, of the shards that are here, without its pattern."""
        machines, loading = self._runtime.machines()
        if loading:
            answer(ListTransactionsResponse(error_code=ErrorCode.COORDINATOR_LOAD_IN_PROGRESS))
            return
        unknown = [label for label in dict.fromkeys(request.state_filters) if label not in BY_LABEL]
        states = None
        if request.state_filters:
            states = frozenset(BY_LABEL[label] for label in request.state_filters if label in BY_LABEL)
        producer_ids = frozenset(request.producer_id_filters)
        found = [
            listed for machine in machines for listed in machine.listed(states, producer_ids, request.duration_filter)
        ]
        answer(ListTransactionsResponse(unknown_state_filters=unknown, transaction_states=found))

    def describe_transactions(self, transactional_ids: Sequence[str], answer: Answer) -> None:
        """DescribeTransactions, in the order asked for."""
        states: list[DescribeTransactionsResponseTransactionState] = []
        for transactional_id in transactional_ids:
            self._describe(transactional_id, states)
        answer(DescribeTransactionsResponse(transaction_states=states))

    def _describe(self, transactional_id: str, states: list[DescribeTransactionsResponseTransactionState]) -> None:
        def refuse(code: ErrorCode) -> None:
            states.append(
                DescribeTransactionsResponseTransactionState(error_code=code, transactional_id=transactional_id)
            )

        def receive(response: Struct) -> None:
            assert isinstance(response, DescribeTransactionsResponseTransactionState)
            states.append(response)

        if not transactional_id:
            refuse(ErrorCode.INVALID_REQUEST)
            return
        self._runtime.read(
            self.partition_for(transactional_id),
            lambda machine: machine.described(transactional_id),
            receive,
            refuse,
        )

    # Writes that may need a producer id.

    def _write(
        self,
        transactional_id: str,
        operation: Callable[[TransactionMachine, Callable[[], int]], Result],
        answer: Answer,
        refuse: Callable[[ErrorCode], None],
    ) -> None:
        partition = self.partition_for(transactional_id)
        needed = []

        def without_id() -> int:
            raise ProducerIdNeeded

        def attempt(machine: TransactionMachine) -> Result:
            try:
                return operation(machine, without_id)
            except ProducerIdNeeded:
                needed.append(True)
                return NOTHING

        def refuse_append(code: ErrorCode) -> None:
            refuse(append_error(code))

        def taken(outcome: int | RequestError) -> None:
            if isinstance(outcome, RequestError):
                refuse(_NO_ID_TO_GIVE)
                return
            self._runtime.write(partition, lambda machine: operation(machine, lambda: outcome), answer, refuse_append)

        self._runtime.write(partition, attempt, answer, refuse_append)
        if needed:
            self._producer_ids(taken)

    def _take_id(self, taken: Callable[[int], None]) -> None:
        def receive(outcome: int | RequestError) -> None:
            # Who gets none tries again later anyway.
            if not isinstance(outcome, RequestError):
                taken(outcome)

        self._producer_ids(receive)
