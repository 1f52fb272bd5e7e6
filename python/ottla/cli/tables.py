"""Parquet for `ottla log export` and `import`: columns offset, timestamp, key, value, headers. Needs pyarrow."""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ottla.embed import extras
from ottla.embed.values import Values, typed
from ottla.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ottla.embed.files import FileRecord
    from ottla.embed.values import Unfit

# Of one row group, and of what is in memory at once.
_ROWS = 65_536
# Of a file that is not whole yet.
_PART = ".part"


def _schema(pa: Any) -> Any:
    header = pa.struct([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.binary())])
    return pa.schema(
        [
            pa.field("offset", pa.int64(), nullable=False),
            pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
            pa.field("key", pa.binary()),
            pa.field("value", pa.binary()),
            pa.field("headers", pa.list_(header), nullable=False),
        ]
    )


def values_as(form: str, avro_schema: str | None, unfit: Unfit) -> Values | None:
    """Say what becomes of values: JSON and Avro become columns, bytes stay what they are."""
    if form == "bytes":
        return None
    extras.pyarrow("Parquet")
    avro = None if avro_schema is None else Path(avro_schema).read_bytes()
    return Values(True if form == "json" else None, avro, unfit)


def write_parquet(records: Iterable[FileRecord], target: str, values: Values | None = None) -> int:
    """Write a file, a row group at a time; how many records. It has its name once it is whole."""
    pa, parquet = extras.pyarrow("Parquet"), extras.parquet()
    schema, count = _schema(pa), 0
    batches: Any = _batches(pa, schema, records)
    if values is not None:
        batches = typed(schema, batches, values)
        schema = batches.schema
        if schema.field("value").type == pa.struct([]):
            raise InvalidInput("no value has a field: there are no columns to be made of them")
    with whole_file(target) as part, parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_table(pa.Table.from_batches([batch]))
            count += batch.num_rows
    return count


@contextmanager
def whole_file(target: str) -> Iterator[Path]:
    """Give the path to write to; it becomes `target` once all is written, since half of a file looks like all of it."""
    if Path(target).exists() and not Path(target).is_file():
        # A pipe, a device.
        yield Path(target)
        return
    part = Path(f"{target}.{os.getpid()}{_PART}")
    try:
        yield part
        with part.open("rb") as whole:
            os.fsync(whole.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _batches(pa: Any, schema: Any, records: Iterable[FileRecord]) -> Iterator[Any]:
    rest = iter(records)
    while rows := list(islice(rest, _ROWS)):
        columns = [
            [row.offset for row in rows],
            [None if row.timestamp < 0 else row.timestamp for row in rows],
            [row.key for row in rows],
            [row.value for row in rows],
            [[{"key": key, "value": value} for key, value in row.headers] for row in rows],
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def read_parquet(source: str, told: Callable[[int], None] | None = None) -> Iterator[Any]:
    """Give what `append_many` takes. Needs a column `value`; `key`, `timestamp` and `headers` are taken if there.

    `told` is told of the file's bytes, each row taken for as long as the others.
    """
    pa, parquet = extras.pyarrow("Parquet"), extras.parquet()
    try:
        file = parquet.ParquetFile(source)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"{source} is no Parquet file: {error}") from error
    with file:
        names = set(file.schema_arrow.names)
        if "value" not in names:
            raise InvalidInput(f"{source} has no column 'value'; it has {', '.join(sorted(names))}")
        wanted = [name for name in ("timestamp", "key", "value", "headers") if name in names]
        size, rows, passed = Path(source).stat().st_size, file.metadata.num_rows, 0
        for batch in file.iter_batches(_ROWS, columns=wanted):
            yield from _rows(pa, source, batch)
            if told is not None:
                told(size * (passed + batch.num_rows) // rows - size * passed // rows)
            passed += batch.num_rows


def _rows(pa: Any, source: str, batch: Any) -> Iterator[Any]:
    def column(name: str) -> list[Any]:
        if name not in batch.schema.names:
            return [None] * batch.num_rows
        given = batch.column(name)
        if name == "timestamp":
            given = given.cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())
        elif name != "headers" and not pa.types.is_null(given.type):
            try:
                given = given.cast(pa.large_binary())
            except pa.ArrowInvalid as error:
                raise InvalidInput(f"column '{name}' of {source} is {given.type}, not text or binary") from error
        return given.to_pylist()  # type: ignore[no-any-return]

    for timestamp, key, value, headers in zip(*map(column, ("timestamp", "key", "value", "headers")), strict=True):
        pairs = [(header["key"], header["value"]) for header in headers or ()]
        yield (key, value, pairs, timestamp)
