"""Records as Arrow's columns, in pyarrow, polars, pandas and DuckDB, and back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import ottla
from ottla.errors import InvalidInput
from tests.embed.test_log import SMALL_SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pa: Any = pytest.importorskip("pyarrow")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ottla.Log]:
    with ottla.Log(tmp_path / "orders", config=SMALL_SEGMENTS) as opened:
        yield opened


def fill(log: ottla.Log, count: int) -> None:
    """Short values, which lie in the views, and long ones; nulls and headers among them."""
    for number in range(count):
        value = None if number % 7 == 3 else b"v%d" % number * (1 + number % 9)
        headers = [("h", b"%d" % number), ("h", None)] if number % 5 == 0 else None
        log.append(value, key=None if number % 3 else b"key %d" % number * 3, headers=headers, timestamp=1000 + number)


def rows(table: Any) -> list[tuple[Any, ...]]:
    stamps = table.column("timestamp").cast(pa.int64()).to_pylist()
    headers = [tuple((h["key"], h["value"]) for h in row) for row in table.column("headers").to_pylist()]
    names = ("offset", "key", "value")
    offsets, keys, values = ([as_python(item) for item in table.column(name)] for name in names)
    return list(zip(offsets, stamps, keys, values, headers, strict=True))


def as_python(item: Any) -> Any:
    return item.as_py()


def own(log: ottla.Log, start: int | None = None, stop: int | None = None) -> list[tuple[Any, ...]]:
    return [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in log.read(start, stop)]


def test_every_field_comes_as_it_is_read(log: ottla.Log) -> None:
    """Over many batches and segments, from any offset to any other."""
    fill(log, 200)
    log.append_many([(b"k", b"in a batch of many" * 3, {"x": b"y"})] * 50)
    schema = log.to_arrow().schema
    assert [str(field.type) for field in schema][:4] == ["int64", "timestamp[ms, tz=UTC]", "binary_view", "binary_view"]
    for start, stop in ((None, None), (0, 0), (13, 77), (210, 240), (249, 250)):
        assert rows(log.to_arrow(start, stop).read_all()) == own(log, start, stop)
    log.to_arrow().read_all().validate(full=True)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_what_was_read_outlives_the_log(tmp_path: Path, compression: Any) -> None:
    """Arrays point into what was read, and keep it; many record batches where there is much."""
    with ottla.Log(tmp_path / "d", compression=compression) as log:
        log.append_many([b"%06d" % number * 100 for number in range(100_000)])
        reader = log.to_arrow()
        batches = list(reader)
        assert len(batches) > 1
        del reader
    table = pa.Table.from_batches(batches)
    assert table.column("offset").to_pylist() == list(range(100_000))
    assert table.column("value")[99_999].as_py() == b"099999" * 100


def test_headers_that_carry_cursors_are_not_shown(log: ottla.Log) -> None:
    """As when records are read."""
    log.append(b"v", headers={"h": b"1"}, cursors={"c": 1})
    assert log.to_arrow().read_all().column("headers").to_pylist() == [[{"key": "h", "value": b"1"}]]


def test_empty_and_out_of_range(log: ottla.Log) -> None:
    """A log without records has a schema; offsets that are none are refused at once."""
    assert log.to_arrow().read_all().num_rows == 0
    for start in (-1, 1):
        with pytest.raises(ottla.OffsetOutOfRange):
            log.to_arrow(start)
    log.append(b"v")
    reader = log.to_arrow()
    log.delete_before(1)
    with pytest.raises(OSError, match="offset 0"):
        reader.read_all()


def test_damage_is_an_error(tmp_path: Path) -> None:
    """Checksums are checked: nothing that is damaged becomes a row."""
    with ottla.Log(tmp_path / "d") as log:
        log.append(b"x" * 1000)
        log.append(b"y")
        path = tmp_path / "d" / "d-0" / "00000000000000000000.log"
        content = bytearray(path.read_bytes())
        content[500] ^= 1
        path.write_bytes(content)
        with pytest.raises(OSError, match="checksum"):
            log.to_arrow().read_all()


def test_there_and_back(log: ottla.Log, tmp_path: Path) -> None:
    """A log filled from another one's columns holds the same; readers, tables, batches and lists of them go in."""
    fill(log, 100)
    table = log.to_arrow().read_all()
    for given in (log.to_arrow(), table, list(table.to_batches()), [table]):
        place = tmp_path / f"{type(given).__name__}-{id(given)}"
        with ottla.Log(place) as copy:
            assert copy.append_arrow(given) == 99
            assert own(copy) == own(log)
            assert copy.durable_offset == 100


def test_columns_of_other_types(log: ottla.Log) -> None:
    """Text, times of any unit, slices, and columns that are missing."""
    given = pa.table(
        {
            "value": pa.array(["drop", "a", None, "ccc"]),
            "key": pa.array([b"drop", None, b"", b"k"], pa.binary()),
            "timestamp": pa.array([0, 5_000_000, 6_000_000, 7_000_000], pa.timestamp("us")),
        }
    ).slice(1)
    assert log.append_arrow(given) == 2
    assert own(log) == [(0, 5000, None, b"a", ()), (1, 6000, b"", None, ()), (2, 7000, b"k", b"ccc", ())]
    assert log.append_arrow(pa.table({"value": pa.array([], pa.string())})) is None
    log.append_arrow(pa.table({"value": ["now"], "timestamp": pa.array([None], pa.timestamp("ms"))}))
    (record,) = log.read(3)
    assert record.value == b"now"
    assert record.timestamp > 7000


@pytest.mark.parametrize(
    "wrong, error",
    [
        (lambda: pa.table({"values": ["v"]}), InvalidInput),
        (lambda: pa.table({"value": ["v"], "extra": [1]}), InvalidInput),
        (lambda: pa.table({"value": [1.5]}), InvalidInput),
        (lambda: 7, TypeError),
        (lambda: ["text"], TypeError),
    ],
)
def test_what_is_no_column_of_a_log(log: ottla.Log, wrong: Any, error: type[Exception]) -> None:
    """The error names what there may be; nothing is appended."""
    with pytest.raises(error):
        log.append_arrow(wrong())
    assert log.end_offset == 0


def test_polars_pandas_and_duckdb(log: ottla.Log) -> None:
    """The recipes of the docs."""
    fill(log, 60)
    polars: Any = pytest.importorskip("polars")
    frame = polars.from_arrow(log.to_arrow().read_all())
    assert frame.height == 60
    assert frame.filter(polars.col("value").is_null()).height == len([n for n in range(60) if n % 7 == 3])
    pandas = log.to_arrow().read_pandas()
    assert list(pandas["offset"]) == list(range(60))
    duckdb: Any = pytest.importorskip("duckdb")
    records = log.to_arrow().read_all().select(["offset", "timestamp"])
    found = duckdb.sql('SELECT count(*), max("offset") FROM records').fetchall()
    assert found == [(60, 59)]
    assert records.num_rows == 60


WITHOUT = """
import sys
sys.modules["pyarrow"] = None
import ottla
with ottla.Log(sys.argv[1]) as log:
    try:
        log.to_arrow()
    except ottla.OttlaError as error:
        print(error)
"""


def test_without_pyarrow(tmp_path: Path) -> None:
    """The error says what to install."""
    command = [sys.executable, "-c", WITHOUT, str(tmp_path / "d")]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert ended.stdout == "Arrow needs pyarrow: pip install 'ottla[arrow]'\n"
