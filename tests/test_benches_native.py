"""The native load generator sends what it says it sent, and reads what it says it read, whatever the broker does.

Its own parts have their tests in Rust; here it talks to a broker, and another client looks at what came of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import confluent_kafka as ck
import pytest
from kafka.partitioner.default import murmur2

from benches import generator, librdkafka, slow_sync
from benches.link import create_topic
from benches.report_data_plane import TABLES, table
from tests.conftest import TEST_SETTINGS
from tests.processes import OttlaProcess

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 5
# What goes with each form, and what the values of its records must be like.
FORMS: dict[str, dict[str, object]] = {
    "plain": {"acks": "all", "record-bytes": 300, "batch-bytes": 4000, "connections": 2},
    "keyed": {"record-bytes": 50, "keys": 200, "batch-bytes": 2000, "batches-per-request": 3, "codec": "zstd"},
    "idempotent": {"record-bytes": 50, "idempotent": True, "acks": "all", "connections": 3, "batch-records": 7},
    "unanswered": {"record-bytes": 1000, "acks": "0", "codec": "lz4", "connections": 2},
    "open": {"record-bytes": 100, "rate": 50_000, "connections": 2, "codec": "snappy"},
}
RECORDS = 3000


@pytest.fixture(scope="module")
def program() -> Path:
    if shutil.which(os.environ.get("CARGO", "cargo")) is None and os.environ.get("CI") != "true":
        pytest.skip("cargo not found: it builds the generator")
    return generator.build("fast")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OttlaProcess]:
    process = OttlaProcess(tmp_path_factory.mktemp("generator"), TEST_SETTINGS)
    process.start()
    yield process
    process.stop_without_fault()


def where(broker: OttlaProcess, topic: str) -> dict[str, object]:
    return {"bootstrap": broker.bootstrap, "topics": topic}


def read_all(broker: OttlaProcess, topic: str, partitions: int = PARTITIONS) -> list[ck.Message]:
    """All that librdkafka finds there, checksums checked."""
    consumer = ck.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "none", "check.crcs": True})
    places = [ck.TopicPartition(topic, partition, 0) for partition in range(partitions)]
    count = 0
    for place in places:
        ends = consumer.get_watermark_offsets(place, timeout=30)
        assert ends is not None
        count += ends[1]
    consumer.assign(places)
    found: list[ck.Message] = []
    while len(found) < count:
        came = consumer.consume(count - len(found), timeout=30)
        assert came, f"{len(found)} of {count}"
        found += came
    consumer.close()
    assert not [message.error() for message in found if message.error()]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_record_is_there(broker: OttlaProcess, program: Path, form: str) -> None:
    """What one counts as sent, it and librdkafka count as read; keys and lengths are what was asked for."""
    topic = f"there-{form}"
    create_topic(broker, topic, PARTITIONS)
    values = FORMS[form]
    sent = generator.run(program, "produce", {**where(broker, topic), **values, "records": RECORDS, "seconds": 60})
    assert sent["records"] >= RECORDS
    assert sent["errors"] == {}
    assert sent["failed_records"] == sent["unanswered_requests"] == 0
    checks = {"check": True, "connections": 2, "latency": form == "open", "seconds": 60}
    # What is answered before it is synced may not be visible yet: there the end is not where it will be.
    until = {"to-end": True} if values.get("acks") == "all" else {"records": sent["records"]}
    read = generator.run(program, "fetch", {**where(broker, topic), **checks, **until})
    assert (read["records"], read["gaps"]) == (sent["records"], 0)
    assert read["batch_bytes"] == sent["batch_bytes"]
    if form == "open":
        assert sent["records"] == RECORDS
        assert sent["latency"]["count"] == read["latency"]["count"] == RECORDS
    found = read_all(broker, topic)
    assert len(found) == sent["records"]
    lengths = [len(message.value() or b"") for message in found]
    assert set(lengths) == {values["record-bytes"]}
    assert sum(lengths) + sum(len(message.key() or b"") for message in found) == sent["value_bytes"]
    assert {message.partition() for message in found} == set(range(PARTITIONS))
    if "keys" in values:
        keys = {(message.key(), message.partition()) for message in found}
        assert {(key, (murmur2(key) & 0x7FFF_FFFF) % PARTITIONS) for key, _ in keys} == keys
        assert len(keys) > 100


def test_lines_of_a_file_and_sessions(broker: OttlaProcess, program: Path, tmp_path: Path) -> None:
    """Values are the file's lines in order, over two topics; a reader with small fetches needs many and misses none."""
    for topic in ("lines-a", "lines-b"):
        create_topic(broker, topic, PARTITIONS)
    lines = [f"line {number} {'x' * (number % 100)}".encode() for number in range(50)]
    payload = tmp_path / "payload"
    payload.write_bytes(b"\n".join(lines))
    both = where(broker, "lines-a,lines-b")
    values = {"payload": payload, "batch-bytes": 500, "distinct": 20, "records": RECORDS, "batches-per-request": 10}
    sent = generator.run(program, "produce", {**both, **values, "acks": "all"})
    small = {"to-end": True, "check": True, "partition-max-bytes": 1000, "fetch-max-bytes": 3000}
    read = generator.run(program, "fetch", {**both, **small})
    assert read["records"] == sent["records"]
    assert read["requests"] > 20
    again = generator.run(program, "fetch", {**both, "again": True, "records": 10 * RECORDS, "seconds": 60})
    assert again["records"] >= 10 * RECORDS
    found = read_all(broker, "lines-a") + read_all(broker, "lines-b")
    assert len(found) == sent["records"]
    assert {message.value() for message in found} == set(lines)


def test_tiny_requests_and_idle_connections(broker: OttlaProcess, program: Path) -> None:
    """One record a request; connections are opened, asked, held while somebody looks, and none is lost."""
    create_topic(broker, "tiny", PARTITIONS)
    told = generator.run(program, "tiny", {**where(broker, "tiny"), "records": 500, "seconds": 60})
    assert told["records"] == told["requests"] == told["latency"]["count"] >= 500
    idle = generator.Running(
        program, "idle", {"bootstrap": broker.bootstrap, "connections": 300, "burst": 64, "hold": True}
    )
    assert idle.begun == {"open": 300}
    told = idle.finish()
    assert (told["open_at_the_end"], told["lost"], told["pings"]) == (300, 0, 300)
    assert told["open_latency"]["count"] == told["ping_latency"]["count"] == 300


@pytest.mark.parametrize("command", ["produce", "fetch", "idle"])
def test_a_broker_that_goes_away(program: Path, tmp_path: Path, command: str) -> None:
    """It ends with an error that says so, and tells what it had counted; nothing panics."""
    process = OttlaProcess(tmp_path, TEST_SETTINGS)
    process.start()
    create_topic(process, "gone", PARTITIONS)
    generator.run(program, "produce", {**where(process, "gone"), "records": 1000})
    values: dict[str, object] = {"bootstrap": process.bootstrap, "connections": 3}
    values |= {"hold": True} if command == "idle" else {"topics": "gone", "seconds": 100}
    values |= {"again": True, "ready": True} if command == "fetch" else {}
    words = [str(program), command, *generator.flags(values)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as running:
        if command == "produce":
            reader = ["--bootstrap", process.bootstrap, "--topics", "gone", "--from", "end", "--records", "5000"]
            subprocess.run([str(program), "fetch", *reader, "--seconds", "60"], check=True, stdout=pipe, timeout=90)
        else:
            assert running.stdout is not None
            assert running.stdout.readline()
        process.kill()
        said, complaint = running.communicate(timeout=90)
    assert "panicked" not in complaint
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    if command == "idle":
        assert (told["open_at_the_end"], told["lost"]) == (0, 3)
    else:
        assert running.returncode == 1
        assert "broke" in told["error"] or "closed" in told["error"]
        assert told["records"] > 0 or command == "fetch"


def test_librdkafka_sends_and_reads_what_it_says(broker: OttlaProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record is acknowledged and read; of more than there are it says how many came."""
    create_topic(broker, "rdkafka", librdkafka.PARTITIONS)
    librdkafka.send(broker.bootstrap, "rdkafka", RECORDS)
    librdkafka.read(broker.bootstrap, "rdkafka", RECORDS)
    sent = read_all(broker, "rdkafka", librdkafka.PARTITIONS)
    assert [len(message.value() or b"") for message in sent] == [librdkafka.RECORD_BYTES] * RECORDS
    monkeypatch.setattr(librdkafka, "WAIT_S", 1)
    with pytest.raises(generator.Failed, match=f"{RECORDS} of {RECORDS + 1} records came"):
        librdkafka.read(broker.bootstrap, "rdkafka", RECORDS + 1)


def test_mistakes_are_told(broker: OttlaProcess, program: Path) -> None:
    """A flag that does not exist, a codec that does not exist, nobody there."""
    for values, words in (
        ({"topics": "t", "recrods": 5, "seconds": 1}, "--recrods means nothing here"),
        ({"topics": "t", "codec": "zip"}, "there is no codec zip"),
        ({}, "--topics is needed"),
    ):
        with pytest.raises(generator.Failed, match=words):
            generator.run(program, "produce", {"bootstrap": broker.bootstrap, **values})
    with pytest.raises(generator.Failed, match="refused"):
        generator.run(program, "fetch", {"bootstrap": "127.0.0.1:1", "topics": "t"})


def test_the_limit_does_all_of_it(program: Path, tmp_path: Path) -> None:
    """Everything sent is written, whole requests, synced if asked; what is fetched and unpacked is counted."""
    values = {"folder": tmp_path, "records": RECORDS, "connections": 4, "partitions": 3, "batch-bytes": 10_000}
    told = generator.run(program, "limit produce", values)
    assert told["records"] >= RECORDS
    assert told["written_bytes"] > told["batch_bytes"] > told["value_bytes"] >= RECORDS * 1024
    assert (told["syncs"], told["unanswered_requests"]) == (0, 0)
    synced = generator.run(program, "limit produce", {**values, "sync": True, "in-flight": 1})
    assert 0 < synced["syncs"] <= synced["requests"]
    told = generator.run(program, "limit fetch", {"folder": tmp_path, "file-mib": 2, "seconds": 0.2})
    assert told["received_bytes"] > 0
    told = generator.run(program, "limit decompress", {"codec": "lz4", "compress-to": 0.5, "seconds": 0.1})
    assert 0.4 < told["compressed_to"] < 0.6
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_syncs_are_slowed_down(tmp_path: Path) -> None:
    """The library stands in front of the C library's calls: no sync ends before its time."""
    script = (
        "import os, sys, time\n"
        "file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n"
        "begun = time.monotonic()\n"
        "os.fdatasync(file), os.fsync(file)\n"
        "print(time.monotonic() - begun >= 0.4)\n"
    )
    variables = {**os.environ, **slow_sync.environment(200)}
    command = [sys.executable, "-c", script, str(tmp_path / "synced")]
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert done.stdout == "True\n"


def spread(median: float) -> dict[str, float]:
    return {"median": median, "low": median, "high": median}


def test_each_workload_has_its_rows() -> None:
    """Brokers, the limit, and both ratios; above decompression alone where there is some."""
    assert table([{"workload": "start"}], ["ottla", "kafka"]) == []
    workloads: list[dict[str, Any]] = [
        {
            "workload": name,
            "title": name,
            "settled": {"kafka": False},
            **{figure: {"ottla": spread(2.0), "kafka": spread(8.0), "limit": spread(1.0)} for figure, *_ in rows},
        }
        for name, rows in TABLES.items()
    ]
    workloads[0]["unpacking"] = {"limit_cpu_s_per_gib": 0.5, "compressed_to": 0.25}
    workloads[4] |= {"sync_delay_ms": 2.0}
    lines = table(workloads, ["ottla", "kafka"])
    assert len(lines) == 3 + sum(len(rows) for rows in TABLES.values()) + 1
    assert lines[1].endswith("| ottla | kafka | limit | ottla / kafka | ottla / limit |")
    assert (
        "| native-produce: broker CPU, s per GiB | 2.00 (2.00 to 2.00) | 8.00 (8.00 to 8.00), not settled | "
        "1.00 (1.00 to 1.00) | 0.25 | 2.00 |"
    ) in lines
    three = table(workloads[1:2], ["ottla", "kafka", "kfake"])
    assert three[1].endswith("| limit | ottla / kafka | ottla / kfake | ottla / limit |")
    assert three[4].endswith("|  | 1.00 (1.00 to 1.00) | 0.25 |  | 2.00 |")
    assert any("above unpacking alone (0.50), s per GiB | 1.50 | 7.50 |" in line for line in lines)
    assert any(line.startswith("| durable, syncs 2 ms longer: p99, ms | 0.00") for line in lines)
