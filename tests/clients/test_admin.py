"""Topics, configs and the cluster as the clients' admin parts see them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.drivers import Driver, Rec, read_all
from tests.processes import Process


def error_name(error: BaseException) -> str:
    """The protocol's name of an error, from either library's exception."""
    code = getattr(error, "errno", None)
    if code is None and error.args and hasattr(error.args[0], "name"):
        return str(error.args[0].name())
    return {
        36: "TOPIC_ALREADY_EXISTS",
        38: "INVALID_REPLICATION_FACTOR",
        53: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    }.get(code or 0, f"{type(error).__name__} {error}")


def test_a_created_topic_has_its_partitions(driver: Driver, unique: str) -> None:
    """A topic of three partitions shows three; creating it again is TOPIC_ALREADY_EXISTS."""
    driver.create_topic(unique, partitions=3)
    assert driver.partitions(unique) == [0, 1, 2]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each library has its own class
        driver.create_topic(unique, partitions=3)
    assert error_name(caught.value) == "TOPIC_ALREADY_EXISTS"


def test_three_replicas_on_one_broker_are_refused(driver: Driver, unique: str) -> None:
    """As Kafka: INVALID_REPLICATION_FACTOR, not a topic that can never be whole."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        driver.create_topic(unique, replicas=3)
    assert error_name(caught.value) == "INVALID_REPLICATION_FACTOR"


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


@pytest.mark.ottla
def test_a_transactional_producer_is_refused_for_good(driver: Driver, unique: str) -> None:
    """Until transactions are whole, error 53 ends a transactional producer at once instead of letting it retry for
    ever.
    """
    driver.create_topic(unique)
    caught: Any
    with pytest.raises(Exception) as caught:  # noqa: PT011
        driver.produce(unique, [Rec(b"")], transactional_id=unique)
    assert error_name(caught.value) == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"
    if driver.name == "librdkafka":
        assert caught.value.args[0].fatal()
