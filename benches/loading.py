"""`python -m benches.loading`: how long a coordinator takes to know what its log says.

Writes commits of offsets over a number of keys into a data directory, opens it again, and has a group coordinator load
it: once with everything in one partition, once spread over fifty. Told are the time until the last shard serves and
until the first one does, the longest turn of the control plane meanwhile (a heartbeat waits for no more than that), and
the memory the process took. The files are in the page cache, as after a restart of the process.
"""

from __future__ import annotations

import argparse
import random
import resource
import select
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ottla import _core
from ottla.cli.serve import collect_garbage_seldom
from ottla.clock import DeadlineQueue, SystemClock, SystemRandom
from ottla.controller.names import OFFSETS_TOPIC
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.coordinator.group.offsets import CommittedOffset
from ottla.coordinator.group.records import offset_commit
from ottla.coordinator.shard import State
from ottla.protocol.commits import Commits, CommittingJournal
from ottla.testing import MemoryTopics, memory_cluster
from ottla.types import Record

TOPIC_ID = bytes(range(16))
RECORDS_PER_BATCH = 500
OFFSETS_PER_GROUP = 10
WAIT_S = 60


class Broker:
    """As much of one as a coordinator needs."""

    def __init__(self, folder: Path, partitions: int) -> None:
        self.bridge = _core.Bridge(_core.Codec())
        self.commits = Commits()
        self.engine = _core.Engine([str(folder)], bridge=self.bridge, node_id=1, cluster_id=None, settings={})
        config = {"cleanup.policy": "compact", "ottla.durability": "os", "segment.bytes": "104857600"}
        places = [(index, 1, 0, 0, [1], [1]) for index in range(partitions)]
        topic = (OFFSETS_TOPIC, TOPIC_ID, True, config, places)
        self.engine.publish(offset=1, controller_id=1, brokers=[], topics=[topic], deleted=[])

    def journal(self, partition: int) -> CommittingJournal:
        return CommittingJournal(self.engine.journal(OFFSETS_TOPIC, partition), self.commits)


def commits(codec: _core.Codec, partition: int, count: int, keys: int) -> Iterator[list[Record]]:
    """`count` commits in batches, each of a random one of the keys."""
    chance = random.Random(partition)
    values: list[list[Record]] = []
    for key in range(keys):
        group = f"consumers-of-partition-{partition}-{key // OFFSETS_PER_GROUP}"
        of_key: list[Record] = []
        for version in range(2):
            now_ms = 1_700_000_000_000 + version
            committed = CommittedOffset(chance.randrange(1 << 40), 3, "", now_ms, -1, TOPIC_ID)
            of_key.append(codec.encode_coordinator_record(*offset_commit(group, "flights", key % 10, committed)))
        values.append(of_key)
    for begun in range(0, count, RECORDS_PER_BATCH):
        size = min(RECORDS_PER_BATCH, count - begun)
        yield [values[chance.randrange(keys)][number & 1] for number in range(size)]


def write(folder: Path, partitions: int, count: int, keys: int) -> None:
    broker, codec = Broker(folder, partitions), _core.Codec()
    for partition in range(partitions):
        journal = broker.journal(partition)
        for batch in commits(codec, partition, count // partitions, keys // partitions):
            journal.append(batch, 0)
    broker.engine.close()


@dataclass(frozen=True)
class Load:
    """What one took."""

    took_s: float
    first_s: float
    longest_turn_ms: float
    memory_mib: float

    def __str__(self) -> str:
        return (
            f"{self.took_s:.2f} s, the first shard after {self.first_s:.2f} s; "
            f"longest turn {self.longest_turn_ms:.1f} ms; {self.memory_mib:.0f} MiB more"
        )


def load(folder: Path, partitions: int) -> Load:
    """Load it all."""
    broker, deadlines, clock = Broker(folder, partitions), DeadlineQueue(), SystemClock()
    coordinator = GroupCoordinator(
        broker.journal,
        partitions,
        _core.Codec(),
        deadlines,
        clock,
        SystemRandom(),
        memory_cluster(MemoryTopics()),
    )
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    for partition in range(partitions):
        coordinator.load(partition)
    turns = [time.perf_counter() - begun]
    first = None
    while True:
        states = [shard.state for shard in coordinator.status.shards]
        if first is None and State.ACTIVE in states:
            first = time.perf_counter() - begun
        if set(states) == {State.ACTIVE}:
            break
        waits = WAIT_S if deadlines.next_deadline_ms is None else 0
        ready = select.select([broker.bridge.fileno()], [], [], waits)[0]
        assert ready or not waits, f"{states.count(State.ACTIVE)} shards are there after {WAIT_S} s"
        turn = time.perf_counter()
        for _, token, *_ in broker.bridge.drain(256):
            broker.commits.committed(token)
        for callback in deadlines.due(clock.monotonic_ms()):
            callback()
        coordinator.flush_turn()
        turns.append(time.perf_counter() - turn)
    took = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before
    broker.engine.close()
    assert first is not None
    return Load(took, first, max(turns) * 1000, memory / 1024)


def main() -> None:
    collect_garbage_seldom()
    parser = argparse.ArgumentParser(
        prog="benches.loading", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commits", type=int, default=5_000_000, help="(%(default)s)")
    parser.add_argument("--keys", type=int, default=50_000, help="over which they go (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the files are written")
    options = parser.parse_args()
    for partitions in (1, 50):
        folder = Path(tempfile.mkdtemp(prefix="bench-loading-", dir=options.folder))
        try:
            write(folder, partitions, options.commits, options.keys)
            size = sum(file.stat().st_size for file in folder.rglob("*.log"))
            for _ in range(2):
                print(
                    f"{options.commits:,} commits of {options.keys:,} keys in {partitions} partitions, "
                    f"{size / (1 << 20):.0f} MiB: {load(folder, partitions)}",
                    flush=True,
                )
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
