"""Work that waits for the disk, off the control-plane thread.

DeleteRecords writes checkpoints, DescribeLogDirs looks at every directory: on the control plane's own thread either
would keep heartbeats waiting. One worker thread does such work in the order it was asked for; `wake` then asks the loop
for a turn, in which the dispatcher runs what `finished` hands over. Nothing else in the control plane knows a second
thread.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

# More than so many pieces of work wait for a disk that does not keep up: who asks for another is told to come again.
WAITING_MAX = 64

Result = TypeVar("Result")


class Background:
    """One worker thread, started when first needed; see the module's doc.

    What waits is bounded: the data plane counts a request no longer once it was picked up, and a client that goes away
    leaves its work behind.
    """

    def __init__(
        self,
        name: str,
        wake: Callable[[], None],
        finished: deque[Callable[[], None]] | None = None,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._name = name
        self._wake = wake
        self._waiting_max = waiting_max
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Appended to by the worker, taken from by the control plane.
        self._finished: deque[Callable[[], None]] = deque() if finished is None else finished
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        # Two threads call `run` and `stop`.
        self._lock = threading.Lock()

    def beside(self, name: str, waiting_max: int) -> Background:
        """Another thread, for work that shall not wait for this one's. Its ends come out of `finished` here."""
        return Background(name, self._wake, self._finished, waiting_max)

    def run(self, work: Callable[[], Result], done: Callable[[Result | Exception], None]) -> None:
        """Do `work` on the worker thread, then `done` with what it gave or raised on the control plane's.

        `done` is told REQUEST_TIMED_OUT, which clients try again after, where too much waits already.
        Once stopped nothing is begun any more: whoever asked has been cut off, and what the work needs is being closed.
        """
        with self._lock:
            if self._stopping.is_set():
                return
            has_room = self._waiting.qsize() < self._waiting_max
            if has_room:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                    self._thread.start()
                self._waiting.put(lambda: self._do(work, done))
        if not has_room:
            done(RequestError(ErrorCode.REQUEST_TIMED_OUT))

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def finished(self) -> Iterator[Callable[[], None]]:
        """Hand over the ends of what has been done since the last call."""
        while self._finished:
            yield self._finished.popleft()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish what is being done, drop what was not begun, and end the thread. For good.

        False if what is being done takes longer than that: the disk may have stopped answering. It is left to itself.
        """
        with self._lock:
            self._stopping.set()
            thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._waiting.put(None)
        thread.join(timeout_s)
        return not thread.is_alive()

    def _serve(self) -> None:
        while (job := self._waiting.get()) is not None and not self._stopping.is_set():
            job()

    def _do(self, work: Callable[[], Result], done: Callable[[Result | Exception], None]) -> None:
        outcome: Result | Exception
        try:
            outcome = work()
        except Exception as error:  # noqa: BLE001 - handed to who asked
            outcome = error
        # A panic of the native side is no Exception, and others wait for this thread.
        except BaseException as error:
            log.exception("work in the background failed")
            outcome = RuntimeError(str(error))
        self._finished.append(lambda: done(outcome))
        self._wake()
