"""The broker as a process whose system calls fail: `strace -e inject` answers for the kernel.

What fails is a call on one path, from its n-th time on (strace counts for each thread); the rest of the disk works. In
Rust every call of the log is made to fail (`rust/log/tests/failing_disk.rs`); here a few go the whole way, from a
descriptor to an answer on the wire and a restart.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clients.drivers import wait_until
from tests.conftest import TEST_SETTINGS
from tests.kafka.broker import KafkaProcess
from tests.processes import OttlaProcess
from tests.wire.batches import Batch, Record
from tests.wire.client import Plain
from tests.wire.differential import Talk

pytestmark = [
    pytest.mark.ottla,
    pytest.mark.skipif(
        shutil.which("strace") is None and os.environ.get("CI") != "true", reason="strace is not installed"
    ),
]

STORAGE_ERROR = "kafka_storage_error"
LOG = "00000000000000000000.log"


class Traced(OttlaProcess):
    """`ottla serve` under strace, as long as there are faults to inject."""

    # What a disk that fails makes the controller say is no bug.
    fault_words: tuple[str, ...] = tuple(
        word for word in OttlaProcess.fault_words if not word.startswith("Nothing can be changed")
    )
    # path in the data directory, system calls, errno or how long they take, which calls
    faults_injected: Sequence[tuple[str, str, str, str]] = ()

    def command(self) -> list[str]:
        serve = super().command()
        if not self.faults_injected:
            return serve
        # Paths count together: one set of calls, on any of these.
        paths = [word for path, *_ in self.faults_injected for word in ("-P", str(self.data_dir / path))]
        inject = [
            word
            for _, calls, fault, when in self.faults_injected
            for word in (
                "-e",
                f"inject={calls}:{'delay_enter' if fault.endswith('s') else 'error'}={fault}:when={when}",
            )
        ]
        calls = ",".join(calls for _, calls, _, _ in self.faults_injected)
        trace = str(self.folder / "strace.log")
        # pdeathsig: killing strace kills the broker, which strace alone would let go.
        return [
            "strace",
            "-f",
            "-qq",
            "-o",
            trace,
            *paths,
            "-e",
            f"trace={calls}",
            *inject,
            "setpriv",
            "--pdeathsig",
            "KILL",
            *serve,
        ]

    def ask_to_stop(self) -> None:
        """SIGTERM for the broker (strace keeps its own), until it is heard: a thread that strace holds may get it."""
        broker = self._broker_pid()
        assert broker is not None
        heard = False
        while not heard:
            os.kill(broker, signal.SIGTERM)
            with suppress(AssertionError):
                wait_until(lambda: "stopping on SIGTERM" in self.output(), "heard", wait_s=5)
                heard = True

    def injected(self) -> int:
        return (self.folder / "strace.log").read_text().count("(INJECTED)")

    def kill(self) -> None:
        """SIGKILL, and the broker is gone when this returns."""
        broker = self._broker_pid()
        super().kill()
        if broker is not None:
            _wait_gone(broker)

    def _broker_pid(self) -> int | None:
        if self._process is None or not self.faults_injected:
            return None
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        found = children.read_text().split() if children.exists() else []
        return int(found[0]) if found else None


def _wait_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        select.select([descriptor], [], [], 60)
        os.close(descriptor)


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    process = Traced(tmp_path / "broker", {**TEST_SETTINGS, "log.flush.offset.checkpoint.interval.ms": "1000"})
    yield process
    process.kill()
    assert not process.faults(), process.output_path


def produce(talk: Talk, topic: str, value: bytes, acks: int = -1, partition: int = 0) -> tuple[str, str | None]:
    """The error and its words; no retry."""
    partitions = [{"index": partition, "records": Batch([Record(value=value)]).encode()}]
    answer = talk.quietly(
        "produce", 12, acks=acks, timeout=10_000, topic_data=[{"name": topic, "partition_data": partitions}]
    )
    found = answer["responses"][0]["partition_responses"][0]
    return found["error_code"], found["error_message"]


def started_on_a_good_disk(traced: Traced, unique: str) -> Talk:
    """The broker, killed if it still runs and started again, with nothing that fails."""
    traced.kill()
    traced.faults_injected = []
    traced.start()
    return Talk(traced, unique)


def log_end(talk: Talk, topic: str) -> int:
    topics = [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}]
    answer = talk.quietly("list_offsets", 5, topics=topics, replica_id=-1, isolation_level=0)
    found = answer["topics"][0]["partitions"][0]
    assert found["error_code"] == "none", found
    return int(found["offset"])


def until_refused(talk: Talk, topic: str, partition: int = 0) -> int:
    """Produces until it is refused with a storage error; how many were acknowledged."""
    for acknowledged in range(100):
        code, _ = produce(talk, topic, b"%d" % acknowledged, partition=partition)
        if code != "none":
            assert code == STORAGE_ERROR
            return acknowledged
    pytest.fail("nothing failed")


def test_a_failed_sync_and_a_kill(traced: Traced, unique: str) -> None:
    """A sync of a log fails: the producer is told, and the log is cut at what was acknowledged, which the disk had."""
    traced.faults_injected = [(f"{unique}-0/{LOG}", "fdatasync", "EIO", "2+")]
    traced.start()
    talk = Talk(traced, unique)
    talk.create()
    acknowledged = until_refused(talk, unique)
    # Asks until the log line is there, which takes its own way.
    while f"partition {unique}-0 is offline" not in traced.output():
        assert produce(talk, unique, b"again")[0] == STORAGE_ERROR, "nothing is tried again"
    talk.close()
    traced.kill()
    assert traced.injected() > 0
    marker = traced.data_dir / f"{unique}-0" / "ottla-durable-offset"
    assert f"durable_offset: {acknowledged}\n" in marker.read_text()
    talk = started_on_a_good_disk(traced, unique)
    assert log_end(talk, unique) == acknowledged
    assert not marker.exists()
    assert produce(talk, unique, b"goes on")[0] == "none"
    talk.close()


def test_a_failed_sync_whose_marker_fails_too(traced: Traced, unique: str) -> None:
    """The data directory goes offline, and with it the broker; the next start reads the tail from the disk."""
    partition = f"{unique}-0"
    traced.faults_injected = [
        (f"{partition}/{LOG}", "fdatasync", "EIO", "2+"),
        (f"{partition}/ottla-durable-offset.tmp", "fdatasync", "EIO", "2+"),
    ]
    traced.start()
    talk = Talk(traced, unique)
    talk.create()
    talk.create("-other")
    talk.produce(talk.topic("-other"), Batch([Record(value=b"v")]))
    acknowledged = until_refused(talk, unique)
    talk.close()
    assert traced.wait_ended() == 1, "its metadata log was in that directory"
    assert "data directory is offline" in traced.output()
    assert traced.injected() >= 2
    assert "page_cache: suspect" in (traced.data_dir / ".ottla_disk_state").read_text()
    talk = started_on_a_good_disk(traced, unique)
    assert "tails are read from the disk" in traced.output()
    assert log_end(talk, unique) >= acknowledged
    assert log_end(talk, talk.topic("-other")) == 1
    assert produce(talk, unique, b"goes on")[0] == "none"
    talk.close()
    traced.stop_without_fault()
    traced.start()
    assert "page_cache: trusted" in (traced.data_dir / ".ottla_disk_state").read_text()


class TracedTwice(Traced):
    """With two data directories; the metadata log is in the first."""

    def command(self) -> list[str]:
        self.settings["log.dirs"] = ",".join(str(self.data_dir / name) for name in ("first", "second"))
        words = super().command()
        at = words.index("--data-dir")
        return [*words[:at], *words[at + 2 :]]


# What version 5 says of a directory that failed.
FAILED: Plain = {
    "error_code": STORAGE_ERROR,
    "topics": [],
    "total_bytes": -1,
    "usable_bytes": -1,
    "is_cordoned": False,
}


def log_dirs(talk: Talk, topic: str, version: int) -> list[Plain]:
    """What DescribeLogDirs says of each directory, in the order of their names."""
    answer = talk.quietly("describe_log_dirs", version, topics=None)
    assert answer.get("error_code", "none") == "none"
    found: list[Plain] = sorted(answer["results"], key=lambda each: str(each["log_dir"]))
    for directory in found:
        directory["log_dir"] = Path(directory["log_dir"]).name
        directory["topics"] = [
            [each["partition_index"] for each in of["partitions"]] for of in directory["topics"] if of["name"] == topic
        ]
        for size in {"total_bytes", "usable_bytes"} & directory.keys():
            directory[size] = min(directory[size], 1)
    return found


def test_one_of_two_directories_fails(tmp_path: Path, unique: str) -> None:
    """DescribeLogDirs tells of the directory that it failed and nothing else, and of the other one as ever; what lies
    there goes on.
    """
    traced = TracedTwice(tmp_path / "broker", TEST_SETTINGS)
    lost = f"second/{unique}-1"
    traced.faults_injected = [
        (f"{lost}/{LOG}", "fdatasync", "EIO", "2+"),
        (f"{lost}/ottla-durable-offset.tmp", "fdatasync", "EIO", "2+"),
    ]
    try:
        traced.start()
        talk = Talk(traced, unique)
        talk.create(partitions=2)
        until_refused(talk, unique, partition=1)
        # The partition is told of before the directory.
        wait_until(lambda: log_dirs(talk, unique, 5)[1]["error_code"] != "none", "the directory failed")
        assert produce(talk, unique, b"goes on")[0] == "none"
        newest, oldest = (log_dirs(talk, unique, version) for version in (5, 1))
        talk.close()
        assert traced.injected() > 0
    finally:
        traced.kill()
    assert not traced.faults(), traced.output_path
    sizes = {"total_bytes": 1, "usable_bytes": 1}
    assert newest == [
        {"error_code": "none", "log_dir": "first", "topics": [[0]], **sizes, "is_cordoned": False},
        {**FAILED, "log_dir": "second"},
    ]
    assert [(each["error_code"], each["topics"]) for each in oldest] == [("none", [[0]]), (STORAGE_ERROR, [])]


@pytest.mark.kafka
def test_kafka_says_the_same_of_a_directory_that_failed(tmp_path: Path, unique: str) -> None:
    """There it fails when the broker starts: a file is in its place."""
    second = tmp_path / "second"
    second.write_text("not a directory")
    kafka = KafkaProcess(tmp_path / "kafka", TEST_SETTINGS)
    kafka.settings["log.dirs"] = f"{kafka.data_dir},{second}"
    try:
        kafka.start()
        talk = Talk(kafka, unique)
        found = {each["log_dir"]: each for each in log_dirs(talk, unique, 5)}
        talk.close()
    finally:
        kafka.kill()
    assert found["second"] == {**FAILED, "log_dir": "second"}


def test_a_full_disk(traced: Traced, unique: str) -> None:
    """A full disk for a while: records are refused with the reason, and are taken when there is room again."""
    traced.faults_injected = [(f"{unique}-0/{LOG}", "pwritev,pwrite64", "ENOSPC", "2..3")]
    traced.start()
    talk = Talk(traced, unique)
    talk.create()
    taken = [produce(talk, unique, b"%d" % number) for number in range(60)]
    refused = [words for code, words in taken if code == STORAGE_ERROR]
    assert [words for code, words in taken if code not in {"none", STORAGE_ERROR}] == []
    assert len(refused) == traced.injected() > 0
    assert all("No space left on device" in str(words) for words in refused)
    assert taken[-1][0] == "none"
    assert log_end(talk, unique) == 60 - len(refused)
    talk.close()
    talk = started_on_a_good_disk(traced, unique)
    assert log_end(talk, unique) == 60 - len(refused)
    talk.close()


@pytest.mark.parametrize(
    "path, calls, errno",
    [
        pytest.param("recovery-point-offset-checkpoint.tmp", "rename,renameat,renameat2", "EIO", id="checkpoint"),
        pytest.param("recovery-point-offset-checkpoint.tmp", "openat", "ENOSPC", id="checkpoint-on-a-full-disk"),
        pytest.param("{topic}-0/leader-epoch-checkpoint.tmp", "fdatasync", "EIO", id="epochs"),
        pytest.param("{topic}-0/" + LOG, "openat", "ENOSPC", id="new-segment"),
        pytest.param("{topic}-0/" + LOG, "pwritev,pwrite64", "EIO", id="write"),
    ],
)
def test_what_was_acknowledged_is_there(traced: Traced, unique: str, path: str, calls: str, errno: str) -> None:
    """One call fails once: whoever is refused is told so; after a kill all that was acknowledged is there."""
    traced.faults_injected = [(path.format(topic=unique), calls, errno, "1")]
    traced.start()
    talk = Talk(traced, unique)
    talk.create()
    codes = [produce(talk, unique, b"%d" % number)[0] for number in range(5)]
    assert set(codes) <= {"none", STORAGE_ERROR}, codes
    # Writes checkpoints at once.
    partitions = [{"partition_index": 0, "offset": 0}]
    talk.quietly("delete_records", 2, topics=[{"name": unique, "partitions": partitions}], timeout=10_000)
    talk.close()
    talk = started_on_a_good_disk(traced, unique)
    assert traced.injected() > 0
    assert log_end(talk, unique) == codes.count("none")
    assert produce(talk, unique, b"goes on")[0] == "none"
    talk.close()


def test_a_stop_says_what_it_waits_for(traced: Traced, unique: str) -> None:
    """A disk that does not answer holds up a clean stop; which file, and how many are left, is said now and then."""
    traced.faults_injected = [(f"{unique}-0/{LOG}", "fdatasync", "600s", "1+")]
    traced.start()
    talk = Talk(traced, unique)
    talk.create()
    assert produce(talk, unique, b"v", acks=1)[0] == "none"
    talk.close()
    traced.ask_to_stop()
    waits = re.compile(rf"stopping for \d+ s: waiting for .*/{unique}-0 to be on the disk, after \d+ of \d+ partitions")
    wait_until(lambda: waits.search(traced.output()) is not None, "it says what it waits for")
    assert traced.running


def test_a_topic_that_does_not_wait_for_the_disk(traced: Traced, unique: str) -> None:
    """A topic's own durability counts, and is shown: without a sync nothing fails."""
    traced.faults_injected = [(f"{unique}-0/{LOG}", "fdatasync", "EIO", "1+")]
    traced.start()
    talk = Talk(traced, unique)
    talk.create(configs={"ottla.durability": "os"})
    assert {produce(talk, unique, b"v")[0] for _ in range(20)} == {"none"}
    resource = {"resource_type": 2, "resource_name": unique, "configuration_keys": None}
    answer = talk.quietly("describe_configs", 4, resources=[resource], include_synonyms=False)
    shown = {entry["name"]: entry["value"] for entry in answer["results"][0]["configs"]}
    assert shown["ottla.durability"] == "os"
    talk.close()
    traced.kill()
    assert traced.injected() == 0


def test_commits_of_a_group_whose_disk_fails(traced: Traced, unique: str) -> None:
    """Who waits for the disk is told that it waits in vain, and where to: Kafka resigns such a coordinator too. After
    the next start what was acknowledged is there.
    """
    traced.settings["offsets.topic.num.partitions"] = "1"
    traced.faults_injected = [(f"__consumer_offsets-0/{LOG}", "fdatasync", "EIO", "4+")]
    traced.start()
    talk = Talk(traced, unique)
    talk.create()
    talk.coordinate(unique)

    def commit(offset: int) -> str:
        place = {"partition_index": 0, "committed_offset": offset, "committed_metadata": ""}
        topics = [{"name": unique, "partitions": [{**place, "committed_leader_epoch": -1}]}]
        fields: Plain = {"group_id": unique, "member_id": "", "group_instance_id": None}
        answer = talk.quietly("offset_commit", 7, generation_id_or_member_epoch=-1, topics=topics, **fields)
        return str(answer["topics"][0]["partitions"][0]["error_code"])

    def committed() -> int:
        topics = [{"name": unique, "partition_indexes": [0]}]
        answer = talk.quietly("offset_fetch", 7, group_id=unique, topics=topics, require_stable=True)
        assert answer["error_code"] == "none"
        return int(answer["topics"][0]["partitions"][0]["committed_offset"])

    codes = [commit(offset) for offset in range(20)]
    acknowledged = codes.index("not_coordinator")
    assert codes == ["none"] * acknowledged + ["not_coordinator"] * (20 - acknowledged)
    assert acknowledged
    talk.close()
    talk = started_on_a_good_disk(traced, unique)
    assert traced.injected() > 0
    talk.coordinate(unique)
    # The failed one may have been on the disk before its sync failed, but is cut.
    assert committed() == acknowledged - 1
    talk.close()
