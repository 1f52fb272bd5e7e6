"""What every test of raw bytes checks besides its own subject: nobody else noticed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.conftest import TEST_SETTINGS
from tests.kafka import jars
from tests.kafka.broker import KafkaProcess
from tests.processes import Process
from tests.wire.batches import Batch
from tests.wire.client import Connection
from tests.wire.differential import LIMITS, Talk

LOG_WAIT_S = 10
# Whose connection was closed and why, or which batch was refused; the rest of the line is the reason.
SAID = re.compile(
    r"closing connection \d+ from 127\.0\.0\.1 on PLAINTEXT: ...|batch of -?\d+ bytes for .* refused with error"
)
Undisturbed = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def limited_broker(broker_class: type[Process], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The broker under test with the close limits of `differential`."""
    process = broker_class(tmp_path_factory.mktemp("limited"), {**TEST_SETTINGS, **LIMITS})
    process.start()
    yield process
    process.stop_without_fault()


@pytest.fixture(scope="session")
def limited_reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Apache Kafka with the same."""
    if absent := jars.missing():
        pytest.fail(absent)
    process = KafkaProcess(tmp_path_factory.mktemp("limited-reference"), {**TEST_SETTINGS, **LIMITS})
    process.start()
    yield process
    process.kill()


@pytest.fixture(scope="session")
def bystander_topic(broker: Process) -> str:
    """A topic with one record that bystanders read."""
    talk = Talk(broker, "bystander")
    talk.create()
    talk.produce("bystander", Batch())
    talk.close()
    return "bystander"


@pytest.fixture
def undisturbed(broker: Process, bystander_topic: str) -> Undisturbed:
    """Wraps an offence: a connection opened before it still reads its record after it, the broker is the same process,
    and (from Ottla) a log line came that says what was refused.
    """

    def read(connection: Connection) -> object:
        partitions = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]
        topics = [{"topic": bystander_topic, "partitions": partitions}]
        fields = {"max_wait": 0, "min_bytes": 0, "max_bytes": 1 << 20, "replica_id": -1, "session_epoch": -1}
        return connection.ask("fetch", 12, topics=topics, **fields)

    @contextmanager
    def watch(*, logged: bool = True) -> Iterator[None]:
        with Connection(broker.host, broker.port) as bystander:
            before = read(bystander)
            length = len(broker.output())
            yield
            assert read(bystander) == before, "another connection reads on as if nothing had happened"
            assert broker.running, broker.tail()
            deadline = time.monotonic() + LOG_WAIT_S
            while logged and broker.name == "ottla" and not SAID.search(broker.output()[length:]):
                assert time.monotonic() < deadline, "a log line says what was refused"
                read(bystander)

    return watch
