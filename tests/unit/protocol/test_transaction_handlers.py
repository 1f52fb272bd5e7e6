"""The transactional APIs as handlers: what depends on the version, on topics, and on the shape of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from ottla import messages as m
from ottla.errors import ErrorCode, RequestError
from ottla.protocol.dispatch import produce_error
from ottla.protocol.handlers import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    describe_transactions,
    end_txn,
    init_producer_id,
    list_transactions,
)
from ottla.protocol.registry import Api
from ottla.types import RequestContext
from tests.unit.protocol.world import World

APIS = (
    Api(22, "InitProducerId", 0, 0, 5, init_producer_id),
    Api(24, "AddPartitionsToTxn", 0, 0, 5, add_partitions_to_txn),
    Api(25, "AddOffsetsToTxn", 0, 0, 4, add_offsets_to_txn),
    Api(26, "EndTxn", 0, 0, 5, end_txn),
    Api(65, "DescribeTransactions", 0, 0, 0, describe_transactions),
    Api(66, "ListTransactions", 0, 0, 2, list_transactions),
)


class Rig:
    """A broker with two topics and the transaction coordinator loaded."""

    def __init__(self) -> None:
        self.world = World(*APIS, transaction_state_log_num_partitions="2")
        create = m.CreateTopicsRequest(
            topics=[m.CreateTopicsRequestCreatableTopic(name, 2, 1) for name in ("t", "u")], timeout_ms=1000
        )
        self.world.call(19, 7, create)
        for index in range(2):
            self.world.transactions.load(index)

    def init(self, version: int = 5, producer: tuple[int, int] = (-1, -1)) -> Any:
        request = m.InitProducerIdRequest("x", 60_000, *producer)
        return self.world.call(22, version, request)

    def add(
        self, version: int, producer: tuple[int, int], topics: dict[str, list[int]], *, verify: bool = False
    ) -> Any:
        named = [m.AddPartitionsToTxnRequestTopic(name, indexes) for name, indexes in topics.items()]
        if version < 4:
            request = m.AddPartitionsToTxnRequest([], "x", *producer, named)
        else:
            transaction = m.AddPartitionsToTxnRequestTransaction("x", *producer, verify, named)
            request = m.AddPartitionsToTxnRequest([transaction])
        return self.world.call(24, version, request)


def codes(topics: Any) -> dict[tuple[str, int], str]:
    return {
        (topic.name, partition.partition_index): ErrorCode(partition.partition_error_code).name
        for topic in topics
        for partition in topic.results_by_partition
    }


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_older_clients_know_another_word_for_fenced(rig: Rig) -> None:
    """KIP-588: InitProducerId 4, AddPartitionsToTxn 2, AddOffsetsToTxn 2, EndTxn 2."""
    old = (rig.init().producer_id, 0)
    rig.init()
    for version, name in ((3, "INVALID_PRODUCER_EPOCH"), (4, "PRODUCER_FENCED")):
        assert ErrorCode(rig.init(version, (old[0], 7)).error_code).name == name
    for version, name in ((1, "INVALID_PRODUCER_EPOCH"), (2, "PRODUCER_FENCED")):
        answer = rig.add(version, old, {"t": [0]}).results_by_topic_v3_and_below
        assert codes(answer) == {("t", 0): name}
        answer = rig.world.call(25, version, m.AddOffsetsToTxnRequest("x", *old, "g"))
        assert ErrorCode(answer.error_code).name == name
        answer = rig.world.call(26, version, m.EndTxnRequest("x", *old, True))
        assert ErrorCode(answer.error_code).name == name


def test_partitions_are_added_all_or_none(rig: Rig) -> None:
    """One that does not exist, or is the broker's own, keeps the others from being tried."""
    own = (rig.init().producer_id, 0)
    answer = rig.add(3, own, {"t": [0, 2], "nowhere": [0], "__consumer_offsets": [0]})
    assert codes(answer.results_by_topic_v3_and_below) == {
        ("t", 0): "OPERATION_NOT_ATTEMPTED",
        ("t", 2): "UNKNOWN_TOPIC_OR_PARTITION",
        ("nowhere", 0): "UNKNOWN_TOPIC_OR_PARTITION",
        ("__consumer_offsets", 0): "TOPIC_AUTHORIZATION_FAILED",
    }
    answer = rig.add(3, own, {"t": [0, 1, 0], "u": [1]})
    assert codes(answer.results_by_topic_v3_and_below) == {("t", 0): "NONE", ("t", 1): "NONE", ("u", 1): "NONE"}
    described = rig.world.call(65, 0, m.DescribeTransactionsRequest(["x"])).transaction_states[0]
    assert [(topic.topic, topic.partitions) for topic in described.topics] == [("t", [0, 1]), ("u", [1])]


def test_clients_wait_for_the_markers_of_the_transaction_before(rig: Rig) -> None:
    """Who is told CONCURRENT_TRANSACTIONS pauses for longer than they take. Brokers have their own patience."""
    world, own = rig.world, (rig.init().producer_id, 0)
    rig.add(3, own, {"t": [0]})
    world.markers.answer_at_once = False
    world.call(26, 4, m.EndTxnRequest("x", *own, True))
    named = [m.AddPartitionsToTxnRequestTopic("t", [1])]
    world.ask(901, 24, 3, m.AddPartitionsToTxnRequest([], "x", *own, named))
    world.ask(902, 25, 3, m.AddOffsetsToTxnRequest("x", *own, "g"))
    transaction = m.AddPartitionsToTxnRequestTransaction("x", *own, False, named)
    world.ask(903, 24, 5, m.AddPartitionsToTxnRequest([transaction]))
    world.turn()
    assert world.bridge.answers.keys() & {901, 902, 903} == {903}
    told = codes(world.bridge.answers[903].results_by_transaction[0].topic_results)
    assert told == {("t", 1): "CONCURRENT_TRANSACTIONS"}
    world.markers.settle()
    world.turn()
    assert codes(world.bridge.answers[901].results_by_topic_v3_and_below) == {("t", 1): "NONE"}
    assert world.bridge.answers[902].error_code == ErrorCode.NONE
    described = world.call(65, 0, m.DescribeTransactionsRequest(["x"])).transaction_states[0]
    assert [topic.topic for topic in described.topics] == ["__consumer_offsets", "t"]


def test_brokers_add_and_verify_for_several_transactions(rig: Rig) -> None:
    """Answered together, in their order; a broker may name the broker's own topics if they exist."""
    own = (rig.init().producer_id, 0)
    answer = rig.add(5, own, {"t": [0]})
    assert codes(answer.results_by_transaction[0].topic_results) == {("t", 0): "NONE"}
    answer = rig.add(4, own, {"t": [0, 1]}, verify=True)
    found = answer.results_by_transaction[0]
    assert found.transactional_id == "x"
    assert codes(found.topic_results) == {("t", 0): "NONE", ("t", 1): "TRANSACTION_ABORTABLE"}
    topics = [m.AddPartitionsToTxnRequestTopic("t", [1])]
    several = [
        m.AddPartitionsToTxnRequestTransaction("y", 5, 0, False, topics),
        m.AddPartitionsToTxnRequestTransaction("x", *own, False, topics),
        m.AddPartitionsToTxnRequestTransaction("", *own, False, topics),
    ]
    answer = rig.world.call(24, 5, m.AddPartitionsToTxnRequest(several))
    assert [(each.transactional_id, codes(each.topic_results)) for each in answer.results_by_transaction] == [
        ("y", {("t", 1): "INVALID_PRODUCER_ID_MAPPING"}),
        ("x", {("t", 1): "NONE"}),
        ("", {("t", 1): "INVALID_REQUEST"}),
    ]
    assert rig.world.call(24, 5, m.AddPartitionsToTxnRequest([])).results_by_transaction == []


def test_offsets_are_a_partition_of_the_offsets_topic(rig: Rig) -> None:
    """The one that the group lives on."""
    own = (rig.init().producer_id, 0)
    assert rig.world.call(25, 4, m.AddOffsetsToTxnRequest("x", *own, "g")).error_code == ErrorCode.NONE
    described = rig.world.call(65, 0, m.DescribeTransactionsRequest(["x"])).transaction_states[0]
    assert [(topic.topic, topic.partitions) for topic in described.topics] == [("__consumer_offsets", [3])]


@pytest.mark.parametrize("version, told", [(4, (-1, -1)), (5, (0, 1))])
def test_the_version_of_end_txn_says_which_end_is_meant(rig: Rig, version: int, told: tuple[int, int]) -> None:
    """v5 ends the epoch too, and says what comes next."""
    own = (rig.init().producer_id, 0)
    rig.add(3, own, {"t": [0]})
    answer = rig.world.call(26, version, m.EndTxnRequest("x", *own, True))
    assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (ErrorCode.NONE, *told)


def test_transactions_are_listed_by_pattern(rig: Rig) -> None:
    """The pattern goes to whoever knows patterns."""
    rig.init()
    for pattern, found in (("x", ["x"]), ("y", [])):
        answer = rig.world.call(66, 2, m.ListTransactionsRequest(transactional_id_pattern=pattern))
        assert [each.transactional_id for each in answer.transaction_states] == found
    answer = rig.world.call(66, 2, m.ListTransactionsRequest(transactional_id_pattern="("))
    assert (answer.error_code, answer.transaction_states) == (ErrorCode.INVALID_REGULAR_EXPRESSION, [])


def test_nobody_waits_while_ids_are_matched(rig: Rig) -> None:
    """It is done on another thread; where that fails the answer says so."""
    rig.init()
    waiting: list[Any] = []
    rig.world.services.elsewhere = lambda work, done: waiting.append((work, done))
    answers: list[Any] = []
    for _ in range(2):
        request = m.ListTransactionsRequest(transactional_id_pattern="x")
        context = RequestContext(66, 2, 0, "c", "127.0.0.1", 1, "PLAINTEXT", 0)
        list_transactions.handle(context, request, rig.world.services, answers.append)
    assert not answers
    (work, done), (_, fail) = waiting
    done(work())
    fail(RequestError(ErrorCode.REQUEST_TIMED_OUT))
    first, second = answers
    assert [each.transactional_id for each in first.transaction_states] == ["x"]
    assert (second.error_code, second.transaction_states) == (ErrorCode.REQUEST_TIMED_OUT, [])


def test_what_goes_wrong_in_a_handler_has_the_shape_of_an_answer(rig: Rig) -> None:
    """Each of these can say no in every version."""
    request = m.AddPartitionsToTxnRequest([], "x", 1, 0, [m.AddPartitionsToTxnRequestTopic("t", [0])])
    context: Any = type("Context", (), {"api_version": 3})
    answer = add_partitions_to_txn.refuse(context, request, ErrorCode.UNKNOWN_SERVER_ERROR)
    assert codes(answer.results_by_topic_v3_and_below) == {("t", 0): "UNKNOWN_SERVER_ERROR"}
    context.api_version = 5
    assert add_partitions_to_txn.refuse(context, request, ErrorCode.UNKNOWN_SERVER_ERROR).error_code == -1
    described = describe_transactions.refuse(
        context, m.DescribeTransactionsRequest(["a", "b"]), ErrorCode.UNKNOWN_SERVER_ERROR
    )
    assert [each.error_code for each in described.transaction_states] == [-1, -1]


def test_the_first_batch_of_a_transaction_is_asked_for() -> None:
    """Of a coordinator that is not there nobody is told: producers try again for lack of replicas."""
    world = World()
    world.bridge.items.append(("verify_transaction", 9, "tx", 1, 0, [("a", 0)], True))
    world.bridge.items.append(("disconnected", 4))
    world.turn()
    assert world.bridge.verified == {9: ErrorCode.NOT_ENOUGH_REPLICAS}
    world.transactions.load(world.transactions.partition_for("tx"))
    world.bridge.items.append(("verify_transaction", 10, "tx", 1, 0, [("a", 0)], False))
    world.turn()
    assert world.bridge.verified[10] == ErrorCode.INVALID_PRODUCER_ID_MAPPING


def test_a_question_of_the_data_plane_that_fails_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection waits for it, and with it everything its client has sent since."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("on purpose")

    world = World()
    monkeypatch.setattr(world.transactions, "ask", fail)
    monkeypatch.setattr(world.services.auto_creation, "create", fail)
    world.bridge.items += [("verify_transaction", 9, "tx", 1, 0, [("a", 0)], True), ("create_topics", 10, ["a", "b"])]
    world.turn()
    unknown = ErrorCode.UNKNOWN_SERVER_ERROR
    assert world.bridge.verified == {9: unknown}
    assert world.bridge.resumed == {10: [("a", unknown), ("b", unknown)]}
    assert world.dispatcher.status.failures == 2


@pytest.mark.parametrize(
    "code, adds, told",
    [
        (ErrorCode.NONE, True, ErrorCode.NONE),
        (ErrorCode.NOT_COORDINATOR, True, ErrorCode.NOT_ENOUGH_REPLICAS),
        (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, False, ErrorCode.NOT_ENOUGH_REPLICAS),
        (ErrorCode.COORDINATOR_NOT_AVAILABLE, False, ErrorCode.NOT_ENOUGH_REPLICAS),
        (ErrorCode.CONCURRENT_TRANSACTIONS, False, ErrorCode.NOT_ENOUGH_REPLICAS),
        (ErrorCode.CONCURRENT_TRANSACTIONS, True, ErrorCode.CONCURRENT_TRANSACTIONS),
        (ErrorCode.INVALID_PRODUCER_EPOCH, True, ErrorCode.INVALID_PRODUCER_EPOCH),
        (ErrorCode.TRANSACTION_ABORTABLE, False, ErrorCode.TRANSACTION_ABORTABLE),
    ],
)
def test_what_a_producer_is_told(code: ErrorCode, adds: bool, told: ErrorCode) -> None:
    """Kafka's words (AddPartitionsToTxnManager, ReplicaManager)."""
    assert produce_error(code, adds=adds) is told
