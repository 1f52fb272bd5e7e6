"""Parquet for `ottla log export` and `import`: columns offset, timestamp, key, value, headers. Needs pyarrow."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ottla.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ottla.embed.files import FileRecord

# Of one row group, and of what is in memory at once.
_ROWS = 65_536


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InvalidInput("Parquet needs pyarrow: pip install 'ottla[arrow]'") from error
    return pa, parquet


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


def write_parquet(records: Iterable[FileRecord], target: str) -> int:
    """Write a file of its own, a row group at a time; how many records."""
    pa, parquet = _pyarrow()
    schema, count = _schema(pa), 0
    rest = iter(records)
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        while rows := list(islice(rest, _ROWS)):
            columns = [
                [row.offset for row in rows],
                [None if row.timestamp < 0 else row.timestamp for row in rows],
                [row.key for row in rows],
                [row.value for row in rows],
                [[{"key": key, "value": value} for key, value in row.headers] for row in rows],
            ]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count


def read_parquet(source: str) -> Iterator[Any]:
    """Give what `append_many` takes. Needs a column `value`; `key`, `timestamp` and `headers` are taken if there."""
    pa, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(source)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"{source} is no Parquet file: {error}") from error
    with file:
        names = set(file.schema_arrow.names)
        if "value" not in names:
            raise InvalidInput(f"{source} has no column 'value'; it has {', '.join(sorted(names))}")
        wanted = [name for name in ("timestamp", "key", "value", "headers") if name in names]
        for batch in file.iter_batches(_ROWS, columns=wanted):
            yield from _rows(pa, source, batch)


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
