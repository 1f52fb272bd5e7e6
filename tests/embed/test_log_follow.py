"""`Log.follow`: waiting for what is appended, in a thread and in an event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

import ottla

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["fsync", "os"])
def log(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ottla.Log]:
    with ottla.Log(tmp_path / "d", durability=request.param) as opened:
        yield opened


def test_follow_gives_what_is_there_and_what_comes(log: ottla.Log) -> None:
    """From a start it reads the past first; records appended by another thread arrive in order."""
    log.append_many([b"0", b"1"])
    writer = threading.Thread(target=lambda: [log.append(b"%d" % number) for number in range(2, 50)])
    seen = []
    followed = log.follow(1)
    writer.start()
    for record in followed:
        seen.append(record.value)
        if len(seen) == 49:
            break
    writer.join()
    assert seen == [b"%d" % number for number in range(1, 50)]
    assert followed.next_offset == 50


def test_follow_without_a_start_begins_with_what_comes_next(log: ottla.Log) -> None:
    """The past is not repeated."""
    log.append(b"past")
    followed = iter(log.follow())
    log.append(b"next")
    assert next(followed).value == b"next"


def test_follow_ends_when_nothing_comes_in_time(log: ottla.Log) -> None:
    """With a time-out of nothing it gives what is there."""
    log.append_many([b"a", b"b"])
    assert [record.value for record in log.follow(0, timeout_ms=0)] == [b"a", b"b"]


def test_where_it_goes_on_inside_a_compacted_batch(tmp_path: Path) -> None:
    """Compaction leaves gaps in a batch: whoever goes on elsewhere at `next_offset` misses no record."""
    with ottla.Log(tmp_path / "c", compacted=True) as log:
        log.append_many([(key, b"") for key in (b"a", b"b", b"b", b"c", b"c", b"d")], atomic=True)
        log.compact()
        offsets = [record.offset for record in log.read()]
        assert offsets == [0, 2, 4, 5]
        followed = log.follow(0, timeout_ms=0)
        records = iter(followed)
        for place in range(len(offsets)):
            rest = [record.offset for record in log.read(followed.next_offset)]
            assert rest == offsets[place:]
            next(records)
        assert (list(records), followed.next_offset) == ([], 6)


def test_closing_ends_those_who_follow(log: ottla.Log) -> None:
    """A thread that waits for records returns from its loop."""
    waits = threading.Event()

    def follow() -> None:
        followed = iter(log.follow(0))
        next(followed)
        waits.set()
        assert list(followed) == []
        ended.append(True)

    ended: list[bool] = []
    thread = threading.Thread(target=follow)
    thread.start()
    log.append(b"v")
    assert waits.wait(30)
    log.close()
    thread.join(30)
    assert ended == [True]


def test_a_follower_is_told_when_what_it_reads_next_is_deleted(log: ottla.Log) -> None:
    """It gets the named error, with where the log begins now."""
    for number in range(10):
        log.append(b"%d" % number)
    followed = iter(log.follow(0))
    log.delete_before(5)
    with pytest.raises(ottla.OffsetOutOfRange) as told:
        next(followed)
    assert told.value.start == 5


@pytest.mark.parametrize("timeout_ms", [None, 60_000])
@pytest.mark.parametrize("read_only", [False, True])
def test_truncation_reaches_who_waits(tmp_path: Path, read_only: bool, timeout_ms: int | None) -> None:
    """A thread that waits behind the cut is told at once: what comes there next is not what it waits for."""
    told: list[BaseException] = []
    waits = threading.Event()

    def follow(reader: ottla.Log) -> None:
        followed = iter(reader.follow(9, timeout_ms=timeout_ms))
        next(followed)
        waits.set()
        with pytest.raises(ottla.Overtaken, match="truncated to offset 5, and 10 was to be read next") as refused:
            next(followed)
        told.append(refused.value)

    with ottla.Log(tmp_path / "d") as log:
        for number in range(10):
            log.append(b"%d" % number)
        with ottla.Log(tmp_path / "d", read_only=True) as other:
            thread = threading.Thread(target=follow, args=(other if read_only else log,))
            thread.start()
            assert waits.wait(30)
            log.truncate(5)
            thread.join(30)
    assert len(told) == 1


def test_truncation_passes_a_reader_of_one_s_own_log(log: ottla.Log) -> None:
    """Records of before and after are never put together; who is behind the cut goes on."""
    for number in range(40):
        log.append(b"old %d" % number)
    ahead, behind = iter(log.follow(30, timeout_ms=0)), iter(log.follow(10, timeout_ms=0))
    log.truncate(20)
    for number in range(20, 60):
        log.append(b"new %d" % number)
    with pytest.raises(ottla.Overtaken, match="truncated to offset 20"):
        next(ahead)
    assert [record.value for record in behind] == [b"old %d" % n for n in range(10, 20)] + [
        b"new %d" % n for n in range(20, 60)
    ]
    # It went on behind the cut: that is over for it.
    log.append(b"last")
    assert [record.value for record in behind] == [b"last"]


def test_async_for(log: ottla.Log) -> None:
    """An event loop goes on while its tasks wait; each of them gets every record."""
    log.append(b"0")

    async def follow() -> list[bytes | None]:
        seen = []
        async for record in log.follow(0):
            seen.append(record.value)
            if len(seen) == 20:
                break
        return seen

    async def run() -> list[list[bytes | None]]:
        tasks = [asyncio.create_task(follow()) for _ in range(3)]
        for number in range(1, 20):
            await asyncio.to_thread(log.append, b"%d" % number)
        return await asyncio.wait_for(asyncio.gather(*tasks), 60)

    assert asyncio.run(run()) == [[b"%d" % number for number in range(20)]] * 3


def test_closing_ends_async_for(log: ottla.Log) -> None:
    """A task that waits returns from its loop."""
    log.append(b"v")

    async def run() -> None:
        begun = asyncio.Event()

        async def follow() -> None:
            async for _ in log.follow(0):
                begun.set()

        task = asyncio.create_task(follow())
        await begun.wait()
        await asyncio.to_thread(log.close)
        await asyncio.wait_for(task, 60)

    asyncio.run(run())


def test_async_for_ends_in_time_and_can_be_cancelled(log: ottla.Log) -> None:
    """A time-out ends the loop; a cancelled task lets go of its descriptor."""
    log.append(b"v")

    async def run() -> None:
        assert [record.value async for record in log.follow(0, timeout_ms=1)] == [b"v"]

        async def forever() -> None:
            async for _ in log.follow():
                pass

        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
