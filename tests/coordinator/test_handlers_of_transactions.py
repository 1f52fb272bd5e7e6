"""The handlers that write into partitions on behalf of transactions, and tell who has written there."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.errors import ErrorCode, RequestError
from ottla.messages import (
    DescribeProducersRequest,
    DescribeProducersRequestTopicRequest,
    OffsetFetchRequestGroup,
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    WriteTxnMarkersRequest,
    WriteTxnMarkersRequestWritableTxnMarker,
    WriteTxnMarkersRequestWritableTxnMarkerTopic,
)
from ottla.protocol.handlers import describe_producers, txn_offset_commit, write_txn_markers
from ottla.testing import MemoryMarkers, MemoryTransactionGate
from ottla.testing.transactions import GateQuestion
from ottla.types import TransactionMarker
from tests.coordinator.test_handlers import ID, Rig


class TransactionRig(Rig):
    """With the coordinator of transactions played by a gate, and markers that are only noted."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = MemoryTransactionGate()
        self.markers = MemoryMarkers()
        self.services.transactions = self.gate
        self.services.markers = self.markers
        topics = self.services.image.topics
        self.services.image.has_partition = lambda name, index: (
            name in topics and 0 <= index < len(topics[name].partitions)
        )


@pytest.fixture
def rig() -> TransactionRig:
    return TransactionRig()


def commit(*topics: tuple[str, list[int]], group: str = "g", **fields: Any) -> TxnOffsetCommitRequest:
    return TxnOffsetCommitRequest(
        transactional_id="tx",
        group_id=group,
        producer_id=7,
        producer_epoch=1,
        topics=[
            TxnOffsetCommitRequestTopic(
                name=name,
                partitions=[
                    TxnOffsetCommitRequestPartition(partition_index=index, committed_offset=5) for index in indexes
                ],
            )
            for name, indexes in topics
        ],
        **fields,
    )


def codes(response: Any) -> list[str]:
    return [
        f"{topic.name}-{partition.partition_index}={ErrorCode(partition.error_code).name}"
        for topic in response.topics
        for partition in topic.partitions
    ]


def test_what_does_not_exist_is_refused_and_the_rest_committed(rig: TransactionRig) -> None:
    """Refused partitions come first; the offsets are noted with the id of the topic that has the name."""
    response = rig.answer(txn_offset_commit, 5, commit(("t", [0, 9]), ("u", [0]), ("t", [1, -1])))
    unknown = "UNKNOWN_TOPIC_OR_PARTITION"
    assert codes(response) == [f"t-9={unknown}", f"t--1={unknown}", "t-0=NONE", "t-1=NONE", f"u-0={unknown}"]
    partition = rig.world.coordinator.partition_for("g")
    assert rig.gate.questions == [GateQuestion("tx", 7, 1, (("__consumer_offsets", partition),), adds=True)]
    assert [value.topic_id for _, value in rig.world.records("g")] == [ID, ID]  # type: ignore[union-attr]
    nothing = rig.answer(txn_offset_commit, 5, commit(("u", [0])))
    assert codes(nothing) == [f"u-0={unknown}"]
    assert codes(rig.answer(txn_offset_commit, 5, commit())) == []
    assert len(rig.gate.questions) == 1


def test_who_adds_the_partition_depends_on_the_version(rig: TransactionRig) -> None:
    """Up to v4 the client has, with AddOffsetsToTxn; it is asked whether it has."""
    for version in (0, 3, 4, 5):
        rig.gate.code = ErrorCode.INVALID_TXN_STATE
        assert codes(rig.answer(txn_offset_commit, version, commit(("t", [0])))) == ["t-0=INVALID_TXN_STATE"]
    assert [question.adds for question in rig.gate.questions] == [False, False, False, True]


@pytest.mark.parametrize(
    "version, told, heard",
    [
        (3, "TRANSACTION_ABORTABLE", "INVALID_TXN_STATE"),
        (4, "TRANSACTION_ABORTABLE", "TRANSACTION_ABORTABLE"),
        (1, "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"),
        (2, "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_LOAD_IN_PROGRESS"),
        (5, "CONCURRENT_TRANSACTIONS", "CONCURRENT_TRANSACTIONS"),
        (5, "KAFKA_STORAGE_ERROR", "NOT_COORDINATOR"),
    ],
)
def test_old_clients_hear_what_they_know(rig: TransactionRig, version: int, told: str, heard: str) -> None:
    """Codes that came after a version, in words of that version."""
    rig.gate.code = ErrorCode[told]
    assert codes(rig.answer(txn_offset_commit, version, commit(("t", [0])))) == [f"t-0={heard}"]


def test_the_empty_group_has_no_transactions(rig: TransactionRig) -> None:
    """INVALID_GROUP_ID, before anybody is asked."""
    assert codes(rig.answer(txn_offset_commit, 5, commit(("t", [0]), group=""))) == ["t-0=INVALID_GROUP_ID"]
    assert rig.gate.questions == []


def test_a_refusal_names_every_partition() -> None:
    """When something fails that nobody foresaw."""
    context: Any = None
    refused = txn_offset_commit.refuse(context, commit(("t", [0, 9])), ErrorCode.UNKNOWN_SERVER_ERROR)
    assert codes(refused) == ["t-0=UNKNOWN_SERVER_ERROR", "t-9=UNKNOWN_SERVER_ERROR"]


def test_the_offsets_wait_for_the_gate(rig: TransactionRig) -> None:
    """Nothing is answered and nothing pending before it agrees."""
    rig.gate.answer_at_once = False
    answers = rig.ask(txn_offset_commit, 5, commit(("t", [0])))
    fetched: list[Any] = []

    def fetch() -> None:
        rig.world.coordinator.fetch_offsets(
            OffsetFetchRequestGroup(group_id="g", topics=None), True, fetched.append, current_id=lambda _: ID
        )
        rig.world.turn()

    assert (answers, rig.world.records("g")) == ([], [])
    rig.gate.settle()
    rig.world.turn()
    assert codes(answers[0]) == ["t-0=NONE"]
    fetch()
    assert fetched[0].topics == []


# WriteTxnMarkers.


def marker(producer_id: int, *topics: tuple[str, list[int]], epoch: int = 2) -> WriteTxnMarkersRequestWritableTxnMarker:
    return WriteTxnMarkersRequestWritableTxnMarker(
        producer_id=producer_id,
        producer_epoch=epoch,
        transaction_result=True,
        coordinator_epoch=3,
        transaction_version=1,
        topics=[
            WriteTxnMarkersRequestWritableTxnMarkerTopic(name=name, partition_indexes=indexes)
            for name, indexes in topics
        ],
    )


def written(response: Any) -> list[str]:
    return [f"{each.producer_id}: {' '.join(codes(each))}" for each in response.markers]


def test_markers_are_answered_when_all_are_known(rig: TransactionRig) -> None:
    """Those of one producer together."""
    rig.markers.answer_at_once = False
    rig.markers.codes = {("t", 1): ErrorCode.INVALID_PRODUCER_EPOCH}
    request = WriteTxnMarkersRequest(
        markers=[marker(7, ("t", [0, 1]), ("u", [0])), marker(8, ("t", [0])), marker(7, ("t", [2]), epoch=4)]
    )
    answers = rig.ask(write_txn_markers, 1, request)
    assert rig.markers.written[0] == TransactionMarker(7, 2, True, 3, 1, (("t", 0), ("t", 1), ("u", 0)))
    rig.markers.settle(2)
    assert answers == []
    rig.markers.settle()
    assert written(answers[0]) == ["7: t-0=NONE t-1=INVALID_PRODUCER_EPOCH t-2=NONE u-0=NONE", "8: t-0=NONE"]
    assert written(rig.answer(write_txn_markers, 1, WriteTxnMarkersRequest())) == []
    context: Any = None
    refused = write_txn_markers.refuse(context, request, ErrorCode.UNKNOWN_SERVER_ERROR)
    assert [line.count("UNKNOWN_SERVER_ERROR") for line in written(refused)] == [4, 1]


# DescribeProducers.


def test_producers_are_looked_at_in_the_background(rig: TransactionRig) -> None:
    """Names no topic can have and topics that are not there are not asked for; a failure is everybody's."""
    asked: list[Any] = []
    work: list[Any] = []

    class Storage:
        def producers(self, partitions: Any) -> Any:
            asked.append(partitions)
            return [(0, [(7, 1, 5, 99, -1, -1)]), (3, [])]

    class Background:
        def run(self, job: Any, done: Any) -> None:
            work.append((job, done))

    rig.services.storage, rig.services.background = Storage(), Background()

    def topic(name: str, *indexes: int) -> DescribeProducersRequestTopicRequest:
        return DescribeProducersRequestTopicRequest(name=name, partition_indexes=list(indexes))

    request = DescribeProducersRequest(topics=[topic("u", 0), topic("t", 0, 9), topic("a b", 0)])
    answers = rig.ask(describe_producers, 0, request)
    assert answers == []
    job, done = work.pop()
    done(job())
    assert asked == [[("t", 0), ("t", 9)]]
    assert codes(answers[0]) == [
        "u-0=UNKNOWN_TOPIC_OR_PARTITION",
        "t-0=NONE",
        "t-9=UNKNOWN_TOPIC_OR_PARTITION",
        "a b-0=INVALID_TOPIC_EXCEPTION",
    ]
    (producer,) = answers[0].topics[1].partitions[0].active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (7, 1, 5)
    for error, code in (
        (RequestError(ErrorCode.REQUEST_TIMED_OUT), "REQUEST_TIMED_OUT"),
        (OSError(), "UNKNOWN_SERVER_ERROR"),
    ):
        failed = rig.ask(describe_producers, 0, request)
        work.pop()[1](error)
        assert set(codes(failed[0])) == {f"{name}={code}" for name in ("u-0", "t-0", "t-9", "a b-0")}
    assert codes(rig.answer(describe_producers, 0, DescribeProducersRequest(topics=[topic("u", 0)]))) == [
        "u-0=UNKNOWN_TOPIC_OR_PARTITION"
    ]
