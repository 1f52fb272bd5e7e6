"""Produce, fetch, latency and tiny requests, by the native generator, beside Apache Kafka and beside the limit program.

The generator (`benches/native`) is one process with one thread; what it used is in the raw results as `own_cpu_s`. The
limit program is measured in the rounds of the brokers, over the same bytes: "per GiB" is per GiB of keys and values.
Saturating rounds have a number of records, each in a topic of its own; with several partitions per request the way the
Java client sends them. The open loops have a rate: a record's time counts from when it was due, so that a broker that
stalls pays for all that came due meanwhile. Beside them a consumer reads at the tail; its latency is from then, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benches import generator
from benches.comparison import compare
from benches.effort import EFFORT
from benches.link import create_topic, delete_topic
from benches.meters import GIB, MIB, Meter, empty_page_cache, warm_memory
from benches.peers import Peer
from benches.rounds import Round
from tests.processes import Process

numbers = itertools.count(1)


@dataclass(frozen=True)
class Saturation:
    """A closed loop: as much as the broker takes."""

    title: str
    records: int
    flags: Mapping[str, object]
    partitions: int = 6
    flights: bool = False
    # Of the limit program too: it has to be told where to write.
    settles: tuple[str, ...] = field(default=("mib_per_s", "broker_cpu_s_per_gib"))


BIG = {"batch-bytes": 262_144, "connections": 2}
SATURATIONS = {
    "1KiB": Saturation("produce 1 KiB", 2_000_000, {"record-bytes": 1024, **BIG}),
    "100B": Saturation("produce 100 B", 10_000_000, {"record-bytes": 100, **BIG}),
    "64KiB": Saturation("produce 64 KiB", 32_000, {"record-bytes": 65_536, **BIG}),
    "acks-all": Saturation("produce 1 KiB, acks=all", 1_000_000, {"record-bytes": 1024, "acks": "all", **BIG}),
    "1-partition": Saturation(
        "produce 1 KiB, 1 partition", 1_000_000, {"record-bytes": 1024, "batch-bytes": 262_144}, partitions=1
    ),
    "1000-partitions": Saturation(
        "produce 1 KiB, 1,000 partitions",
        1_000_000,
        {"record-bytes": 1024, "batch-bytes": 16_384, "connections": 2, "batches-per-request": 20},
        partitions=1000,
    ),
    "keyed": Saturation(
        "produce 100 B, 50 producers, 100 partitions, keyed",
        5_000_000,
        {"record-bytes": 100, "connections": 50, "keys": 20_000, "batch-bytes": 16_384, "batches-per-request": 20},
        partitions=100,
    ),
    "lz4": Saturation("produce flights, lz4", 6_000_000, {"codec": "lz4", **BIG}, flights=True),
    "zstd": Saturation("produce flights, zstd", 6_000_000, {"codec": "zstd", **BIG}, flights=True),
}
HEADLINE = ("1KiB",)
FIGURES = ("mib_per_s", "broker_cpu_s_per_gib", "machine_busy_s_per_gib")
RATES = (1_000, 20_000)
OPEN_LOOP_S = 12
LATENCIES = ("p50_us", "p99_us", "p99.9_us", "max_us")
TINY_S = 8
FETCH_RECORDS = 1_000_000
FETCH_S = 6
PARTITIONS = 6


def values_of(case: Saturation) -> dict[str, object]:
    """The flags of a round."""
    values: dict[str, object] = {**case.flags, "records": EFFORT.records(case.records), "seconds": 300}
    if case.flights:
        values["payload"] = generator.flights_file()
    return values


def first_of_each(partitions: int) -> dict[str, object]:
    """A record for each partition.

    Kafka makes a partition's files with the topic, Ottla with its first record; what that costs is measured by itself
    (`many_partitions.py`), and otherwise would count in the rounds of one broker and not in the other's.
    """
    one = {"record-bytes": 100, "batch-records": 1, "connections": 1, "in-flight": 1}
    return {**one, "records": partitions, "batches-per-request": partitions, "seconds": 300}


def of_broker(told: Mapping[str, Any], usage: Any, size_bytes: int) -> Round:
    """A round's figures, with what the generator told."""
    gib = size_bytes / GIB
    return {
        "mib_per_s": told["mib_per_s"],
        **asdict(usage),
        "broker_cpu_s_per_gib": usage.broker_cpu_s / gib,
        "machine_busy_s_per_gib": usage.machine_busy_s / gib,
        "generator": dict(told),
    }


def saturate(peers: Sequence[Peer], program: Path, name: str, folder: Path) -> dict[str, Any]:
    """One of the closed loops."""
    case = SATURATIONS[name]
    values = values_of(case)

    def prepare() -> list[str]:
        page_cache = empty_page_cache([*(peer.process.data_dir for peer in peers), folder])
        warm_memory(EFFORT.records(case.records) * int(str(case.flags.get("record-bytes", 300))))
        return page_cache

    def one_round(peer: Peer) -> Round:
        topic = f"load-{next(numbers)}"
        create_topic(peer.process, topic, case.partitions)
        where = {"bootstrap": peer.process.bootstrap, "topics": topic}
        faultless(generator.run(program, "produce", {**where, **first_of_each(case.partitions)}))
        prepare()
        meter = Meter(peer.process)
        told = generator.run(program, "produce", {**where, **values})
        usage = meter.stop()
        delete_topic(peer.process, topic)
        faultless(told)
        return of_broker(told, usage, told["value_bytes"])

    def limit() -> Round:
        prepare()
        of_limit = {**values, "folder": folder, "partitions": case.partitions, "keys": None, "batches-per-request": 1}
        told = generator.run(program, "limit produce", of_limit)
        return {"mib_per_s": told["mib_per_s"], "broker_cpu_s_per_gib": told["limit_cpu_s_per_gib"], "generator": told}

    result = compare(peers, one_round, case.settles, FIGURES, limit)
    unpacking = None
    if codec := case.flags.get("codec"):
        of_unpacking = {"codec": codec, "payload": values.get("payload"), "batch-bytes": case.flags["batch-bytes"]}
        unpacking = generator.run(program, "limit decompress", of_unpacking)
    return {
        "workload": "native-produce",
        "case": name,
        "title": case.title,
        "partitions": case.partitions,
        "command": ["ottla-load", "produce", *generator.flags(values)],
        "unpacking": unpacking,
        **memory(peers),
        **result,
    }


def memory(peers: Sequence[Peer]) -> dict[str, dict[str, float]]:
    """Resident now, and the most that was since the process began."""
    running = [peer for peer in peers if peer.process.running]
    return {
        "rss_mib": {peer.name: peer.process.resident_bytes() / MIB for peer in running},
        "peak_rss_mib": {peer.name: peer.process.peak_resident_bytes() / MIB for peer in running},
    }


def faultless(told: Mapping[str, Any]) -> None:
    """A figure with errors in it is none."""
    if told["errors"] or told["unanswered_requests"]:
        raise generator.Failed(f"errors: {told['errors']}, unanswered: {told['unanswered_requests']}")


def fetch(peers: Sequence[Peer], program: Path, folder: Path) -> dict[str, Any]:
    """What lies in the page cache, again and again; the limit is sendfile of as many resident bytes."""
    topic = f"load-{next(numbers)}"
    written = {"record-bytes": 1024, **BIG, "records": EFFORT.records(FETCH_RECORDS), "seconds": 300}
    values = {"seconds": EFFORT.seconds(FETCH_S), "connections": 2, "again": True}
    filled: set[str] = set()

    def one_round(peer: Peer) -> Round:
        where = {"bootstrap": peer.process.bootstrap, "topics": topic}
        if peer.name not in filled:
            create_topic(peer.process, topic, PARTITIONS)
            faultless(generator.run(program, "produce", {**where, **written}))
            filled.add(peer.name)
        meter = Meter(peer.process)
        told = generator.run(program, "fetch", {**where, **values})
        return of_broker(told, meter.stop(), told["batch_bytes"])

    def limit() -> Round:
        told = generator.run(
            program,
            "limit fetch",
            {"seconds": EFFORT.seconds(FETCH_S), "connections": 2, "folder": folder, "file-mib": 512},
        )
        return {"mib_per_s": told["mib_per_s"], "broker_cpu_s_per_gib": told["limit_cpu_s_per_gib"], "generator": told}

    result = compare(peers, one_round, ("mib_per_s", "broker_cpu_s_per_gib"), FIGURES, limit)
    for peer in peers:
        if peer.name not in result["absent"]:
            delete_topic(peer.process, topic)
    return {
        "workload": "native-fetch",
        "title": "fetch 1 KiB records from the page cache",
        "partitions": PARTITIONS,
        "command": ["ottla-load", "fetch", *generator.flags(values)],
        **memory(peers),
        **result,
    }


def open_loop_values(rate: int, seconds: float) -> dict[str, object]:
    return {"rate": rate, "seconds": seconds, "connections": 4, "record-bytes": 1024, "acks": "1"}


def open_loop_round(process: Process, program: Path, rate: int, seconds: float) -> Round:
    """Records that come due at a rate, and a consumer at the tail."""
    topic = f"load-{next(numbers)}"
    create_topic(process, topic, PARTITIONS)
    where = {"bootstrap": process.bootstrap, "topics": topic}
    reading = {"from": "end", "latency": True, "ready": True, "seconds": 3 * seconds}
    meter = Meter(process)
    consumer = generator.Running(program, "fetch", {**where, **reading, "records": round(rate * seconds)})
    try:
        told = generator.run(program, "produce", {**where, **open_loop_values(rate, seconds)})
        read = consumer.finish()
    finally:
        consumer.kill()
    usage = meter.stop()
    delete_topic(process, topic)
    faultless(told)
    if read["records"] != told["records"]:
        raise generator.Failed(f"{told['records']} records were sent, {read['records']} read")
    return {
        **{f"produce_{name}": told["latency"][name] for name in LATENCIES},
        **{f"end_to_end_{name}": read["latency"][name] for name in LATENCIES},
        "records_per_s": told["records_per_s"],
        **asdict(usage),
        "broker_cpu_share": usage.broker_cpu_s / told["seconds"],
        "generator": told,
        "consumer": read,
    }


def open_loop(peers: Sequence[Peer], program: Path, rate: int) -> dict[str, Any]:
    """The latency of records that come due one by one."""
    seconds = EFFORT.seconds(OPEN_LOOP_S)

    def one_round(peer: Peer) -> Round:
        return open_loop_round(peer.process, program, rate, seconds)

    figures = [f"{kind}_{name}" for kind in ("produce", "end_to_end") for name in LATENCIES]
    return {
        "workload": "open-loop",
        "title": f"open loop, {rate:,} records of 1 KiB per s",
        "rate": rate,
        "figures": figures,
        "command": ["ottla-load", "produce", *generator.flags(open_loop_values(rate, seconds))],
        **compare(peers, one_round, ("produce_p50_us",), [*figures, "broker_cpu_share"]),
    }


def tiny(peers: Sequence[Peer], program: Path) -> dict[str, Any]:
    """One record a request, one request at a time, fifty connections."""
    values = {"seconds": EFFORT.seconds(TINY_S)}

    def one_round(peer: Peer) -> Round:
        topic = f"load-{next(numbers)}"
        create_topic(peer.process, topic, PARTITIONS)
        meter = Meter(peer.process)
        told = generator.run(program, "tiny", {"bootstrap": peer.process.bootstrap, "topics": topic, **values})
        usage = meter.stop()
        delete_topic(peer.process, topic)
        faultless(told)
        return {
            "requests_per_s": told["requests_per_s"],
            "p99_us": told["latency"]["p99_us"],
            **asdict(usage),
            "broker_cpu_us": usage.broker_cpu_s * 1e6 / told["requests"],
            "generator": told,
        }

    return {
        "workload": "tiny",
        "title": "one record a request, 50 connections",
        "command": ["ottla-load", "tiny", *generator.flags(values)],
        **compare(peers, one_round, ("requests_per_s",), ("requests_per_s", "p99_us", "broker_cpu_us")),
    }
