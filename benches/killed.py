"""`python -m benches.killed`: a broker is killed under load, and what its next start costs.

Idempotent producers with acks=all write to ten partitions until so many GiB are acknowledged; the broker gets SIGKILL
while they go on, and is started again. What is measured comes from its log: bytes scanned, time for the scan and for
the syncs. Then nothing that was acknowledged may be missing: each log ends where it was acknowledged, or behind, and
the last records of each are those that were sent.

Two forms. `bounded`, the default settings: recovery points are written down once a minute, so that much is looked at
again. `worst`: they never are, and everything is.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import confluent_kafka as ck

from tests.clients.drivers import CK_ADMIN, QUIET
from tests.processes import OttlaProcess

PARTITIONS = 10
RECORD_BYTES = 16 << 10
PRODUCERS = 2
# So many of the last acknowledged records of a partition are read again.
TAIL_RECORDS = 50
SETTINGS = {"node.id": "1", "offsets.topic.replication.factor": "1"}
# With an hour in between no recovery point is written down before the broker is killed.
FORMS: dict[str, dict[str, str]] = {
    "bounded": {},
    "worst": {"log.flush.offset.checkpoint.interval.ms": "3600000"},
}
START_TIMEOUT_S = 300
RECOVERED = re.compile(
    r"^(?P<at>\S+ \S+?)(?P<ms>,\d{3})? .*recovered load-\d+ in (?P<took>\d+) ms, "
    r"(?P<sync>\d+) of them for syncs: scanned (?P<bytes>\d+) bytes",
    re.MULTILINE,
)


@dataclass
class Load:
    """Producers on threads, and what was acknowledged to them."""

    bootstrap: str
    stop: threading.Event = field(default_factory=threading.Event)
    # By partition: the offset behind the last acknowledged record, and the last values by offset.
    ends: dict[int, int] = field(default_factory=dict)
    tails: dict[int, dict[int, int]] = field(default_factory=dict)
    acknowledged_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def delivered(self, number: int, error: Any, message: Any) -> None:
        if error is not None:
            return
        partition, offset = message.partition(), message.offset()
        with self.lock:
            self.ends[partition] = max(self.ends.get(partition, 0), offset + 1)
            tail = self.tails.setdefault(partition, {})
            tail[offset] = number
            if len(tail) > 4 * TAIL_RECORDS:
                for old in sorted(tail)[:-TAIL_RECORDS]:
                    del tail[old]
            self.acknowledged_bytes += RECORD_BYTES

    def produce(self, producer_number: int) -> None:
        """Until told to stop. What is not answered by then never will be: its broker is gone."""
        producer = ck.Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "linger.ms": 5,
                "batch.size": 1 << 20,
                "queue.buffering.max.kbytes": 64 << 10,
                **QUIET,
            }
        )
        noise = random.Random(producer_number).randbytes(RECORD_BYTES + 4096)
        number = producer_number
        while not self.stop.is_set():
            value = number.to_bytes(8, "big") + noise[number % 4096 :][: RECORD_BYTES - 8]

            def told(error: Any, message: Any, number: int = number) -> None:
                self.delivered(number, error, message)

            try:
                producer.produce("load", value, partition=number % PARTITIONS, on_delivery=told)
            except BufferError:
                producer.poll(0.05)
                continue
            number += PRODUCERS
            producer.poll(0)
        producer.purge()
        producer.flush(5)


@dataclass(frozen=True)
class Recovery:
    """What the start after the crash did, by its log."""

    scanned_bytes: int
    took_s: float
    # The threads' time for scans, without the syncs, and for these.
    scan_s: float
    sync_s: float
    # From the launch to the first answer.
    up_s: float

    def line(self, form: str, acknowledged_bytes: int, threads: int) -> str:
        gib = self.scanned_bytes / (1 << 30)
        # Threads scan and sync side by side: the share of the scans is what the wall clock had for them.
        share = self.scan_s / max(self.scan_s + self.sync_s, 1e-9)
        rate = gib / max(self.took_s * share, 1e-9)
        return (
            f"{form:8} {acknowledged_bytes / (1 << 30):6.2f} GiB acknowledged, {gib:6.2f} GiB scanned in "
            f"{self.took_s:6.2f} s of {threads} threads at {rate:5.2f} GiB/s of scan; "
            f"{self.sync_s:6.2f} s of {self.scan_s + self.sync_s:6.2f} s in threads for "
            f"the syncs of tails; answering after {self.up_s:5.2f} s"
        )


def recovery_of(output: str, up_s: float) -> Recovery:
    found = [
        (match, datetime.fromisoformat(f"{match['at']}{(match['ms'] or '').replace(',', '.')}"))
        for match in RECOVERED.finditer(output)
    ]
    if not found:
        return Recovery(0, 0.0, 0.0, 0.0, up_s)
    begun = min(at - timedelta(milliseconds=int(match["took"])) for match, at in found)
    ended = max(at for _, at in found)
    took_ms = sum(int(match["took"]) for match, _ in found)
    sync_ms = sum(int(match["sync"]) for match, _ in found)
    return Recovery(
        scanned_bytes=sum(int(match["bytes"]) for match, _ in found),
        took_s=(ended - begun).total_seconds(),
        scan_s=(took_ms - sync_ms) / 1000,
        sync_s=sync_ms / 1000,
        up_s=up_s,
    )


def missing(bootstrap: str, load: Load) -> list[str]:
    """What was acknowledged and is not there."""
    consumer = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": "none", **QUIET})
    faults = []
    try:
        for partition, end in sorted(load.ends.items()):
            place = ck.TopicPartition("load", partition)
            _, found = consumer.get_watermark_offsets(place, timeout=60)
            if found < end:
                faults.append(f"partition {partition} ends at {found}, acknowledged up to {end}")
                continue
            tail = load.tails[partition]
            wanted = {offset: tail[offset] for offset in sorted(tail)[-TAIL_RECORDS:]}
            consumer.assign([ck.TopicPartition("load", partition, min(wanted))])
            while wanted and (message := consumer.poll(30)) is not None and message.error() is None:
                offset, value = message.offset(), message.value()
                number = wanted.pop(-1 if offset is None else offset, None)
                if number is not None and (value is None or value[:8] != number.to_bytes(8, "big")):
                    faults.append(f"partition {partition} has another record at {offset}")
            faults += [f"partition {partition} has no record at {offset}" for offset in wanted]
    finally:
        consumer.close()
    return faults


def run(folder: Path, form: str, gib: float, durability: str, settings: Mapping[str, str]) -> list[str]:
    """One form; prints its figures and returns what is wrong."""
    given = {**SETTINGS, **FORMS[form], "ottla.durability": durability, **settings}
    broker = OttlaProcess(folder, given)
    broker.start()
    try:
        admin = CK_ADMIN.AdminClient({"bootstrap.servers": broker.bootstrap, **QUIET})
        admin.create_topics([CK_ADMIN.NewTopic("load", num_partitions=PARTITIONS)])["load"].result(30)
        load = Load(broker.bootstrap)
        threads = [threading.Thread(target=load.produce, args=(number,), daemon=True) for number in range(PRODUCERS)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        while load.acknowledged_bytes < gib * (1 << 30):
            threads[0].join(0.1)
        wrote_s = time.monotonic() - begun
        broker.kill()
        load.stop.set()
        for thread in threads:
            thread.join()
        before = len(broker.output())
        begun = time.monotonic()
        broker.launch()
        broker.wait_until_up(START_TIMEOUT_S)
        up_s = time.monotonic() - begun
        faults = missing(broker.bootstrap, load)
        recovery = recovery_of(broker.output()[before:], up_s)
        print(
            f"{form:8} written at {load.acknowledged_bytes / wrote_s / (1 << 20):.0f} MiB/s, {durability}", flush=True
        )
        count = int(given.get("num.recovery.threads.per.data.dir", "2"))
        print(recovery.line(form, load.acknowledged_bytes, count), flush=True)
        return faults
    finally:
        broker.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=10, help="acknowledged before the kill (%(default)s)")
    parser.add_argument("--forms", default="bounded,worst", help="of bounded, worst (%(default)s)")
    parser.add_argument("--durability", default="os,fsync", help="of os, fsync (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the data goes: the disk that is measured")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the broker")
    options = parser.parse_args()
    settings = dict(word.split("=", 1) for word in options.set)
    faults = []
    for form in options.forms.split(","):
        for durability in options.durability.split(","):
            folder = Path(tempfile.mkdtemp(prefix="killed-", dir=options.folder))
            try:
                faults += run(folder / "ottla", form, options.gib, durability, settings)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
