"""What was acknowledged is there after a stop and after SIGKILL, with both durabilities."""

from __future__ import annotations

import threading
from typing import Any

import confluent_kafka as ck
import pytest

from tests.clients.drivers import DRIVERS, QUIET, Driver, Rec, by_place, read, read_all
from tests.conftest import TEST_SETTINGS, MakeBroker

DURABILITIES = ["fsync", pytest.param("os", marks=pytest.mark.ottla)]  # Apache Kafka knows only the second
KILLS = 3


def with_durability(durability: str) -> dict[str, str]:
    return {**TEST_SETTINGS, "ottla.durability": durability}


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_acknowledged_records_topics_and_commits_outlive_the_process(
    client_name: str, make_broker: MakeBroker, unique: str, durability: str, end: str
) -> None:
    """Records of every acks and codec, a topic's partitions and configs, a group's offset: all there after the
    restart.
    """
    broker = make_broker(with_durability(durability))
    driver = DRIVERS[client_name](broker.bootstrap)
    driver.create_topic(unique, partitions=3, configs={"retention.ms": "12345678"})
    driver.produce(unique, [Rec(f"one {number}".encode(), partition=0) for number in range(100)], acks=1)
    driver.produce(unique, [Rec(f"all {number}".encode(), partition=1) for number in range(100)], codec="zstd")
    driver.produce(unique, [Rec(f"idem {number}".encode(), partition=2) for number in range(100)], idempotent=True)
    before = by_place(read_all(driver, unique, 300, range(3)))
    member = driver.member(unique, unique)
    try:
        read(member, 300)
        member.commit(unique, {0: 10, 1: 20, 2: 30})
    finally:
        member.close()
    if end == "stop":
        broker.stop()
    else:
        broker.kill()
    broker.start()
    again: Driver = DRIVERS[client_name](broker.bootstrap)
    assert again.partitions(unique) == [0, 1, 2]
    assert again.topic_configs(unique)["retention.ms"] == "12345678"
    assert by_place(read_all(again, unique, 300, range(3))) == before
    assert again.produce(unique, [Rec(b"next")]) == [100], "the log goes on where it ended"
    member = again.member(unique, unique)
    try:
        assert [member.committed(unique, partition) for partition in range(3)] == [10, 20, 30]
    finally:
        member.close()


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_producer_works_through_three_kills(make_broker: MakeBroker, unique: str, durability: str) -> None:
    """An idempotent producer never stops while the broker is killed and restarted: each acknowledged record is at the
    offset that it was told, once, and none is missing.
    """
    broker = make_broker(with_durability(durability))
    driver = DRIVERS["librdkafka"](broker.bootstrap)
    driver.create_topic(unique)
    told: dict[int, int] = {}
    failed: list[Any] = []
    progress = threading.Condition()
    settings: dict[str, Any] = {
        "bootstrap.servers": broker.bootstrap,
        "enable.idempotence": True,
        "linger.ms": 1,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 100,
        "retry.backoff.ms": 20,
        **QUIET,
    }
    producer = ck.Producer(settings)
    stop = threading.Event()

    def delivered(error: Any, message: Any) -> None:
        with progress:
            if error is not None:
                failed.append(error)
            else:
                told[int(message.value())] = message.offset()
            progress.notify_all()

    def run() -> None:
        number = 0
        try:
            while not stop.is_set():
                if number - len(told) < 2000:
                    producer.produce(unique, str(number).encode(), partition=0, on_delivery=delivered)
                    number += 1
                    producer.poll(0)
                else:
                    producer.poll(0.01)
            producer.flush(60)
        except ck.KafkaException as error:  # a fatal one: nothing may be sent any more
            delivered(error, None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        for _ in range(KILLS):
            with progress:
                goal = len(told) + 1000
                while len(told) < goal and not failed:
                    assert progress.wait(60), "records go on"
            broker.kill()
            broker.start()
    finally:
        stop.set()
        thread.join(90)
    assert not failed
    assert not thread.is_alive()
    found = read_all(driver, unique, len(told))
    assert {int(each.value or b""): each.offset for each in found} == told
    assert sorted(told) == list(range(len(told)))
