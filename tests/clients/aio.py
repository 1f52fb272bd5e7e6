"""aiokafka behind the face of the other drivers: its coroutines run on one loop in a thread of its own."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiokafka
import aiokafka.admin
import aiokafka.errors
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from tests.clients.records import PYTHON_MEMBER, WAIT_S, Consumer, Rec, Revoked, polled, rebalance_listener

T = TypeVar("T")


@functools.cache
def loop() -> asyncio.AbstractEventLoop:
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, name="aiokafka", daemon=True).start()
    return made


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the loop; the caller's thread waits for it."""
    return asyncio.run_coroutine_threadsafe(work, loop()).result(2 * WAIT_S)


def raise_errors(response: Any) -> None:
    """Errors of topics stand in aiokafka's answers; it does not raise them."""
    answers = response.topic_errors if hasattr(response, "topic_errors") else response.topic_error_codes
    for topic, code, *_ in answers:
        if code:
            raise aiokafka.errors.for_code(code)(topic)


class AioKafka:
    """aiokafka."""

    name = "aiokafka"

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Any]:
        client = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    def create_topic(
        self, topic: str, partitions: int = 1, replicas: int = -1, configs: dict[str, str] | None = None
    ) -> None:
        # It takes -1, the broker's default, for a sign that somebody assigns replicas by hand.
        assignments: dict[int, list[int]] | None = {} if -1 in (partitions, replicas) else None
        new = aiokafka.admin.NewTopic(topic, partitions, replicas, assignments, configs or {})

        async def create() -> None:
            async with self.admin() as admin:
                raise_errors(await admin.create_topics([new]))
                async with asyncio.timeout(WAIT_S):  # an answer to CreateTopics is not yet metadata
                    while len(self._led(await admin.describe_topics([topic]))) < partitions:
                        pass

        wait(create())

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
        async def send() -> list[int]:
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=self.bootstrap,
                acks=acks,
                compression_type=None if codec == "none" else codec,
                enable_idempotence=idempotent or transactional_id is not None,
                transactional_id=transactional_id,
                linger_ms=5,
                max_batch_size=1 << 18,
            )
            try:
                await producer.start()
                if transactional_id is not None:
                    await producer.begin_transaction()
                sent = [await producer.send(topic, **record.arguments()) for record in records]
                await producer.flush()
                if transactional_id is not None:
                    await producer.commit_transaction()
                return [-1 if acks == 0 else (await future).offset for future in sent]
            finally:
                await producer.stop()

        return wait(send())

    def reader(self, topic: str, partitions: Sequence[int], start: int | str | dict[int, int]) -> Consumer:
        wanted = [aiokafka.TopicPartition(topic, partition) for partition in partitions]

        async def open_it() -> Any:
            consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None, fetch_max_wait_ms=100)
            await consumer.start()
            consumer.assign(wanted)
            if start == "earliest":
                await consumer.seek_to_beginning(*wanted)
            elif start == "latest":
                await consumer.seek_to_end(*wanted)
            else:
                assert not isinstance(start, str)
                for each in wanted:
                    consumer.seek(each, start if isinstance(start, int) else start[each.partition])
            return consumer

        return AioKafkaConsumer(wait(open_it()))

    def member(
        self,
        topic: str,
        group: str,
        *,
        client_id: str = "member",
        session_timeout_ms: int = 6000,
        on_revoked: Revoked | None = None,
    ) -> Consumer:
        async def join() -> Any:
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap,
                group_id=group,
                client_id=client_id,
                partition_assignment_strategy=[RangePartitionAssignor],
                session_timeout_ms=session_timeout_ms,
                **PYTHON_MEMBER,
            )
            consumer.subscribe([topic], listener=rebalance_listener(aiokafka.ConsumerRebalanceListener, on_revoked))
            await consumer.start()
            return consumer

        return AioKafkaConsumer(wait(join()))

    def offset_at(self, topic: str, partition: int, timestamp: int) -> int | None:
        where = aiokafka.TopicPartition(topic, partition)

        async def look_up() -> int | None:
            consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=None)
            await consumer.start()
            try:
                found = (await consumer.offsets_for_times({where: timestamp}))[where]
                return None if found is None else int(found.offset)
            finally:
                await consumer.stop()

        return wait(look_up())

    def _configs(self, kind: Any, name: str) -> dict[str, str]:
        async def describe() -> Any:
            async with self.admin() as admin:
                return await admin.describe_configs([ConfigResource(kind, name)])

        (answer,) = wait(describe())
        ((_error, _message, _kind, _name, entries),) = (each[:5] for each in answer.resources)
        return {entry[0]: entry[1] for entry in entries}

    def topic_configs(self, topic: str) -> dict[str, str]:
        return self._configs(ConfigResourceType.TOPIC, topic)

    def broker_configs(self, node_id: int) -> dict[str, str]:
        return self._configs(ConfigResourceType.BROKER, str(node_id))

    def cluster(self) -> dict[str, Any]:
        async def describe() -> Any:
            async with self.admin() as admin:
                return await admin.describe_cluster()

        found = wait(describe())
        return {
            "cluster_id": found["cluster_id"],
            "controller_id": found["controller_id"],
            "brokers": [f"{broker['host']}:{broker['port']}" for broker in found["brokers"]],
        }

    @staticmethod
    def _led(described: Any) -> list[int]:
        ((found),) = described
        return sorted(each["partition"] for each in found["partitions"] if each["leader"] >= 0)

    def partitions(self, topic: str) -> list[int]:
        async def describe() -> Any:
            async with self.admin() as admin:
                return await admin.describe_topics([topic])

        return self._led(wait(describe()))


class AioKafkaConsumer:
    """An aiokafka consumer."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer

    def poll(self) -> list[Rec]:
        return polled(wait(self.consumer.getmany(timeout_ms=100)))

    def commit(self, topic: str, offsets: dict[int, int]) -> None:
        wait(self.consumer.commit({aiokafka.TopicPartition(topic, index): at for index, at in offsets.items()}))

    def committed(self, topic: str, partition: int) -> int | None:
        found: int | None = wait(self.consumer.committed(aiokafka.TopicPartition(topic, partition)))
        return found

    def assignment(self) -> frozenset[int]:
        return frozenset(each.partition for each in self.consumer.assignment())

    def close(self) -> None:
        wait(self.consumer.stop())
