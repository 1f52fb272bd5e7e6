"""Debian's kcat, which brings librdkafka 2.0.2: what an old C client and a person at a shell see."""

from __future__ import annotations

import json
import re
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.drivers import DRIVERS
from tests.clients.programs import Program, refuse
from tests.processes import Process

WAIT_S = 30
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
EVERY = frozenset(range(6))


@pytest.fixture(autouse=True)
def _kcat() -> None:
    refuse(None if shutil.which("kcat") else "kcat not found: the tests of an old librdkafka need it (Debian: kcat)")


def kcat(broker: Process, *arguments: str, stdin: str = "") -> str:
    """Runs it to its end; fails with what it says on stderr."""
    command = ["kcat", "-b", broker.bootstrap, "-m", str(WAIT_S), *("-X", "fetch.wait.max.ms=100"), *arguments]
    run = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=2 * WAIT_S, check=False)
    assert run.returncode == 0, f"{command}: {run.stderr}"
    return run.stdout


def create(broker: Process, topic: str, partitions: int) -> None:
    """By another client: kcat creates topics only by producing to them."""
    DRIVERS["librdkafka"](broker.bootstrap).create_topic(topic, partitions)


def lines(word: str, count: int) -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def stored_codec(broker: Process, topic: str) -> int:
    """The codec in the header of the first batch on the disk."""
    (segment,) = (broker.data_dir / f"{topic}-0").glob("*.log")
    (attributes,) = struct.unpack_from(">h", segment.read_bytes(), 21)
    return int(attributes) & 7


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_compressed_is_stored_compressed(broker: Process, unique: str, codec: str) -> None:
    """An old librdkafka compresses only for a broker that says it takes Produce v0; else it sends plain batches."""
    create(broker, unique, 1)
    sent = lines("a line that repeats itself " * 10, 200)
    kcat(broker, "-P", "-t", unique, "-p", "0", "-z", codec, stdin="\n".join(sent))
    assert stored_codec(broker, unique) == CODECS[codec]
    assert kcat(broker, "-C", "-t", unique, "-o", "beginning", "-e", "-q").splitlines() == sent


def test_keys_headers_offsets_and_times(broker: Process, unique: str) -> None:
    """A record's parts in kcat's format, from the beginning, from an offset, the last ones, and from a time."""
    create(broker, unique, 1)
    kcat(broker, "-P", "-t", unique, "-K", ":", "-H", "a=1", "-H", "b=2", stdin="k0:v0\nk1:v1\nk2:v2")
    read = ("-C", "-t", unique, "-e", "-q", "-f", "%p %o %k=%s %h\n")
    every = [f"0 {number} k{number}=v{number} a=1,b=2" for number in range(3)]
    assert kcat(broker, *read, "-o", "beginning").splitlines() == every
    assert kcat(broker, *read, "-p", "0", "-o", "1").splitlines() == every[1:]
    assert kcat(broker, *read, "-p", "0", "-o", "-2").splitlines() == every[1:]
    assert kcat(broker, *read, "-p", "0", "-o", "s@1600000000000").splitlines() == every
    assert kcat(broker, "-Q", "-t", f"{unique}:0:1600000000000") == f"{unique} [0] offset 0\n"
    assert kcat(broker, "-Q", "-t", f"{unique}:0:-1") == f"{unique} [0] offset 3\n"


def test_metadata(broker: Process, unique: str) -> None:
    """-L names the broker and each partition's leader, for one topic and for all, as JSON and as text."""
    create(broker, unique, 3)
    found = json.loads(kcat(broker, "-L", "-J", "-t", unique))
    assert [(each["id"], each["name"]) for each in found["brokers"]] == [(1, broker.bootstrap)]
    (topic,) = found["topics"]
    assert topic["topic"] == unique
    assert [(each["partition"], each["leader"], each["replicas"]) for each in topic["partitions"]] == [
        (partition, 1, [{"id": 1}]) for partition in range(3)
    ]
    text = kcat(broker, "-L")
    assert f'  topic "{unique}" with 3 partitions:' in text
    assert f"  broker 1 at {broker.bootstrap} (controller)" in text


def test_a_group_goes_on_where_it_stopped(broker: Process, unique: str) -> None:
    """What one consumer of a group took is not given to the next."""
    create(broker, unique, 1)
    kcat(broker, "-P", "-t", unique, "-p", "0", stdin="\n".join(lines("line", 20)))
    member = ("-G", unique, "-q", "-X", "auto.offset.reset=earliest")
    assert kcat(broker, *member, "-c", "12", unique).splitlines() == lines("line", 20)[:12]
    assert kcat(broker, *member, "-c", "8", unique).splitlines() == lines("line", 20)[12:]


class GroupMember(Program):
    """kcat -G: its records, and between them what it says of its assignments."""

    def __init__(self, broker: Process, group: str, errors: Path, changed: threading.Condition) -> None:
        self.records: set[str] = set()
        self.owned: frozenset[int] = frozenset()
        self._changed = changed
        quick = ("session.timeout.ms=1500", "heartbeat.interval.ms=200", "auto.offset.reset=earliest")
        options = [word for setting in quick for word in ("-X", setting)]
        command = ["kcat", "-b", broker.bootstrap, "-u", "-G", group, *options, group]
        super().__init__(["sh", "-c", 'exec "$@" 2>&1', "sh", *command], errors)

    def said(self, line: str) -> None:
        assigned = re.search(r"rebalanced \(memberid \S+\): (assigned|revoked)(.*)", line)
        with self._changed:
            if assigned is None:
                self.records.add(line.strip())
            else:
                own = re.findall(r"\[(\d+)\]", assigned[2]) if assigned[1] == "assigned" else ()
                self.owned = frozenset(map(int, own))
            self._changed.notify_all()

    def ended(self) -> None:
        pass


class Three:
    """Three members of one group."""

    def __init__(self, broker: Process, group: str, folder: Path) -> None:
        self._changed = threading.Condition()
        self.members = [GroupMember(broker, group, folder / f"{number}.err", self._changed) for number in range(3)]

    def wait_until_each_owns(self, count: int) -> None:
        def share() -> bool:
            owned = [member.owned for member in self.members]
            return {len(one) for one in owned} == {count} and frozenset().union(*owned) == EVERY

        with self._changed:
            assert self._changed.wait_for(share, WAIT_S), f"{count} each: {[each.owned for each in self.members]}"

    def wait_for_records(self, expected: set[str]) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: expected <= set().union(*(each.records for each in self.members)), WAIT_S
            ), [len(each.records) for each in self.members]


@pytest.fixture
def three(broker: Process, unique: str, tmp_path: Path) -> Iterator[Three]:
    create(broker, unique, 6)
    made = Three(broker, unique, tmp_path)
    yield made
    for member in made.members:
        member.stop(signal.SIGKILL)


def test_three_members_of_whom_one_is_killed(broker: Process, unique: str, three: Three) -> None:
    """Two partitions each, and three each after kill -9; what comes later arrives at the others."""
    three.wait_until_each_owns(2)
    early = lines("early", 60)
    kcat(broker, "-P", "-t", unique, "-p", "-1", stdin="\n".join(early))
    three.wait_for_records(set(early))
    three.members.pop().stop(signal.SIGKILL)
    three.wait_until_each_owns(3)
    late = lines("late", 60)
    kcat(broker, "-P", "-t", unique, "-p", "-1", stdin="\n".join(late))
    three.wait_for_records(set(late))
