"""Responses that wait for a commit, and the batches they wait for.

Every waiter is answered exactly once: when its batch is committed, when its shard is given up, or when it has waited
`commit_timeout_ms`. That time counts from the moment it began to wait, for each by itself (Apache Kafka: a write event
has its own OperationTimeout), so that who comes to a batch that is late already does not wait for ever.

What is called here belongs to others. An error of theirs, a Rust panic too, is logged and keeps nobody else waiting.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from ottla.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.coordinator.shard import Result
    from ottla.types import Cancellable, Clock, Scheduler

log = logging.getLogger(__name__)

V = TypeVar("V")

_FAILED: Final = "what follows a commit failed in %r"

# Whatever else is raised is somebody's bug. A Rust panic is no Exception, hence BaseException beside this.
LEAVING: Final = (KeyboardInterrupt, SystemExit)


class Waiter(Struct):
    """A response that waits for a batch."""

    answer: Callable[[Struct], None] | None
    refuse: Callable[[ErrorCode], None] | None
    result: Result

    def succeed(self) -> None:
        """The batch is committed."""
        result = self.result
        if result.done is not None:
            _call(result.done, None)
        if self.answer is not None and result.response is not None:
            # `_call` written out: this is the way of every commit and heartbeat, and a try costs nothing.
            try:
                self.answer(result.response)
            except LEAVING:
                raise
            except BaseException:
                log.exception(_FAILED, self.answer)

    def fail(self, code: ErrorCode) -> None:
        """The batch is not, or not yet, committed."""
        if self.result.done is not None:
            _call(self.result.done, code)
        if self.refuse is not None:
            _call(self.refuse, code)


def _call(callback: Callable[[V], None], value: V) -> None:
    try:
        callback(value)
    except LEAVING:
        raise
    except BaseException:
        log.exception(_FAILED, callback)


class Batch:
    """An appended batch that is not committed yet."""

    __slots__ = ("_clock", "_deadline", "_expired", "_scheduler", "_timeout_ms", "_waiters", "last_offset")

    def __init__(
        self, last_offset: int, clock: Clock, scheduler: Scheduler, timeout_ms: int, expired: Callable[[], None]
    ) -> None:
        self.last_offset = last_offset
        self._clock = clock
        self._scheduler = scheduler
        self._timeout_ms = timeout_ms
        # Called after some were told that it takes too long.
        self._expired = expired
        # Who began to wait at one moment has one deadline; in the order of these.
        self._waiters: deque[tuple[int, Sequence[Waiter]]] = deque()
        self._deadline: Cancellable | None = None

    def park(self, waiters: Sequence[Waiter]) -> None:
        """Answer these when the batch is committed, or when that has taken too long."""
        if waiters:
            self._waiters.append((self._clock.monotonic_ms() + self._timeout_ms, waiters))
            self._arm()

    def succeed(self) -> None:
        """It is committed."""
        for _, waiters in self._take_all():
            for waiter in waiters:
                waiter.succeed()

    def fail(self, code: ErrorCode) -> None:
        """Nobody shall wait any longer; it may still be committed."""
        for _, waiters in self._take_all():
            for waiter in waiters:
                waiter.fail(code)

    def _take_all(self) -> deque[tuple[int, Sequence[Waiter]]]:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        waiters, self._waiters = self._waiters, deque()
        return waiters

    def _arm(self) -> None:
        if self._waiters and self._deadline is None:
            self._deadline = self._scheduler.at(self._waiters[0][0], self._expire)

    def _expire(self) -> None:
        self._deadline = None
        now_ms = self._clock.monotonic_ms()
        while self._waiters and self._waiters[0][0] <= now_ms:
            for waiter in self._waiters.popleft()[1]:
                waiter.fail(ErrorCode.REQUEST_TIMED_OUT)
        self._arm()
        self._expired()


def append_error(code: ErrorCode) -> ErrorCode:
    """What a client is told when the records of its request were not written (as Kafka maps it).

    Only codes whose meaning clients of a coordinator know: retry here, or look for it again.
    """
    match code:
        case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION | ErrorCode.NOT_ENOUGH_REPLICAS | ErrorCode.REQUEST_TIMED_OUT:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        case ErrorCode.NOT_LEADER_OR_FOLLOWER | ErrorCode.KAFKA_STORAGE_ERROR:
            return ErrorCode.NOT_COORDINATOR
        case ErrorCode.MESSAGE_TOO_LARGE | ErrorCode.RECORD_LIST_TOO_LARGE | ErrorCode.INVALID_FETCH_SIZE:
            return ErrorCode.UNKNOWN_SERVER_ERROR
        case _:
            return code
