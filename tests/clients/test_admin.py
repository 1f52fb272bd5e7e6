"""Topics, configs and the cluster as the clients' admin parts see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.admins import Group, admin_of
from tests.clients.drivers import Driver, Rec, read, read_all, wait_until
from tests.processes import Process


def error_name(error: BaseException) -> str:
    """The protocol's name of an error, from either library's exception."""
    code = getattr(error, "errno", None)
    if code is None and error.args and hasattr(error.args[0], "name"):
        code = error.args[0].code()
    return {
        1: "OFFSET_OUT_OF_RANGE",
        3: "UNKNOWN_TOPIC_OR_PARTITION",
        36: "TOPIC_ALREADY_EXISTS",
        37: "INVALID_PARTITIONS",
        38: "INVALID_REPLICATION_FACTOR",
        40: "INVALID_CONFIG",
        53: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        68: "NON_EMPTY_GROUP",
        69: "GROUP_ID_NOT_FOUND",
    }.get(code or 0, f"{type(error).__name__} {error}")


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """The protocol's name of the error that a call ends with."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each library has its own class
        call(*arguments)
    return error_name(caught.value)


def test_a_created_topic_has_its_partitions(driver: Driver, unique: str) -> None:
    """A topic of three partitions shows three; creating it again is TOPIC_ALREADY_EXISTS."""
    driver.create_topic(unique, partitions=3)
    assert driver.partitions(unique) == [0, 1, 2]
    assert refusal(lambda: driver.create_topic(unique, partitions=3)) == "TOPIC_ALREADY_EXISTS"


def test_three_replicas_on_one_broker_are_refused(driver: Driver, unique: str) -> None:
    """As Kafka: INVALID_REPLICATION_FACTOR, not a topic that can never be whole."""
    assert refusal(lambda: driver.create_topic(unique, replicas=3)) == "INVALID_REPLICATION_FACTOR"


def test_configs_given_at_creation_are_described(driver: Driver, unique: str) -> None:
    """DescribeConfigs shows what was set and Kafka's defaults for the rest."""
    driver.create_topic(unique, configs={"retention.ms": "86400000", "max.message.bytes": "2000000"})
    configs = driver.topic_configs(unique)
    expected = {
        "retention.ms": "86400000",
        "max.message.bytes": "2000000",
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "message.timestamp.type": "CreateTime",
        "segment.bytes": "1073741824",
    }
    assert {name: configs[name] for name in expected} == expected


def test_broker_configs_are_described(driver: Driver, broker: Process) -> None:
    """The broker resource shows the settings it was started with."""
    configs = driver.broker_configs(1)
    expected = {"node.id": "1", "num.partitions": "1", "group.initial.rebalance.delay.ms": "0"}
    assert {name: configs[name] for name in expected} == expected
    assert configs["log.dirs"] == str(broker.data_dir)


def test_the_cluster_is_this_one_broker(driver: Driver, broker: Process) -> None:
    """DescribeCluster names the broker at the address it advertises, itself the controller, under the id of its
    meta.properties.
    """
    found = driver.cluster()
    properties = (broker.data_dir / "meta.properties").read_text()
    assert f"cluster.id={found['cluster_id']}\n" in properties
    assert (found["controller_id"], found["brokers"]) == (1, [broker.bootstrap])


def test_a_topic_appears_when_it_is_first_produced_to(driver: Driver, unique: str) -> None:
    """Auto-creation with the default number of partitions."""
    driver.produce(unique, [Rec(b"first")])
    assert driver.partitions(unique) == [0]
    assert [each.value for each in read_all(driver, unique, 1)] == [b"first"]


def test_a_topic_grows_and_goes(driver: Driver, unique: str) -> None:
    """Partitions are added and never taken away; a deleted topic is listed no more, and cannot be deleted again."""
    admin = admin_of(driver)
    driver.create_topic(unique)
    admin.grow(unique, 3)
    wait_until(lambda: driver.partitions(unique) == [0, 1, 2], "three partitions")
    assert refusal(admin.grow, unique, 2) == "INVALID_PARTITIONS"
    assert unique in admin.topics()
    admin.delete_topic(unique)
    wait_until(lambda: unique not in admin.topics(), "the topic is gone")
    assert refusal(admin.delete_topic, unique) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_a_setting_of_a_topic_is_altered(driver: Driver, unique: str) -> None:
    """A good value is described from then on; a bad one is refused and changes nothing."""
    admin = admin_of(driver)
    driver.create_topic(unique)
    admin.alter(unique, "retention.ms", "1234567")
    wait_until(lambda: driver.topic_configs(unique)["retention.ms"] == "1234567", "the new value")
    assert refusal(admin.alter, unique, "retention.ms", "a week") == "INVALID_CONFIG"
    assert driver.topic_configs(unique)["retention.ms"] == "1234567"


def test_records_are_deleted_from_the_beginning(driver: Driver, unique: str) -> None:
    """The log begins at the offset given, also for who reads from the beginning; there is nothing behind its end."""
    admin = admin_of(driver)
    driver.create_topic(unique)
    driver.produce(unique, [Rec(str(number).encode()) for number in range(10)])
    assert admin.delete_records(unique, 4) == 4
    assert [each.offset for each in read_all(driver, unique, 6)] == list(range(4, 10))
    assert refusal(admin.delete_records, unique, 11) == "OFFSET_OUT_OF_RANGE"


def test_a_group_is_listed_described_and_deleted(driver: Driver, unique: str) -> None:
    """A group with a member is Stable and stays; without one it is Empty, shows its commits, and can be deleted."""
    admin = admin_of(driver)
    driver.create_topic(unique)
    driver.produce(unique, [Rec(b"one"), Rec(b"two")])
    member = driver.member(unique, unique, client_id="reader")
    try:
        read(member, 2)
        member.commit(unique, {0: 1})
        assert unique in admin.groups()
        assert admin.group(unique) == Group("Stable", ["reader"])
        if driver.name != "aiokafka":  # which cannot delete groups
            assert refusal(admin.delete_group, unique) == "NON_EMPTY_GROUP"
    finally:
        member.close()
    assert admin.group(unique) == Group("Empty", [])
    assert admin.group_offsets(unique) == {0: 1}
    if driver.name != "aiokafka":
        admin.delete_group(unique)
        assert unique not in admin.groups()
        assert refusal(admin.delete_group, unique) == "GROUP_ID_NOT_FOUND"
