"""Kafka's ProducerPerformance: 1 KiB records, acks=1, un-synced on both sides.

The generator is Kafka's own tool, unmodified, one JVM per round. Each round has a topic of its own, deleted after it.
Throughput is what the tool says; CPU is that of the broker process per GiB of record values.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benches.meters import Meter, empty_page_cache, warm_memory
from benches.peers import Peer
from benches.rounds import Round, interleaved, settled, summary, warm_up
from tests.kafka import jars
from tests.processes import Process

RECORD_BYTES = 1024
PARTITIONS = 6
ROUNDS = 3
PRODUCER = {"acks": "1", "batch.size": "262144", "linger.ms": "5"}
SUMMARY = re.compile(
    r"^(\d+) records sent, ([\d.]+) records/sec \([\d.]+ MB/sec\), ([\d.]+) ms avg latency, ([\d.]+) ms max latency, "
    r"(\d+) ms 50th, (\d+) ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th\.",
    re.MULTILINE,
)
# What the generator's JVM takes of the memory that was warmed.
GENERATOR_BYTES = 1 << 30
SETTLES = ("mib_per_s", "broker_cpu_s_per_gib")
numbers = itertools.count(1)


def generator(bootstrap: str, topic: str, records: int, classpath: str) -> list[str]:
    """The command line of one round."""
    return [
        *("java", "-Xms512M", "-Xmx512M", "-cp", classpath, "org.apache.kafka.tools.ProducerPerformance"),
        *("--bootstrap-server", bootstrap, "--topic", topic, "--num-records", str(records)),
        *("--record-size", str(RECORD_BYTES), "--throughput", "-1"),
        *("--command-property", *(f"{name}={value}" for name, value in PRODUCER.items())),
    ]


def create_topic(process: Process, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": process.bootstrap})
    for future in admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)]).values():
        future.result(30)


def send(process: Process, topic: str, records: int) -> tuple[str, ...]:
    """One run of the tool; the figures of its last line."""
    command = generator(process.bootstrap, topic, records, jars.classpath())
    said = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    found: list[tuple[str, ...]] = SUMMARY.findall(said)
    if not found or int(found[-1][0]) != records:
        raise RuntimeError(f"ProducerPerformance did not send {records} records:\n{said[-2000:]}")
    return found[-1]


def one_round(peer: Peer, records: int, peers: Sequence[Peer]) -> Round:
    """One topic, one run of the tool. What the rounds before it wrote leaves the page cache first, of all `peers`."""
    process = peer.process
    topic = f"produce-{next(numbers)}"
    create_topic(process, topic, PARTITIONS)
    page_cache = empty_page_cache(each.process.data_dir for each in peers)
    warm_memory(records * RECORD_BYTES + GENERATOR_BYTES)
    meter = Meter(process)
    _, per_s, average, worst, *percentiles = send(process, topic, records)
    usage = meter.stop()
    admin = AdminClient({"bootstrap.servers": process.bootstrap})
    for future in admin.delete_topics([topic]).values():
        future.result(30)
    gib = records * RECORD_BYTES / (1 << 30)
    names = ("p50", "p95", "p99", "p99.9")
    latencies = {name: int(value) for name, value in zip(names, percentiles, strict=True)}
    return {
        "records": records,
        "mib_per_s": float(per_s) * RECORD_BYTES / (1 << 20),
        "latency_ms": {"avg": float(average), **latencies, "max": float(worst)},
        **asdict(usage),
        "broker_cpu_s_per_gib": usage.broker_cpu_s / gib,
        "machine_busy_s_per_gib": usage.machine_busy_s / gib,
        "page_cache": page_cache,
    }


def run(peers: Sequence[Peer], records: int) -> dict[str, Any]:
    """Warm-up per peer, then interleaved rounds on the same processes."""
    warm = {peer.name: warm_up(peer, lambda each: one_round(each, records, peers), SETTLES) for peer in peers}
    rounds: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for peer in interleaved(peers, ROUNDS):
        rounds[peer.name].append(one_round(peer, records, peers))
    figures = ("mib_per_s", "broker_cpu_s_per_gib", "machine_busy_s_per_gib")
    return {
        "workload": "produce",
        "record_bytes": RECORD_BYTES,
        "partitions": PARTITIONS,
        "records": records,
        "producer": PRODUCER,
        "page_cache": rounds[peers[0].name][-1]["page_cache"],
        "command": generator("HOST:PORT", "TOPIC", records, "CLASSPATH"),
        "warm_up": warm,
        "settled": {name: settled(done, SETTLES) for name, done in warm.items()},
        "rounds": rounds,
        "rss_mib": {peer.name: peer.process.resident_bytes() / (1 << 20) for peer in peers},
        **{figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in figures},
    }
