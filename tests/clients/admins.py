"""What the three libraries' admin clients can do beyond creating and describing topics, behind one face.

As with the drivers, nothing is added: an error of the broker is the library's exception.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol

import aiokafka
import aiokafka.admin
import aiokafka.errors
import confluent_kafka as ck
import kafka
import kafka.errors
from aiokafka.admin.config_resource import ConfigResource as AioConfigResource
from aiokafka.admin.config_resource import ConfigResourceType as AioConfigResourceType
from kafka.admin import ConfigResource as PyConfigResource
from kafka.admin import ConfigResourceType as PyConfigResourceType

from tests.clients.aio import AioKafka, raise_errors, wait
from tests.clients.drivers import CK_ADMIN, Driver, KafkaPython, Librdkafka
from tests.clients.records import WAIT_S


class Group(NamedTuple):
    """A group as DescribeGroups shows it."""

    state: str
    client_ids: list[str]


class Admin(Protocol):
    """The admin part of one library."""

    def topics(self) -> set[str]: ...
    def grow(self, topic: str, partitions: int) -> None: ...
    def alter(self, topic: str, name: str, value: str) -> None: ...
    def delete_records(self, topic: str, before: int) -> int: ...
    def delete_topic(self, topic: str) -> None: ...
    def groups(self) -> set[str]: ...
    def group(self, name: str) -> Group: ...
    def group_offsets(self, name: str) -> dict[int, int]: ...
    def delete_group(self, name: str) -> None: ...


def raise_named(result: str) -> None:
    """kafka-python hands some errors back as text that names its class."""
    named = re.search(r"\w+Error\b", result)
    if named is not None and named[0] != "NoError":
        raise getattr(kafka.errors, named[0])(result)


class KafkaPythonAdmin:
    """kafka-python's."""

    def __init__(self, driver: KafkaPython) -> None:
        self.driver = driver

    def topics(self) -> set[str]:
        with self.driver.admin() as admin:
            return set(admin.list_topics())

    def grow(self, topic: str, partitions: int) -> None:
        with self.driver.admin() as admin:
            admin.create_partitions({topic: partitions})

    def alter(self, topic: str, name: str, value: str) -> None:
        with self.driver.admin() as admin:
            answer = admin.alter_configs([PyConfigResource(PyConfigResourceType.TOPIC, topic, {name: value})])
        (results,) = answer.values()
        raise_named(results[topic])

    def delete_records(self, topic: str, before: int) -> int:
        with self.driver.admin() as admin:
            (found,) = admin.delete_records({kafka.TopicPartition(topic, 0): before}).values()
        return int(found["low_watermark"])

    def delete_topic(self, topic: str) -> None:
        with self.driver.admin() as admin:
            admin.delete_topics([topic])

    def groups(self) -> set[str]:
        with self.driver.admin() as admin:
            return {each["group_id"] for each in admin.list_groups()}

    def group(self, name: str) -> Group:
        with self.driver.admin() as admin:
            found = admin.describe_groups([name])[name]
        return Group(found["group_state"], [each["client_id"] for each in found["members"]])

    def group_offsets(self, name: str) -> dict[int, int]:
        with self.driver.admin() as admin:
            found = admin.list_group_offsets({name: None})[name]
        return {where.partition: each.offset for where, each in found.items()}

    def delete_group(self, name: str) -> None:
        with self.driver.admin() as admin:
            answer = admin.delete_groups([name])
        raise_named(answer[name])


class LibrdkafkaAdmin:
    """confluent-kafka's."""

    def __init__(self, driver: Librdkafka) -> None:
        self.admin = driver._admin

    def topics(self) -> set[str]:
        return set(self.admin.list_topics(timeout=WAIT_S).topics)

    def grow(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions([CK_ADMIN.NewPartitions(topic, partitions)])[topic].result(WAIT_S)

    def alter(self, topic: str, name: str, value: str) -> None:
        entry = CK_ADMIN.ConfigEntry(name, value, incremental_operation=CK_ADMIN.AlterConfigOpType.SET)
        resource = CK_ADMIN.ConfigResource(CK_ADMIN.ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(WAIT_S)

    def delete_records(self, topic: str, before: int) -> int:
        where = ck.TopicPartition(topic, 0, before)
        return int(self.admin.delete_records([where])[where].result(WAIT_S).low_watermark)

    def delete_topic(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(WAIT_S)

    def groups(self) -> set[str]:
        return {each.group_id for each in self.admin.list_consumer_groups().result(WAIT_S).valid}

    def group(self, name: str) -> Group:
        found = self.admin.describe_consumer_groups([name])[name].result(WAIT_S)
        # The library's own names: STABLE, EMPTY.
        return Group(found.state.name.capitalize(), [each.client_id for each in found.members])

    def group_offsets(self, name: str) -> dict[int, int]:
        asked = ck.ConsumerGroupTopicPartitions(name)
        found = self.admin.list_consumer_group_offsets([asked])[name].result(WAIT_S).topic_partitions
        return {each.partition: each.offset for each in found}

    def delete_group(self, name: str) -> None:
        self.admin.delete_consumer_groups([name])[name].result(WAIT_S)


class AioKafkaAdmin:
    """aiokafka's, whose answers are mostly those of the wire. It cannot delete groups."""

    def __init__(self, driver: AioKafka) -> None:
        self.driver = driver

    def ask(self, method: str, *arguments: Any) -> Any:
        async def run() -> Any:
            async with self.driver.admin() as admin:
                return await getattr(admin, method)(*arguments)

        return wait(run())

    def topics(self) -> set[str]:
        return set(self.ask("list_topics"))

    def grow(self, topic: str, partitions: int) -> None:
        self.ask("create_partitions", {topic: aiokafka.admin.NewPartitions(partitions)})

    def alter(self, topic: str, name: str, value: str) -> None:
        (answer,) = self.ask("alter_configs", [AioConfigResource(AioConfigResourceType.TOPIC, topic, {name: value})])
        ((code, message, *_rest),) = answer.resources
        if code:
            raise aiokafka.errors.for_code(code)(message)

    def delete_records(self, topic: str, before: int) -> int:
        (found,) = self.ask(
            "delete_records", {aiokafka.TopicPartition(topic, 0): aiokafka.admin.RecordsToDelete(before)}
        ).values()
        return int(found)

    def delete_topic(self, topic: str) -> None:
        raise_errors(self.ask("delete_topics", [topic]))

    def groups(self) -> set[str]:
        return {group for group, *_ in self.ask("list_consumer_groups")}

    def group(self, name: str) -> Group:
        (answer,) = self.ask("describe_consumer_groups", [name])
        ((_error, _name, state, _type, _protocol, members),) = (each[:6] for each in answer.groups)
        return Group(state, [client_id for _member, client_id, *_ in ((each[0], *each[-4:]) for each in members)])

    def group_offsets(self, name: str) -> dict[int, int]:
        found = self.ask("list_consumer_group_offsets", name)
        return {where.partition: each.offset for where, each in found.items()}

    def delete_group(self, name: str) -> None:
        raise NotImplementedError


def admin_of(driver: Driver) -> Admin:
    if isinstance(driver, KafkaPython):
        return KafkaPythonAdmin(driver)
    if isinstance(driver, Librdkafka):
        return LibrdkafkaAdmin(driver)
    return AioKafkaAdmin(driver)
