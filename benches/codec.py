"""`python -m benches.codec`: what the codec alone costs a broker: decode the request, encode the answer.

Microseconds, the median of seven rounds; kio and kafka-python beside it where they serve as codecs. Needs no broker.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from typing import Any

from kafka.protocol.consumer.group import HeartbeatRequest as KafkaPythonRequest
from kafka.protocol.consumer.group import HeartbeatResponse as KafkaPythonResponse
from kafka.protocol.consumer.group import OffsetCommitRequest as KafkaPythonCommit
from kafka.protocol.consumer.group import OffsetCommitResponse as KafkaPythonCommitted
from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader, entity_writer
from msgspec import Struct

from ottla._core import Codec
from ottla.messages import (
    HeartbeatRequest,
    HeartbeatResponse,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

CODEC = Codec()
ROUND_SECONDS = 0.2


def microseconds(work: Callable[[], object]) -> float:
    """What one call of `work` takes."""
    started = time.perf_counter()
    count = 0
    while time.perf_counter() - started < ROUND_SECONDS:
        work()
        count += 1

    def one_round() -> float:
        begun = time.perf_counter()
        for _ in range(count):
            work()
        return (time.perf_counter() - begun) / count * 1e6

    return statistics.median(one_round() for _ in range(7))


def commit(topics: int, partitions: int) -> tuple[Struct, Struct]:
    """An OffsetCommit and its answer."""
    request = OffsetCommitRequest(
        group_id="flights",
        generation_id_or_member_epoch=7,
        member_id="consumer-1-4f2c8a53-6f0a-4f60-a4ee-0a25b2d2f8a1",
        topics=[
            OffsetCommitRequestTopic(
                name=f"flights-{topic}",
                partitions=[
                    OffsetCommitRequestPartition(
                        partition_index=partition, committed_offset=336776, committed_metadata=""
                    )
                    for partition in range(partitions)
                ],
            )
            for topic in range(topics)
        ],
    )
    response = OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=f"flights-{topic}",
                partitions=[OffsetCommitResponsePartition(partition_index=place) for place in range(partitions)],
            )
            for topic in range(topics)
        ]
    )
    return request, response


def ours(key: int, version: int, data: bytes, response: Struct) -> Callable[[], object]:
    def work() -> None:
        CODEC.decode_request(key, version, data)
        CODEC.encode_response(key, version, response)

    return work


def kio(key: int, version: int, data: bytes, answer: bytes) -> Callable[[], object]:
    read: Any = entity_reader(load_request_schema(key, version))
    answers: Any = load_response_schema(key, version)
    response = entity_reader(answers)(answer, 0)[0]
    write = entity_writer(answers)

    def work() -> None:
        read(data, 0)
        write(io.BytesIO(), response)

    return work


def kafka_python(requests: Any, responses: Any, version: int, data: bytes, answer: bytes) -> Callable[[], object]:
    response = responses.decode(answer, version=version)
    response._header = None  # noqa: SLF001 - left unset by `decode`, and asked for by `encode`

    def work() -> None:
        requests.decode(data, version=version)
        response.encode(version=version)

    return work


def main() -> None:
    rows = [
        ("Heartbeat v4", 12, 4, (HeartbeatRequest(group_id="flights", member_id="m" * 48), HeartbeatResponse())),
        ("OffsetCommit v9, 1 x 1", 8, 9, commit(1, 1)),
        ("OffsetCommit v9, 10 x 10", 8, 9, commit(10, 10)),
    ]
    others = {12: (KafkaPythonRequest, KafkaPythonResponse), 8: (KafkaPythonCommit, KafkaPythonCommitted)}
    print(f"{'decode request + encode response, µs':38} {'ottla':>8} {'kio':>8} {'kafka-python':>13}")
    for name, key, version, (request, response) in rows:
        data = CODEC.encode_request(key, version, request)
        answer = CODEC.encode_response(key, version, response)
        figures = (
            microseconds(ours(key, version, data, response)),
            microseconds(kio(key, version, data, answer)),
            microseconds(kafka_python(*others[key], version, data, answer)),
        )
        print("{:38} {:8.2f} {:8.2f} {:13.2f}".format(name, *figures))


if __name__ == "__main__":
    main()
