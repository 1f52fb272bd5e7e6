"""The proxy does what its script says: before a server that tells what arrived, and before a broker."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.clients.drivers import DRIVERS, Rec, read_all
from tests.conftest import TEST_SETTINGS, MakeBroker
from tests.history.proxy import API_VERSIONS, FRAME_BYTES_MAX, PRODUCE, Chaos, Fate, Proxy, Request, only
from tests.wire.client import Closed, Connection, framed

API = 99


class Echo:
    """A server that answers each frame with its correlation id and its bytes, and remembers what came on which
    connection.
    """

    def __init__(self) -> None:
        self.arrived: list[tuple[int, bytes]] = []
        self.changed = threading.Condition()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._server.getsockname()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._server.accept()
            except OSError:
                return
            self._sockets.append(accepted)
            threading.Thread(target=self._serve, args=(len(self._sockets), accepted), daemon=True).start()

    def _serve(self, number: int, accepted: socket.socket) -> None:
        with Connection.__new__(Connection) as connection:
            connection.socket = accepted
            try:
                while True:
                    frame = connection.receive()
                    with self.changed:
                        self.arrived.append((number, frame[8:]))
                        self.changed.notify_all()
                    connection.send(framed(frame[4:]))
            except Closed:
                return

    def wait_for(self, *words: bytes) -> list[int]:
        """Waits until exactly these have arrived, in this order; returns the connections they came on."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.arrived) >= len(words), 10), self.arrived
            assert [word for _, word in self.arrived] == list(words)
            return [number for number, _ in self.arrived]

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def request(word: bytes, correlation: int = 1, api: int = API) -> bytes:
    return framed(struct.pack(">hhi", api, 0, correlation) + word)


def answer(word: bytes, correlation: int = 1) -> bytes:
    return struct.pack(">i", correlation) + word


def proxied(echo: Echo, proxy: Proxy) -> Connection:
    proxy.lead_to(echo.host, echo.port)
    return Connection(proxy.host, proxy.port)


def test_what_passes_is_unchanged(echo: Echo) -> None:
    """Requests arrive in order, whole, and so do their answers, also when several are under way."""
    with Proxy() as proxy, proxied(echo, proxy) as connection:
        words = [b"one", b"", b"x" * 100_000]
        connection.send(b"".join(request(word, number) for number, word in enumerate(words)))
        assert [connection.receive() for _ in words] == [answer(word, number) for number, word in enumerate(words)]
        assert len(set(echo.wait_for(*words))) == 1


def test_cut_before_the_broker(echo: Echo) -> None:
    """The request that is cut never arrives; what the client does on another connection does."""
    with Proxy(only(API, {2}, Fate.CUT)) as proxy:
        with proxied(echo, proxy) as connection:
            connection.send(request(b"one"))
            assert connection.receive() == answer(b"one")
            connection.send(request(b"two"))
            with pytest.raises(Closed):
                connection.receive()
        with proxied(echo, proxy) as connection:
            connection.send(request(b"three"))
            assert connection.receive() == answer(b"three")
        echo.wait_for(b"one", b"three")


def test_handled_and_not_answered(echo: Echo) -> None:
    """The broker has it, and the client cannot know."""
    with Proxy(only(API, {1}, Fate.UNANSWERED)) as proxy, proxied(echo, proxy) as connection:
        connection.send(request(b"one"))
        with pytest.raises(Closed):
            connection.receive()
        echo.wait_for(b"one")


def test_repeated_on_another_connection(echo: Echo) -> None:
    """The broker sees it twice, the client one answer."""
    with Proxy(only(API, {1}, Fate.REPEAT)) as proxy, proxied(echo, proxy) as connection:
        connection.send(request(b"one", 1) + request(b"two", 2))
        assert [connection.receive(), connection.receive()] == [answer(b"one", 1), answer(b"two", 2)]
        with echo.changed:
            assert echo.changed.wait_for(lambda: len(echo.arrived) == 3, 10)
        (first, again), (two,) = (
            [number for number, word in echo.arrived if word == each] for each in (b"one", b"two")
        )
        assert again != first == two


def test_late_on_another_connection(echo: Echo) -> None:
    """The client's connection ends; the request arrives after what the client did instead, when it is released."""
    with Proxy(only(API, {1}, Fate.LATE), late_after=0) as proxy:
        with proxied(echo, proxy) as connection:
            connection.send(request(b"one"))
            with pytest.raises(Closed):
                connection.receive()
        with proxied(echo, proxy) as connection:
            connection.send(request(b"two"))
            assert connection.receive() == answer(b"two")
        echo.wait_for(b"two")
        (held,) = proxy.held
        assert proxy.release(held) == answer(b"one")
        assert len(set(echo.wait_for(b"two", b"one"))) == 2


def test_late_ones_come_by_themselves(echo: Echo) -> None:
    """After as many further requests as the script says."""
    with Proxy(only(API, {1}, Fate.LATE), late_after=2) as proxy:
        with proxied(echo, proxy) as connection:
            connection.send(request(b"one"))
            with pytest.raises(Closed):
                connection.receive()
        with proxied(echo, proxy) as connection:
            connection.send(request(b"two"))
            assert connection.receive() == answer(b"two")
            echo.wait_for(b"two")
            connection.send(request(b"three"))
            # Each comes on a connection of its own: which of the two is read first is anybody's guess.
            with echo.changed:
                assert echo.changed.wait_for(lambda: len(echo.arrived) >= 3, 10), echo.arrived
                assert sorted(word for _, word in echo.arrived) == [b"one", b"three", b"two"]


def test_delayed(echo: Echo) -> None:
    """A delayed request holds back what is behind it on its connection, and nothing else."""
    with Proxy(only(API, {1}, Fate.DELAY), delay_s=0.3) as proxy:
        with proxied(echo, proxy) as slow, proxied(echo, proxy) as fast:
            slow.send(request(b"one", 1) + request(b"two", 2))
            proxy.wait_for(API, Fate.DELAY)
            fast.send(request(b"three"))
            assert fast.receive() == answer(b"three")
            assert [slow.receive(), slow.receive()] == [answer(b"one", 1), answer(b"two", 2)]
        echo.wait_for(b"three", b"one", b"two")


def test_the_server_may_be_away(echo: Echo) -> None:
    """A client that comes while nobody listens is turned away; the proxy lives on."""
    with Proxy() as proxy:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            gone = nobody.getsockname()[1]
        proxy.lead_to("127.0.0.1", gone)
        with Connection(proxy.host, proxy.port) as connection:
            assert connection.closed_by_peer()
        with proxied(echo, proxy) as connection:
            connection.send(request(b"one"))
            assert connection.receive() == answer(b"one")
            proxy.cut_all()
            assert connection.closed_by_peer()


@pytest.mark.parametrize("size", [-1, 0, FRAME_BYTES_MAX + 1])
def test_what_is_no_frame_ends_its_connection(echo: Echo, size: int) -> None:
    """Nothing of it reaches the broker."""
    with Proxy() as proxy, proxied(echo, proxy) as connection:
        connection.send(struct.pack(">i", size))
        assert connection.closed_by_peer()
        assert not echo.arrived


def test_chance_is_the_seeds() -> None:
    """The same seed gives every request the same fate, in whatever order those of other APIs come; rates hold."""
    rates = {Fate.CUT: 0.1, Fate.REPEAT: 0.2}
    chaos = Chaos(7, rates, spared={PRODUCE})
    asked = [Request(api, 0, 5, 1, number) for api in (PRODUCE, API) for number in range(1000)]
    first = {(each.api, each.number): chaos(each) for each in asked}
    again = Chaos(7, rates, spared={PRODUCE})
    assert {(each.api, each.number): again(each) for each in reversed(asked)} == first
    assert {fate for (api, _), fate in first.items() if api == PRODUCE} == {Fate.PASS}
    drawn = [fate for (api, _), fate in first.items() if api == API]
    assert 60 < drawn.count(Fate.CUT) < 140
    assert 140 < drawn.count(Fate.REPEAT) < 260
    assert [Chaos(8, rates)(each) for each in asked] != list(first.values())


def test_a_broker_behind_the_proxy(make_broker: MakeBroker, unique: str) -> None:
    """Clients stay on the proxy, since the broker advertises it: an idempotent producer is cut off, unanswered,
    repeated and overtaken, and every record is there once.
    """
    fates = {2: Fate.CUT, 4: Fate.UNANSWERED, 6: Fate.REPEAT, 8: Fate.LATE}

    def decide(request: Request) -> Fate:
        return fates.get(request.number, Fate.PASS) if request.api == PRODUCE else Fate.PASS

    with Proxy(decide, late_after=5) as proxy:
        broker = make_broker({**TEST_SETTINGS, **proxy.settings})
        proxy.lead_to(broker.host, broker.port)
        driver = DRIVERS["librdkafka"](proxy.bootstrap)
        driver.create_topic(unique)
        told = [driver.produce(unique, [Rec(str(number).encode())], idempotent=True) for number in range(12)]
        (late,) = proxy.held
        assert proxy.release(late) is not None, "the broker answers it"
        found = read_all(driver, unique, 12)
        assert [(each.value, each.offset) for each in found] == [(str(at).encode(), at) for at in range(12)]
        assert told == [[at] for at in range(12)]
        for fate in fates.values():
            assert proxy.counts[PRODUCE, fate] == 1
        assert proxy.counts[API_VERSIONS, Fate.PASS] > 12, "each connection begins here"
