"""`ottla log` on a log that its owner changes meanwhile: no false damage, nothing left out in silence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle, pairwise
from threading import Event
from typing import TYPE_CHECKING

import pytest

import ottla
from ottla.embed import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL = {"internal.segment.bytes": "2000", "file.delete.delay.ms": "0"}
LARGE = SMALL | {"internal.segment.bytes": "100000"}


def fill(log: ottla.Log, count: int = 200) -> None:
    for number in range(count):
        log.append(b"%d" % number * 7, key=b"k%d" % (number % 3), timestamp=number)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ottla.Log]:
    """Two hundred records of three keys in many segments, which a pass of compaction would make one of."""
    with ottla.Log(tmp_path / "d", compacted=True, config=SMALL) as log:
        fill(log)
    with ottla.Log(tmp_path / "d", compacted=True, config=LARGE) as log:
        yield log


@pytest.fixture
def partition(log: ottla.Log, tmp_path: Path) -> files.Partition:
    (found,) = files.find(tmp_path / "d", "d")
    assert len(files.verify(found).segments) > 5
    return found


def truncate(log: ottla.Log) -> None:
    """And so many others behind that they pass for what was there."""
    log.truncate(50)
    for number in range(100):
        log.append(b"x" * (number % 50), key=b"k")


def append_and_compact(log: ottla.Log) -> None:
    fill(log)
    log.compact()


CHANGES: dict[str, Callable[[ottla.Log], object]] = {
    "compact": lambda log: log.compact(),
    "truncate": truncate,
    "truncate-all": lambda log: log.truncate(0),
    "delete": lambda log: log.delete_before(150),
    "append": fill,
    "append-and-compact": append_and_compact,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("when", [0, 2, 5])
def test_verify(log: ottla.Log, partition: files.Partition, when: int, change: Callable[[ottla.Log], object]) -> None:
    """Nothing is found in a log of which nothing is wrong, whatever happens to it between two segments; what it counts
    is there.
    """
    told: list[int] = []

    def progress(count: int) -> None:
        told.append(count)
        if len(told) == when + 1:
            change(log)

    report = files.verify(partition, progress)
    assert report.findings == []
    assert len(told) > when
    ends = [(segment.base_offset, segment.next_offset) for segment in report.segments]
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ends))
    there = [record.offset for record in log.read()]
    counted = sum(segment.records for segment in report.segments)
    # Of what was appended behind the segment that was the last one when it began, nothing is counted.
    assert counted <= len(there) or change is CHANGES["delete"]
    if change is CHANGES["compact"]:
        assert counted == len(there)


def test_damage_is_found_in_a_log_that_is_written(log: ottla.Log, partition: files.Partition) -> None:
    """What is wrong stays wrong in a second look."""
    path = sorted(partition.path.glob("*.log"))[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert [finding.kind for finding in files.verify(partition).findings] == ["damaged-batch"]
    (damage,) = [batch for batch in files.batches(partition) if batch.damage is not None]
    assert "checksum" in str(damage.damage)
    with pytest.raises(ottla.StorageError, match="is damaged"):
        list(files.records(partition))


def test_segments_that_are_merged_while_they_are_read(log: ottla.Log, partition: files.Partition) -> None:
    """The one that is open is read to its end as it was; what is left of those behind it comes from the new one."""
    looking = files.batches(partition, records=True)
    seen = [next(looking).base_offset]
    log.compact()
    seen += [batch.base_offset for batch in looking]
    left = [record.offset for record in log.read()]
    first_segment = [offset for offset in seen if offset < 40]
    assert first_segment == list(range(len(first_segment)))
    assert len(first_segment) > 10
    assert [offset for offset in seen if offset >= 40] == [offset for offset in left if offset >= 40]


def test_export_of_a_log_that_is_compacted(log: ottla.Log, partition: files.Partition) -> None:
    """Each key has its last value, whenever it was."""
    for at in (1, 64, 100, 199):
        found: dict[bytes | None, bytes | None] = {}
        for number, record in enumerate(files.records(partition)):
            found[record.key] = record.value
            if number == at:
                log.compact()
        assert found == {record.key: record.value for record in log.read()}
        fill(log)


def test_records_that_are_deleted_while_they_are_read(log: ottla.Log, partition: files.Partition) -> None:
    """An export that would have a hole ends with an error that says so; one from the new begin goes on."""
    looking = files.records(partition)
    next(looking)
    log.delete_before(150)
    with pytest.raises(ottla.Overtaken, match="were deleted meanwhile: begin again"):
        list(looking)
    assert [record.offset for record in files.records(partition)] == [record.offset for record in log.read()]


@pytest.mark.parametrize("left", [201, 210, 263])
def test_records_that_are_cut_off_while_they_are_read(tmp_path: Path, left: int) -> None:
    """That is an error, and no damage; what was read before was there."""
    with ottla.Log(tmp_path / "d") as log:
        fill(log, 500)
        (partition,) = files.find(tmp_path / "d", "d")
        looking = files.batches(partition, 200)
        next(looking)
        log.truncate(left)
        for number in range(300):
            log.append(b"x" * (number % 50))
        with pytest.raises(ottla.Overtaken, match="truncated meanwhile: begin again"):
            list(looking)


def test_what_is_appended_while_it_is_read(log: ottla.Log, partition: files.Partition) -> None:
    """Transactions that begin behind what was looked through are nobody's yet: an export ends there; dump goes on."""
    looking = files.records(partition)
    seen = [next(looking).offset]
    looking_at_all = files.batches(partition)
    next(looking_at_all)
    fill(log, 10)
    assert seen + [record.offset for record in looking] == list(range(200))
    assert [batch.base_offset for batch in looking_at_all] == list(range(1, 210))


def test_a_batch_on_its_way(log: ottla.Log, partition: files.Partition) -> None:
    """Behind the last batch of a live log the next is written: dump shows it once, and export takes what is whole."""
    last = max(partition.path.glob("*.log"))
    whole = last.read_bytes()
    with last.open("ab") as file:
        file.write(whole[: len(whole) // 3] or b"\x00" * 70)
    found = list(files.batches(partition))
    assert [batch.damage is None for batch in found].count(False) == 1
    assert found[-1].damage is not None
    assert len(list(files.records(partition))) == 200
    assert files.verify(partition).findings == []


def test_looks_while_the_log_is_never_at_rest(log: ottla.Log, partition: files.Partition) -> None:
    """Appended to, compacted, cut and deleted from by a thread of its owner: nothing is taken for damage."""
    end = Event()

    def change() -> None:
        steps: list[Callable[[], object]] = [
            lambda: fill(log, 40),
            log.compact,
            lambda: fill(log, 10),
            lambda: log.truncate(log.end_offset - 15),
            lambda: log.delete_before(max(log.start_offset, log.end_offset - 100)),
        ]
        order = cycle(steps)
        while not end.is_set():
            next(order)()

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        try:
            for _ in range(300):
                assert files.verify(partition).findings == []
                with suppress(ottla.Overtaken):
                    assert all(batch.damage is None for batch in files.batches(partition, records=True))
                with suppress(ottla.Overtaken):
                    offsets = [record.offset for record in files.records(partition)]
                    assert offsets == sorted(set(offsets))
        finally:
            end.set()
        changing.result()
