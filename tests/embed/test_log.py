"""`ottla.Log`: what goes in comes out, now and after the next opening."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any, cast

import pytest

import ottla
from ottla.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# So small that a handful of records fills one; Kafka's setting for tests.
SMALL_SEGMENTS = {"internal.segment.bytes": "2000"}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ottla.Log]:
    with ottla.Log(tmp_path / "orders") as opened:
        yield opened


def values(log: ottla.Log, start: int | None = None, stop: int | None = None) -> list[bytes | None]:
    return [record.value for record in log.read(start, stop)]


def test_a_record_comes_back_whole(log: ottla.Log) -> None:
    """Key, value, headers in their order with keys that repeat, and the timestamp are what was given."""
    headers = [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("null", None)]
    assert log.append(b"value", key=b"key", headers=headers, timestamp=1_700_000_000_123) == 0
    (record,) = log.read()
    assert (record.offset, record.timestamp) == (0, 1_700_000_000_123)
    assert (record.key, record.value) == (b"key", b"value")
    assert record.headers == tuple(headers)


def test_headers_may_be_a_dict_and_nulls_stay_nulls(log: ottla.Log) -> None:
    """A missing key is None and not empty, a tombstone's value is None."""
    log.append(None, key=b"gone", headers={"why": b"asked"})
    log.append(b"")
    first, second = log.read()
    assert (first.key, first.value, first.headers) == (b"gone", None, (("why", b"asked"),))
    assert (second.key, second.value, second.headers) == (None, b"", ())


def test_what_was_appended_is_there_after_the_next_opening(tmp_path: Path) -> None:
    """Offsets go on where they were; the topic is found without being named."""
    with ottla.Log(tmp_path / "d", topic="orders") as log:
        log.append_many([b"a", b"b"])
    with ottla.Log(tmp_path / "d") as log:
        assert log.topic == "orders"
        assert log.status().clean_start
        assert log.append(b"c") == 2
        assert values(log) == [b"a", b"b", b"c"]


def test_append_many_takes_values_tuples_and_records(log: ottla.Log) -> None:
    """Every form of a record goes in; the offset of the last comes back."""
    log.append(b"first", key=b"k", headers={"h": b"1"}, timestamp=7)
    (record,) = log.read()
    last = log.append_many([b"v", (b"k", b"v"), (None, b"v", {"h": b"2"}), (b"k", None, None, 9), record])
    assert last == 5
    found = [(r.key, r.value, r.headers) for r in log.read(1)]
    assert found == [
        (None, b"v", ()),
        (b"k", b"v", ()),
        (None, b"v", (("h", b"2"),)),
        (b"k", None, ()),
        (b"k", b"first", (("h", b"1"),)),
    ]
    assert [r.timestamp for r in log.read(4)] == [9, 7]
    assert log.append_many([]) is None


@pytest.mark.parametrize(
    "value", [bytearray(b"abc"), memoryview(b"xabcx")[1:4], memoryview(b"aXbXcX")[::2], array.array("B", b"abc")]
)
def test_anything_with_the_buffer_protocol(log: ottla.Log, value: Any) -> None:
    """Values need not be bytes, nor lie in one piece."""
    log.append(value, key=value, headers={"h": value})
    log.append_many([value])
    first, second = log.read()
    assert (first.key, first.value, first.headers, second.value) == (b"abc", b"abc", (("h", b"abc"),), b"abc")


def test_wider_elements_are_their_bytes(log: ottla.Log) -> None:
    """An array of numbers is stored as it lies in memory."""
    numbers = array.array("q", [1, -2])
    log.append(numbers)
    assert values(log) == [numbers.tobytes()]


def test_views_are_not_copies_and_outlive_the_log(tmp_path: Path) -> None:
    """A view shows the value where it lies, cannot be written through, and stays good when all else is gone."""
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"value", key=b"key")
        log.append(None)
        record, tombstone = log.read()
        view, key = record.value_view, record.key_view
        assert tombstone.value_view is None
    del record, tombstone, log
    assert view is not None
    assert key is not None
    assert (bytes(view), bytes(key), view.readonly) == (b"value", b"key", True)


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_compression(tmp_path: Path, compression: Any) -> None:
    """What is packed comes out as it was, and takes less room."""
    many = [b"%d " % number * 50 for number in range(2000)]
    with ottla.Log(tmp_path / "d", compression=compression) as log:
        log.append_many(many)
        assert values(log) == many
        assert values(log, 1990, 1993) == many[1990:1993]
        size = log.status().bytes
    assert (size < sum(map(len, many)) / 2) == (compression != "none")


def test_reads_begin_and_end_inside_batches_and_segments(tmp_path: Path) -> None:
    """Any range gives exactly its records, over many segments and batches."""
    many = [b"value %d" % number for number in range(300)]
    with ottla.Log(tmp_path / "d", config=SMALL_SEGMENTS) as log:
        for first in range(0, 300, 20):
            log.append_many(many[first : first + 20])
        assert log.status().segments >= 3
        for start in range(0, 300, 7):
            for stop in (start, start + 1, start + 33, 300, 1000):
                assert values(log, start, stop) == many[start:stop]
        assert [record.offset for record in log] == list(range(300))


def test_a_read_ends_where_the_log_ended_when_it_began(log: ottla.Log) -> None:
    """A loop that appends what it reads comes to an end."""
    log.append_many([b"a", b"b"])
    for record in log.read():
        log.append(record.value)
    assert values(log) == [b"a", b"b", b"a", b"b"]


def test_offset_at(log: ottla.Log) -> None:
    """The first record that is not older; behind the last one there is the end."""
    for timestamp in (10, 20, 20, 30):
        log.append(b"v", timestamp=timestamp)
    assert [log.offset_at(at) for at in (0, 10, 11, 20, 21, 30, 31)] == [0, 0, 1, 1, 3, 3, 4]


def test_atomic_batches(tmp_path: Path) -> None:
    """One batch has its offsets in a row; of one that is refused nothing is left."""
    with ottla.Log(tmp_path / "d", config={"internal.segment.bytes": "20000"}) as log:
        assert log.append_many([b"a", b"b", b"c"], atomic=True) == 2
        with pytest.raises(ottla.RecordTooLarge):
            log.append_many([b"x" * 1000] * 30, atomic=True)
        assert log.end_offset == 3

        def broken() -> Iterator[bytes]:
            yield b"d"
            raise KeyError("broken")

        with pytest.raises(KeyError):
            log.append_many(broken(), atomic=True)
        assert log.end_offset == 3
        assert log.append_many([b"x" * 1000] * 30) == 32


def test_columns_go_in_and_come_out(log: ottla.Log) -> None:
    """A column is its bytes end to end, with places and nulls; the same comes back."""
    data, places = b"aabbbc", array.array("q", [0, 2, 2, 5, 6])
    keys = (b"kk", array.array("q", [0, 1, 1, 2, 2]), b"\x00\x01\x00\x01")
    last = log.append_columns((data, places), keys=keys, timestamps=array.array("q", [1, 2, 3, 4]))
    assert last == 3
    assert [(r.key, r.value, r.timestamp) for r in log.read()] == [
        (b"k", b"aa", 1),
        (None, b"", 2),
        (b"k", b"bbb", 3),
        (None, b"c", 4),
    ]
    columns = log.read_columns(1)
    assert (len(columns), list(columns.offsets), list(columns.timestamps)) == (3, [1, 2, 3], [2, 3, 4])
    found, where, nulls = columns.values
    assert (found, list(where), nulls) == (b"bbbc", [0, 0, 3, 4], None)
    found, where, nulls = columns.keys
    assert (found, list(where), nulls) == (b"k", [0, 0, 1, 1], b"\x01\x00\x01")
    assert columns.next_offset == 4


def test_columns_of_a_large_log_come_in_pieces(log: ottla.Log) -> None:
    """`max_bytes` ends a read behind a whole batch, and `next_offset` goes on from there."""
    log.append_many([b"x" * 1000] * 5000)
    at, count = 0, 0
    while at < log.end_offset:
        columns = log.read_columns(at, max_bytes=100_000)
        assert list(columns.offsets) == list(range(at, at + len(columns)))
        count += len(columns)
        at = columns.next_offset
    assert count == 5000


@pytest.mark.parametrize(
    "given, error",
    [
        ((b"abc", array.array("q", [0, 4])), ValueError),
        ((b"abc", array.array("q", [-1, 3])), ValueError),
        ((b"abc", array.array("q", [2, 1])), ValueError),
        ((b"abc", array.array("q")), ValueError),
        ((b"abc", array.array("i", [0, 3])), TypeError),
        ((b"abc", array.array("q", [0, 3]), b"\x00\x00"), ValueError),
        ((b"abc",), TypeError),
        (b"abc", TypeError),
        ((1, array.array("q", [0, 3])), TypeError),
    ],
)
def test_columns_that_do_not_fit_together(log: ottla.Log, given: Any, error: type[Exception]) -> None:
    """Nothing is read outside a column's data, and nothing is appended."""
    with pytest.raises(error):
        log.append_columns(given)
    with pytest.raises(ValueError, match="keys for"):
        log.append_columns((b"", array.array("q", [0, 0])), keys=(b"", array.array("q", [0])))
    assert log.end_offset == 0


def test_truncate(tmp_path: Path) -> None:
    """Records from the offset on are gone, for good; inside a batch it is refused with where the batch begins."""
    with ottla.Log(tmp_path / "d", config=SMALL_SEGMENTS) as log:
        for number in range(100):
            log.append(b"%d" % number * 50)
        log.append_many([b"x", b"y", b"z"], atomic=True)
        with pytest.raises(InvalidInput, match="begins at 100"):
            log.truncate(101)
        assert log.end_offset == 103
        log.truncate(103)
        log.truncate(100)
        log.truncate(42)
        assert log.append(b"new") == 42
    with ottla.Log(tmp_path / "d") as log:
        assert values(log) == [b"%d" % number * 50 for number in range(42)] + [b"new"]
        for offset in (-1, 44):
            with pytest.raises(ottla.OffsetOutOfRange):
                log.truncate(offset)


def test_delete_before(tmp_path: Path) -> None:
    """What lies below cannot be read any more, its files go, and the next opening knows; a reader there is told."""
    with ottla.Log(tmp_path / "d", config={**SMALL_SEGMENTS, "file.delete.delay.ms": "0"}) as log:
        for number in range(100):
            log.append(b"%d" % number * 50)
        before = log.status()
        behind = log.read(0)
        next(behind)
        assert log.delete_before(60) == 60
        assert log.start_offset == 60
        assert log.status().segments < before.segments
        with pytest.raises(ottla.OffsetOutOfRange) as told:
            list(log.read(59))
        assert (told.value.requested, told.value.start, told.value.end) == (59, 60, 100)
        with pytest.raises(ottla.OffsetOutOfRange):
            list(behind)
        with pytest.raises(ottla.OffsetOutOfRange):
            log.delete_before(101)
    with ottla.Log(tmp_path / "d") as log:
        assert [record.offset for record in log.read()] == list(range(60, 100))


def test_compact(tmp_path: Path) -> None:
    """Of each key the last record is left, where it was; a log that keeps everything refuses."""
    with ottla.Log(tmp_path / "d", compacted=True) as log:
        log.append_many([(b"%d" % (number % 7), b"%d" % number) for number in range(100)])
        read, kept = log.compact()
        assert (read, kept) == (100, 7)
        assert [(r.offset, r.value) for r in log.read()] == [(n, b"%d" % n) for n in range(93, 100)]
        with pytest.raises(InvalidInput, match="without key"):
            log.append(b"no key")
        assert log.append(b"v", key=b"k") == 100
    with ottla.Log(tmp_path / "e") as log, pytest.raises(InvalidInput, match="compacted=True"):
        log.compact()


def test_retention_by_bytes_is_kept_as_a_setting(tmp_path: Path) -> None:
    """Settings are the topic's: they hold at the next opening, and the ones given then are altered."""
    with ottla.Log(tmp_path / "d", retention_ms=1000, compression="zstd", durability="os"):
        pass
    with ottla.Log(tmp_path / "d", retention_ms=-1) as log:
        log.append(b"x" * 10_000)
        assert log.status().bytes < 5_000
        # In os mode nobody waits for the disk: what was appended may be read at once.
        assert log.readable_offset == 1


def test_durability(tmp_path: Path) -> None:
    """With fsync an append that returns is on the disk, with os after a sync; `wait=False` leaves it to `sync`."""
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"v")
        assert log.durable_offset == 1
        log.append(b"v", wait=False)
        log.append_many([b"v"] * 3, wait=False)
        log.sync()
        assert (log.durable_offset, log.readable_offset, log.status().unsynced_bytes) == (5, 5, 0)
    with ottla.Log(tmp_path / "e", durability="os") as log:
        log.append(b"v")
        assert log.status().unsynced_bytes > 0
        log.sync()
        assert log.durable_offset == 1


def test_wrong_values(log: ottla.Log) -> None:
    """Offsets and timestamps below 0, offsets beyond the end and a record no segment takes are named errors."""
    log.append(b"v")
    for start, stop in ((-1, None), (2, None), (0, -1)):
        with pytest.raises(ottla.OffsetOutOfRange):
            log.read(start, stop)
    assert list(log.read(1)) == []
    with pytest.raises(InvalidInput, match="1970"):
        log.append(b"v", timestamp=-1)
    with pytest.raises(InvalidInput, match="own"):
        log.append(b"v", headers={"ottla.cursor": b"a=1"})
    assert log.end_offset == 1


def test_a_record_that_is_too_large(tmp_path: Path) -> None:
    """It is refused with the limit, before anything is written; the next one goes in."""
    with ottla.Log(tmp_path / "d", config={"internal.segment.bytes": "5000"}) as log:
        with pytest.raises(ottla.RecordTooLarge, match="5000"):
            log.append(b"x" * 6000)
        with pytest.raises(ottla.RecordTooLarge):
            log.append_many([b"x" * 6000])
        assert log.append(b"x" * 4000) == 0


def test_after_close(tmp_path: Path) -> None:
    """Every call says that the log is closed; closing again does nothing."""
    log = ottla.Log(tmp_path / "d")
    log.append(b"v")
    reader = log.read()
    log.close()
    log.close()
    assert log.closed
    for call in (
        lambda: log.append(b"v"),
        lambda: log.end_offset,
        log.sync,
        log.read,
        lambda: list(reader),
        log.status,
    ):
        with pytest.raises(ottla.Closed):
            cast("Any", call)()


def test_settings_that_are_wrong(tmp_path: Path) -> None:
    """Values out of range, unknown names and names no topic may have are refused in Kafka's words, and the directory is
    let go of as it was found.
    """
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"v")
    refusals = []
    for wrong in (
        {"segment_bytes": 1},
        {"compression": "rar"},
        {"durability": "hope"},
        {"config": {"no.such.setting": "1"}},
        {"topic": "a/b"},
    ):
        with pytest.raises(InvalidInput) as refusal:
            ottla.Log(tmp_path / "d", **cast("Any", wrong))
        refusals.append(refusal)
    with ottla.Log(tmp_path / "d") as log:
        assert log.status().clean_start
        assert values(log) == [b"v"]
