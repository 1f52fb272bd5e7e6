"""`ottla.Log(..., read_only=True)`: another process's log, read while it is written."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

import ottla
from ottla.errors import InvalidInput
from tests.embed.test_log import SMALL_SEGMENTS, values

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = {**SMALL_SEGMENTS, "file.delete.delay.ms": "0"}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ottla.Log]:
    with ottla.Log(tmp_path / "orders", config=AT_ONCE) as opened:
        yield opened


@pytest.fixture
def reader(log: ottla.Log) -> Iterator[ottla.Log]:
    with ottla.Log(directory_of(log), read_only=True) as opened:
        yield opened


def directory_of(log: ottla.Log) -> Path:
    return Path(log.status().path).parent


def fill(log: ottla.Log, first: int, end: int) -> None:
    """A batch for each record, over many segments."""
    for number in range(first, end):
        log.append(b"%d" % number * 50, key=b"k%d" % (number % 3), headers={"n": b"%d" % number}, timestamp=number * 10)


def test_a_reader_sees_what_the_owner_has_on_the_disk(log: ottla.Log, reader: ottla.Log) -> None:
    """Opened before the first append; every record comes as its owner reads it, whatever the offset it begins at."""
    assert (reader.topic, reader.read_only, reader.end_offset, list(reader.read())) == ("orders", True, 0, [])
    for end in (1, 2, 60, 200):
        fill(log, log.end_offset, end)
        assert (reader.start_offset, reader.end_offset, reader.durable_offset) == (0, end, end)
        for start in {0, 1, end // 2, end - 1, end}:
            seen = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in reader.read(start)]
            assert seen == [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in log.read(start)]
    assert values(reader, 50, 150) == values(log, 50, 150)
    columns = reader.read_columns(199)
    assert (list(columns.offsets), columns.values[0]) == ([199], b"199" * 50)
    status = reader.status()
    assert (status.read_only, status.has_writer, status.end_offset) == (True, True, 200)
    assert status.segments == log.status().segments > 5


def test_what_is_not_on_the_disk_is_not_read(tmp_path: Path) -> None:
    """With durability "os" a reader sees what was synced."""
    with ottla.Log(tmp_path / "d", durability="os") as log, ottla.Log(tmp_path / "d", read_only=True) as reader:
        log.append(b"a")
        log.sync()
        log.append(b"b")
        assert log.readable_offset == 2
        # Which has the owner say how far they may read.
        log.delete_before(0)
        assert values(reader) == [b"a"]
        log.sync()
        assert values(reader) == [b"a", b"b"]


def test_a_large_batch_and_compressed_ones(tmp_path: Path) -> None:
    """A batch longer than what is read at once comes whole; packed ones come unpacked."""
    large = b"x" * (3 << 20)
    with ottla.Log(tmp_path / "d", compression="zstd") as log, ottla.Log(tmp_path / "d", read_only=True) as reader:
        log.append_many([b"a"] * 1000)
        assert values(reader, 990) == [b"a"] * 10
    with ottla.Log(tmp_path / "e") as log, ottla.Log(tmp_path / "e", read_only=True) as reader:
        log.append_many([b"a", large, b"b", large], atomic=True)
        log.append(b"c")
        assert values(reader, 1) == [large, b"b", large, b"c"]


def test_offset_at(log: ottla.Log, reader: ottla.Log) -> None:
    """The same answers as the owner's."""
    fill(log, 0, 100)
    for timestamp in (0, 1, 10, 555, 990, 991):
        assert reader.offset_at(timestamp) == log.offset_at(timestamp)


def test_cursors_are_seen(log: ottla.Log, reader: ottla.Log) -> None:
    """Those committed alone and those that came with records."""
    assert reader.cursor("c") is None
    log.append(b"v", cursors={"c": 7})
    log.append(b"v")
    log.commit({"d": 1})
    log.append(b"v", cursors={"d": 2})
    assert (reader.cursor("c"), reader.cursor("d"), reader.status().cursors) == (7, 2, {"c": 7, "d": 2})


@pytest.mark.parametrize(
    "writes",
    [
        lambda log: log.append(b"v"),
        lambda log: log.append_many([b"v"]),
        lambda log: log.truncate(0),
        lambda log: log.delete_before(0),
        lambda log: log.compact(),
        lambda log: log.commit({"c": 0}),
        lambda log: log.forget_cursor("c"),
        lambda log: log.sync(),
    ],
)
def test_a_reader_does_not_write(reader: ottla.Log, writes: Any) -> None:
    """It says so."""
    with pytest.raises(ottla.ReadOnly):
        writes(reader)


def test_wrong_openings(tmp_path: Path) -> None:
    """Where there is no log, or several, or settings are given too, the error says what to do; nothing is made."""
    for place in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ottla.StorageError, match="no log is here"):
            ottla.Log(place, read_only=True)
    assert list(tmp_path.iterdir()) == []
    with ottla.Log(tmp_path / "d", topic="a"), pytest.raises(InvalidInput, match="settings"):
        ottla.Log(tmp_path / "d", read_only=True, compression="zstd")
    with ottla.Log(tmp_path / "d", topic="b"), pytest.raises(ottla.StorageError, match="a, b"):
        ottla.Log(tmp_path / "d", read_only=True)
    with ottla.Log(tmp_path / "d", topic="b", read_only=True) as reader:
        assert reader.topic == "b"
    with pytest.raises(ottla.StorageError, match="of c"):
        ottla.Log(tmp_path / "d", topic="c", read_only=True)


def test_offsets_out_of_range(log: ottla.Log, reader: ottla.Log) -> None:
    """As of one's own log."""
    log.append(b"v")
    for start in (-1, 2):
        with pytest.raises(ottla.OffsetOutOfRange):
            reader.read(start)


def test_deletion_passes_a_reader(log: ottla.Log, reader: ottla.Log) -> None:
    """It is told where the log begins now; one that is ahead of it goes on."""
    fill(log, 0, 100)
    behind, ahead = reader.read(0), reader.read(80)
    log.delete_before(60)
    assert reader.start_offset == 60
    with pytest.raises(ottla.OffsetOutOfRange) as told:
        list(behind)
    assert (told.value.requested, told.value.start) == (0, 60)
    assert [record.offset for record in ahead] == list(range(80, 100))
    with pytest.raises(ottla.OffsetOutOfRange):
        reader.read(59)


def test_truncation_passes_a_reader(log: ottla.Log, reader: ottla.Log) -> None:
    """Never are the records of before and after put together: it is told by name, a reader behind the cut goes on."""
    fill(log, 0, 40)
    passed, behind = iter(reader.follow(0, timeout_ms=0)), reader.follow(0, timeout_ms=0)
    assert [next(passed).offset for _ in range(40)] == list(range(40))
    early = [next(iter(behind)).offset for _ in range(5)]
    log.truncate(20)
    fill(log, 20, 60)
    with pytest.raises(ottla.Overtaken, match="truncated to offset 20"):
        next(passed)
    assert early == list(range(5))
    assert values(reader) == values(log)


def test_compaction_passes_a_reader(tmp_path: Path) -> None:
    """Who is below what was compacted is told; who begins after it reads what is left."""
    settings: Any = {"compacted": True, "config": AT_ONCE}
    with ottla.Log(tmp_path / "d", **settings) as log, ottla.Log(tmp_path / "d", read_only=True) as reader:
        fill(log, 0, 100)
        passed = reader.read(0)
        log.compact()
        with pytest.raises(ottla.Overtaken, match="compacted up to offset"):
            list(passed)
        assert [record.offset for record in reader.read()] == [record.offset for record in log.read()]
        assert len(list(reader.read())) == 3


def test_the_next_owner_goes_on(tmp_path: Path) -> None:
    """A reader stays while its log is closed and opened again."""
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"a")
        reader = ottla.Log(tmp_path / "d", read_only=True)
        followed = iter(reader.follow(0))
        assert next(followed).value == b"a"
    assert not reader.status().has_writer
    assert values(reader) == [b"a"]
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"b")
        assert next(followed).value == b"b"
    reader.close()


def test_a_broker_tells_nobody(tmp_path: Path) -> None:
    """While a broker has the directory its records are for its clients; what a log said before does not count."""
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"a")
    with (
        ottla.Broker(data_dir=tmp_path / "d"),
        pytest.raises(ottla.StorageError, match="a broker that has the directory serves them"),
    ):
        ottla.Log(tmp_path / "d", read_only=True)
    with ottla.Log(tmp_path / "d"), ottla.Log(tmp_path / "d", read_only=True) as reader:
        assert values(reader) == [b"a"]


WRITER = """
import sys
import ottla
with ottla.Log(sys.argv[1], config={"internal.segment.bytes": "4000"}) as log:
    for line in sys.stdin:
        number = int(line)
        log.append(b"%d" % number * 20)
        if number % 50 == 0:
            log.delete_before(max(0, number - 100))
"""


def test_another_process_is_followed(tmp_path: Path) -> None:
    """Blocking and in an event loop's way alike, while segments come and go under the reader."""
    with ottla.Log(tmp_path / "d"):
        pass
    command = [sys.executable, "-c", WRITER, str(tmp_path / "d")]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as writer,
        ottla.Log(tmp_path / "d", read_only=True) as reader,
    ):
        assert writer.stdin is not None
        followed = iter(reader.follow(0))
        for number in range(300):
            writer.stdin.write(f"{number}\n")
            writer.stdin.flush()
            record = next(followed)
            assert (record.offset, record.value) == (number, b"%d" % number * 20)
        writer.stdin.close()
        assert writer.wait(30) == 0
        assert reader.start_offset == 150
        assert [record.offset for record in reader.read()] == list(range(150, 300))


def follow_to_the_end(reader: ottla.Log, given: threading.Event, ends: list[bool]) -> None:
    """Tell of the first record, and of the end."""
    for _ in reader.follow(0):
        given.set()
    ends.append(True)


def test_closing_a_reader_wakes_who_waits_in_it(log: ottla.Log) -> None:
    """Its loop ends, wherever it was just then; and then every call says that it is closed."""
    log.append(b"v")
    for _ in range(200):
        with ottla.Log(directory_of(log), read_only=True) as reader:
            given = threading.Event()
            ends: list[bool] = []
            thread = threading.Thread(target=follow_to_the_end, args=(reader, given, ends))
            thread.start()
            assert given.wait(30)
            reader.close()
            thread.join(30)
            assert ends == [True]
    for call in (reader.read, reader.status, lambda: reader.end_offset):
        with pytest.raises(ottla.Closed):
            cast("Any", call)()


def test_async_for_on_a_reader(log: ottla.Log, reader: ottla.Log) -> None:
    """An event loop hears of what another process appends, and of the end."""
    log.append(b"0")

    async def run() -> list[bytes | None]:
        seen = []
        async for record in reader.follow(0):
            seen.append(record.value)
            if len(seen) == 20:
                reader.close()
            else:
                await asyncio.to_thread(log.append, b"%d" % len(seen))
        return seen

    assert asyncio.run(run()) == [b"%d" % number for number in range(20)]


def test_a_reader_without_anybody_who_writes(tmp_path: Path) -> None:
    """The owner was killed: what it had promised is read, and nothing more."""
    program = """
import os, signal, sys
import ottla
log = ottla.Log(sys.argv[1])
log.append_many([b"a", b"b"])
log.append(b"c", wait=False)
log.sync()
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "d")], check=False, timeout=60)
    with ottla.Log(tmp_path / "d", read_only=True) as reader:
        assert values(reader) == [b"a", b"b", b"c"]
        assert [record.value for record in reader.follow(1, timeout_ms=0)] == [b"b", b"c"]


def test_a_page_that_is_none(log: ottla.Log) -> None:
    """Torn for good, as a power cut may leave it, or of a later version: an error that names it."""
    log.append(b"v")
    directory = directory_of(log)
    log.close()
    page = directory / ".ottla_published-orders-0"
    whole = page.read_bytes()
    page.write_bytes(whole[:100] + bytes(48))
    with pytest.raises(ottla.StorageError, match="nobody who writes"):
        ottla.Log(page.parent, read_only=True)
    with ottla.Log(page.parent) as again, ottla.Log(page.parent, read_only=True) as reader:
        assert values(reader) == values(again) == [b"v"]
