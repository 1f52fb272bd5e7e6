"""Consumers with group.protocol=consumer (KIP-848): librdkafka's, since the other libraries of Python do not speak it.

The broker assigns; nobody stops for a rebalance but who has to give something up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import pytest

from tests.clients.drivers import Librdkafka, Members, Rec
from tests.clients.records import Consumer
from tests.conftest import MakeBroker
from tests.processes import Process

EVERY = frozenset(range(6))


@pytest.fixture
def driver(broker: Process) -> Librdkafka:
    return Librdkafka(broker.bootstrap)


@pytest.fixture
def members() -> Iterator[Members]:
    found = Members()
    yield found
    found.close()


def new_member(driver: Librdkafka, topic: str, name: str, instance: str | None = None) -> Consumer:
    return driver.member(topic, topic, client_id=name, protocol="consumer", instance=instance)


def fill(driver: Librdkafka, topic: str, word: str) -> set[bytes]:
    values = [f"{word} {number}".encode() for number in range(60)]
    driver.produce(topic, [Rec(value, partition=number % 6) for number, value in enumerate(values)])
    return set(values)


def values_of(members: Members) -> set[bytes | None]:
    return {record.value for records in members.records.values() for record in records}


def shares(members: Members) -> list[int]:
    return sorted(len(owned) for owned in members.owned.values())


def test_members_share_a_topic_and_take_over(driver: Librdkafka, members: Members, unique: str) -> None:
    """Six partitions for one, three each for two, six again; nothing is lost, and what stays is not taken away."""
    driver.create_topic(unique, partitions=6)
    early = fill(driver, unique, "early")
    members.add("one", new_member(driver, unique, "one"))
    members.wait_for(lambda: members.owned.get("one") == EVERY, "the first member owns everything")
    members.wait_for(lambda: early <= values_of(members), "it reads everything")
    members.add("two", new_member(driver, unique, "two"))
    members.wait_for(lambda: shares(members) == [3, 3], "both members own half")
    assert members.owned["one"] | members.owned["two"] == EVERY
    late = fill(driver, unique, "late")
    members.wait_for(lambda: late <= values_of(members), "both read what came later")
    members.remove("two")
    members.wait_for(lambda: members.owned.get("one") == EVERY, "the first member owns everything again")


def is_back(members: Members, name: str, had: Mapping[str, frozenset[int]]) -> bool:
    return members.owned.get(name) == had[name]


def test_static_members_restart_one_by_one_and_no_partition_moves(
    driver: Librdkafka, members: Members, unique: str
) -> None:
    """A rolling restart: each comes back to what it had, and the others notice nothing."""
    driver.create_topic(unique, partitions=6)
    lost: list[frozenset[int]] = []
    for name in "abc":
        members.add(
            name,
            driver.member(unique, unique, client_id=name, protocol="consumer", instance=name, on_revoked=lost.append),
        )
    members.wait_for(lambda: shares(members) == [2, 2, 2], "two partitions each")
    had = dict(members.owned)
    for name in "abc":
        members.remove(name)
        lost.clear()
        members.add(
            name,
            driver.member(unique, unique, client_id=name, protocol="consumer", instance=name, on_revoked=lost.append),
        )
        members.wait_for(partial(is_back, members, name, had), f"{name} has its own again")
        assert members.owned == had
        assert not lost


def test_a_group_moves_to_the_new_protocol_member_by_member(driver: Librdkafka, members: Members, unique: str) -> None:
    """Two classic members are replaced one after the other while both read on, and back again (KIP-848, migration)."""
    driver.create_topic(unique, partitions=6)
    read: set[bytes] = set()

    def add(name: str, protocol: str) -> None:
        members.add(name, driver.member(unique, unique, client_id=name, protocol=protocol))
        members.wait_for(lambda: shares(members) == [3, 3], f"{name} shares with the other one")
        read.update(fill(driver, unique, name))
        members.wait_for(lambda: read <= values_of(members), "nothing is lost")

    members.add("classic-1", driver.member(unique, unique, client_id="classic-1"))
    members.wait_for(lambda: shares(members) == [6], "the first one owns everything")
    add("classic-2", "classic")
    members.remove("classic-1")
    add("consumer-1", "consumer")
    members.remove("classic-2")
    add("consumer-2", "consumer")
    members.remove("consumer-1")
    add("classic-3", "classic")
    members.remove("consumer-2")
    members.wait_for(lambda: shares(members) == [6], "the last one owns everything, in a classic group")


def test_members_go_on_after_the_broker_was_killed(make_broker: MakeBroker, members: Members, unique: str) -> None:
    """The group is in the log: the same members, the same partitions, and records are read on."""
    broker = make_broker()
    driver = Librdkafka(broker.bootstrap)
    driver.create_topic(unique, partitions=6)
    for name in ("one", "two"):
        members.add(name, new_member(driver, unique, name))
    members.wait_for(lambda: shares(members) == [3, 3], "both members own half")
    had = dict(members.owned)
    broker.kill()
    broker.start()
    late = fill(driver, unique, "late")
    members.wait_for(lambda: late <= values_of(members), "both read on")
    assert members.owned == had
