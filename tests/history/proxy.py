"""A proxy between Kafka clients and a broker that does to requests what networks do.

It reads no more of the protocol than where a request begins and ends, its API key and its correlation id. What happens
to each request is decided by a function, which a test writes out (`only`) or takes from a seed (`Chaos`):

- PASS      nothing
- DELAY     the request waits, and everything behind it on its connection
- CUT       the connection ends before the broker has seen the request
- UNANSWERED the broker handles it; its answer is thrown away and the connection ends
- REPEAT    once it is answered, the same bytes go to the broker again, on a connection of their own
- LATE      as CUT; the request reaches the broker later, on a connection of its own, when whatever the client did
            instead is done: it arrives out of order, like a packet that was stuck somewhere

The broker has to advertise the proxy's address, or clients go around it; `Proxy.settings` says how. With that the
broker's own requests to itself come through here too.

A late OffsetCommit of a member that is still in its generation is taken by the broker, which cannot know better: a
script that makes those late must not ask that committed offsets grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import threading
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Self

ANSWER_WAIT_S = 30.0
FRAME_BYTES_MAX = 128 << 20
# API keys that scripts name.
PRODUCE, API_VERSIONS = 0, 18
OFFSET_COMMIT, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP, CONSUMER_GROUP_HEARTBEAT = 8, 11, 12, 13, 14, 68
INIT_PRODUCER_ID, ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT = 22, 24, 25, 26, 28


class Fate(Enum):
    """What becomes of a request."""

    PASS = "passes"
    DELAY = "is delayed"
    CUT = "is cut off before the broker"
    UNANSWERED = "is handled and not answered"
    REPEAT = "is repeated"
    LATE = "comes late"


class Request(NamedTuple):
    """What a decision may look at. `number` counts the requests with this API key from 1."""

    api: int
    version: int
    correlation: int
    connection: int
    number: int


Decide = Callable[[Request], Fate]
Told = Callable[[Fate, Request], None]


def passing(_request: Request) -> Fate:
    return Fate.PASS


def only(api: int, numbers: Collection[int], fate: Fate) -> Decide:
    """This fate for those requests of one API key, counted from 1; every other passes."""
    return lambda request: fate if request.api == api and request.number in numbers else Fate.PASS


class Chaos:
    """Fates by chance: the n-th request of an API key has the same one in each run with this seed."""

    def __init__(self, seed: int, rates: Mapping[Fate, float], spared: Collection[int] = ()) -> None:
        self._seed = seed
        self._rates = dict(rates)
        # API keys to which nothing happens.
        self._spared = frozenset(spared)

    def __call__(self, request: Request) -> Fate:
        if request.api in self._spared:
            return Fate.PASS
        drawn = random.Random(f"{self._seed}/{request.api}/{request.number}").random()
        for fate, rate in self._rates.items():
            if drawn < rate:
                return fate
            drawn -= rate
        return Fate.PASS


@dataclass(eq=False)
class Held:
    """A request that comes late: `Proxy.release` sends it, or so many requests in all."""

    request: Request
    frame: bytes
    due: int | None
    released: asyncio.Event = field(default_factory=asyncio.Event)
    # What the broker said, without its length; None if it closed the connection.
    answer: bytes | None = None
    answered: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class _Pair:
    """One client's connection and the one to the broker that belongs to it."""

    number: int
    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    pending: dict[int, tuple[bytes, Fate]] = field(default_factory=dict)

    def close(self) -> None:
        for writer in (self.client, self.broker):
            with contextlib.suppress(OSError, RuntimeError):
                writer.transport.abort()


class Proxy:
    """Listens on a loopback port of its own; runs on a thread of its own, from `with` to its end."""

    def __init__(self, decide: Decide = passing, *, delay_s: float = 0.2, late_after: int = 20) -> None:
        self.decide = decide
        self.told: Told = lambda _fate, _request: None
        self.delay_s = delay_s
        # So many requests pass before a late one is released by itself; 0: only `release` does.
        self.late_after = late_after
        self.host, self.port = "127.0.0.1", 0
        self.counts: Counter[tuple[int, Fate]] = Counter()
        self.held: list[Held] = []
        self._target: tuple[str, int] | None = None
        self._numbers: Counter[int] = Counter()
        self._connections = 0
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    # --- for tests ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_WAIT_S)

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What the broker is started with."""
        return {"advertised.listeners": f"PLAINTEXT://{self.bootstrap}"}

    def lead_to(self, host: str, port: int) -> None:
        self._target = host, port

    def cut_all(self) -> None:
        """Ends every connection of now."""
        self._call(self._cut_all())

    def wait_for(self, api: int, fate: Fate, count: int = 1) -> None:
        """Returns once so many requests of the API key had this fate."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.counts[api, fate] >= count, ANSWER_WAIT_S), self.counts

    def release(self, held: Held) -> bytes | None:
        """Sends a late request, and returns the broker's answer without its length."""
        self._loop.call_soon_threadsafe(held.released.set)
        assert held.answered.wait(ANSWER_WAIT_S), f"{held.request} was not answered"
        return held.answer

    # --- on the loop -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_WAIT_S)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, self.host, 0, limit=1 << 20)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        await self._cut_all()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _cut_all(self) -> None:
        for pair in list(self._pairs):
            pair.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        current = asyncio.current_task()
        assert current is not None
        self._tasks.add(current)
        current.add_done_callback(self._tasks.discard)
        try:
            assert self._target is not None, "the proxy leads nowhere"
            from_broker, broker = await asyncio.open_connection(*self._target, limit=1 << 20)
        except OSError:
            client.transport.abort()
            return
        self._connections += 1
        pair = _Pair(self._connections, client, broker)
        self._pairs.add(pair)
        answers = self._spawn(self._answers(pair, from_broker))
        try:
            await self._requests(pair, from_client)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            pair.close()
            answers.cancel()
            self._pairs.discard(pair)

    async def _requests(self, pair: _Pair, from_client: asyncio.StreamReader) -> None:
        while True:
            frame = await _frame(from_client)
            api, version, correlation = struct.unpack(">hhi", frame[4:12])
            self._numbers[api] += 1
            self._release_what_is_due()
            request = Request(api, version, correlation, pair.number, self._numbers[api])
            fate = self.decide(request)
            if fate is Fate.LATE:
                self._keep(request, frame)
            self._note(fate, request)
            if fate in {Fate.CUT, Fate.LATE}:
                return
            if fate is Fate.DELAY:
                await asyncio.sleep(self.delay_s)
            pair.pending[correlation] = frame, fate
            pair.broker.write(frame)
            await pair.broker.drain()

    async def _answers(self, pair: _Pair, from_broker: asyncio.StreamReader) -> None:
        try:
            while True:
                answer = await _frame(from_broker)
                (correlation,) = struct.unpack(">i", answer[4:8])
                frame, fate = pair.pending.pop(correlation)
                if fate is Fate.UNANSWERED:
                    return
                if fate is Fate.REPEAT:
                    await self._ask(frame)
                pair.client.write(answer)
                await pair.client.drain()
        except (OSError, EOFError):
            pass
        finally:
            pair.close()

    def _keep(self, request: Request, frame: bytes) -> None:
        due = self._numbers.total() + self.late_after if self.late_after else None
        held = Held(request, frame, due)
        self.held.append(held)
        self._spawn(self._deliver(held))

    def _release_what_is_due(self) -> None:
        for held in self.held:
            if held.due is not None and held.due <= self._numbers.total():
                held.released.set()

    async def _deliver(self, held: Held) -> None:
        await held.released.wait()
        held.answer = await self._ask(held.frame)
        held.answered.set()

    async def _ask(self, frame: bytes) -> bytes | None:
        """One request on a connection of its own."""
        assert self._target is not None
        try:
            from_broker, broker = await asyncio.open_connection(*self._target, limit=1 << 20)
        except OSError:
            return None
        try:
            broker.write(frame)
            return (await asyncio.wait_for(_frame(from_broker), ANSWER_WAIT_S))[4:]
        except (OSError, EOFError, TimeoutError):
            return None
        finally:
            broker.transport.abort()

    def _note(self, fate: Fate, request: Request) -> None:
        with self._changed:
            self.counts[request.api, fate] += 1
            self._changed.notify_all()
        if fate is not Fate.PASS:
            self.told(fate, request)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame with its length in front; EOFError at the end of the stream."""
    head = await reader.readexactly(4)
    (size,) = struct.unpack(">i", head)
    if not 4 <= size <= FRAME_BYTES_MAX:
        raise EOFError(f"a frame of {size} bytes")
    return head + await reader.readexactly(size)
