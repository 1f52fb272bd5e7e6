"""What every test may use: the broker under test, the reference broker, unique names.

`--broker=ottla` (default) runs the tests of clients and wire against `ottla serve`; `--broker=kafka` runs the same
tests against Apache Kafka, which is how we know that a test asks for Kafka's behaviour and not for ours. `--long` adds
the tests marked `long`. The reference broker (`reference`) is a process of Apache Kafka, shared by the whole run.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

import ottla
from tests.clients import javaclients
from tests.kafka import jars
from tests.kafka.broker import KafkaProcess, formatted_directory
from tests.processes import OttlaProcess, Process
from tests.streams import application

# Known to both brokers. Groups form at once, and few partitions of the internal topic keep starts short.
TEST_SETTINGS = {
    "node.id": "1",
    "num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "100",
    "group.consumer.assignment.interval.ms": "0",
    "group.consumer.heartbeat.interval.ms": "300",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.session.timeout.ms": "3000",
    "group.consumer.min.session.timeout.ms": "2000",
    # Nothing goes between two looks of a test: shared brokers live longer than the ten minutes between two checks.
    "offsets.retention.check.interval.ms": "86400000",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "ottla.decompressed.bytes.max": str(32 << 20),
}
BROKERS: dict[str, type[Process]] = {"ottla": OttlaProcess, "kafka": KafkaProcess}
counter = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker", choices=sorted(BROKERS), default="ottla", help="which broker the tests of clients and wire talk to"
    )
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")
    parser.addoption(
        "--fast-paths",
        metavar="NAMES",
        help="the kernel's short cuts that every broker process may use, separated by commas (ottla.fast.paths)",
    )
    parser.addoption("--refresh-tools", action="store_true", help="keep what Kafka's tools say (tests/tools/fixtures)")


def pytest_configure(config: pytest.Config) -> None:
    # No test asserts how long something takes, and machines pause.
    hypothesis.settings.register_profile("ottla", deadline=None)
    hypothesis.settings.load_profile("ottla")
    if (names := config.getoption("--fast-paths")) is not None:
        OttlaProcess.everywhere["ottla.fast.paths"] = names
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that starts us in the background has Ctrl-C ignored, and whatever a test starts would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "long: takes longer than a test in `make test` may; run by `make test-long`")
    config.addinivalue_line("markers", "plays(example, how): which run of an example the test asks about")
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
        # In CI a build that put the module elsewhere must not look like a run without failures.
        wants_ours = not on_kafka and not {"broker", "make_broker"}.isdisjoint(fixtures)
        if unbuilt and wants_ours and os.environ.get("CI") != "true":
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
    """On a new machine Apache Kafka is downloaded and formatted while other tests run, if any test will want it, and
    then the Java clients and Kafka Streams.
    """
    if session.config.getoption("collectonly") or jars.missing():
        return
    marked = [item for item in session.items if item.get_closest_marker("kafka")]
    wanted = [item for item in marked if not list(item.iter_markers("skip"))]
    clients = any("java_runner" in getattr(item, "fixturenames", ()) for item in wanted)
    streams = any(item.path.parent.name == "streams" for item in wanted)

    def download() -> None:
        formatted_directory()
        if clients:
            javaclients.classes()
        if streams:
            application.classpath()

    if wanted:
        threading.Thread(target=download, name="download Kafka", daemon=True).start()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Apache Kafka, shared by the whole run."""
    if absent := jars.missing():
        pytest.fail(absent)
    process = KafkaProcess(tmp_path_factory.mktemp("reference"), TEST_SETTINGS)
    process.start()
    yield process
    process.kill()


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
    process.stop_without_fault()


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
        assert not process.faults(), f"{process.name} tells of a bug, see {process.output_path}"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install .` would install, built once for the long tests that install it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("ottla-*.whl")
    return built


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name nobody else uses, recognisable in a log: for topics and groups."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")
    return f"{words[:80]}-{next(counter)}"
