"""Produce and Fetch wait for no Python: not for a turn of the control plane, not for a program that holds the
interpreter. What is asked is answered while Python stands still, and only then does it go on: without the native half
on its own these tests would wait for each other and fail.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import ottla
from ottla.protocol.dispatch import Dispatcher
from tests.unit.broker.native_requests import (
    SERVED,
    VERSION,
    WAIT_S,
    connect,
    produce,
    serve_all,
    transactional,
)
from tests.wire.client import Connection, decode_response

SETTINGS = {
    "queued.max.requests": "20",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
}
# More than may wait for the control plane, each with one on its way and others behind it.
CROWD, EACH = 40, 20
GROUP = {"group_id": "nobody", "member_id": "nobody", "generation_id": 1}


class Standstill:
    """Holds a turn of the control plane for as long as a test wants."""

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.reached = threading.Event()
        self.over = threading.Event()

    def hold(self) -> None:
        if self.wanted.is_set() and not self.over.is_set():
            self.reached.set()
            assert self.over.wait(2 * WAIT_S), "the test is over, or stuck"


@pytest.fixture
def standstill(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standstill]:
    held = Standstill()
    turn = Dispatcher.turn

    def held_turn(self: Dispatcher) -> None:
        held.hold()
        turn(self)

    monkeypatch.setattr(Dispatcher, "turn", held_turn)
    yield held
    held.over.set()


@pytest.fixture
def broker(standstill: Standstill, tmp_path: Path) -> Iterator[ottla.Broker]:
    with ottla.Broker(tmp_path / "data", listen="127.0.0.1:0", config=SETTINGS) as running:
        yield running


@pytest.fixture
def producer(broker: ottla.Broker) -> tuple[int, int]:
    """Id and epoch of one whose transaction has begun in `touched`; `fresh` exists, and nobody has been there."""
    with connect(broker.bootstrap_servers) as admin:
        topics = [{"name": name, "num_partitions": 1, "replication_factor": 1} for name in ("touched", "fresh", "new")]
        made = admin.ask("create_topics", 7, topics=topics, timeout=WAIT_S * 1000)
        assert [topic["error_code"] for topic in made["topics"]] == ["none"] * 3, made
        begun = {"error_code": "coordinator_not_available"}
        while begun["error_code"] in ("coordinator_not_available", "not_coordinator", "coordinator_load_in_progress"):
            admin.ask("find_coordinator", 4, key_type=1, coordinator_keys=["t"])
            begun = admin.ask(
                "init_producer_id",
                5,
                transactional_id="t",
                transaction_timeout=2 * WAIT_S * 1000,
                producer_id=-1,
                producer_epoch=-1,
            )
        who = (int(begun["producer_id"]), int(begun["producer_epoch"]))
        first = produce(admin, "touched", transactional(who, 0), transactional_id="t")
        assert first["error_code"] == "none", first
    return who


def test_a_turn_of_the_control_plane_holds_up_no_produce_and_no_fetch(
    broker: ottla.Broker, producer: tuple[int, int], standstill: Standstill
) -> None:
    """One turn lasts as long as it takes to serve them all, with more requests behind it than may wait."""
    with ExitStack() as opened:

        def connection() -> Connection:
            return opened.enter_context(connect(broker.bootstrap_servers))

        standstill.wanted.set()
        asker = connection()
        asker.submit("heartbeat", 4, **GROUP)
        assert standstill.reached.wait(WAIT_S)
        crowd = [connection() for _ in range(CROWD)]
        for each in crowd:
            for _ in range(EACH):
                each.submit("heartbeat", 4, **GROUP)
        # What does go up: a Metadata that makes a topic, and the batch that begins a transaction on a partition.
        making, beginning = connection(), connection()
        making.submit("metadata", 9, topics=[{"name": "made"}], allow_auto_topic_creation=True)
        data = [{"name": "new", "partition_data": [{"index": 0, "records": transactional(producer, 0).encode()}]}]
        beginning.submit("produce", VERSION, acks=-1, timeout=30_000, transactional_id="t", topic_data=data)
        serve_all(broker.bootstrap_servers, "touched", "fresh", producer)
        assert not standstill.over.is_set()
        standstill.over.set()
        for each in [asker, *crowd]:
            for _ in range(1 if each is asker else EACH):
                assert decode_response("heartbeat", 4, each.receive())[1]["error_code"] == "not_coordinator"
        assert decode_response("metadata", 9, making.receive())[1]["topics"][0]["error_code"] == "none"
        begun = decode_response("produce", VERSION, beginning.receive())[1]
        assert begun["responses"][0]["partition_responses"][0]["error_code"] == "none"


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_program_that_holds_the_interpreter_holds_up_no_produce_and_no_fetch(
    broker: ottla.Broker, producer: tuple[int, int], durability: str
) -> None:
    """This thread keeps Python's lock until a client in another process has been served and says so."""
    with connect(broker.bootstrap_servers) as admin:
        configs = [{"name": "ottla.durability", "config_operation": 0, "value": durability}]
        resources = [{"resource_type": 2, "resource_name": name, "configs": configs} for name in ("touched", "fresh")]
        altered = admin.ask("incremental_alter_configs", 1, resources=resources, validate_only=False)
        assert {each["error_code"] for each in altered["responses"]} == {"none"}, altered
    reader, writer = os.pipe()
    arguments = [broker.bootstrap_servers, "touched", "fresh", *map(str, producer), str(writer)]
    command = [sys.executable, "-m", "tests.unit.broker.native_requests", *arguments]
    with subprocess.Popen(command, pass_fds=[writer]) as client:
        os.close(writer)
        buffer = ctypes.create_string_buffer(4096)
        # A function of such a library keeps the lock. It returns when the client has written, or has ended.
        size = ctypes.PyDLL(None).read(reader, buffer, len(buffer) - 1)
        os.close(reader)
    assert buffer.raw[:size].decode() == SERVED
    assert client.returncode == 0
