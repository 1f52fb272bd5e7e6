"""Idle connections, too many of them, and clients that take nothing: what a client of either broker sees."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import TEST_SETTINGS
from tests.processes import Process
from tests.wire.batches import Batch, Record
from tests.wire.client import Closed, Connection
from tests.wire.differential import Talk

WAIT_S = 60
IDLE = {"connections.max.idle.ms": "2000"}
# Apache Kafka's own connections to its controller count on another listener.
FEW = 5


@pytest.fixture
def make(broker_class: type[Process], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """A broker with these settings beside the usual ones."""
    with ExitStack() as made:

        def start(settings: dict[str, str]) -> Process:
            process = broker_class(tmp_path / "broker", {**TEST_SETTINGS, **settings})
            process.start()
            made.callback(process.stop_without_fault)
            return process

        yield start


def connect(broker: Process) -> Connection:
    return Connection(broker.host, broker.port, timeout_s=WAIT_S)


def talk(connection: Connection, times: int = 50) -> None:
    for _ in range(times):
        connection.ask("api_versions", 0)


def hears_nothing(connection: Connection) -> bool:
    """Whether the broker has said nothing, not even that it hangs up."""
    connection.socket.setblocking(False)
    try:
        connection.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        connection.socket.settimeout(WAIT_S)
    return False


def serves(broker: Process) -> Connection:
    """A connection that is let in, now or once an earlier one is no longer counted."""
    while True:
        connection = connect(broker)
        try:
            talk(connection, 1)
        except Closed:
            connection.socket.close()
        else:
            return connection


def test_idle_connections_are_closed(make: Callable[..., Process]) -> None:
    """After connections.max.idle.ms, whether one has asked something, begun to, or nothing; one that goes on stays."""
    broker = make(IDLE)
    with connect(broker) as busy, connect(broker) as silent, connect(broker) as asked, connect(broker) as broken_off:
        talk(asked, 1)
        broken_off.send(b"\0\0\1")
        for idle in (silent, asked, broken_off):
            while hears_nothing(idle):
                talk(busy)
            assert idle.closed_by_peer()
        talk(busy)


def test_an_answer_that_is_not_taken_ends_its_connection(make: Callable[..., Process], unique: str) -> None:
    """A client that reads nothing of a long answer is idle."""
    broker = make({**IDLE, "socket.send.buffer.bytes": "8192"})
    talk_to = Talk(broker, unique)
    talk_to.create()
    topic = talk_to.topic("")
    for _ in range(8):
        talk_to.produce(topic, Batch([Record(value=bytes(900_000))]))
    partitions = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 24}]
    with connect(broker) as slow, connect(broker) as busy:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        fetch = {"max_wait": 0, "min_bytes": 0, "max_bytes": 1 << 24, "replica_id": -1}
        slow.submit("fetch", 4, topics=[{"topic": topic, "partitions": partitions}], **fetch)
        while hears_nothing(slow):
            talk(busy)
        # Opened later, closed later.
        with connect(broker) as idle:
            while hears_nothing(idle):
                talk(busy)
        with pytest.raises(Closed):
            slow.receive()
    talk_to.close()


@pytest.mark.ottla
def test_a_fetch_that_waits_is_not_idle(make: Callable[..., Process], unique: str) -> None:
    """It is answered though it waits longer than connections.max.idle.ms; Kafka closes its connection."""
    broker = make(IDLE)
    talk_to = Talk(broker, unique)
    talk_to.create()
    partitions = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]
    fetch = {"max_wait": 4 * int(IDLE["connections.max.idle.ms"]), "min_bytes": 1, "max_bytes": 1 << 20}
    with connect(broker) as consumer:
        consumer.ask(
            "fetch", 4, topics=[{"topic": talk_to.topic(""), "partitions": partitions}], replica_id=-1, **fetch
        )
    talk_to.close()


def test_connections_past_the_limit_wait(make: Callable[..., Process]) -> None:
    """max.connections: one too many is accepted and not answered until another has gone."""
    broker = make({"max.connections": str(FEW)})
    served = [connect(broker) for _ in range(FEW)]
    for connection in served:
        talk(connection, 1)
    with connect(broker) as next_one:
        next_one.submit("api_versions", 0)
        talk(served[0])
        assert hears_nothing(next_one)
        served.pop().socket.close()
        next_one.receive()
    for connection in served:
        talk(connection, 1)
        connection.socket.close()


def test_connections_that_come_too_fast_wait(make: Callable[..., Process]) -> None:
    """max.connection.creation.rate: ten come at once, then one in a second; the last is far from its turn."""
    windows = {"quota.window.num": "2", "quota.window.size.seconds": "10"}
    broker = make({"max.connection.creation.rate": "1", **windows})
    made = [connect(broker) for _ in range(60)]
    for connection in made:
        connection.submit("api_versions", 0)
    made[0].receive()
    talk(made[0])
    assert hears_nothing(made[-1])
    made[12].receive()
    for connection in made:
        connection.socket.close()


def test_limits_are_altered_while_it_runs(make: Callable[..., Process]) -> None:
    """max.connections for this broker: who waits is let in, and connections are closed when there are too many."""
    broker = make({"max.connections": str(FEW)})
    served = [connect(broker) for _ in range(FEW)]
    for connection in served:
        talk(connection, 1)

    next_one = connect(broker)
    next_one.submit("api_versions", 0)
    talk(served[0])
    assert hears_nothing(next_one)
    alter(served[0], FEW + 1)
    next_one.receive()
    alter(served[0], FEW)
    everybody = [connection.socket for connection in (*served, next_one)]
    ended, _, _ = select.select(everybody, [], [], WAIT_S)
    assert ended
    for each in everybody:
        each.close()


def alter(connection: Connection, most: int) -> None:
    """Sets max.connections of this broker."""
    configs = [{"name": "max.connections", "config_operation": 0, "value": str(most)}]
    resources = [{"resource_type": 4, "resource_name": "1", "configs": configs}]
    answer = connection.ask("incremental_alter_configs", 1, resources=resources, validate_only=False)
    assert [each["error_message"] for each in answer["responses"]] == [None]


def test_altered_limits_hold_after_a_restart(make: Callable[..., Process]) -> None:
    """They are kept with the metadata, and count over the broker's file."""
    broker = make({"max.connections": "100"})
    with connect(broker) as connection:
        alter(connection, FEW)
    broker.stop()
    broker.start()
    served = [serves(broker) for _ in range(FEW)]
    with connect(broker) as next_one:
        next_one.submit("api_versions", 0)
        talk(served[0])
        assert hears_nothing(next_one)
    for connection in served:
        connection.socket.close()


def test_a_host_has_its_share(make: Callable[..., Process]) -> None:
    """max.connections.per.ip and its overrides: one too many is closed at once; there is room when one has gone."""
    overrides = {"max.connections.per.ip.overrides": "127.0.0.2:1, localhost:7"}
    broker = make({"max.connections.per.ip": str(FEW), **overrides})
    own = [serves(broker) for _ in range(7)]
    with connect(broker) as one_too_many:
        assert one_too_many.closed_by_peer()
    own.pop().socket.close()
    own.append(serves(broker))
    for connection in own:
        connection.socket.close()
    for host, most in (("127.0.0.2", 1), ("127.0.0.3", FEW)):
        others = [from_host(broker, host) for _ in range(most + 1)]
        for connection in others[:most]:
            talk(connection, 1)
        assert others[most].closed_by_peer()
        for connection in others:
            connection.socket.close()


def from_host(broker: Process, host: str) -> Connection:
    connection = connect(broker)
    connection.socket.close()
    address = (broker.host, broker.port)
    connection.socket = socket.create_connection(address, timeout=WAIT_S, source_address=(host, 0))
    return connection


@pytest.mark.parametrize(
    "settings",
    [
        {"max.connections.per.ip": "0"},
        {"max.connections.per.ip.overrides": "127.0.0.1"},
        {"max.connections.per.ip.overrides": "127.0.0.1:x"},
        {"max.connections.per.ip.overrides": "no such host:1"},
        {"max.connections.per.ip.overrides": "does-not-exist.invalid:1"},
        {"max.connections": "-1"},
        {"socket.listen.backlog.size": "0"},
    ],
    ids=lambda settings: "-".join(f"{name}={value}" for name, value in settings.items()),
)
def test_what_limits_nothing_stops_the_start(
    broker_class: type[Process], tmp_path: Path, settings: dict[str, str]
) -> None:
    """The start ends with an error that names the setting."""
    process = broker_class(tmp_path / "broker", {**TEST_SETTINGS, **settings})
    process.launch()
    try:
        assert process.wait_ended() != 0
        # Kafka names now the setting, now the host, now nothing but the number.
        assert process.name == "kafka" or next(iter(settings)) in process.output()
    finally:
        process.kill()
