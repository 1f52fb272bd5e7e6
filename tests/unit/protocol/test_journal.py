"""A native journal beside the one in memory that tests use: the same calls, the same answers."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ottla import _core
from ottla.controller.names import OFFSETS_TOPIC
from ottla.errors import ErrorCode, RequestError, StorageError
from ottla.protocol.commits import Commits, CommittingJournal
from ottla.protocol.markers import PartitionMarkers
from ottla.testing import MemoryJournal
from ottla.types import BatchProducer, Journal, LoadedRecord, Loading, TransactionMarker

WAIT_S = 30
T = TypeVar("T")


class Native:
    """An engine in memory whose control plane is the test."""

    def __init__(self, partitions: int = 4, config: dict[str, str] | None = None, **settings: int) -> None:
        self.bridge = _core.Bridge(_core.Codec())
        self.commits = Commits()
        named = {name.replace("_", "."): value for name, value in settings.items()}
        self.engine = _core.Engine(None, bridge=self.bridge, node_id=1, cluster_id=None, settings=named)
        self.config = {"cleanup.policy": "compact", "ottla.durability": "os", **(config or {})}
        self.offset = 0
        self.publish("t", b"1" * 16, partitions)

    def publish(self, name: str, topic_id: bytes, partitions: int, *, leader: int = 1) -> None:
        self.offset += 1
        places = [(index, leader, 0, 0, [1], [1]) for index in range(partitions)]
        self.engine.publish(
            offset=self.offset,
            controller_id=1,
            brokers=[],
            topics=[(name, topic_id, False, self.config, places)],
            deleted=[],
        )

    def journal(self, partition: int = 0) -> CommittingJournal:
        return CommittingJournal(self.engine.journal("t", partition), self.commits)

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Serve what comes up until then."""
        while not done():
            assert select.select([self.bridge.fileno()], [], [], WAIT_S)[0], "nothing comes up any more"
            for kind, token, *_ in self.bridge.drain(256):
                assert kind == "committed"
                self.commits.committed(token)


@pytest.fixture
def native() -> Iterator[Native]:
    native = Native()
    yield native
    native.engine.close()


def outcome(call: Callable[[], T]) -> T | str:
    """What it gives, or the code it is refused with."""
    try:
        return call()
    except RequestError as error:
        return error.code.name


def loaded(journal: Journal, wait_until: Callable[[Callable[[], bool]], None], piece: int = 50) -> list[LoadedRecord]:
    """Everything a load gives, taken in pieces."""
    loads: list[Loading] = []
    journal.load(loads.append)
    wait_until(lambda: bool(loads))
    (load,) = loads
    found: list[LoadedRecord] = []
    while not load.is_over:
        taken = load.take(piece)
        assert taken
        found += taken
    assert load.take(piece) == []
    assert load.end_offset == journal.high_watermark
    return found


producers = st.integers(1, 2)
epochs = st.sampled_from([0, 0, 0, 1, 1, 2])
keys = st.lists(st.integers(0, 2), min_size=1, max_size=2)
deeds = st.lists(
    st.one_of(
        st.tuples(st.just("append"), keys, st.booleans()),
        st.tuples(st.just("begin"), producers, epochs, st.booleans()),
        st.tuples(st.just("transaction"), producers, epochs, keys),
        # As a coordinator does it.
        st.tuples(st.just("both"), producers, epochs, st.booleans(), keys),
        st.tuples(st.just("marker"), producers, epochs, st.booleans(), st.integers(0, 1), st.sampled_from([0, 2])),
    ),
    min_size=5,
    max_size=25,
)


class Pair:
    """Both, and what their verifications gave."""

    def __init__(self, real: Journal, memory: Journal) -> None:
        self.journals = (real, memory)
        self.guards: dict[int, list[int | str | None]] = {}

    def same(self, call: Callable[[Journal], object]) -> None:
        one, other = (outcome(lambda journal=journal: call(journal)) for journal in self.journals)  # type: ignore[misc]
        assert one == other

    def append(self, step: int, keys: list[int], live: bool) -> None:
        records = [(f"k{key}".encode(), f"{step}".encode() if live else None) for key in keys]
        self.same(lambda journal: journal.append(records, 5))

    def begin(self, producer_id: int, epoch: int, bumps_epoch: bool) -> None:
        given: list[int | str | None] = [
            outcome(partial(journal.start_verification, producer_id, epoch, bumps_epoch=bumps_epoch))
            for journal in self.journals
        ]
        assert {type(each) for each in given} == {type(given[0])}
        assert isinstance(given[0], int) or given[0] == given[1]
        self.guards[producer_id] = given

    def write(self, step: int, producer_id: int, epoch: int, keys: list[int]) -> None:
        records = [(f"k{key}".encode(), f"{step}".encode()) for key in keys]
        guards = [each if isinstance(each, int) else None for each in self.guards.get(producer_id, [None, None])]
        one, other = (
            outcome(partial(journal.append, records, 5, BatchProducer(producer_id, epoch, guard)))
            for journal, guard in zip(self.journals, guards, strict=True)
        )
        assert one == other

    def end(self, producer_id: int, epoch: int, committed: bool, coordinator_epoch: int, version: int) -> None:
        marker = TransactionMarker(producer_id, epoch, committed, coordinator_epoch, version, ())
        self.same(lambda journal: journal.append_marker(marker))


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(deeds)
def test_both_journals_are_alike(deeds: list[Any]) -> None:
    """Offsets, refusals, verifications; and what a load gives in the end."""
    native = Native(partitions=1)
    real, memory = native.journal(), MemoryJournal()
    pair = Pair(real, memory)
    try:
        for step, deed in enumerate(deeds):
            match deed:
                case ("append", keys, live):
                    pair.append(step, keys, live)
                case ("begin", producer_id, epoch, bumps_epoch):
                    pair.begin(producer_id, epoch, bumps_epoch)
                case ("transaction", producer_id, epoch, keys):
                    pair.write(step, producer_id, epoch, keys)
                case ("both", producer_id, epoch, bumps_epoch, keys):
                    pair.begin(producer_id, epoch, bumps_epoch)
                    pair.write(step, producer_id, epoch, keys)
                case ("marker", *marker):
                    pair.end(*marker)
            assert real.high_watermark == memory.high_watermark
        assert loaded(real, native.wait_until) == loaded(memory, lambda _: None)
    finally:
        native.engine.close()


def test_a_load_that_fails_says_so(native: Native) -> None:
    """The engine is closed meanwhile; there is nothing to load from."""
    journal = native.journal()
    journal.append([(b"k", b"v")], 0)
    loads: list[Loading] = []
    native.engine.close()
    journal.load(loads.append)
    native.wait_until(lambda: bool(loads))
    with pytest.raises(StorageError):
        loads[0].take(100)
    assert loads[0].is_over


def test_compaction_keeps_what_is_open() -> None:
    """The log is cleaned up to the first open transaction; what that wrote is there until its marker decides."""
    config = {"segment.bytes": "2000", "min.cleanable.dirty.ratio": "0", "file.delete.delay.ms": "0"}
    native = Native(1, config, log_cleaner_backoff_ms=1)

    def commit(journal: Journal, count: int) -> None:
        for number in range(count):
            journal.append([(b"k", f"{number}".encode() * 20)], 0)

    def cleaned_below(bytes_max: int) -> None:
        """The cleaner has its own pace."""
        for _ in range(20_000):
            size = native.engine.usage()[0][3][0][2]
            if size < bytes_max:
                return
            select.select([], [], [], 0.001)
        pytest.fail(f"{size} bytes are not cleaned")

    try:
        journal = native.journal()
        commit(journal, 100)
        guard = journal.start_verification(7, 3, bumps_epoch=False)
        journal.append([(b"k", b"pending"), (b"p", b"pending")], 0, BatchProducer(7, 3, guard))
        opened = journal.high_watermark - 1
        commit(journal, 100)
        cleaned_below(14_000)
        last = journal.high_watermark - 1
        expected = [
            (opened - 1, b"k", b"pending", 7, 3),
            (opened, b"p", b"pending", 7, 3),
            (last, b"k", b"99" * 20, -1, -1),
        ]
        assert loaded(journal, native.wait_until) == expected
        journal.append_marker(TransactionMarker(7, 3, True, 0, 0, ()))
        commit(journal, 100)
        cleaned_below(5_000)
        last = journal.high_watermark - 1
        expected = [(opened, b"p", b"pending", -1, -1), (last, b"k", b"99" * 20, -1, -1)]
        assert loaded(journal, native.wait_until) == expected
    finally:
        native.engine.close()


def test_markers_are_written_to_many_partitions_at_once() -> None:
    """Each gets its code; the answer comes when all are on the disk, or refused."""
    native = Native(config={"ottla.durability": "fsync"})
    native.publish("elsewhere", b"2" * 16, 1, leader=2)
    groups: Any = None
    markers = PartitionMarkers(native.engine, native.commits, groups)
    answers: list[dict[tuple[str, int], ErrorCode]] = []

    def write(epoch: int, *partitions: tuple[str, int], coordinator_epoch: int = 5, version: int = 0) -> str:
        answers.clear()
        marker = TransactionMarker(7, epoch, True, coordinator_epoch, version, partitions)
        markers.write(marker, answers.append)
        native.wait_until(lambda: bool(answers))
        return " ".join(f"{name}-{index}={code.name}" for (name, index), code in answers[0].items())

    try:
        journal = native.journal()
        guard = journal.start_verification(7, 3, bumps_epoch=False)
        journal.append([(b"k", b"v")], 0, BatchProducer(7, 3, guard))
        assert write(2, ("t", 0), ("t", 1)) == "t-0=INVALID_PRODUCER_EPOCH t-1=NONE"
        assert write(3, ("t", 0), ("t", 1), ("t", 3)) == "t-0=NONE t-1=NONE t-3=NONE"
        assert journal.high_watermark == 2
        assert write(3, ("t", 0), version=2) == "t-0=NONE", "again"
        assert write(3, ("t", 0), coordinator_epoch=4) == "t-0=TRANSACTION_COORDINATOR_FENCED"
        assert write(3, ("t", 9), ("u", 0), ("elsewhere", 0)) == (
            "t-9=UNKNOWN_TOPIC_OR_PARTITION u-0=UNKNOWN_TOPIC_OR_PARTITION elsewhere-0=NOT_LEADER_OR_FOLLOWER"
        )
        assert write(3) == ""
        code, producers = native.engine.producers([("t", 0), ("t", 9)])[0]
        assert (code, [(each[0], each[1], each[2], each[4], each[5]) for each in producers]) == (0, [(7, 3, -1, 5, -1)])
        assert native.engine.producers([("t", 9)]) == [(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, [])]
    finally:
        native.engine.close()


class Groups:
    """The coordinator of groups, which answers when it likes."""

    partition_count = 2

    def __init__(self) -> None:
        self.asked: list[tuple[int, Callable[[ErrorCode], None]]] = []
        self.transactions = self

    def end(self, partition: int, _marker: TransactionMarker, done: Callable[[ErrorCode], None]) -> None:
        self.asked.append((partition, done))


def test_offsets_belong_to_the_groups(native: Native) -> None:
    """Their partitions go to who owns them; all is answered when all is known."""
    fake: Any = Groups()
    markers = PartitionMarkers(native.engine, native.commits, fake)
    answers: list[dict[tuple[str, int], ErrorCode]] = []
    partitions = (("t", 0), *((OFFSETS_TOPIC, index) for index in range(3)))
    markers.write(TransactionMarker(7, 0, True, 0, 0, partitions), answers.append)
    assert [partition for partition, _ in fake.asked] == [0, 1]
    fake.asked[1][1](ErrorCode.NOT_LEADER_OR_FOLLOWER)
    native.wait_until(lambda: not len(native.commits))
    assert answers == []
    fake.asked[0][1](ErrorCode.NONE)
    codes = ["NONE", "NONE", "NOT_LEADER_OR_FOLLOWER", "UNKNOWN_TOPIC_OR_PARTITION"]
    assert [code.name for code in answers[0].values()] == codes
