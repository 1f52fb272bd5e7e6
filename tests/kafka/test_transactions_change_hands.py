"""A directory with transactions changes hands: what one broker began the other ends.

A producer has committed a transaction with records and offsets, aborted one, and left one open; then its broker ends.
The other broker starts on the directory: readers and the group see what was committed and nothing else, until the
producer comes back under its id, which aborts what it had left. Then everything is stable.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.clients.drivers import QUIET, wait_until
from tests.conftest import TEST_SETTINGS
from tests.kafka.broker import KafkaProcess
from tests.processes import OttlaProcess, Process

pytestmark = [pytest.mark.long, pytest.mark.kafka, pytest.mark.ottla]
WAIT_S = 30
ENDED, OPEN = 2, 3


def producer(bootstrap: str, transactional_id: str) -> ck.Producer:
    made = ck.Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id, **QUIET})
    made.init_transactions(WAIT_S)
    return made


def consumer(bootstrap: str, group: str, isolation: str = "read_committed") -> ck.Consumer:
    return ck.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            **QUIET,
        }
    )


def send(made: ck.Producer, topic: str, group: ck.Consumer, value: str, offset: int) -> None:
    """A record and an offset in the transaction that is open, both at the broker."""
    made.produce(topic, value)
    assert made.flush(WAIT_S) == 0
    made.send_offsets_to_transaction([ck.TopicPartition(topic, 0, offset)], group.consumer_group_metadata(), WAIT_S)


def fill(bootstrap: str, topic: str) -> None:
    """One committed, one aborted, one open."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(WAIT_S)
    group = consumer(bootstrap, topic)
    first = producer(bootstrap, f"{topic}-1")
    for value, offset, commits in (("committed", 1, True), ("aborted", 2, False)):
        first.begin_transaction()
        send(first, topic, group, value, offset)
        if commits:
            first.commit_transaction(WAIT_S)
        else:
            first.abort_transaction(WAIT_S)
    left = producer(bootstrap, f"{topic}-2")
    left.begin_transaction()
    send(left, topic, group, "open", 3)
    group.close()


def values(bootstrap: str, topic: str, isolation: str = "read_committed") -> list[str]:
    """Everything from the start up to where a reader gets."""
    reader = consumer(bootstrap, f"{topic}-reader", isolation)
    try:
        reader.assign([ck.TopicPartition(topic, 0, 0)])
        found: list[str] = []
        while True:
            message = reader.poll(WAIT_S)
            assert message is not None
            error = message.error()
            if error is not None:
                assert error.code() == ck.KafkaError._PARTITION_EOF, error
                return found
            value = message.value()
            assert value is not None
            found.append(value.decode())
    finally:
        reader.close()


def committed(bootstrap: str, topic: str) -> int | str:
    """The group's offset, or why there is none to be had."""
    asker = consumer(bootstrap, topic)
    try:
        (found,) = asker.committed([ck.TopicPartition(topic, 0)], timeout=5)
        return str(found.error.name()) if found.error is not None else int(found.offset)
    except ck.KafkaException as error:
        # librdkafka asks again while the offset is unstable, until its time is over.
        return str(error.args[0].name())
    finally:
        asker.close()


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("way", [(OttlaProcess, KafkaProcess), (KafkaProcess, OttlaProcess)], ids=["away", "back"])
def test_transactions_change_hands(
    tmp_path: Path, unique: str, way: tuple[type[Process], type[Process]], end: str
) -> None:
    """After a stop and after SIGKILL, in both directions."""
    first, second = (kind(tmp_path / kind.name, TEST_SETTINGS) for kind in way)
    try:
        first.start()
        fill(first.bootstrap, unique)
        if end == "stop":
            first.stop()
        else:
            first.kill()
        shutil.copytree(first.data_dir, second.data_dir)
        second.start()
        assert values(second.bootstrap, unique) == ["committed"]
        assert values(second.bootstrap, unique, "read_uncommitted") == ["committed", "aborted", "open"]
        assert committed(second.bootstrap, unique) in ("_TIMED_OUT", "UNSTABLE_OFFSET_COMMIT")
        back = producer(second.bootstrap, f"{unique}-2")
        wait_until(lambda: committed(second.bootstrap, unique) == 1, "the open transaction is aborted")
        group = consumer(second.bootstrap, unique)
        back.begin_transaction()
        send(back, unique, group, "next", 4)
        back.commit_transaction(WAIT_S)
        group.close()
        wait_until(lambda: values(second.bootstrap, unique) == ["committed", "next"], "committed")
        wait_until(lambda: committed(second.bootstrap, unique) == 4, "committed with its offset")
    finally:
        first.kill()
        second.kill()
