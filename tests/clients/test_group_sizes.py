"""What every tutorial shows of consumer groups: as many consumers as partitions, fewer, more, and one group each.

Each consumer is a process of its own, with kafka-python and with librdkafka.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.drivers import Driver, Rec
from tests.clients.programs import Member, MemberProcesses

LIBRARIES = ["kafka-python", "librdkafka"]
PARTITIONS = 3
EVERY = frozenset(range(PARTITIONS))
# What concerns the broker more than the client.
ONE_IN_CI = ["librdkafka", pytest.param("kafka-python", marks=pytest.mark.long)]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[MemberProcesses]:
    found = MemberProcesses([sys.executable, "-m", "tests.clients.member"], tmp_path)
    yield found
    found.close()


def join(
    processes: MemberProcesses, driver: Driver, topic: str, group: str = "", *, session_ms: int = 6000, **options: Any
) -> Member:
    """One more process in the group, which has the topic's name if it has none; it commits what it reads."""
    more = json.dumps({"commit": True, **options})
    return processes.start(driver.name, driver.bootstrap, topic, str(session_ms), group or topic, more)


def produce(driver: Driver, topic: str, name: str, count: int = 30) -> set[str]:
    """Records for every partition in turn; returns their values."""
    values = [f"{name} {number}" for number in range(count)]
    driver.produce(topic, [Rec(value.encode(), partition=place % PARTITIONS) for place, value in enumerate(values)])
    return set(values)


def share(processes: MemberProcesses, members: list[Member], sizes: list[int]) -> None:
    """Waits until the members own everything between them, so many partitions each, none twice."""

    def shared() -> bool:
        owned = [member.owned for member in members]
        return sorted(map(len, owned)) == sizes and frozenset().union(*owned) == EVERY

    processes.wait_for(shared, f"shares of {sizes}")


def read_once_by_owners(processes: MemberProcesses, members: list[Member], values: set[str]) -> None:
    """Waits until everything is read, and checks that each record was read once, by who owns its partition."""

    def read() -> list[tuple[Member, int, str]]:
        return [
            (member, partition, value)
            for member in members
            for partition, _, value in list(member.records)
            if value in values
        ]

    processes.wait_for(lambda: {value for _, _, value in read()} == values, "everything is read")
    assert Counter(value for _, _, value in read()) == Counter(values)
    assert all(partition in member.owned for member, partition, _ in read())


@pytest.mark.parametrize("client_name", LIBRARIES)
def test_as_many_consumers_as_partitions(driver: Driver, unique: str, processes: MemberProcesses) -> None:
    """Each owns one partition, and reads its records and no others."""
    driver.create_topic(unique, partitions=PARTITIONS)
    members = [join(processes, driver, unique) for _ in range(PARTITIONS)]
    share(processes, members, [1, 1, 1])
    read_once_by_owners(processes, members, produce(driver, unique, "all"))


@pytest.mark.parametrize("client_name", LIBRARIES)
def test_fewer_consumers_than_partitions(driver: Driver, unique: str, processes: MemberProcesses) -> None:
    """One of two owns two partitions; between them they read everything once."""
    driver.create_topic(unique, partitions=PARTITIONS)
    members = [join(processes, driver, unique) for _ in range(2)]
    share(processes, members, [1, 2])
    read_once_by_owners(processes, members, produce(driver, unique, "all"))


@pytest.mark.parametrize("client_name", LIBRARIES)
def test_more_consumers_than_partitions_one_idle_takes_over(
    driver: Driver, unique: str, processes: MemberProcesses
) -> None:
    """One of four is idle. When another is killed with kill -9 the idle one is needed: three own one partition each
    again, and go on where the dead one had committed.
    """
    driver.create_topic(unique, partitions=PARTITIONS)
    members = [join(processes, driver, unique, session_ms=3000) for _ in range(4)]
    share(processes, members, [0, 1, 1, 1])
    before = produce(driver, unique, "before")
    read_once_by_owners(processes, members, before)
    (idle,) = (member for member in members if not member.owned)
    victim = next(member for member in members if member.owned)
    victim.stop(signal.SIGKILL)
    after = produce(driver, unique, "after")
    left = [member for member in members if member is not victim]
    share(processes, left, [1, 1, 1])
    assert idle.owned
    processes.wait_for(lambda: after <= {value for each in left for value in each.values}, "what came after")
    again = Counter(value for member in members for value in member.values)
    assert {value: again[value] for value in before} == dict.fromkeys(before, 1), "what was committed is not read again"


@pytest.mark.parametrize("client_name", LIBRARIES)
def test_a_group_for_each_process_receives_everything(driver: Driver, unique: str, processes: MemberProcesses) -> None:
    """Processes that name their group after themselves share nothing: each owns all partitions and reads it all."""
    driver.create_topic(unique, partitions=PARTITIONS)
    values = produce(driver, unique, "all")
    members = [join(processes, driver, unique, f"{unique}-{number}") for number in range(3)]
    for member in members:
        processes.wait_for(lambda member=member: member.owned == EVERY, "it owns everything")  # type: ignore[misc]
        read_once_by_owners(processes, [member], values)


@pytest.mark.parametrize("client_name", ONE_IN_CI)
def test_a_cooperative_group_keeps_what_it_need_not_give_up(
    driver: Driver, unique: str, processes: MemberProcesses
) -> None:
    """cooperative-sticky (KIP-429): when a second member comes and when it goes, the first gives up nothing of what it
    keeps, and reads on.
    """
    driver.create_topic(unique, partitions=PARTITIONS)
    first = join(processes, driver, unique, strategy="cooperative-sticky")
    processes.wait_for(lambda: first.owned == EVERY, "it owns everything")
    second = join(processes, driver, unique, strategy="cooperative-sticky")
    share(processes, [first, second], [1, 2])
    kept = first.owned
    read_once_by_owners(processes, [first, second], produce(driver, unique, "shared"))
    second.stop()
    processes.wait_for(lambda: first.owned == EVERY, "it owns everything again")
    assert frozenset().union(*first.revoked) == EVERY - kept, first.revoked
    read_once_by_owners(processes, [first], produce(driver, unique, "alone"))


@pytest.mark.parametrize("client_name", ONE_IN_CI)
def test_a_static_member_comes_back_within_its_session(driver: Driver, unique: str, processes: MemberProcesses) -> None:
    """group.instance.id (KIP-345): killed and started again it has the partitions it had, and the other one was not
    disturbed.
    """
    driver.create_topic(unique, partitions=PARTITIONS)

    def start(instance: str) -> Member:
        return join(processes, driver, unique, session_ms=20_000, instance=instance)

    first, second = start("one"), start("two")
    share(processes, [first, second], [1, 2])
    quiet_since, owned = len(first.revoked), second.owned
    second.stop(signal.SIGKILL)
    again = start("two")
    processes.wait_for(lambda: again.owned == owned, "the same partitions")
    read_once_by_owners(processes, [first, again], produce(driver, unique, "all"))
    assert first.revoked[quiet_since:] == []
