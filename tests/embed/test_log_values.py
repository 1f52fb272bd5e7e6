"""Values as typed columns: JSON and Avro, what does not fit, and Parquet of them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import ottla
from ottla.errors import InvalidInput
from tests.embed.test_log import SMALL_SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pa: Any = pytest.importorskip("pyarrow")
fastavro: Any = pytest.importorskip("fastavro")

ORDER = {
    "type": "record",
    "name": "shop.Order",
    "fields": [
        {"name": "cup", "type": "string"},
        {"name": "count", "type": ["null", "int"], "default": None},
        {"name": "size", "type": {"type": "enum", "name": "Size", "symbols": ["S", "L"]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "more", "type": {"type": "map", "values": "double"}},
        {"name": "next", "type": ["null", "Size"]},
        {
            "name": "who",
            "type": {"type": "record", "name": "Who", "fields": [{"name": "id", "type": {"type": "string"}}]},
        },
    ],
}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ottla.Log]:
    with ottla.Log(tmp_path / "orders", config=SMALL_SEGMENTS) as opened:
        yield opened


def values(log: ottla.Log, **asked: Any) -> list[Any]:
    table = log.to_arrow(**asked).read_all()
    table.validate(full=True)
    assert table.column("offset").to_pylist() == list(range(log.start_offset, log.end_offset))
    found: list[Any] = table.column("value").to_pylist()
    return found


def avro(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


# ---- JSON


def test_json_by_what_there_is(log: ottla.Log) -> None:
    """Fields become columns of the types the values show; what a value does not have, and a null value, are null."""
    given = [b'{"cup": "tea", "n": 1}', None, b' {"n": 2.5,\n "who": {"id": [1, 2]}} ', b"{}"]
    log.append_many([(b"k", value) for value in given])
    assert values(log, json=True) == [
        {"cup": "tea", "n": 1.0, "who": None},
        None,
        {"cup": None, "n": 2.5, "who": {"id": [1, 2]}},
        {"cup": None, "n": None, "who": None},
    ]
    reader = log.to_arrow(json=True)
    kind = "struct<cup: string, n: double, who: struct<id: list<item: int64>>>"
    assert str(reader.schema.field("value").type) == kind
    assert reader.schema.names == ["offset", "timestamp", "key", "value", "headers"]
    assert log.to_arrow(1, 3, json=True).read_all().column("offset").to_pylist() == [1, 2]


def test_json_by_a_schema(log: ottla.Log) -> None:
    """Its columns and no others, of its types, in its order."""
    log.append_many([b'{"a": 1, "b": "x", "at": "2026-01-02T03:04:05Z"}', b'{"b": null}'])
    schema = pa.schema([("at", pa.timestamp("ms", tz="UTC")), ("a", pa.float32()), ("c", pa.bool_())])
    reader = log.to_arrow(json=schema)
    assert reader.schema.field("value").type == pa.struct(list(schema))
    first, second = reader.read_all().column("value").to_pylist()
    assert (first["at"].isoformat(), first["a"], first["c"]) == ("2026-01-02T03:04:05+00:00", 1.0, None)
    assert second == {"at": None, "a": None, "c": None}
    assert values(log, json=pa.struct([("a", pa.int8())])) == [{"a": 1}, {"a": None}]


MALFORMED = [
    b"",
    b"7",
    b"[1]",
    b'{"n": 1}{"n": 2}',
    b'{"n": 1},"n": 2',
    b'{"n": 1',
    b'{"n": 1, "n": 2}',
    b'{"n": "\xff"}',
    b'{"n": "\\ud800"}',
    b'{"n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"\x00",
]


@pytest.mark.parametrize("malformed", MALFORMED)
@pytest.mark.parametrize("schema", [True, pa.schema([("n", pa.int64())])])
def test_what_is_no_json_object(tmp_path: Path, malformed: bytes, schema: Any) -> None:
    """It never becomes a row of something else: the error names its offset, and asked for it is null."""
    with ottla.Log(tmp_path / "d") as log:
        log.append_many([b'{"n": 0}', malformed, b'{"n": 2}', b'{"n": 3}{"n": 4}', b""])
        with pytest.raises(ottla.UnfitValue, match="the value at offset 1 does not fit: ") as error:
            log.to_arrow(json=schema).read_all()
        assert error.value.offset == 1
        assert values(log, json=schema, unfit="null") == [{"n": 0}, None, {"n": 2}, None, None]


def test_text_that_is_no_utf_8(log: ottla.Log) -> None:
    """Arrow's reader takes it as it is, and what reads its columns then breaks."""
    log.append_many([b'{"t": "a"}', b'{"t": "\xff"}', b'{"\xff": 1}'])
    for schema in (True, pa.schema([("t", pa.string())])):
        with pytest.raises(ottla.UnfitValue, match=r"offset 1 .*utf-8"):
            log.to_arrow(json=schema)
        assert values(log, json=schema, unfit="null") == [{"t": "a"}, None, None]


def test_json_of_another_type(log: ottla.Log) -> None:
    """Types are those of the values in front; those of a schema are kept to. The first that does not fit is named."""
    log.append_many([b'{"n": 0}', b'{"n": 1}', b'{"n": "two"}', b'{"n": 3}', b"{"])
    for schema in (True, pa.schema([("n", pa.int32())])):
        with pytest.raises(ottla.UnfitValue, match=r"offset 2 does not fit: .*number to string$"):
            log.to_arrow(json=schema)
        assert values(log, json=schema, unfit="null") == [{"n": 0}, {"n": 1}, None, {"n": 3}, None]
    assert log.append(b'{"n": 300}') == 5
    with pytest.raises(ottla.UnfitValue, match=r"offset 5 .*int8.*300"):
        log.to_arrow(5, json=pa.schema([("n", pa.int8())]))


def test_json_that_is_required(log: ottla.Log) -> None:
    """A field that may not be null is asked of every value but null itself."""
    log.append_many([b'{"n": 0}', b"{}", (b"k", None)])
    schema = pa.schema([pa.field("n", pa.int64(), nullable=False)])
    with pytest.raises(ottla.UnfitValue, match=r"offset 1 .*required"):
        log.to_arrow(json=schema)
    assert values(log, json=schema, unfit="null") == [{"n": 0}, None, None]


def test_types_hold_for_all_record_batches(tmp_path: Path) -> None:
    """The first that has values says the types; nulls may come before. A field that is new then would be lost."""
    with ottla.Log(tmp_path / "d") as log:
        log.append_many([(b"k", None)] * 100_000)
        log.append_many([b'{"n": 1}'] * 300_000)
        reader = log.to_arrow(json=True)
        assert reader.schema.field("value").type == pa.struct([("n", pa.int64())])
        batches = list(reader)
        assert len(batches) > 2
        assert [each["n"] for batch in batches for each in batch.column("value").to_pylist() if each] == [1] * 300_000
        new = log.append_many([b'{"n": 1, "m": 1}'])
        with pytest.raises(ottla.UnfitValue, match=f"offset {new} "):
            log.to_arrow(json=True).read_all()
        last = log.to_arrow(json=True, unfit="null").read_all().column("value")
        assert (last[-2].as_py(), last[-1].as_py()) == ({"n": 1}, None)
        assert log.to_arrow(json=reader.schema.field("value").type).read_all().column("value")[-1].as_py() == {"n": 1}


def test_large_values_and_none(log: ottla.Log, tmp_path: Path) -> None:
    """A value longer than the reader's block, many of them, and a log without any."""
    assert values(log, json=True) == []
    assert log.to_arrow(json=True).schema.field("value").type == pa.struct([])
    log.append_many([b"{}", (b"k", None), b"{}"])
    assert values(log, json=True) == [{}, None, {}]
    with ottla.Log(tmp_path / "large") as large:
        sizes = [10, 3_000_000, 1 << 20, (1 << 20) - 8, 7]
        large.append_many([json.dumps({"t": "x" * size}).encode() for size in sizes])
        assert [len(each["t"]) for each in values(large, json=True)] == sizes


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"json": 7}, "a schema of pyarrow"),
        ({"json": False}, "a schema of pyarrow"),
        ({"json": pa.schema([("d", pa.duration("s"))])}, "duration"),
        ({"json": pa.schema([("a", pa.int8()), ("a", pa.int8())])}, "twice"),
        ({"json": True, "avro": '"string"'}, "one of json and avro"),
        ({"json": True, "unfit": "drop"}, "'raise' or 'null'"),
        ({"avro": "{"}, "no JSON"),
        ({"avro": {"type": "nope"}}, "no Avro schema"),
        ({"avro": 7}, "no Avro schema"),
        ({"avro": ["int", "string"]}, "union"),
        ({"avro": {"type": "array", "items": "null"}}, "no bytes"),
        (
            {"avro": {"type": "record", "name": "R", "fields": [{"name": "r", "type": ["null", "R"]}]}},
            "R contains itself",
        ),
        ({"avro": {"type": "bytes", "logicalType": "decimal", "precision": 99, "scale": 2}}, "99 digits"),
    ],
)
def test_what_cannot_be_asked_for(log: ottla.Log, asked: Any, words: str) -> None:
    """It is said at once, also of an empty log."""
    with pytest.raises(InvalidInput, match=words):
        log.to_arrow(**asked)


# ---- Avro

VALUE = {
    "cup": "tea",
    "count": 3,
    "size": "L",
    "at": 1_700_000_000_123,
    "day": 19_000,
    "price": Decimal("12.50"),
    "tags": ["hot", "green"],
    "more": {"sugar": 2.5},
    "next": "S",
    "who": {"id": "ann"},
}


def test_avro_by_its_schema(log: ottla.Log) -> None:
    """Each field has Arrow's type, times and dates and decimals among them; as a dict or as JSON."""
    less = {**VALUE, "count": None, "next": None, "tags": [], "more": {}}
    log.append_many([avro(ORDER, VALUE), (b"k", None), avro(ORDER, less)])
    for schema in (ORDER, json.dumps(ORDER)):
        reader = log.to_arrow(avro=schema)
        types = {field.name: str(field.type) for field in reader.schema.field("value").type}
        assert types == {
            "cup": "string",
            "count": "int32",
            "size": "string",
            "at": "timestamp[ms, tz=UTC]",
            "day": "date32[day]",
            "price": "decimal128(6, 2)",
            "tags": "list<item: string>",
            "more": "map<string, double>",
            "next": "string",
            "who": "struct<id: string>",
        }
        first, second, third = reader.read_all().column("value").to_pylist()
        assert second is None
        assert (first["cup"], first["count"], first["size"], first["next"]) == ("tea", 3, "L", "S")
        assert first["at"].timestamp() == 1_700_000_000.123
        assert first["day"].isoformat() == "2022-01-08"
        assert (first["price"], first["tags"], first["more"]) == (Decimal("12.50"), ["hot", "green"], [("sugar", 2.5)])
        assert first["who"] == {"id": "ann"}
        assert (third["count"], third["tags"], third["more"], third["next"]) == (None, [], [], None)


@pytest.mark.parametrize(
    "schema, value, kind, shown",
    [
        ("long", 5, "int64", 5),
        ({"type": "long", "logicalType": "timestamp-micros"}, 2**62, "timestamp[us, tz=UTC]", None),
        ({"type": "long", "logicalType": "local-timestamp-nanos"}, 1, "timestamp[ns]", None),
        ({"type": "int", "logicalType": "time-millis"}, 1000, "time32[ms]", None),
        ({"type": "string", "logicalType": "uuid"}, "not checked", "string", "not checked"),
        ({"type": "fixed", "name": "F", "size": 2}, b"ab", "fixed_size_binary[2]", b"ab"),
        (["null", "boolean"], True, "bool", True),
        (["null"], None, "null", None),
    ],
)
def test_avro_of_any_type(log: ottla.Log, schema: Any, value: Any, kind: str, shown: Any) -> None:
    """A value need not be a record; numbers that are times have no bounds of Python's."""
    bare = {k: v for k, v in schema.items() if k != "logicalType"} if isinstance(schema, dict) else schema
    log.append(avro(bare, value))
    column = log.to_arrow(avro=schema).read_all().column("value")
    assert str(column.type) == kind
    if shown is not None:
        assert column.to_pylist() == [shown]


def test_avro_that_does_not_fit(log: ottla.Log) -> None:
    """Every beginning of a value, what is behind one, and bytes of other kinds: an error, or null."""
    whole = avro(ORDER, VALUE)
    broken = [whole[:length] for length in range(len(whole))]
    broken += [whole + b"\0", b"\xff" * 40, b"\x01" + whole, b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7fab"]
    log.append_many([whole, *broken, whole])
    found = values(log, avro=ORDER, unfit="null")
    assert [place for place, value in enumerate(found) if value is not None] == [0, len(broken) + 1]
    with pytest.raises(ottla.UnfitValue, match="offset 1 "):
        log.to_arrow(avro=ORDER).read_all()


SIZE = {"type": "enum", "name": "Size", "symbols": ["S", "L"]}
SIZES = {"type": "array", "items": SIZE}
LEAST = b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    "schema, wrong, right",
    [
        (SIZE, [b"\x01", b"\x03", b"\x04", LEAST], {b"\x02": "L"}),
        (["null", "int"], [b"\x01\x02", b"\x03", b"\x04\x02", b"\x05", LEAST], {b"\x02\x02": 1, b"\x00": None}),
        (["int", "null"], [b"\x01", b"\x03\x02"], {b"\x00\x02": 1, b"\x02": None}),
        # Blocks with a negative count say how many bytes they have; there may be several.
        (
            SIZES,
            [b"\x02\x01\x00", LEAST + b"\x00\x00", b"\x01\x02\x01\x00", b"\x01\x04\x02\x00", b"\x01\x01\x02\x00"],
            {b"\x04\x02\x00\x00": ["L", "S"], b"\x01\x02\x02\x02\x00\x00": ["L", "S"], b"\x00": []},
        ),
        (
            {"type": "map", "values": ["null", SIZE]},
            [b"\x02\x02a\x01\x00", b"\x02\x02a\x02\x01\x00", LEAST + b"\x00\x00", b"\x01\x03\x02a\x00\x00"],
            {b"\x01\x06\x02a\x00\x00": [("a", None)], b"\x02\x02a\x02\x02\x00": [("a", "L")]},
        ),
        (
            {
                "type": "record",
                "name": "R",
                "fields": [{"name": "a", "type": SIZES}, {"name": "b", "type": ["null", "Size"]}],
            },
            [b"\x00\x02\x01", b"\x00\x03", b"\x00\x01\x02"],
            {b"\x00\x02\x02": {"a": [], "b": "L"}, b"\x01\x02\x02\x00\x00": {"a": ["L"], "b": None}},
        ),
    ],
    ids=["enum", "nullable", "nullable-last", "array", "map", "record"],
)
def test_avro_that_chooses_or_counts_wrongly(
    log: ottla.Log, schema: Any, wrong: list[bytes], right: dict[bytes, Any]
) -> None:
    """A branch, a symbol or a count that there is not, negative ones too, is an error that names the record."""
    log.append_many([*right, *wrong])
    assert values(log, avro=schema, unfit="null") == [*right.values(), *[None] * len(wrong)]
    later = framed_schemas(schema)
    framed_log = [framed(1, value) for value in [*right, *wrong]]
    log.append_many(framed_log)
    log.delete_before(len(framed_log))
    assert values(log, avro=later, unfit="null") == [*right.values(), *[None] * len(wrong)]
    for place in range(len(wrong)):
        offset = log.start_offset + len(right) + place
        with pytest.raises(ottla.UnfitValue, match=f"offset {offset} "):
            log.to_arrow(offset, offset + 1, avro=later).read_all()


def framed(number: int, value: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + value


def framed_schemas(schema: Any) -> dict[int, Any]:
    """What it was written by, and the same once more, which it is resolved to."""
    return {1: schema, 2: json.loads(json.dumps(schema))}


def test_a_decimal_with_too_many_digits(log: ottla.Log) -> None:
    """It fits Avro's bytes and no column."""
    schema = {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1}
    wide = {**schema, "precision": 9}
    log.append_many([avro(wide, Decimal("12.5")), avro(wide, Decimal("1234.5"))])
    assert values(log, avro=schema, unfit="null") == [Decimal("12.5"), None]
    with pytest.raises(ottla.UnfitValue, match="offset 1 "):
        log.to_arrow(avro=schema).read_all()


def test_avro_framed_by_a_registry(log: ottla.Log) -> None:
    """Each is read by the schema it was written by, and shown by the last; what has no such frame does not fit."""
    old = {"type": "record", "name": "O", "fields": [{"name": "n", "type": "int"}]}
    new: dict[str, Any] = {
        "type": "record",
        "name": "O",
        "fields": [{"name": "n", "type": "long"}, {"name": "by", "type": "string", "default": "nobody"}],
    }
    log.append_many([framed(7, avro(old, {"n": 1})), framed(9, avro(new, {"n": 2, "by": "ann"}))])
    assert values(log, avro={7: old, 9: new}) == [{"n": 1, "by": "nobody"}, {"n": 2, "by": "ann"}]
    log.append_many([framed(8, avro(new, {"n": 2, "by": "ann"})), avro(old, {"n": 1}), b"\0\0", b"\1" + b"\0" * 9])
    assert values(log, avro={7: old, 9: new}, unfit="null")[2:] == [None] * 4
    with pytest.raises(ottla.UnfitValue, match=r"offset 2 does not fit: .*schema 8"):
        log.to_arrow(avro={7: old, 9: new})


# ---- elsewhere


def test_polars_and_duckdb_take_them(log: ottla.Log) -> None:
    """A struct's fields are columns there; an error on the way reaches the program."""
    log.append_many([b'{"cup": "tea", "n": %d}' % number for number in range(50)])
    polars: Any = pytest.importorskip("polars")
    frame = polars.from_arrow(log.to_arrow(json=True).read_all()).unnest("value")
    assert frame["n"].sum() == sum(range(50))
    duckdb: Any = pytest.importorskip("duckdb")
    records = log.to_arrow(json=True)
    assert duckdb.sql("SELECT sum(value.n) FROM records").fetchall() == [(sum(range(50)),)]
    assert records is not None


WITHOUT = """
import sys
sys.modules[sys.argv[2]] = None
import ottla
with ottla.Log(sys.argv[1]) as log:
    try:
        log.to_arrow(avro='"string"')
    except ottla.OttlaError as error:
        print(error)
"""


@pytest.mark.parametrize("module, needs", [("pyarrow", "Arrow needs pyarrow"), ("fastavro", "Avro needs fastavro")])
def test_without_the_extra(tmp_path: Path, module: str, needs: str) -> None:
    """The error says what to install."""
    command = [sys.executable, "-c", WITHOUT, str(tmp_path / "d"), module]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert ended.stdout == f"{needs}: pip install 'ottla[arrow]'\n"


def run(*words: object) -> Sequence[str]:
    command = [sys.executable, "-m", "ottla", "log", "export", *map(str, words)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return (str(ended.returncode), ended.stderr)


def test_export_to_parquet_with_columns(tmp_path: Path) -> None:
    """As `to_arrow` gives them; what does not fit leaves no file, and the one that was there."""
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    with ottla.Log(tmp_path / "j") as log:
        log.append_many([b'{"cup": "tea", "n": 1}', (b"k", None), b'{"n": 2}'])
    with ottla.Log(tmp_path / "a") as log:
        log.append_many([avro(ORDER, VALUE)])
    target = tmp_path / "out.parquet"
    assert run(tmp_path / "j" / "j-0", "--to", target, "--values", "json") == ("0", "3 records\n")
    table = parquet.read_table(target)
    assert table.column("value").to_pylist() == [{"cup": "tea", "n": 1}, None, {"cup": None, "n": 2}]
    schema = tmp_path / "order.avsc"
    schema.write_text(json.dumps(ORDER))
    assert run(tmp_path / "a" / "a-0", "--to", target, "--values", "avro", "--avro-schema", schema)[0] == "0"
    (value,) = parquet.read_table(target).column("value").to_pylist()
    assert (value["cup"], value["price"]) == ("tea", Decimal("12.50"))
    with ottla.Log(tmp_path / "j") as log:
        log.append(b"no json")
    code, said = run(tmp_path / "j" / "j-0", "--to", target, "--values", "json")
    assert (code, "the value at offset 3 does not fit" in said) == ("2", True)
    assert len(parquet.read_table(target)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "j", "order.avsc", "out.parquet"]
    assert run(tmp_path / "j" / "j-0", "--to", target, "--values", "json", "--unfit", "null")[0] == "0"
    assert parquet.read_table(target).column("value").to_pylist()[2:] == [{"cup": None, "n": 2}, None]


@pytest.mark.parametrize(
    "words, said",
    [
        (("--values", "json"), "--values is for Parquet"),
        (("--to", "x.parquet", "--values", "avro"), "go together"),
        (("--to", "x.parquet", "--values", "json"), "no value has a field"),
    ],
)
def test_export_of_what_cannot_be(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """It is said what to do instead, and nothing is written."""
    with ottla.Log(tmp_path / "d") as log:
        log.append_many([(b"k", None), b"{}"])
    code, errors = run(
        tmp_path / "d" / "d-0", *(str(tmp_path / word) if word == "x.parquet" else word for word in words)
    )
    assert code != "0"
    assert said in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]
