"""The control plane's turn: everything that waits comes up, everything that was decided goes down.

    turn:  now          the clock is read first
           drain        at most `drain_max` items from the native side
           items        requests to their handlers, commits to who waits for them, questions of the data plane
           deadlines    what was received before a deadline counts before it fires, so that a program which holds the
                        GIL for a minute expires no member: up to now if nothing waited, else up to the last request
                        served, since nothing older is left behind it. Load that never ends holds no deadline up
           flush        what coordinators wrote in this turn: one append per shard
           answer       all answers of the turn in one call; in a long turn those that are there after every 64 items

A handler answers now or later, exactly once. One that raises is answered for: with the code of a `RequestError`, else
with UNKNOWN_SERVER_ERROR and a traceback in the log, in the shape of its response (`refuse` of the handler, or a
top-level error code); where no response can say it, the connection is closed. Nothing a handler does ends the loop.

No timer, no socket, no thread in here: the broker's loop calls `turn` when the bridge is readable or
`next_deadline_ms` has come; tests call it themselves.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from ottla import messages
from ottla.coordinator.transaction.waiting import once
from ottla.errors import CodecError, ErrorCode, RequestError
from ottla.protocol.registry import BY_KEY, CODE_AT_TOP
from ottla.types import RequestContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ottla.clock import DeadlineQueue
    from ottla.protocol.commits import Commits
    from ottla.protocol.registry import Api
    from ottla.protocol.services import Services
    from ottla.types import Clock

log = logging.getLogger(__name__)

# Items that carry no time (commits, questions of the data plane) say nothing about what is left behind them. After this
# many turns of nothing else deadlines fire all the same.
_TIMELESS_TURNS_MAX = 64
# What is answered by then leaves after so many items, while the rest of the turn is served.
_ANSWERS_EARLY = 64
# Where the time of a request stands in its item.
_RECEIVED_MS = 9


class Bridge(Protocol):
    """The native side, as the dispatcher uses it."""

    def drain(self, most: int) -> list[tuple[Any, ...]]:
        """At most `most` waiting items, oldest first."""
        ...

    def answer(self, answers: list[tuple[int, Struct]]) -> None:
        """Send responses, by token."""
        ...

    def refuse(self, token: int) -> None:
        """Close the connection of a request."""
        ...

    def resume(self, token: int, results: Sequence[tuple[str, int]]) -> None:
        """Answer a question for topics to be created."""
        ...

    def resume_verify(self, token: int, error_code: int) -> None:
        """Answer a question about a transaction."""
        ...


class DispatcherStatus(Struct, frozen=True):
    """Requests that Python answers. What metrics and people are told."""

    # Of the control plane's loop.
    turns: int
    # Taken from the bridge.
    requests: int
    # Given back to it.
    answers: int
    # Handlers that raised something nobody foresaw.
    failures: int
    # Deadlines that are not due yet.
    waiting_deadlines: int
    # Appends that wait for the disk.
    waiting_commits: int


def produce_error(code: ErrorCode, *, adds: bool) -> ErrorCode:
    """What a producer is told when its transaction could not be asked for, as Apache Kafka puts it.

    NOT_ENOUGH_REPLICAS is what old clients repeat without looking for another leader first. Those that know KIP-890 v2
    (`adds`) meet CONCURRENT_TRANSACTIONS all the time, and by its name.
    """
    match code:
        case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS | ErrorCode.COORDINATOR_NOT_AVAILABLE | ErrorCode.NOT_COORDINATOR:
            return ErrorCode.NOT_ENOUGH_REPLICAS
        case ErrorCode.CONCURRENT_TRANSACTIONS if not adds:
            return ErrorCode.NOT_ENOUGH_REPLICAS
        case _:
            return code


class Dispatcher:
    """Runs turns; see the module's doc."""

    def __init__(
        self,
        bridge: Bridge,
        services: Services,
        clock: Clock,
        deadlines: DeadlineQueue,
        commits: Commits,
        *,
        flush: Callable[[], None],
        request_turn: Callable[[], None],
        apis: Mapping[int, Api] = BY_KEY,
        drain_max: int = 256,
    ) -> None:
        self._bridge = bridge
        self._services = services
        self._clock = clock
        self._deadlines = deadlines
        self._commits = commits
        self._flush = flush
        # Asks the loop for a turn: an answer that is given outside of one must not wait for the next request.
        self._request_turn = request_turn
        self._apis = apis
        self._drain_max = drain_max
        self._answers: list[tuple[int, Struct]] = []
        self._in_turn = False
        # Nothing that still waits was received before this.
        self._served_to_ms = -1
        self._timeless_turns = 0
        self._turns = self._requests = self._answered = self._failures = 0
        self._serve: dict[str, Callable[..., None]] = {
            "request": self._request,
            "committed": commits.committed,
            "never_committed": commits.never_committed,
            "create_topics": self._create_topics,
            "verify_transaction": self._verify_transaction,
            "disconnected": self._disconnected,
            "metadata_offline": self._metadata_offline,
        }

    @property
    def next_deadline_ms(self) -> int | None:
        """When a turn is due even if nothing comes up; None if nothing waits for a moment."""
        return self._deadlines.next_deadline_ms

    @property
    def status(self) -> DispatcherStatus:
        """Figures for metrics and people."""
        return DispatcherStatus(
            self._turns, self._requests, self._answered, self._failures, len(self._deadlines), len(self._commits)
        )

    def turn(self) -> None:
        """Run one turn."""
        self._in_turn = True
        self._turns += 1
        try:
            now_ms = self._clock.monotonic_ms()
            items = self._bridge.drain(self._drain_max)
            serve, unknown = self._serve, self._unknown
            for place, item in enumerate(items, 1):
                # `_guarded` written out: this is the way of every request, and a try costs nothing.
                try:
                    serve.get(item[0], unknown)(*item[1:])
                except BaseException:  # as in `_guarded`
                    self._failures += 1
                    log.exception("the control plane failed in %s", item[0])
                if not place % _ANSWERS_EARLY:
                    self._send()
            for end in self._services.background.finished():
                self._guarded(end)
            for callback in self._deadlines.due(self._horizon_ms(items, now_ms)):
                self._guarded(callback)
            if items:
                # Perhaps nothing is left, perhaps a full drain's worth.
                next_deadline_ms = self._deadlines.next_deadline_ms
                if len(items) >= self._drain_max or (next_deadline_ms is not None and next_deadline_ms <= now_ms):
                    self._request_turn()
            self._guarded(self._flush)
        finally:
            self._in_turn = False
            self._send()

    def _horizon_ms(self, items: Sequence[tuple[Any, ...]], now_ms: int) -> int:
        """Up to when deadlines may fire in a turn that drained these items."""
        received_ms = max((item[_RECEIVED_MS] for item in items if item[0] == "request"), default=None)
        if received_ms is not None:
            self._timeless_turns = 0
            self._served_to_ms = max(self._served_to_ms, received_ms)
        elif items:
            self._timeless_turns += 1
        if not items or self._timeless_turns >= _TIMELESS_TURNS_MAX:
            self._timeless_turns = 0
            self._served_to_ms = max(self._served_to_ms, now_ms)
        return min(self._served_to_ms, now_ms)

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        """Nothing that goes wrong in one thing keeps the others of the turn from being done."""
        try:
            call(*arguments)
        except BaseException:  # a panic of the native side is no Exception
            self._failures += 1
            log.exception("the control plane failed in %s", getattr(call, "__qualname__", call))

    def _send(self) -> None:
        answers, self._answers = self._answers, []
        if not answers:
            return
        self._answered += len(answers)
        try:
            self._bridge.answer(answers)
        except CodecError:
            self._failures += 1
            log.exception("a response does not fit its message; its connection was closed")
        except BaseException:  # as in `_guarded`
            self._failures += 1
            log.exception("%d answers could not be sent", len(answers))

    def _request(
        self,
        token: int,
        api_key: int,
        api_version: int,
        correlation_id: int,
        client_id: str | None,
        client_host: str,
        connection_id: int,
        listener: str,
        received_ms: int,
        body: Struct,
    ) -> None:
        self._requests += 1
        api = self._apis.get(api_key)
        if api is None or api.handler is None:
            log.error("no handler for API key %d: the data plane should have refused it", api_key)
            self._bridge.refuse(token)
            return
        context = RequestContext(
            api_key, api_version, correlation_id, client_id, client_host, connection_id, listener, received_ms
        )
        pending = [True]

        def answer(response: Struct) -> None:
            if not pending:
                log.error("%s of client %.255r was answered twice", api.name, client_id)
                return
            pending.clear()
            self._answers.append((token, response))
            if not self._in_turn:
                self._request_turn()

        try:
            api.handler.handle(context, body, self._services, answer)
        except RequestError as error:
            code = error.code
        except BaseException:  # as in `_guarded`
            self._failures += 1
            log.exception("%s v%d of client %.255r failed", api.name, api_version, client_id)
            code = ErrorCode.UNKNOWN_SERVER_ERROR
        else:
            return
        if not pending:
            return
        response = self._refusal(api, context, body, code)
        if response is not None:
            answer(response)
        else:
            pending.clear()
            self._bridge.refuse(token)

    def _refusal(self, api: Api, context: RequestContext, body: Struct, code: ErrorCode) -> Struct | None:
        if api.refuse is not None:
            try:
                return api.refuse(context, body, code)
            except BaseException:  # as in `_guarded`
                self._failures += 1
                log.exception("refusing %s failed", api.name)
                return None
        if api.name not in CODE_AT_TOP:
            return None
        response: Struct = getattr(messages, f"{api.name}Response")(error_code=code)
        return response

    def _create_topics(self, token: int, names: list[str]) -> None:
        tell = once(partial(self._bridge.resume, token))
        try:
            self._services.auto_creation.create(names, tell)
        except BaseException:
            # The connection that asked waits, and nobody else will answer it.
            tell([(name, ErrorCode.UNKNOWN_SERVER_ERROR) for name in names])
            raise

    def _verify_transaction(
        self,
        token: int,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Sequence[tuple[str, int]],
        adds: bool,
    ) -> None:
        def answer(code: ErrorCode) -> None:
            self._bridge.resume_verify(token, produce_error(code, adds=adds))

        tell = once(answer)
        try:
            self._services.transactions.ask(
                transactional_id, producer_id, producer_epoch, partitions, adds=adds, answer=tell
            )
        except BaseException:
            tell(ErrorCode.UNKNOWN_SERVER_ERROR)
            raise

    def _metadata_offline(self, reason: str) -> None:
        self._services.controller.halt(ErrorCode.KAFKA_STORAGE_ERROR, f"the metadata log is offline ({reason})")

    def _unknown(self, *item: object) -> None:
        log.error("the data plane handed up something this version does not know: %r", item)

    def _disconnected(self, connection_id: int) -> None:
        log.debug("connection %d ended", connection_id)
