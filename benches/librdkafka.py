"""librdkafka, through confluent-kafka, unmodified: 1 KiB records as fast as one Python loop hands them over.

The loop is the slowest part; what the broker's processor takes per GiB is the figure. Settings are librdkafka's own but
for the acknowledgement (the leader's, as in the other rows) and a linger of 5 ms.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from time import monotonic
from typing import Any

import confluent_kafka as ck

from benches import generator
from benches.comparison import compare
from benches.effort import EFFORT
from benches.link import create_topic, delete_topic
from benches.meters import GIB, MIB, Meter, empty_page_cache, warm_memory
from benches.peers import Peer
from benches.rounds import Round

RECORD_BYTES = 1024
RECORDS = 1_000_000
PARTITIONS = 6
PRODUCER: dict[str, object] = {"acks": 1, "linger.ms": 5}
CONSUMER: dict[str, object] = {"group.id": "bench", "auto.offset.reset": "earliest", "enable.auto.commit": False}
WAIT_S = 60
# It waits until it has all of them.
CONSUMED_AT_ONCE = 10_000
FIGURES = ("mib_per_s", "broker_cpu_s_per_gib", "machine_busy_s_per_gib")
KINDS = ("produce", "consume")
numbers = itertools.count(1)


def send(bootstrap: str, topic: str, records: int) -> None:
    """All of them acknowledged, or an error."""
    failed: list[str] = []
    producer = ck.Producer({"bootstrap.servers": bootstrap, **PRODUCER})

    def told(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(str(error))

    # Not to be compressed away by anybody, and not made anew for each.
    values = [bytes((number * 31 + at * 7) & 0xFF for at in range(RECORD_BYTES)) for number in range(64)]
    for number in range(records):
        while True:
            try:
                producer.produce(topic, values[number % 64], on_delivery=told)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    if left := producer.flush(WAIT_S):
        raise generator.Failed(f"librdkafka: {left} records are not acknowledged")
    if failed:
        raise generator.Failed(f"librdkafka: {len(failed)} records failed, the first with {failed[0]}")


def read(bootstrap: str, topic: str, records: int) -> None:
    """As many, from the begin."""
    consumer = ck.Consumer({"bootstrap.servers": bootstrap, **CONSUMER})
    try:
        consumer.assign([ck.TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
        count = 0
        while count < records:
            came = consumer.consume(min(CONSUMED_AT_ONCE, records - count), timeout=WAIT_S)
            if not came:
                raise generator.Failed(f"librdkafka: {count} of {records} records came")
            if faults := [message.error() for message in came if message.error()]:
                raise generator.Failed(f"librdkafka: {faults[0]}")
            count += len(came)
    finally:
        consumer.close()


def measured(peer: Peer, play: Callable[[], None], records: int) -> Round:
    meter, begun = Meter(peer.process), monotonic()
    play()
    took_s = monotonic() - begun
    usage = meter.stop()
    size_bytes = records * RECORD_BYTES
    return {
        "mib_per_s": size_bytes / MIB / took_s,
        **asdict(usage),
        "broker_cpu_s_per_gib": usage.broker_cpu_s * GIB / size_bytes,
        "machine_busy_s_per_gib": usage.machine_busy_s * GIB / size_bytes,
    }


def run(peers: Sequence[Peer], kind: str) -> dict[str, Any]:
    """Produce into a topic for each round, or consume one again and again."""
    consumed, records = f"librdkafka-{next(numbers)}", EFFORT.records(RECORDS)
    filled: set[str] = set()

    def produce(peer: Peer) -> Round:
        topic = f"librdkafka-{next(numbers)}"
        create_topic(peer.process, topic, PARTITIONS)
        empty_page_cache([each.process.data_dir for each in peers])
        warm_memory(records * RECORD_BYTES)
        told = measured(peer, lambda: send(peer.process.bootstrap, topic, records), records)
        delete_topic(peer.process, topic)
        return told

    def consume(peer: Peer) -> Round:
        if peer.name not in filled:
            create_topic(peer.process, consumed, PARTITIONS)
            send(peer.process.bootstrap, consumed, records)
            filled.add(peer.name)
        return measured(peer, lambda: read(peer.process.bootstrap, consumed, records), records)

    result = compare(peers, produce if kind == "produce" else consume, ("broker_cpu_s_per_gib",), FIGURES)
    for peer in peers:
        if peer.name in filled:
            delete_topic(peer.process, consumed)
    return {
        "workload": "librdkafka",
        "kind": kind,
        "title": f"librdkafka, {kind} 1 KiB records",
        "records": records,
        "settings": PRODUCER if kind == "produce" else CONSUMER,
        **result,
    }
