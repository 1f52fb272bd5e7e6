"""Group members as processes of their own, with KafkaJS and with franz-go: what every tutorial shows, and kill -9.

As many members as partitions, fewer, more; a group per process. A member that is killed says no goodbye: the others
take over when its session ends.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import golang, node
from tests.clients.drivers import DRIVERS, Driver, Rec
from tests.clients.programs import MemberProcesses, refuse
from tests.processes import Process

SESSION_MS = "1500"


@pytest.fixture(params=["kafkajs", "franz-go"])
def members(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemberProcesses]:
    if request.param == "kafkajs":
        refuse(node.missing())
        node.install()
        found = MemberProcesses(["node", node.FOLDER / "member.js"], tmp_path)
    else:
        refuse(golang.missing())
        found = MemberProcesses([golang.build(), "member"], tmp_path)
    yield found
    found.close()


@pytest.fixture
def driver(broker: Process) -> Driver:
    """Who creates topics and produces: not the client under test, so that each understands the other's records."""
    return DRIVERS["librdkafka"](broker.bootstrap)


def fill(driver: Driver, topic: str, partitions: int, word: str) -> set[str]:
    """Ten records into each partition; returns their values."""
    records = [Rec(f"{word} {number}".encode(), partition=number % partitions) for number in range(10 * partitions)]
    driver.produce(topic, records)
    return {f"{word} {number}" for number in range(10 * partitions)}


def test_as_many_members_as_partitions(members: MemberProcesses, driver: Driver, broker: Process, unique: str) -> None:
    """Three members own one partition each; when one is killed the other two take over, and no record is lost."""
    driver.create_topic(unique, partitions=3)
    for _ in range(3):
        members.start(broker.bootstrap, unique, SESSION_MS, unique)
    members.wait_for(lambda: members.shares() == [1, 1, 1] and members.owned() == {0, 1, 2}, "one partition each")
    early = fill(driver, unique, 3, "early")
    members.wait_for(lambda: members.values() == early, "everything arrives")
    members.all[1].stop(signal.SIGKILL)
    between = fill(driver, unique, 3, "between")
    members.wait_for(lambda: members.shares() == [1, 2] and members.owned() == {0, 1, 2}, "two own all three")
    late = fill(driver, unique, 3, "late")
    alive = members.alive
    members.wait_for(
        lambda: between | late <= {value for member in alive for value in member.values},
        "the survivors read what came after the kill",
    )
    assert members.values() == early | between | late
    assert [member.stop() for member in alive] == [0, 0], "SIGTERM lets a member leave"


def test_fewer_members_than_partitions(members: MemberProcesses, driver: Driver, broker: Process, unique: str) -> None:
    """Two members share five partitions; a partition has one reader, who sees it in order."""
    driver.create_topic(unique, partitions=5)
    for _ in range(2):
        members.start(broker.bootstrap, unique, SESSION_MS, unique)
    members.wait_for(lambda: members.shares() == [2, 3] and members.owned() == {0, 1, 2, 3, 4}, "two and three")
    sent = fill(driver, unique, 5, "record")
    members.wait_for(lambda: members.values() == sent, "everything arrives")
    for partition in range(5):
        # A rebalance may repeat the records that were not committed yet, hence each value once.
        readers = [
            list(dict.fromkeys(value for index, _offset, value in member.records if index == partition))
            for member in members.all
        ]
        assert [f"record {number}" for number in range(partition, 50, 5)] in readers


def test_more_members_than_partitions(members: MemberProcesses, driver: Driver, broker: Process, unique: str) -> None:
    """The third member of a group on two partitions is idle; it takes over when one of the others is killed."""
    driver.create_topic(unique, partitions=2)
    for _ in range(3):
        members.start(broker.bootstrap, unique, SESSION_MS, unique)
    members.wait_for(lambda: members.shares() == [0, 1, 1] and members.owned() == {0, 1}, "one is idle")
    early = fill(driver, unique, 2, "early")
    members.wait_for(lambda: members.values() == early, "everything arrives")
    busy = next(member for member in members.all if member.partitions)
    busy.stop(signal.SIGKILL)
    members.wait_for(lambda: members.shares() == [1, 1] and members.owned() == {0, 1}, "the idle one takes over")
    late = fill(driver, unique, 2, "late")
    members.wait_for(lambda: all(late & set(member.values) for member in members.alive), "both read")
    members.wait_for(lambda: members.values() == early | late, "everything arrives")


def test_a_group_per_process_receives_everything(
    members: MemberProcesses, driver: Driver, broker: Process, unique: str
) -> None:
    """Two processes, each with a group named after its pid: both read every record."""
    driver.create_topic(unique, partitions=2)
    sent = fill(driver, unique, 2, "record")
    for _ in range(2):
        members.start(broker.bootstrap, unique, SESSION_MS)
    members.wait_for(lambda: all(set(member.values) == sent for member in members.all), "both read everything")
    assert [member.group for member in members.all] == [f"readers-{member.process.pid}" for member in members.all]
    assert [len(member.values) for member in members.all] == [20, 20]
