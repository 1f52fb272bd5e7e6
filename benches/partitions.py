"""`python -m benches.partitions`: 50,000 partitions in one broker, and what they cost when nobody uses them.

Fifty topics of a thousand partitions are made by the admin API, under the usual limit of 1,024 descriptors. For each
start of the broker: seconds to the first answer and until Metadata names every partition, memory, descriptors. First
without records, then with one in each partition; after a clean stop and after SIGKILL.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import confluent_kafka as ck

from tests.clients.drivers import CK_ADMIN, QUIET
from tests.processes import OttlaProcess

DESCRIPTORS = 1024
RESIDENT_MIB_MAX = 600
PARTITION_KIB_MAX = 8
TIMEOUT_S = 1200
SETTINGS = {"node.id": "1", "offsets.topic.replication.factor": "1", "ottla.durability": "os"}


class LimitedProcess(OttlaProcess):
    """Under the limit of descriptors that a shell has by default."""

    def command(self) -> list[str]:
        limited = f'ulimit -n {DESCRIPTORS} && exec "$@"'
        return ["sh", "-c", limited, "sh", *super().command()]


class Run:
    """One broker, and what was seen of it."""

    def __init__(self, folder: Path, topics: int, partitions: int) -> None:
        self.broker = LimitedProcess(folder, SETTINGS)
        self.topics = [f"idle-{number}" for number in range(topics)]
        self.partitions = partitions
        self.empty_mib = 0.0
        self.faults: list[str] = []

    @property
    def count(self) -> int:
        return len(self.topics) * self.partitions

    def admin(self) -> Any:
        return CK_ADMIN.AdminClient({"bootstrap.servers": self.broker.bootstrap, **QUIET})

    def resident_mib(self) -> float:
        return self.broker.resident_bytes() / (1 << 20)

    def start(self, what: str) -> None:
        """Starts the broker and says what that took."""
        begun = time.monotonic()
        self.broker.launch()
        self.broker.wait_until_up(TIMEOUT_S)
        self.say(f"start {what}", begun)

    def say(self, what: str, begun: float) -> None:
        answered_s = time.monotonic() - begun
        found = self.admin().list_topics(timeout=TIMEOUT_S).topics
        named = sum(len(found[topic].partitions) for topic in self.topics if topic in found)
        named_s = time.monotonic() - begun
        resident_mib, descriptors = self.resident_mib(), len(list(Path(f"/proc/{self.broker.pid}/fd").iterdir()))
        each_kib = (resident_mib - self.empty_mib) * 1024 / self.count
        print(
            f"{what:44} {answered_s:6.2f} s, Metadata of {named} partitions {named_s - answered_s:5.2f} s more, "
            f"{resident_mib:6.1f} MiB resident, {each_kib:4.1f} KiB each, {descriptors} descriptors",
            flush=True,
        )
        if named != self.count:
            self.faults.append(f"{what}: Metadata names {named} of {self.count} partitions")
        # Of a few thousand it is noise.
        is_dear = each_kib >= PARTITION_KIB_MAX and self.count >= 5000
        if resident_mib >= RESIDENT_MIB_MAX or is_dear:
            self.faults.append(f"{what}: {resident_mib:.1f} MiB resident, {each_kib:.1f} KiB per partition")
        if descriptors >= DESCRIPTORS // 2:
            self.faults.append(f"{what}: {descriptors} descriptors")

    def create(self) -> None:
        admin = self.admin()
        for topic in self.topics:
            new = CK_ADMIN.NewTopic(topic, num_partitions=self.partitions)
            admin.create_topics([new], operation_timeout=TIMEOUT_S, request_timeout=TIMEOUT_S)[topic].result(TIMEOUT_S)

    def fill(self) -> None:
        """One record in each partition."""
        producer = ck.Producer({"bootstrap.servers": self.broker.bootstrap, "linger.ms": 50, **QUIET})
        failures: list[str] = []

        def told(error: object, _: object) -> None:
            if error is not None:
                failures.append(str(error))

        for topic in self.topics:
            for partition in range(self.partitions):
                producer.produce(topic, b"one record", partition=partition, on_delivery=told)
            producer.flush(TIMEOUT_S)
        self.faults += [f"not delivered: {failure}" for failure in failures[:5]]

    def timed_stop(self) -> None:
        begun = time.monotonic()
        os.kill(self.broker.pid, signal.SIGTERM)
        code = self.broker.wait_ended(TIMEOUT_S)
        if code != 0 or self.broker.faults():
            self.faults.append(f"the stop ended with {code}: {self.broker.faults()}")
        print(f"{'clean stop':44} {time.monotonic() - begun:6.2f} s", flush=True)

    def play(self) -> None:
        self.broker.start()
        self.empty_mib = self.resident_mib()
        print(f"{'no topics':44} {self.empty_mib:.1f} MiB resident", flush=True)
        begun = time.monotonic()
        self.create()
        self.say("made", begun)
        for records in ("no records", "a record in each"):
            if records != "no records":
                begun = time.monotonic()
                self.fill()
                self.say("one record written to each", begun)
            self.timed_stop()
            self.start(f"after a clean stop, {records}")
            self.broker.kill()
            self.start(f"after SIGKILL, {records}")
        self.timed_stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, default=50)
    parser.add_argument("--partitions", type=int, default=1000, help="of each topic (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="partitions-", dir=options.folder))
    run = Run(folder / "ottla", options.topics, options.partitions)
    try:
        run.play()
    finally:
        run.broker.kill()
        shutil.rmtree(folder, ignore_errors=True)
    for fault in run.faults:
        print(fault)
    sys.exit(1 if run.faults else 0)


if __name__ == "__main__":
    main()
