"""`python -m tests.soak`: a broker under a steady load for hours, past retention (and past the page cache, if
--retention-mib says so), with its memory, descriptors, files and times printed as it goes. `make soak` runs it.

Memory, descriptors and the data directory must not grow once retention has begun to delete; nothing that was
acknowledged may be missing to a consumer that keeps up. Times are printed, for people to judge.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import confluent_kafka as ck

from tests.clients.drivers import DRIVERS, QUIET
from tests.conftest import TEST_SETTINGS
from tests.processes import OttlaProcess, Process

PARTITIONS = 4
RECORD_BYTES = 1024
# Keys of the compacted topic: overwritten for as long as it runs.
KEYS = 5000
SAMPLES = 24
SEGMENT_BYTES = 4 << 20


@dataclass(frozen=True)
class Sample:
    """What the broker holds, and what its clients saw since the sample before."""

    minutes: float
    resident_mib: float
    descriptors: int
    data_mib: float
    records: int
    ack_p50_ms: float
    ack_p99_ms: float

    def line(self) -> str:
        return (
            f"{self.minutes:7.1f} min  {self.resident_mib:7.1f} MiB resident  {self.descriptors:4} descriptors  "
            f"{self.data_mib:8.1f} MiB of data  {self.records:9} records  "
            f"p50 {self.ack_p50_ms:6.1f} ms  p99 {self.ack_p99_ms:6.1f} ms"
        )


@dataclass
class Load:
    """One producer and one consumer that keeps up, on threads of their own."""

    bootstrap: str
    bytes_per_s: float
    stop: threading.Event = field(default_factory=threading.Event)
    latencies_s: deque[float] = field(default_factory=deque)
    acknowledged: dict[int, int] = field(default_factory=dict)
    consumed: dict[int, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for work in (self.produce, self.consume):
            thread = threading.Thread(target=self.guarded, args=(work,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def guarded(self, work: Any) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it was, the run tells
            self.failures.append(f"{type(error).__name__}: {error}")

    def produce(self) -> None:
        producer = ck.Producer(
            {"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 5, **QUIET}
        )
        noise = random.Random(1)
        values = [noise.randbytes(RECORD_BYTES) for _ in range(256)]
        begun, sent = time.monotonic(), 0

        def delivered(asked: float, error: Any, message: Any) -> None:
            if error is not None:
                self.failures.append(f"not delivered: {error}")
                return
            self.latencies_s.append(time.monotonic() - asked)
            if message.topic() == "stream":
                partition = message.partition()
                self.acknowledged[partition] = max(self.acknowledged.get(partition, 0), message.offset() + 1)

        while not self.stop.is_set():
            ahead_s = sent * RECORD_BYTES / self.bytes_per_s - (time.monotonic() - begun)
            if ahead_s > 0 or len(producer) > 50_000:
                producer.poll(min(max(ahead_s, 0.001), 0.1))
                continue
            value, now = values[sent % len(values)], time.monotonic()

            def told(error: Any, message: Any, now: float = now) -> None:
                delivered(now, error, message)

            if sent % 4 == 3:
                producer.produce("keys", value, b"%d" % (sent % KEYS), partition=0, on_delivery=told)
            else:
                producer.produce("stream", value, partition=sent % PARTITIONS, on_delivery=told)
            sent += 1
            producer.poll(0)
        if left := producer.flush(60):
            self.failures.append(f"{left} records were never answered")

    def consume(self) -> None:
        consumer = ck.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "soak",
                "enable.auto.commit": True,
                "auto.offset.reset": "error",
                **QUIET,
            }
        )
        consumer.assign([ck.TopicPartition("stream", partition, 0) for partition in range(PARTITIONS)])
        try:
            while not self.stop.is_set() or self.is_behind():
                for message in consumer.consume(1000, 0.1):
                    if message.error() is not None:
                        self.failures.append(f"consumer: {message.error()}")
                        return
                    partition, offset = message.partition(), message.offset()
                    assert partition is not None
                    assert offset is not None
                    if offset != self.consumed.get(partition, 0):
                        self.failures.append(f"{partition}: {offset} after {self.consumed.get(partition, 0) - 1}")
                        return
                    self.consumed[partition] = offset + 1
        finally:
            consumer.close()

    def is_behind(self) -> bool:
        producing = self.threads[0].is_alive()
        return producing or any(self.consumed.get(each, 0) < end for each, end in self.acknowledged.items())


def size_of(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except FileNotFoundError:  # deleted while we looked
                continue
    return total


def sample(broker: Process, load: Load, begun: float) -> Sample:
    latencies = sorted(load.latencies_s.popleft() for _ in range(len(load.latencies_s)))

    def at(share: float) -> float:
        return 1000 * latencies[int(share * (len(latencies) - 1))] if latencies else 0.0

    return Sample(
        minutes=(time.monotonic() - begun) / 60,
        resident_mib=broker.resident_bytes() / (1 << 20),
        descriptors=len(list(Path(f"/proc/{broker.pid}/fd").iterdir())),
        data_mib=size_of(broker.data_dir) / (1 << 20),
        records=len(latencies),
        ack_p50_ms=at(0.5),
        ack_p99_ms=at(0.99),
    )


def complaints(samples: Sequence[Sample]) -> list[str]:
    """What grew between the second quarter of the run and the last."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    found = []
    for name, share, slack in (("resident_mib", 1.1, 16.0), ("descriptors", 1.0, 16.0), ("data_mib", 1.1, 64.0)):
        before = statistics.median(getattr(each, name) for each in early)
        after = statistics.median(getattr(each, name) for each in late)
        if after > before * share + slack:
            found.append(f"{name} grew from {before:.0f} to {after:.0f}")
    return found


def soak(broker: Process, minutes: float, mib_per_s: float, retention_mib: int) -> list[Sample]:
    """Runs the load and returns the samples; fails if anything grew or went missing."""
    driver = DRIVERS["librdkafka"](broker.bootstrap)
    segments = {"segment.bytes": str(SEGMENT_BYTES), "file.delete.delay.ms": "1000"}
    kept = {"retention.bytes": str((retention_mib << 20) // PARTITIONS)}
    driver.create_topic("stream", PARTITIONS, configs={**segments, **kept})
    compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2"}
    driver.create_topic("keys", 1, configs={**segments, **compacted})
    load = Load(broker.bootstrap, mib_per_s * (1 << 20))
    load.start()
    begun = time.monotonic()
    samples = []
    try:
        for number in range(1, SAMPLES + 1):
            load.stop.wait(max(0.0, begun + 60 * minutes * number / SAMPLES - time.monotonic()))
            samples.append(sample(broker, load, begun))
            print(samples[-1].line(), flush=True)
            assert not load.failures, load.failures
    finally:
        load.stop.set()
        for thread in load.threads:
            thread.join(120)
    assert not load.failures, load.failures
    assert load.consumed == load.acknowledged, "everything that was acknowledged was read, and nothing else"
    assert min(load.acknowledged.values()) * RECORD_BYTES > 2 * (retention_mib << 20) // PARTITIONS, "past retention"
    grown = complaints(samples)
    assert not grown, grown
    return samples


SETTINGS = {
    **TEST_SETTINGS,
    "log.retention.check.interval.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    "log.flush.offset.checkpoint.interval.ms": "5000",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES", "240")))
    parser.add_argument("--mib-per-s", type=float, default=20, help="what is produced (%(default)s)")
    parser.add_argument(
        "--retention-mib", type=int, default=256, help="what is kept; past the page cache: more than memory"
    )
    parser.add_argument("--folder", type=Path, help="where the broker keeps its data")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-", dir=options.folder) as folder:
        broker = OttlaProcess(Path(folder), SETTINGS)
        broker.start()
        try:
            soak(broker, options.minutes, options.mib_per_s, options.retention_mib)
        except AssertionError as error:
            sys.exit(f"soak failed: {error}")
        finally:
            broker.stop()
    print("memory, descriptors and data were flat")


if __name__ == "__main__":
    main()
