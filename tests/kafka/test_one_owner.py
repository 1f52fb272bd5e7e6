"""A data directory has one owner: a second Ottla, a second opener in one process and Apache Kafka are kept out, both
ways.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.drivers import DRIVERS, Rec, read_all
from tests.conftest import TEST_SETTINGS, MakeBroker
from tests.kafka.broker import KafkaProcess
from tests.processes import OttlaProcess, Process

pytestmark = pytest.mark.ottla


def intrude(kind: type[Process], owner: Process, folder: Path) -> tuple[int, str]:
    """Starts another broker over the owner's directory; returns how it ended and what it said."""
    intruder = kind(folder, TEST_SETTINGS)
    intruder.data_dir = owner.data_dir
    try:
        intruder.launch()
        return intruder.wait_ended(), intruder.output()
    finally:
        intruder.kill()


def still_serves(owner: Process, topic: str) -> None:
    driver = DRIVERS["librdkafka"](owner.bootstrap)
    driver.produce(topic, [Rec(b"still here")])
    assert read_all(driver, topic, 1)[0].value == b"still here"


def test_a_second_process_is_refused(make_broker: MakeBroker, tmp_path: Path, unique: str) -> None:
    """It ends with an error that names the directory and the process that holds it; the first goes on."""
    owner = make_broker()
    code, said = intrude(OttlaProcess, owner, tmp_path / "intruder")
    assert code != 0
    assert str(owner.data_dir) in said
    assert str(owner.pid) in said
    assert "Traceback" not in said
    still_serves(owner, unique)


@pytest.mark.kafka
def test_apache_kafka_is_refused(make_broker: MakeBroker, tmp_path: Path, unique: str) -> None:
    """Kafka's own lock file is the lock."""
    owner = make_broker()
    code, said = intrude(KafkaProcess, owner, tmp_path / "intruder")
    assert code != 0
    assert "Failed to acquire lock on file .lock" in said
    still_serves(owner, unique)


@pytest.mark.kafka
def test_ottla_is_refused_by_apache_kafka(reference: Process, tmp_path: Path) -> None:
    """Ottla does not open what Apache Kafka runs on."""
    code, said = intrude(OttlaProcess, reference, tmp_path / "intruder")
    assert code != 0
    assert str(reference.data_dir) in said
    assert "Traceback" not in said
    assert reference.running


def test_a_second_opener_in_one_process_is_refused(tmp_path: Path) -> None:
    """`ottla.Broker` twice over one directory in one process: the second raises, the first goes on, and after it closed
    a third may open.
    """
    import ottla
    from ottla import errors

    open_broker: Callable[[], ottla.Broker] = lambda: ottla.Broker(data_dir=tmp_path / "data")  # noqa: E731
    with open_broker() as first:
        with pytest.raises(errors.DirectoryInUse), open_broker():
            pass
        assert DRIVERS["librdkafka"](first.bootstrap_servers).cluster()["controller_id"] == 1
    with open_broker():
        pass
