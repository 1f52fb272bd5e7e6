"""What every test may use: the broker under test, the reference broker, unique names.

`--broker=ottla` (default) runs the tests of clients and wire against `ottla serve`; `--broker=kafka` runs the same
tests against Apache Kafka, which is how we know that a test asks for Kafka's behaviour and not for ours. `--long` adds
the tests marked `long`. The reference broker (`reference`) is a second process of Apache Kafka; it is launched when
collection shows that some test wants it, so that it comes up while others run.
"""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import ottla
from tests.kafka import jars
from tests.kafka.broker import KafkaProcess
from tests.processes import OttlaProcess, Process

# Known to both brokers. Groups form at once, and few partitions of the internal topic keep starts short.
TEST_SETTINGS = {
    "node.id": "1",
    "num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "100",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "ottla.decompressed.bytes.max": str(32 << 20),
}
BROKERS: dict[str, type[Process]] = {"ottla": OttlaProcess, "kafka": KafkaProcess}
reference_key = pytest.StashKey[Process]()
counter = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker", choices=sorted(BROKERS), default="ottla", help="which broker the tests of clients and wire talk to"
    )
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes longer than a test in `make test` may; run by `make test-long`")
    config.addinivalue_line(
        "markers", "kafka: needs Apache Kafka (java, mvn); skipped without them, a failure when CI=true"
    )
    config.addinivalue_line(
        "markers", "ottla: asks for something that Apache Kafka does not have; skipped with --broker=kafka"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    on_kafka = config.getoption("--broker") == "kafka"
    absent = jars.missing()
    unbuilt = None if broker_is_built() else "the broker is not built"
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long: run by `make test-long`"))
        if unbuilt and not on_kafka and not {"broker", "make_broker"}.isdisjoint(fixtures):
            item.add_marker(pytest.mark.skip(reason=unbuilt))
        if item.get_closest_marker("ottla") and on_kafka:
            item.add_marker(pytest.mark.skip(reason="Ottla's own behaviour"))
        needs_kafka = item.get_closest_marker("kafka") is not None or "reference" in fixtures
        needs_kafka |= on_kafka and not {"broker", "make_broker"}.isdisjoint(fixtures)
        if needs_kafka and absent and os.environ.get("CI") != "true":
            item.add_marker(pytest.mark.skip(reason=absent))


def broker_is_built() -> bool:
    return all((Path(ottla.__file__).parent / name).exists() for name in ("broker.py", "_core.abi3.so"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Launches the reference without waiting for it, if any test that will run wants it."""
    if session.config.getoption("collectonly"):
        return
    wanted = [item for item in session.items if "reference" in getattr(item, "fixturenames", ())]
    if any(not list(item.iter_markers("skip")) for item in wanted) and not jars.missing():
        process = KafkaProcess(Path(tempfile.mkdtemp(prefix="kafka-reference-")), TEST_SETTINGS)
        session.config.stash[reference_key] = process
        process.launch()


def pytest_unconfigure(config: pytest.Config) -> None:
    process = config.stash.get(reference_key, None)
    if process is not None:
        process.kill()


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest) -> Process:
    """Apache Kafka, shared by the whole run."""
    if absent := jars.missing():
        pytest.fail(absent)
    process = request.config.stash[reference_key]
    process.wait_until_up()
    return process


@pytest.fixture(scope="session")
def broker_class(request: pytest.FixtureRequest) -> type[Process]:
    """The kind of broker under test."""
    kind = BROKERS[request.config.getoption("--broker")]
    if kind is KafkaProcess and (absent := jars.missing()):
        pytest.fail(absent)
    return kind


@pytest.fixture(scope="session")
def broker(broker_class: type[Process], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The broker under test, one process for the whole run. Tests use topics of their own and never stop it."""
    process = broker_class(tmp_path_factory.mktemp("broker"), TEST_SETTINGS)
    process.start()
    yield process
    process.stop()


MakeBroker = Callable[..., Process]


@pytest.fixture
def make_broker(broker_class: type[Process], tmp_path: Path) -> Iterator[MakeBroker]:
    """Starts brokers that a test may stop, kill and restart."""
    made: list[Process] = []

    def make(settings: Mapping[str, str] | None = None) -> Process:
        process = broker_class(tmp_path / f"broker-{len(made)}", TEST_SETTINGS if settings is None else settings)
        made.append(process)
        process.start()
        return process

    yield make
    for process in made:
        process.kill()


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name nobody else uses, recognisable in a log: for topics and groups."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")
    return f"{words[:80]}-{next(counter)}"
