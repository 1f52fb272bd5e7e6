"""Consumer groups of the classic protocol: sharing, rebalancing, committing, resuming."""

from __future__ import annotations

from tests.clients.drivers import DRIVERS, Driver, Members, Rec, read
from tests.conftest import MakeBroker

EVERY = frozenset(range(6))


def test_two_members_share_a_topic_and_one_takes_over(driver: Driver, unique: str) -> None:
    """A lone member owns six partitions; with a second each owns three; when it leaves the first owns six again.
    Nothing is lost.
    """
    driver.create_topic(unique, partitions=6)
    driver.produce(unique, [Rec(str(number).encode(), partition=number % 6) for number in range(60)])
    members = Members()
    try:
        members.add("one", driver.member(unique, unique, client_id="one"))
        members.wait_for(lambda: members.owned.get("one") == EVERY, "the first member owns everything")
        members.wait_for(lambda: len(members.records["one"]) == 60, "the first member reads everything")
        members.add("two", driver.member(unique, unique, client_id="two"))
        members.wait_for(
            lambda: (
                sorted(len(owned) for owned in members.owned.values()) == [3, 3]
                and members.owned["one"] | members.owned["two"] == EVERY
            ),
            "both members own half",
        )
        first, second = members.owned["one"], members.owned["two"]
        driver.produce(unique, [Rec(f"late {number}".encode(), partition=number % 6) for number in range(60)])

        def late(name: str) -> set[tuple[int, bytes | None]]:
            records = members.records.get(name, [])
            return {(each.partition, each.value) for each in records if (each.value or b"").startswith(b"late")}

        members.wait_for(lambda: len(late("one") | late("two")) == 60, "both read what came later")
        assert {partition for partition, _ in late("one")} <= first
        assert {partition for partition, _ in late("two")} <= second
        members.remove("two")
        members.wait_for(lambda: members.owned.get("one") == EVERY, "the first member owns everything again")
    finally:
        members.close()


def test_a_committed_offset_is_where_the_next_member_starts(driver: Driver, unique: str) -> None:
    """Records behind a manual commit are not read again, those after it are."""
    driver.create_topic(unique)
    driver.produce(unique, [Rec(str(number).encode()) for number in range(20)])
    first = driver.member(unique, unique)
    try:
        read(first, 20)
        first.commit(unique, {0: 12})
        assert first.committed(unique, 0) == 12
    finally:
        first.close()
    second = driver.member(unique, unique)
    try:
        assert [each.offset for each in read(second, 8)] == list(range(12, 20))
    finally:
        second.close()


def test_commits_and_records_survive_a_restart(client_name: str, make_broker: MakeBroker, unique: str) -> None:
    """A group resumes at its commit on a broker that was stopped and started again."""
    broker = make_broker()
    driver = DRIVERS[client_name](broker.bootstrap)
    driver.create_topic(unique, partitions=2)
    driver.produce(unique, [Rec(str(number).encode(), partition=number % 2) for number in range(40)])
    first = driver.member(unique, unique)
    try:
        read(first, 40)
        first.commit(unique, {0: 5, 1: 20})
    finally:
        first.close()
    broker.restart()
    second = driver.member(unique, unique)
    try:
        assert [(each.partition, each.offset) for each in read(second, 15)] == [(0, at) for at in range(5, 20)]
        assert second.committed(unique, 1) == 20
    finally:
        second.close()


def test_an_empty_config_is_enough_to_commit(client_name: str, make_broker: MakeBroker, unique: str) -> None:
    """Kafka's default of three replicas for the offsets topic must not leave a lone broker without a coordinator."""
    broker = make_broker({})
    driver = DRIVERS[client_name](broker.bootstrap)
    driver.create_topic(unique)
    driver.produce(unique, [Rec(b"only")])
    member = driver.member(unique, unique)
    try:
        read(member, 1)
        member.commit(unique, {0: 1})
        assert member.committed(unique, 0) == 1
    finally:
        member.close()
