"""The requests that the native half answers alone, asked by a client of its own: in this process, or (`python -m`) as
another one, so that it needs nothing of the broker's interpreter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from tests.wire.batches import Batch, Record
from tests.wire.client import Connection, Plain

WAIT_S = 30
TRANSACTIONAL = 0x10
# Produce that adds its partition to the transaction (KIP-890).
VERSION = 12
SERVED = "served"


def connect(address: str) -> Connection:
    host, _, port = address.rpartition(":")
    return Connection(host, int(port), timeout_s=WAIT_S)


def produce(connection: Connection, topic: str, batch: Batch, **fields: object) -> Plain:
    data = [{"name": topic, "partition_data": [{"index": 0, "records": batch.encode()}]}]
    answer = connection.ask("produce", VERSION, **{"acks": -1, "timeout": 30_000, "topic_data": data, **fields})
    partition: Plain = answer["responses"][0]["partition_responses"][0]
    return partition


def transactional(producer: Sequence[int], sequence: int) -> Batch:
    producer_id, epoch = producer
    return Batch(
        [Record(b"in a transaction")],
        attributes=TRANSACTIONAL,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
    )


def fetch(topic: str, offset: int, max_wait: int) -> Plain:
    partitions = [{"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}]
    return {
        "max_wait": max_wait,
        "min_bytes": 1,
        "max_bytes": 1 << 20,
        "replica_id": -1,
        "session_epoch": -1,
        "topics": [{"topic": topic, "partitions": partitions}],
    }


def serve_all(address: str, touched: str, fresh: str, producer: Sequence[int]) -> None:
    """Asks all of them. `touched` has a record; nobody has asked for `fresh` yet; `producer` (id, epoch) has one batch
    of its open transaction in `touched`.
    """
    with connect(address) as one, connect(address) as other:
        for acks in (1, -1):
            assert produce(one, touched, Batch(), acks=acks)["error_code"] == "none"
        more = produce(one, touched, transactional(producer, 1), transactional_id="t")
        assert more["error_code"] == "none", "one that goes on with an open transaction asks nobody"
        assert produce(one, fresh, Batch())["base_offset"] == 0, "the first batch of a partition"
        read = one.ask("fetch", 12, **fetch(touched, 0, 0))["responses"][0]["partitions"][0]
        assert read["records"], read
        # A long poll is parked, and woken by an append.
        end = produce(one, fresh, Batch())["base_offset"] + 1
        other.submit("fetch", 12, **fetch(fresh, end, 2 * WAIT_S * 1000))
        assert produce(one, fresh, Batch())["base_offset"] == end
        assert other.receive()
        software = {"client_software_name": "c", "client_software_version": "1"}
        latest = {"partition_index": 0, "timestamp": -1}
        epoch = {"partition": 0, "current_leader_epoch": -1, "leader_epoch": 0}

        def first(said: Plain) -> Plain:
            found: Plain = said["topics"][0]["partitions"][0]
            return found

        asked: list[tuple[str, int, Callable[[Plain], object], Plain]] = [
            ("api_versions", 3, lambda said: said["api_keys"], software),
            ("metadata", 9, first, {"topics": [{"name": touched}]}),
            (
                "list_offsets",
                7,
                lambda said: first(said)["offset"] > 0,
                {"replica_id": -1, "topics": [{"name": touched, "partitions": [latest]}]},
            ),
            (
                "offset_for_leader_epoch",
                4,
                lambda said: first(said)["end_offset"] >= 0,
                {"replica_id": -1, "topics": [{"topic": touched, "partitions": [epoch]}]},
            ),
            ("describe_topic_partitions", 0, first, {"topics": [{"name": touched}], "response_partition_limit": 10}),
        ]
        for api, version, is_good, fields in asked:
            answer = one.ask(api, version, **fields)
            assert is_good(answer), (api, answer)


if __name__ == "__main__":
    address, touched, fresh, producer_id, epoch, told = sys.argv[1:]
    try:
        serve_all(address, touched, fresh, (int(producer_id), int(epoch)))
        result = SERVED
    except BaseException as error:  # noqa: BLE001 - told to the process that waits for it
        result = f"{type(error).__name__}: {error}"
    os.write(int(told), result.encode())
