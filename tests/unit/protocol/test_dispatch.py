"""A turn of the control plane: what comes up is served, what goes wrong stays where it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ottla import messages
from ottla.controller.names import OFFSETS_TOPIC
from ottla.errors import CodecError, ErrorCode, RequestError, StorageError
from ottla.messages import (
    CreateTopicsRequest,
    CreateTopicsRequestCreatableTopic,
    HeartbeatRequest,
    HeartbeatResponse,
    InitProducerIdRequest,
    MetadataRequest,
)
from ottla.protocol.commits import Commits, CommittingJournal
from ottla.protocol.registry import APIS, CODE_AT_TOP, Api, api_table
from ottla.testing.journal import MemoryLoading
from ottla.types import TransactionMarker
from tests.unit.protocol.world import World

HEARTBEAT = 12


def heartbeat(handle: Callable[..., None], **more: Any) -> Api:
    module: Any = SimpleNamespace(handle=handle, **more)
    return Api(HEARTBEAT, "Heartbeat", 0, 0, 4, module)


def test_answers_of_a_turn_leave_in_one_call_after_the_flush() -> None:
    """Three requests, one flush, one call down."""
    seen: list[int] = []

    def handle(context: Any, _request: Any, _services: Any, answer: Any) -> None:
        seen.append(world.flushes)
        answer(HeartbeatResponse(throttle_time_ms=context.correlation_id))

    world = World(heartbeat(handle))
    for token in (1, 2, 3):
        world.ask(token, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    assert seen == [0, 0, 0]
    assert world.flushes == 1
    assert [[token for token, _ in call] for call in world.bridge.calls] == [[1, 2, 3]]
    assert world.bridge.answers[2] == HeartbeatResponse(throttle_time_ms=2)


def test_in_a_long_turn_answers_leave_early() -> None:
    """Clients go on while the rest is served: after 64 what is answered leaves, at the end what is left."""
    flushed: list[int] = []

    def handle(context: Any, _request: Any, _services: Any, answer: Any) -> None:
        flushed.append(world.flushes)
        if context.correlation_id % 2:
            answer(HeartbeatResponse())

    world = World(heartbeat(handle))
    for token in range(150):
        world.ask(token, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    assert set(flushed) == {0}
    assert [len(call) for call in world.bridge.calls] == [32, 32, 11]


def test_a_handler_may_answer_in_a_later_turn() -> None:
    """An answer given outside a turn asks the loop for one, and leaves then."""
    kept: list[Any] = []
    world = World(heartbeat(lambda _context, _request, _services, answer: kept.append(answer)))
    world.ask(1, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    assert world.bridge.calls == []
    kept[0](HeartbeatResponse())
    assert world.turns_requested == 1
    world.turn()
    assert world.bridge.answers == {1: HeartbeatResponse()}


def test_a_second_answer_is_dropped_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """One request, one answer, whatever a handler does."""

    def handle(_context: Any, _request: Any, _services: Any, answer: Any) -> None:
        answer(HeartbeatResponse())
        answer(HeartbeatResponse(error_code=1))

    world = World(heartbeat(handle))
    world.ask(1, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    assert world.bridge.calls == [[(1, HeartbeatResponse())]]
    assert "answered twice" in caplog.text


def test_a_handler_that_raises_is_answered_for_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """UNKNOWN_SERVER_ERROR in the response's own shape, a traceback in the log, the next request served."""

    def handle(context: Any, _request: Any, _services: Any, answer: Any) -> None:
        if context.correlation_id == 1:
            raise KeyError("mine")
        if context.correlation_id == 2:
            raise RequestError(ErrorCode.NOT_COORDINATOR)
        answer(HeartbeatResponse())

    world = World(heartbeat(handle))
    for token in (1, 2, 3):
        world.ask(token, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    codes = {token: response.error_code for token, response in world.bridge.answers.items()}
    assert codes == {1: ErrorCode.UNKNOWN_SERVER_ERROR, 2: ErrorCode.NOT_COORDINATOR, 3: 0}
    assert "KeyError: 'mine'" in caplog.text
    assert world.dispatcher.status.failures == 1


def test_a_panic_of_the_native_side_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is no Exception: in a handler, a deadline or the sending of answers it costs what it was in, no more."""

    class Panic(BaseException):
        """What pyo3 makes of one."""

    def handle(context: Any, _request: Any, _services: Any, answer: Any) -> None:
        if context.correlation_id == 1:
            raise Panic("in a handler")
        answer(HeartbeatResponse())

    def broken() -> None:
        raise Panic("in a deadline")

    world = World(heartbeat(handle))
    fired: list[int] = []
    world.deadlines.at(0, broken)
    world.deadlines.at(0, lambda: fired.append(1))
    for token in (1, 2):
        world.ask(token, HEARTBEAT, 4, HeartbeatRequest())
    world.bridge.fail_with = Panic("in sending")
    world.turn()
    codes = {token: response.error_code for token, response in world.bridge.answers.items()}
    assert codes == {1: ErrorCode.UNKNOWN_SERVER_ERROR, 2: 0}
    assert (fired, world.flushes, world.dispatcher.status.failures) == ([1], 1, 3)
    assert all(f"in {place}" in caplog.text for place in ("a handler", "a deadline", "sending"))


def test_a_client_forges_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its name is written as a literal, and not longer than Kafka's clients have them."""

    def handle(*_: Any) -> None:
        raise KeyError("mine")

    world = World(heartbeat(handle))
    client = "x\nERROR all is lost " + "y" * 30_000
    world.bridge.items.append(("request", 1, HEARTBEAT, 4, 1, client, "h", 1, "PLAINTEXT", 0, HeartbeatRequest()))
    world.turn()
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 400


def test_a_failure_of_a_request_with_items_has_one_code_for_each() -> None:
    """CreateTopics has no code of its own: its handler says what a refusal looks like."""
    world = World()
    world.services.topic_defaults = None  # type: ignore[assignment]
    topics = [CreateTopicsRequestCreatableTopic(name=name, num_partitions=1) for name in ("a", "b")]
    response = world.call(19, 7, CreateTopicsRequest(topics=topics))
    assert [(topic.name, topic.error_code) for topic in response.topics] == [("a", -1), ("b", -1)]


def test_a_failure_without_a_shape_closes_the_connection() -> None:
    """Neither the handler nor the response has a place for the code."""

    def handle(*_: Any) -> None:
        raise KeyError("mine")

    module: Any = SimpleNamespace(handle=handle)
    world = World(Api(3, "Metadata", 0, 0, 13, module))
    world.ask(1, 3, 12, MetadataRequest())
    world.ask(2, 99, 0, MetadataRequest())
    world.turn()
    assert world.bridge.refused == [1, 2]


def test_what_was_received_counts_before_a_deadline_fires() -> None:
    """Five requests, two drained in a turn: the deadline that is long due fires once nothing is left, after them."""
    order: list[str] = []

    def handle(context: Any, _request: Any, _services: Any, answer: Any) -> None:
        order.append(f"request {context.correlation_id}")
        answer(HeartbeatResponse())

    world = World(heartbeat(handle), drain_max=2)
    world.deadlines.at(10, lambda: order.append("deadline"))
    for token in range(5):
        world.ask(token, HEARTBEAT, 4, HeartbeatRequest())
    world.clock.advance(60_000)
    world.turn()
    world.turn()
    assert order == [f"request {token}" for token in range(4)]
    assert world.turns_requested == 2
    world.turn()
    assert world.turns_requested == 3
    world.turn()
    assert order[4:] == ["request 4", "deadline"]
    assert world.turns_requested == 3


def test_load_that_never_ends_holds_no_deadline_up() -> None:
    """Every drain is full: a deadline fires after what was received before it and before what was received later."""
    order: list[str] = []

    def handle(context: Any, _request: Any, _services: Any, answer: Any) -> None:
        order.append(f"request {context.correlation_id}")
        answer(HeartbeatResponse())

    world = World(heartbeat(handle), drain_max=2)
    world.deadlines.at(25, lambda: order.append("deadline"))
    for token in range(100):
        world.ask(token, HEARTBEAT, 4, HeartbeatRequest())
        world.clock.advance(10)
    # Received at 0, 10, 20, ...: 25 has passed for certain once the one of 30 is served.
    world.turn()
    assert order == ["request 0", "request 1"]
    world.turn()
    assert order == ["request 0", "request 1", "request 2", "request 3", "deadline"]


@pytest.mark.parametrize("drain_max", [2, 256])
def test_items_without_a_time_hold_no_deadline_up(drain_max: int) -> None:
    """Connections come and go without end: the deadline fires all the same, some turns late."""
    fired: list[int] = []
    world = World(drain_max=drain_max)
    world.deadlines.at(10, lambda: fired.append(1))
    for _ in range(100):
        world.clock.advance(10)
        world.bridge.items += [("disconnected", 1)] * 2
        world.turn()
    assert fired == [1]


def test_the_clock_is_read_before_the_drain() -> None:
    """What becomes due while requests are handled waits for the next turn, which first drains what came by then."""
    order: list[str] = []

    def handle(context: Any, _request: Any, _services: Any, answer: Any) -> None:
        order.append(f"request {context.correlation_id}")
        if context.correlation_id == 1:
            world.clock.advance(1000)
            world.ask(2, HEARTBEAT, 4, HeartbeatRequest())
        answer(HeartbeatResponse())

    world = World(heartbeat(handle))
    world.deadlines.at(500, lambda: order.append("deadline"))
    world.ask(1, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    assert world.dispatcher.next_deadline_ms == 500
    world.turn()
    assert order == ["request 1", "request 2", "deadline"]


def test_a_deadline_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The next deadline of the same moment fires, the flush happens."""
    fired: list[int] = []

    def broken() -> None:
        raise RuntimeError("mine")

    world = World()
    world.deadlines.at(0, broken)
    world.deadlines.at(0, lambda: fired.append(1))
    world.turn()
    assert (fired, world.flushes) == ([1], 1)
    assert "RuntimeError: mine" in caplog.text


def test_a_response_that_does_not_fit_ends_its_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The bridge has sent the others by the time it raises."""
    world = World(heartbeat(lambda _context, _request, _services, answer: answer(HeartbeatResponse())))
    world.bridge.fail_with = CodecError("no such field")
    world.ask(1, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    world.bridge.fail_with = None
    world.ask(2, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    assert set(world.bridge.answers) == {1, 2}
    assert "no such field" in caplog.text


def test_commits_are_told_by_token_at_once_or_later() -> None:
    """The native side says "not yet" and comes back with the token; a token it repeats is nobody's."""
    watched: list[tuple[int, int]] = []

    class Raw:
        log_start_offset = 0
        high_watermark = 5

        def append(self, records: Any, timestamp_ms: int, producer: Any = None) -> int:
            return 7

        def append_marker(self, *marker: Any) -> int:
            markers.append(marker)
            return 8

        def start_verification(self, producer_id: int, producer_epoch: int, bumps_epoch: bool) -> int | None:
            return 9 if bumps_epoch else None

        def watch(self, offset: int, token: int) -> bool:
            watched.append((offset, token))
            return offset < 5

        def load(self, token: int) -> MemoryLoading:
            watched.append((0, token))
            return MemoryLoading([], token, 0)

    world = World()
    journal = CommittingJournal(Raw(), world.commits)
    markers: list[tuple[Any, ...]] = []
    called: list[int] = []
    assert journal.append_marker(TransactionMarker(1, 2, True, 3, 0, (("t", 0),))) == 8
    assert markers == [(1, 2, True, 3, 0)]
    assert [journal.start_verification(1, 2, bumps_epoch=bumps) for bumps in (True, False)] == [9, None]
    journal.load(lambda load: called.append(load.end_offset))
    (_, token) = watched.pop()
    assert called == []
    world.bridge.items.append(("committed", token))
    world.turn()
    assert called == [token]
    called.clear()
    journal.when_committed(4, lambda: called.append(4))
    journal.when_committed(journal.append([], 0), lambda: called.append(7))
    assert (called, len(world.commits)) == ([4], 1)
    world.bridge.items += [("committed", watched[1][1]), ("committed", watched[1][1])]
    world.turn()
    assert (called, len(world.commits), journal.high_watermark) == ([4, 7], 0, 5)


def test_the_native_side_may_tell_before_watch_returns() -> None:
    """It runs on other threads."""
    commits = Commits()
    called: list[int] = []

    def watch(_offset: int, token: int) -> bool:
        commits.committed(token)
        return False

    commits.when(watch, 1, lambda: called.append(1))
    assert (called, len(commits)) == ([1], 0)


def test_a_commit_that_never_comes_is_told_to_the_owner_of_the_journal() -> None:
    """Its partition is offline: nobody is told that it is committed, and nothing is kept for who waits."""
    world = World()
    told: list[str] = []
    raw: Any = SimpleNamespace(append=None, watch=lambda _offset, token: tokens.append(token))
    tokens: list[int] = []
    journal = CommittingJournal(raw, world.commits, lambda: told.append("offline"))
    journal.when_committed(1, lambda: told.append("committed"))
    world.bridge.items += [("never_committed", tokens[0]), ("committed", tokens[0])]
    world.turn()
    assert (told, len(world.commits), world.dispatcher.status.failures) == (["offline"], 0, 0)


def test_a_metadata_log_that_goes_offline_leaves_nobody_waiting() -> None:
    """Who makes topics, who needs the offsets topic, who needs a producer id: all are answered, now and later."""
    world = World()
    world.journal.commit_at_once = False
    told: list[ErrorCode] = []
    for token in (1, 3):
        world.bridge.items.append(("create_topics", token, ["a"]))
        create = CreateTopicsRequest(topics=[CreateTopicsRequestCreatableTopic("b", 1, 1)], timeout_ms=100)
        world.ask(token, 19, 7, create)
        world.ask(token + 1, 22, 4, InitProducerIdRequest(transactional_id=None))
        world.turn()
        world.services.internal_topics.ensure(OFFSETS_TOPIC, told.append)
        if token == 1:
            assert (world.bridge.answers, world.bridge.resumed, told) == ({}, {}, [])
        world.journal.go_offline(StorageError("the disk failed"))
        world.bridge.items.append(("metadata_offline", "the disk failed"))
        world.turn()
    code = ErrorCode.KAFKA_STORAGE_ERROR
    assert world.bridge.resumed == {1: [("a", code)], 3: [("a", code)]}
    assert [world.bridge.answers[token].topics[0].error_code for token in (1, 3)] == [code] * 2
    assert all(world.bridge.answers[token].error_code for token in (2, 4))
    assert told == [code] * 2
    assert world.services.controller.status().waiting_changes == 0


def test_an_unknown_kind_of_item_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The two halves may be of different ages while somebody develops; the others of the turn are served."""
    world = World(heartbeat(lambda _context, _request, _services, answer: answer(HeartbeatResponse())))
    world.bridge.items.append(("news", 1))
    world.ask(2, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    assert set(world.bridge.answers) == {2}
    assert "does not know: (1,)" in caplog.text


def test_producer_ids_wait_for_their_block() -> None:
    """Nobody gets an id that a power cut could hand out again."""
    world = World()
    world.journal.commit_at_once = False
    world.ask(1, 22, 5, InitProducerIdRequest(transactional_id=None))
    world.turn()
    assert world.bridge.answers == {}
    world.journal.commit()
    world.turn()
    assert (world.bridge.answers[1].error_code, world.bridge.answers[1].producer_id) == (0, 0)


def test_the_table_is_what_the_data_plane_takes() -> None:
    """Native rows have no handler, the others a module with `handle`; only Produce names more than it serves."""
    table = {row[0]: row for row in api_table()}
    assert table[0] == (0, 0, 3, 13, True)
    assert table[19] == (19, 2, 2, 7, False)
    for api in APIS:
        assert api.native or callable(api.handler.handle)  # type: ignore[union-attr]
        assert api.advertised == api.lowest or api.name == "Produce"


@pytest.mark.parametrize("api", [api for api in APIS if not api.native], ids=lambda api: api.name)
def test_every_handler_can_refuse(api: Api) -> None:
    """Each API has either a refusal of its own or a code at the top of its response, so none closes a connection."""
    if api.refuse is None:
        assert api.name in CODE_AT_TOP
        assert "error_code" in getattr(messages, f"{api.name}Response").__struct_fields__


def test_status_counts(caplog: pytest.LogCaptureFixture) -> None:
    """Figures for metrics."""
    caplog.set_level(logging.DEBUG)
    world = World(heartbeat(lambda _context, _request, _services, answer: answer(HeartbeatResponse())))
    world.ask(1, HEARTBEAT, 4, HeartbeatRequest())
    world.turn()
    status = world.dispatcher.status
    assert (status.turns, status.requests, status.answers, status.failures) == (1, 1, 1, 0)
