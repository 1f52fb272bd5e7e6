"""Kafka's ConsumerPerformance and EndToEndLatency, unmodified, one JVM for each round.

ConsumerPerformance reads a topic that lies in the page cache, from its begin, in a group of its own; the throughput is
that of its fetch time, without the time its group takes. EndToEndLatency sends a record, waits until its consumer has
it, and sends the next; it tells its average to the microsecond and its percentiles in whole milliseconds, so where a
median is under one, the average is the figure.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benches import generator
from benches.comparison import compare
from benches.data_plane import faultless
from benches.effort import EFFORT
from benches.link import create_topic, delete_topic
from benches.meters import GIB, Meter
from benches.peers import Peer
from benches.rounds import Round
from tests.kafka import jars

RECORD_BYTES = 1024
CONSUMED_RECORDS = 2_000_000
PARTITIONS = 6
SENT_RECORDS = 5_000
LATENCY_RECORD_BYTES = 100
TIMEOUT_S = 600
# The last line of ConsumerPerformance: start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, fetch MB/s,
# fetch records/s; "MB" are MiB.
CONSUMED = re.compile(
    r"^\S+ \S+, \S+ \S+, [\d.]+, ([\d.]+), (\d+), [\d.]+, (-?\d+), (\d+), ([\d.]+), [\d.]+$", re.MULTILINE
)
AVERAGE = re.compile(r"^Avg latency: ([\d.]+) ms", re.MULTILINE)
PERCENTILES = re.compile(r"^Percentiles: 50th = (\d+), 99th = (\d+), 99\.9th = (\d+)", re.MULTILINE)
numbers = itertools.count(1)


def tool(name: str, *words: str) -> list[str]:
    """The command line of one of Kafka's tools; CLASSPATH stands for its jars."""
    return ["java", "-Xms512M", "-Xmx512M", "-cp", "CLASSPATH", f"org.apache.kafka.tools.{name}", *words]


def consumer(bootstrap: str, topic: str, group: str, records: int) -> list[str]:
    where = ("--bootstrap-server", bootstrap, "--topic", topic, "--group", group)
    # Its default is for records that come slowly.
    return tool("ConsumerPerformance", *where, "--num-records", str(records), "--timeout", "60000")


def pinger(bootstrap: str, topic: str, records: int) -> list[str]:
    where = ("--bootstrap-server", bootstrap, "--topic", topic)
    return tool(
        "EndToEndLatency",
        *(*where, "--num-records", str(records)),
        *("--producer-acks", "1", "--record-size", str(LATENCY_RECORD_BYTES)),
    )


def run(command: Sequence[str]) -> str:
    """What it prints."""
    words = [jars.classpath() if word == "CLASSPATH" else word for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout


def consumed(said: str, records: int) -> Round:
    """Its last line, if it has read all."""
    found = CONSUMED.findall(said)
    if not found or int(found[-1][1]) < records:
        raise generator.Failed(f"ConsumerPerformance did not read {records} records:\n{said[-2000:]}")
    overall, read, rebalance_ms, fetch_ms, fetched = found[-1]
    return {
        "records": int(read),
        "overall_mib_per_s": float(overall),
        "rebalance_ms": int(rebalance_ms),
        "fetch_ms": int(fetch_ms),
        "mib_per_s": float(fetched),
    }


def latencies(said: str) -> Round:
    """Average and percentiles."""
    average, percentiles = AVERAGE.search(said), PERCENTILES.search(said)
    if average is None or percentiles is None:
        raise generator.Failed(f"EndToEndLatency told no latencies:\n{said[-2000:]}")
    p50, p99, p999 = map(int, percentiles.groups())
    return {"avg_ms": float(average[1]), "p50_ms": p50, "p99_ms": p99, "p99.9_ms": p999}


def consume(peers: Sequence[Peer], program: Path) -> dict[str, Any]:
    """As fast as Kafka's consumer reads what the native generator has written."""
    topic, records = f"consumed-{next(numbers)}", EFFORT.records(CONSUMED_RECORDS)
    size: dict[str, object] = {"record-bytes": RECORD_BYTES, "records": records, "batch-bytes": 262_144}
    for peer in peers:
        create_topic(peer.process, topic, PARTITIONS)
        where = {"bootstrap": peer.process.bootstrap, "topics": topic}
        faultless(generator.run(program, "produce", {**where, **size, "connections": 2, "seconds": 300}))

    def one_round(peer: Peer) -> Round:
        meter = Meter(peer.process)
        group = f"consumers-{next(numbers)}"
        told = consumed(run(consumer(peer.process.bootstrap, topic, group, records)), records)
        usage = meter.stop()
        gib = told["records"] * RECORD_BYTES / GIB
        return {**told, **asdict(usage), "broker_cpu_s_per_gib": usage.broker_cpu_s / gib}

    result = compare(peers, one_round, ("mib_per_s",), ("mib_per_s", "overall_mib_per_s", "broker_cpu_s_per_gib"))
    for peer in peers:
        delete_topic(peer.process, topic)
    return {
        "workload": "consumer-performance",
        "title": "ConsumerPerformance, 1 KiB records from the page cache",
        "partitions": PARTITIONS,
        "command": consumer("HOST:PORT", "TOPIC", "GROUP", records),
        **result,
    }


def ping(peers: Sequence[Peer]) -> dict[str, Any]:
    """One record at a time, there and back."""
    records = EFFORT.records(SENT_RECORDS)

    def one_round(peer: Peer) -> Round:
        topic = f"pinged-{next(numbers)}"
        create_topic(peer.process, topic, 1)
        meter = Meter(peer.process)
        told = latencies(run(pinger(peer.process.bootstrap, topic, records)))
        usage = meter.stop()
        delete_topic(peer.process, topic)
        return {**told, **asdict(usage), "broker_cpu_us": usage.broker_cpu_s * 1e6 / records}

    figures = ("avg_ms", "p50_ms", "p99_ms", "p99.9_ms", "broker_cpu_us")
    return {
        "workload": "end-to-end-latency",
        "title": "EndToEndLatency, 100 B, acks=1",
        "command": pinger("HOST:PORT", "TOPIC", records),
        **compare(peers, one_round, ("avg_ms",), figures),
    }
