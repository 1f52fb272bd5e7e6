"""Three members and a kill -9, with each library of Python; and one group of all three libraries."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.drivers import DRIVERS, Driver, Members, Rec
from tests.clients.programs import MemberProcesses
from tests.processes import Process

EVERY = frozenset(range(6))
SESSION_MS = 2000


@pytest.fixture
def processes(client_name: str, tmp_path: Path) -> Iterator[MemberProcesses]:
    found = MemberProcesses([sys.executable, "-m", "tests.clients.member", client_name], tmp_path)
    yield found
    found.close()


def fill(driver: Driver, topic: str, word: str) -> set[bytes]:
    """Ten records into each of the six partitions; returns their values."""
    records = [Rec(f"{word} {number}".encode(), partition=number % 6) for number in range(60)]
    driver.produce(topic, records)
    return {record.value or b"" for record in records}


def shares(members: Members) -> list[int]:
    return sorted(len(owned) for owned in members.owned.values())


def values(members: Members) -> set[bytes | None]:
    return {record.value for records in members.records.values() for record in records}


def test_three_members_of_whom_one_is_killed(
    driver: Driver, broker: Process, processes: MemberProcesses, unique: str
) -> None:
    """Each of three owns two of six partitions. One dies without a word: when its session is over the other two own
    three each, and read what it had read but not committed.
    """
    driver.create_topic(unique, partitions=6)
    early = fill(driver, unique, "early")
    members = Members()
    try:
        for name in ("one", "two"):
            members.add(name, driver.member(unique, unique, client_id=name, session_timeout_ms=SESSION_MS))
        victim = processes.start(broker.bootstrap, unique, str(SESSION_MS), unique)
        members.wait_for(lambda: shares(members) == [2, 2], "two partitions each")
        processes.wait_for(lambda: len(victim.records) >= 20, "the third reads too")
        owned = members.owned["one"] | members.owned["two"]
        assert victim.partitions == EVERY - owned
        victim.stop(signal.SIGKILL)
        members.wait_for(lambda: shares(members) == [3, 3], "three each after the kill")
        assert members.owned["one"] | members.owned["two"] == EVERY
        late = fill(driver, unique, "late")
        members.wait_for(lambda: early | late <= values(members), "nothing is lost")
    finally:
        members.close()


def test_one_group_of_three_libraries(broker: Process, unique: str) -> None:
    """kafka-python, aiokafka and librdkafka name the strategy `range` and write its subscriptions alike: whoever leads,
    each owns two of six partitions and reads exactly those; when one leaves, the others share its part.
    """
    drivers = {name: driver(broker.bootstrap) for name, driver in DRIVERS.items()}
    drivers["librdkafka"].create_topic(unique, partitions=6)
    members = Members()
    try:
        for name, driver in drivers.items():
            members.add(name, driver.member(unique, unique, client_id=name))
        members.wait_for(
            lambda: shares(members) == [2, 2, 2] and frozenset().union(*members.owned.values()) == EVERY,
            "two partitions each",
        )
        sent = fill(drivers["aiokafka"], unique, "shared")
        members.wait_for(lambda: sent <= values(members), "everything arrives")
        for name, owned in members.owned.items():
            assert {record.partition for record in members.records[name]} == owned
        for gone, left in (("librdkafka", [3, 3]), ("aiokafka", [6])):
            members.remove(gone)
            members.wait_for(lambda left=left: shares(members) == left, f"the rest without {gone}")  # type: ignore[misc]
    finally:
        members.close()
