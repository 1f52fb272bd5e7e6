"""What DeleteRecords and altered settings promise beyond their answer."""

from __future__ import annotations

import pytest

import ottla
from tests.conftest import MakeBroker
from tests.processes import Process
from tests.wire.batches import Batch, Record
from tests.wire.client import Connection, Plain
from tests.wire.differential import Talk


def earliest(talk: Talk, topic: str) -> int:
    topics = [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -2}]}]
    answer = talk.quietly("list_offsets", 5, topics=topics, replica_id=-1, isolation_level=0)
    return int(answer["topics"][0]["partitions"][0]["offset"])


def deleting(topic: str, offset: int) -> Plain:
    return {"topics": [{"name": topic, "partitions": [{"partition_index": 0, "offset": offset}]}], "timeout": 10_000}


@pytest.mark.ottla
def test_deleted_records_stay_deleted_through_a_crash(make_broker: MakeBroker, unique: str) -> None:
    """An answered DeleteRecords survives SIGKILL (Apache Kafka notes the new start within a minute only)."""
    broker = make_broker()
    talk = Talk(broker, unique)
    talk.create()
    talk.produce(unique, Batch([Record(value=b"v")] * 10))
    answer = talk.quietly("delete_records", 2, **deleting(unique, 7))
    assert answer["topics"][0]["partitions"][0]["low_watermark"] == 7
    talk.close()
    broker.kill()
    broker.start()
    talk = Talk(broker, unique)
    assert earliest(talk, unique) == 7
    talk.close()


def test_an_altered_limit_holds_for_the_next_batch(broker: Process, unique: str) -> None:
    """max.message.bytes is lowered, then goes back to the broker's: each time the next batch is judged by it."""
    talk = Talk(broker, unique)
    talk.create()
    batch = [{"index": 0, "records": Batch([Record(value=bytes(5000))]).encode()}]
    produce = {"acks": -1, "timeout": 10_000, "topic_data": [{"name": unique, "partition_data": batch}]}

    def alter(operation: int, value: str | None) -> None:
        config = {"name": "max.message.bytes", "config_operation": operation, "value": value}
        resource = {"resource_type": 2, "resource_name": unique, "configs": [config]}
        answer = talk.quietly("incremental_alter_configs", 1, resources=[resource])
        assert answer["responses"][0]["error_code"] == "none", answer

    def until(code: str) -> None:
        # Kafka answers a moment before the change takes effect.
        for _ in range(200):
            answer = talk.quietly("produce", 12, **produce)
            if answer["responses"][0]["partition_responses"][0]["error_code"] == code:
                return
        pytest.fail(f"{code} was never answered")

    until("none")
    alter(0, "1000")
    until("message_too_large")
    alter(1, None)
    until("none")
    talk.close()


@pytest.mark.ottla
def test_a_broker_in_memory_describes_its_directory() -> None:
    """No file system, so no limits: -1 and -1, and the bytes of each partition."""
    with ottla.Broker() as broker:
        host, port = broker.bootstrap_servers.split(":")
        with Connection(host, int(port)) as connection:
            topic = {"name": "t", "num_partitions": 1, "replication_factor": 1, "assignments": (), "configs": ()}
            connection.ask("create_topics", 7, topics=[topic], timeout=10_000)
            batch = Batch([Record(value=bytes(100))]).encode()
            data = [{"index": 0, "records": batch}]
            topics = [{"name": "t", "partition_data": data}]
            connection.ask("produce", 12, acks=-1, timeout=10_000, topic_data=topics)
            (directory,) = connection.ask("describe_log_dirs", 5, topics=None)["results"]
    assert (directory["error_code"], directory["total_bytes"], directory["usable_bytes"]) == ("none", -1, -1)
    (found,) = directory["topics"]
    assert (found["name"], found["partitions"][0]["partition_size"]) == ("t", len(batch))
