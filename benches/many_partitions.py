"""Many partitions: topics are created, described, written, read, survive a stop and a kill, and are deleted.

One round is the whole life of one broker over a new directory, the same for each: protocol-level requests of ours with
those of `PER_REQUEST` topics in each, encoded beforehand, one after the other on one connection. What a request costs
the broker is its CPU while it is repeated (`CPU_S` each). A start is over when Metadata names every partition with a
leader and a Fetch of all brings what was written. A JVM is never warm here: a round is what an operator sees.

    python -m benches.many_partitions --topics 10000        Ottla alone, as large as wanted
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benches import many_requests as ask
from benches.effort import EFFORT
from benches.link import ASK_EVERY_S, frame, response
from benches.peers import Peer, make_peers
from benches.rounds import Round, interleaved, summary

TOPICS, PARTITIONS = 1_000, 10
# Of topics: Kafka's controller takes 10,000 records in one batch.
PER_REQUEST = 500
# For a Fetch: an answer of Ottla's holds a mebibyte of few records each and then 256 files, the next one has the rest.
FETCHED_PER_REQUEST = 100
# How many topics are created and deleted each by a request of its own.
ALONE = 200
METADATA_TOPICS = 1_000
CPU_S = 1.0
WAIT_S = 600.0
VALUE = b"x" * 100
# So many in each partition.
RECORDS = 2
FIGURES = {
    "created_per_s": "partitions created per s, 500 topics in a request",
    "created_alone_per_s": "the same, one topic in a request",
    "created_cpu_us": "broker CPU for each partition created, us",
    "metadata_cpu_ms": "Metadata of 1,000 topics, broker CPU, ms",
    "metadata_all_cpu_ms": "Metadata of all topics, broker CPU, ms",
    "describe_s": "DescribeTopicPartitions of all, s",
    "list_cpu_us": "ListOffsets (latest), broker CPU for each partition, us",
    "produced_first_per_s": "first record into each partition: partitions per s",
    "produced_per_s": "second record into each partition: partitions per s",
    "produced_cpu_us": "broker CPU of that for each partition, us",
    "fetched_cpu_us": "Fetch of all, two records in each, broker CPU for each partition, us",
    "idle_fetch_cpu_us": "Fetch at the end of all, broker CPU for each partition, us",
    "created_mib": "resident memory after creation, MiB",
    "written_mib": "resident memory after two records in each, MiB",
    "descriptors": "descriptors then",
    "stop_s": "clean stop, s",
    "clean_start_s": "start after it until all is served, s",
    "clean_start_mib": "resident memory then, MiB",
    "killed_start_s": "start after SIGKILL until all is served, s",
    "killed_start_mib": "resident memory then, MiB",
    "deleted_per_s": "partitions deleted per s",
}


class Play:
    """One broker, one round."""

    def __init__(self, peer: Peer, topics: int, partitions: int, say: Callable[[str], None]) -> None:
        self.peer = peer
        self.process = peer.process
        self.names = [f"topic-{number:06}" for number in range(topics)]
        self.partitions = partitions
        self.count = topics * partitions
        self.say = say
        self.figures: Round = {}
        self.link: ask.Wide

    def note(self, **figures: float) -> None:
        self.figures.update(figures)
        for name, value in figures.items():
            self.say(f"{self.peer.name}: {FIGURES.get(name, name)}: {value:,.2f}")

    def play(self) -> Round:
        self.process.start()
        self.link = ask.Wide(self.process, WAIT_S)
        self.create()
        self.describe()
        self.write_and_read()
        self.restart()
        self.delete()
        self.process.stop()
        return self.figures

    # The steps.

    def create(self) -> None:
        count = min(ALONE, len(self.names) // 2)
        alone, rest = self.names[:count], self.names[count:]
        begun, cpu_s = time.perf_counter(), self.process.cpu_seconds()
        for group in ask.groups(rest, PER_REQUEST):
            self.done(ask.CREATE, ask.created(group, self.partitions))
        took_s, cpu_s = time.perf_counter() - begun, self.process.cpu_seconds() - cpu_s
        made = max(1, len(rest) * self.partitions)
        self.note(created_per_s=made / took_s, created_cpu_us=cpu_s * 1e6 / made)
        begun = time.perf_counter()
        for name in alone:
            self.done(ask.CREATE, ask.created([name], self.partitions))
        self.note(created_alone_per_s=len(alone) * self.partitions / (time.perf_counter() - begun))
        self.wait_for_leaders()
        self.note(created_mib=self.mib())

    def describe(self) -> None:
        named = ask.metadata(self.names[:METADATA_TOPICS])
        self.note(metadata_cpu_ms=self.cpu_of([named]) * 1e3)
        everything = ask.metadata(None)
        self.note(metadata_all_cpu_ms=self.cpu_of([everything]) * 1e3)
        begun = time.perf_counter()
        found, _ = ask.describe_all(self.link, self.names)
        self.note(describe_s=time.perf_counter() - begun)
        assert found == self.count, f"{found} of {self.count} partitions are described"

    def write_and_read(self) -> None:
        frames = self.frames(lambda names: ask.producing(names, self.partitions, VALUE))
        for what in ("produced_first", "produced"):
            begun, cpu_s = time.perf_counter(), self.process.cpu_seconds()
            for data in frames:
                self.without_errors(ask.PRODUCE, self.link.exchange(data))
            self.note(**{f"{what}_per_s": self.count / (time.perf_counter() - begun)})
        self.note(produced_cpu_us=(self.process.cpu_seconds() - cpu_s) * 1e6 / self.count)
        self.note(written_mib=self.mib(), descriptors=self.descriptors())
        listings = self.frames(lambda names: ask.listing(names, self.partitions, ask.LATEST))
        self.note(list_cpu_us=self.cpu_of(listings) * 1e6 / self.count)
        for data in self.frames(lambda names: ask.listing(names, self.partitions, ask.EARLIEST)):
            self.without_errors(ask.LIST_OFFSETS, self.link.exchange(data))
        self.read_all()
        self.note(fetched_cpu_us=self.cpu_of(self.fetches(0)) * 1e6 / self.count)
        self.note(idle_fetch_cpu_us=self.cpu_of(self.fetches(RECORDS)) * 1e6 / self.count)

    def restart(self) -> None:
        begun = time.perf_counter()
        self.process.stop()
        self.note(stop_s=time.perf_counter() - begun)
        self.start("clean_start")
        self.process.kill()
        self.start("killed_start")

    def delete(self) -> None:
        begun = time.perf_counter()
        for group in ask.groups(self.names, PER_REQUEST):
            self.done(ask.DELETE, ask.deleted(group))
        self.note(deleted_per_s=self.count / (time.perf_counter() - begun))
        named = ask.partitions_named(self.link.exchange(ask.metadata(None)))
        assert named == 0, f"{named} partitions are left"

    # What they share.

    def frames(self, make: Callable[[Sequence[str]], bytes], topics: int | None = None) -> list[bytes]:
        return [make(group) for group in ask.groups(self.names, topics or PER_REQUEST)]

    def fetches(self, offset: int) -> list[bytes]:
        return self.frames(lambda names: ask.fetching(names, self.partitions, offset), FETCHED_PER_REQUEST)

    def done(self, key: int, request: Any) -> None:
        self.without_errors(key, self.link.exchange(frame(key, request)))

    def without_errors(self, key: int, answer: bytes) -> None:
        refused = sum(1 for code in ask.codes(response(key, answer)) if code)
        if refused:
            raise RuntimeError(f"{self.peer.name}: {refused} errors in the answer to {key}")

    def cpu_of(self, frames: Sequence[bytes]) -> float:
        """CPU of the broker for all of these once."""
        for data in frames:
            self.link.exchange(data)
        turns = 0
        begun, cpu_s = time.perf_counter(), self.process.cpu_seconds()
        while time.perf_counter() - begun < CPU_S:
            for data in frames:
                self.link.exchange(data)
            turns += 1
        return (self.process.cpu_seconds() - cpu_s) / turns

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def mib(self) -> float:
        return self.process.resident_bytes() / (1 << 20)

    def read_all(self) -> None:
        """Every record that was written is there."""
        found = 0
        for data in self.fetches(0):
            answer = self.link.exchange(data)
            self.without_errors(ask.FETCH, answer)
            found += answer.count(VALUE)
        if found != RECORDS * self.count:
            raise RuntimeError(f"{self.peer.name} has {found} of {RECORDS * self.count} records")

    def wait_for_leaders(self) -> None:
        """Until Metadata names a leader for each, and that leader serves it."""
        data = ask.metadata(None)
        while ask.partitions_named(self.link.exchange(data)) < self.count:
            self.pause()
        for data in self.frames(lambda names: ask.listing(names, self.partitions, ask.LATEST)):
            while any(ask.codes(response(ask.LIST_OFFSETS, self.link.exchange(data)))):
                self.pause()

    def start(self, what: str) -> None:
        begun = time.perf_counter()
        self.process.launch()
        while True:
            with contextlib.suppress(OSError):
                self.link = ask.Wide(self.process, WAIT_S)
                self.wait_for_leaders()
                break
            self.pause()
        self.read_all()
        self.note(**{f"{what}_s": time.perf_counter() - begun, f"{what}_mib": self.mib()})

    def pause(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"{self.peer.name} ended with {self.process.wait_ended(ASK_EVERY_S)}")


def one_round(
    folder: Path,
    name: str,
    topics: int,
    partitions: int,
    settings: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Round:
    (peer,) = make_peers(folder, [name], settings)
    try:
        return Play(peer, topics, partitions, say).play()
    finally:
        peer.process.kill()
        shutil.rmtree(folder / name, ignore_errors=True)


def run(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Interleaved rounds over brokers of their own."""
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    topics = EFFORT.records(TOPICS)
    for name in interleaved(names, EFFORT.rounds):
        rounds[name].append(one_round(folder, name, topics, PARTITIONS))
    return {
        "workload": "partitions",
        "topics": topics,
        "partitions": PARTITIONS,
        # Both raise their soft limit to it.
        "descriptors_max": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "rounds": rounds,
        **{figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in FIGURES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="ottla", help="which broker (%(default)s)")
    parser.add_argument("--topics", type=int, default=TOPICS)
    parser.add_argument("--partitions", type=int, default=PARTITIONS, help="of each topic (%(default)s)")
    parser.add_argument("--durability", default="os", choices=("os", "fsync"), help="of Ottla (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="many-", dir=options.folder))
    settings = {"ottla.durability": options.durability}
    try:
        done = one_round(folder, options.peer, options.topics, options.partitions, settings, print)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
