"""The three client libraries of Python behind one small face, so that each behaviour is one test that runs with each.

A driver only translates: it adds no retries and hides no errors. Records are plain (key, value, headers, timestamp)
both ways.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import confluent_kafka as ck
import confluent_kafka.admin
import kafka
from kafka.admin import ConfigResource as PyConfigResource
from kafka.admin import ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from tests.clients.aio import AioKafka
from tests.clients.records import PYTHON_MEMBER, WAIT_S, Consumer, Rec, Revoked, polled, rebalance_listener

__all__ = ["DRIVERS", "Consumer", "Driver", "Members", "Rec", "by_place", "read", "read_all", "wait_until"]

ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}
CK_ADMIN: Any = confluent_kafka.admin  # its stubs name only the client itself


class KafkaPython:
    """kafka-python 3."""

    name = "kafka-python"

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    @contextmanager
    def admin(self) -> Iterator[Any]:
        client = kafka.KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            yield client
        finally:
            client.close()

    def create_topic(
        self, topic: str, partitions: int = 1, replicas: int = -1, configs: dict[str, str] | None = None
    ) -> None:
        options = {"num_partitions": partitions, "replication_factor": replicas, "configs": configs or {}}
        with self.admin() as admin:
            admin.create_topics({topic: options}, wait_for_metadata=True)

    def produce(
        self,
        topic: str,
        records: Iterable[Rec],
        *,
        codec: str = "none",
        acks: str | int = "all",
        idempotent: bool = False,
        transactional_id: str | None = None,
    ) -> list[int]:
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks=acks,
            compression_type=None if codec == "none" else codec,
            enable_idempotence=idempotent or transactional_id is not None,
            transactional_id=transactional_id,
            linger_ms=5,
            batch_size=1 << 18,
        )
        try:
            if transactional_id is not None:
                producer.init_transactions()
                producer.begin_transaction()
            sent = [producer.send(topic, **record.arguments()) for record in records]
            producer.flush(timeout=WAIT_S)
            if transactional_id is not None:
                producer.commit_transaction()
            return [future.get(timeout=WAIT_S).offset for future in sent]
        finally:
            producer.close(timeout=WAIT_S)

    def reader(self, topic: str, partitions: Sequence[int], start: int | str | dict[int, int]) -> Consumer:
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None, fetch_max_wait_ms=100)
        wanted = [kafka.TopicPartition(topic, partition) for partition in partitions]
        consumer.assign(wanted)
        for each in wanted:
            if start == "earliest":
                consumer.seek_to_beginning(each)
            elif start == "latest":
                consumer.seek_to_end(each)
            else:
                assert not isinstance(start, str)
                consumer.seek(each, start if isinstance(start, int) else start[each.partition])
        return KafkaPythonConsumer(consumer)

    def member(
        self,
        topic: str,
        group: str,
        *,
        client_id: str = "member",
        session_timeout_ms: int = 6000,
        strategy: str = "range",
        instance: str | None = None,
        on_revoked: Revoked | None = None,
    ) -> Consumer:
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=group,
            client_id=client_id,
            group_instance_id=instance,
            partition_assignment_strategy=[ASSIGNORS[strategy]],
            session_timeout_ms=session_timeout_ms,
            **PYTHON_MEMBER,
        )
        consumer.subscribe([topic], listener=rebalance_listener(kafka.ConsumerRebalanceListener, on_revoked))
        return KafkaPythonConsumer(consumer)

    def offset_at(self, topic: str, partition: int, timestamp: int) -> int | None:
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None)
        try:
            where = kafka.TopicPartition(topic, partition)
            found = consumer.offsets_for_times({where: timestamp})[where]
            return None if found is None else int(found.offset)
        finally:
            consumer.close()

    def _configs(self, kind: Any, name: str) -> dict[str, str]:
        with self.admin() as admin:
            answer = admin.describe_configs([PyConfigResource(kind, name)], config_filter="all")
        (resources,) = answer.values()
        (entries,) = resources.values()
        return {key: entry["value"] for key, entry in entries.items()}

    def topic_configs(self, topic: str) -> dict[str, str]:
        return self._configs(ConfigResourceType.TOPIC, topic)

    def broker_configs(self, node_id: int) -> dict[str, str]:
        return self._configs(ConfigResourceType.BROKER, str(node_id))

    def cluster(self) -> dict[str, Any]:
        with self.admin() as admin:
            found = admin.describe_cluster()
        return {
            "cluster_id": found["cluster_id"],
            "controller_id": found["controller_id"],
            "brokers": [f"{broker['host']}:{broker['port']}" for broker in found["brokers"]],
        }

    def partitions(self, topic: str) -> list[int]:
        with self.admin() as admin:
            (found,) = admin.describe_topics([topic])
        return sorted(each["partition_index"] for each in found["partitions"])


class KafkaPythonConsumer:
    """A kafka-python consumer."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer

    def poll(self) -> list[Rec]:
        # Long enough for a round of JoinGroup and SyncGroup on a busy machine: kafka-python 3.0.12 forgets to take over
        # the assignment when its poll times out just before SyncGroup is answered, and stays without partitions.
        return polled(self.consumer.poll(timeout_ms=2000))

    def commit(self, topic: str, offsets: dict[int, int]) -> None:
        self.consumer.commit(
            {kafka.TopicPartition(topic, index): kafka.OffsetAndMetadata(at, "", -1) for index, at in offsets.items()}
        )

    def committed(self, topic: str, partition: int) -> int | None:
        found = self.consumer.committed(kafka.TopicPartition(topic, partition))
        return None if found is None else int(found)

    def assignment(self) -> frozenset[int]:
        return frozenset(each.partition for each in self.consumer.assignment())

    def close(self) -> None:
        self.consumer.close(autocommit=False)


class Librdkafka:
    """librdkafka through confluent-kafka."""

    name = "librdkafka"

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        # Kept: a future of an admin client dies with the client.
        self._admin = CK_ADMIN.AdminClient({"bootstrap.servers": bootstrap, **QUIET})

    def create_topic(
        self, topic: str, partitions: int = 1, replicas: int = -1, configs: dict[str, str] | None = None
    ) -> None:
        new = CK_ADMIN.NewTopic(topic, num_partitions=partitions, replication_factor=replicas, config=configs or {})
        self._admin.create_topics([new])[topic].result(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while len(self.partitions(topic)) < partitions:  # an answer to CreateTopics is not yet metadata
            assert time.monotonic() < deadline, f"{topic} has no leaders after {WAIT_S} s"

    def produce(
        self,
        topic: str,
        records: Iterable[Rec],
        *,
        codec: str = "none",
        acks: str | int = "all",
        idempotent: bool = False,
        transactional_id: str | None = None,
    ) -> list[int]:
        settings: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "acks": acks,
            "compression.type": codec,
            "enable.idempotence": idempotent or transactional_id is not None,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "message.timeout.ms": int(WAIT_S * 1000),
            **QUIET,
        }
        if transactional_id is not None:
            settings["transactional.id"] = transactional_id
        producer = ck.Producer(settings)
        if transactional_id is not None:
            producer.init_transactions(WAIT_S)
            producer.begin_transaction()
        offsets: dict[int, int] = {}
        failed: list[ck.KafkaError] = []

        def delivered(number: int) -> Callable[[Any, Any], None]:
            def report(error: Any, message: Any) -> None:
                if error is not None:
                    failed.append(error)
                else:
                    # With acks=0 nobody knows the offset.
                    offsets[number] = -1 if message.offset() in (None, ck.OFFSET_INVALID) else message.offset()

            return report

        for number, record in enumerate(records):
            extra: Any = {} if record.timestamp is None else {"timestamp": record.timestamp}
            while True:
                try:
                    producer.produce(
                        topic,
                        value=record.value,
                        key=record.key,
                        headers=list(record.headers),
                        partition=record.partition,
                        on_delivery=delivered(number),
                        **extra,
                    )
                    break
                except BufferError:  # the client's own queue is full
                    producer.poll(0.1)
            producer.poll(0)
        producer.flush(WAIT_S)
        if failed:
            raise ck.KafkaException(failed[0])
        if transactional_id is not None:
            producer.commit_transaction(WAIT_S)
        return [offsets[number] for number in sorted(offsets)]

    def reader(self, topic: str, partitions: Sequence[int], start: int | str | dict[int, int]) -> Consumer:
        consumer = ck.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "unused",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                **QUIET,
            }
        )
        special = {"earliest": ck.OFFSET_BEGINNING, "latest": ck.OFFSET_END}

        def first(partition: int) -> int:
            if isinstance(start, str):
                return special[start]
            return start if isinstance(start, int) else start[partition]

        consumer.assign([ck.TopicPartition(topic, partition, first(partition)) for partition in partitions])
        return LibrdkafkaConsumer(consumer)

    def member(
        self,
        topic: str,
        group: str,
        *,
        client_id: str = "member",
        protocol: str = "classic",
        session_timeout_ms: int = 6000,
        strategy: str = "range",
        instance: str | None = None,
        on_revoked: Revoked | None = None,
    ) -> Consumer:
        settings: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "group.id": group,
            "client.id": client_id,
            "group.protocol": protocol,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            **QUIET,
        }
        if protocol == "classic":
            settings |= {
                "partition.assignment.strategy": strategy,
                "heartbeat.interval.ms": 100,
                "session.timeout.ms": session_timeout_ms,
            }
        if instance is not None:
            settings["group.instance.id"] = instance
        consumer = ck.Consumer(settings)
        if on_revoked is None:
            consumer.subscribe([topic])
        else:
            consumer.subscribe([topic], on_revoke=lambda _, lost: on_revoked(frozenset(p.partition for p in lost)))
        return LibrdkafkaConsumer(consumer)

    def offset_at(self, topic: str, partition: int, timestamp: int) -> int | None:
        consumer = ck.Consumer({"bootstrap.servers": self.bootstrap, "group.id": "unused", **QUIET})
        try:
            (found,) = consumer.offsets_for_times([ck.TopicPartition(topic, partition, timestamp)], timeout=WAIT_S)
            return None if found.offset == ck.OFFSET_END else int(found.offset)
        finally:
            consumer.close()

    def _configs(self, kind: Any, name: str) -> dict[str, str]:
        resource = CK_ADMIN.ConfigResource(kind, name)
        entries = self._admin.describe_configs([resource])[resource].result(WAIT_S)
        return {key: entry.value for key, entry in entries.items()}

    def topic_configs(self, topic: str) -> dict[str, str]:
        return self._configs(CK_ADMIN.ResourceType.TOPIC, topic)

    def broker_configs(self, node_id: int) -> dict[str, str]:
        return self._configs(CK_ADMIN.ResourceType.BROKER, str(node_id))

    def cluster(self) -> dict[str, Any]:
        found = self._admin.describe_cluster().result(WAIT_S)
        return {
            "cluster_id": found.cluster_id,
            "controller_id": found.controller.id,
            "brokers": [f"{node.host}:{node.port}" for node in found.nodes],
        }

    def partitions(self, topic: str) -> list[int]:
        found = self._admin.list_topics(topic, timeout=WAIT_S).topics[topic].partitions
        return sorted(index for index, each in found.items() if each.leader >= 0)


class LibrdkafkaConsumer:
    """A confluent-kafka consumer."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer

    def poll(self) -> list[Rec]:
        found = []
        for message in self.consumer.consume(num_messages=10_000, timeout=0.1):
            if message.error() is not None:
                raise ck.KafkaException(message.error())
            found.append(
                Rec(
                    message.value(),
                    message.key(),
                    tuple(message.headers() or ()),
                    message.timestamp()[1],
                    message.partition(),
                    message.offset(),
                )
            )
        return found

    def commit(self, topic: str, offsets: dict[int, int]) -> None:
        wanted = [ck.TopicPartition(topic, index, at) for index, at in offsets.items()]
        for each in self.consumer.commit(offsets=wanted, asynchronous=False):
            if each.error is not None:
                raise ck.KafkaException(each.error)

    def committed(self, topic: str, partition: int) -> int | None:
        (found,) = self.consumer.committed([ck.TopicPartition(topic, partition)], timeout=WAIT_S)
        return None if found.offset == ck.OFFSET_INVALID else int(found.offset)

    def assignment(self) -> frozenset[int]:
        return frozenset(each.partition for each in self.consumer.assignment())

    def close(self) -> None:
        self.consumer.close()


# librdkafka logs connection losses to stderr; the tests that kill a broker expect those.
QUIET: dict[str, Any] = {"log_level": 0, "allow.auto.create.topics": True}
Driver = AioKafka | KafkaPython | Librdkafka
DRIVERS: dict[str, type[Driver]] = {driver.name: driver for driver in (AioKafka, KafkaPython, Librdkafka)}


def read(consumer: Consumer, count: int, wait_s: float = WAIT_S) -> list[Rec]:
    """Polls until `count` records are there; fails with what came when the time is over."""
    found: list[Rec] = []
    deadline = time.monotonic() + wait_s
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records in {wait_s} s"
        found += consumer.poll()
    return found


def read_all(driver: Driver, topic: str, count: int, partitions: Sequence[int] = (0,)) -> list[Rec]:
    """The first `count` records of a topic, from its beginning."""
    consumer = driver.reader(topic, partitions, "earliest")
    try:
        return read(consumer, count)
    finally:
        consumer.close()


def wait_until(condition: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> None:
    """Asks again until it holds: Apache Kafka answers an admin request before its brokers show what changed."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {wait_s} s"


def by_place(records: Iterable[Rec]) -> list[Rec]:
    """By partition and offset, as several partitions arrive in any order."""
    return sorted(records, key=lambda each: (each.partition, each.offset))


class Members:
    """Group members polled each by its own thread, as a rebalance needs all of them to move at once."""

    def __init__(self) -> None:
        self.records: dict[str, list[Rec]] = {}
        self.owned: dict[str, frozenset[int]] = {}
        self.errors: list[BaseException] = []
        self._changed = threading.Condition()
        self._threads: dict[str, tuple[threading.Thread, threading.Event]] = {}

    def add(self, name: str, consumer: Consumer) -> None:
        stop = threading.Event()

        def run() -> None:
            try:
                while not stop.is_set():
                    records = consumer.poll()
                    with self._changed:
                        self.records.setdefault(name, []).extend(records)
                        self.owned[name] = consumer.assignment()
                        self._changed.notify_all()
            except BaseException as error:  # noqa: BLE001 - shown by wait_for, in the test's own thread
                with self._changed:
                    self.errors.append(error)
                    self._changed.notify_all()
            finally:
                consumer.close()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads[name] = (thread, stop)
        thread.start()

    def remove(self, name: str) -> None:
        """Stops one member; it leaves the group."""
        thread, stop = self._threads.pop(name)
        stop.set()
        thread.join(WAIT_S)
        with self._changed:
            self.owned.pop(name, None)

    def close(self) -> None:
        for name in list(self._threads):
            self.remove(name)

    def wait_for(self, condition: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> None:
        with self._changed:
            met = self._changed.wait_for(lambda: bool(self.errors) or condition(), wait_s)
            if self.errors:
                raise self.errors[0]
            assert met, f"{what}: not within {wait_s} s; owned {self.owned}"
