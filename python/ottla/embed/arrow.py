"""Records as Arrow's columns, and back. Needs pyarrow: `pip install 'ottla[arrow]'`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ottla import _core
from ottla.embed.extras import pyarrow
from ottla.embed.values import Values, typed
from ottla.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ottla.embed.log import Log
    from ottla.embed.values import Unfit

COLUMNS = ("offset", "timestamp", "key", "value", "headers")


def to_arrow(log: Log, start: int | None, stop: int | None, *, json: Any, avro: Any, unfit: Unfit) -> Any:
    """See `Log.to_arrow`."""
    values = None if json is None and avro is None else Values(json, avro, unfit)
    reader = pyarrow().RecordBatchReader.from_stream(_core.ArrowRecords(log, start, stop))
    return reader if values is None else typed(reader.schema, reader, values)


def append_arrow(log: Log, batches: Any, *, wait: bool) -> int | None:
    """See `Log.append_arrow`."""
    pa = pyarrow()
    last = None
    try:
        for batch in _batches(pa, batches):
            appended = _append(pa, log, batch)
            last = last if appended is None else appended
    finally:
        if wait and last is not None:
            log.sync()
    return last


def _batches(pa: Any, given: Any) -> Iterator[Any]:
    """From a reader, a table, a record batch, an iterable of these, or whatever has a stream."""
    if isinstance(given, pa.RecordBatch):
        yield given
    elif hasattr(given, "__arrow_c_stream__"):
        yield from pa.RecordBatchReader.from_stream(given)
    elif hasattr(given, "__iter__") and not isinstance(given, (str, bytes)):
        for each in given:
            yield from _batches(pa, each)
    else:
        raise TypeError(f"batches are Arrow's, or an iterable of them; not {type(given).__name__}")


def _append(pa: Any, log: Log, batch: Any) -> int | None:
    names = batch.schema.names
    unknown = sorted(set(names) - set(COLUMNS))
    if "value" not in names or unknown:
        raise InvalidInput(
            f"columns of a log are {', '.join(COLUMNS)}, and value must be there; given are {', '.join(names)}"
        )
    timestamps = _timestamps(pa, batch.column("timestamp")) if "timestamp" in names else None
    headers = batch.column("headers") if "headers" in names else None
    if headers is not None and len(headers.flatten()):
        return log.append_many(_rows(pa, batch, timestamps), wait=False)
    if timestamps is not None and timestamps.null_count:
        # What has no time gets that of the append, which is one for each record.
        return log.append_many(_rows(pa, batch, timestamps), wait=False)
    return log.append_columns(
        _column(pa, batch.column("value"), "value"),
        keys=_column(pa, batch.column("key"), "key") if "key" in names else None,
        timestamps=None if timestamps is None else _numbers(timestamps),
        wait=False,
    )


def _timestamps(pa: Any, given: Any) -> Any:
    """Milliseconds since 1970, from whatever is a time or a whole number."""
    if pa.types.is_timestamp(given.type):
        given = given.cast(pa.timestamp("ms", tz=given.type.tz), safe=False)
    return given.cast(pa.int64())


def _numbers(given: Any) -> memoryview:
    whole = memoryview(given.buffers()[1]).cast("B").cast("q")
    return whole[given.offset : given.offset + len(given)]


def _column(pa: Any, given: Any, name: str) -> Any:
    """Bytes end to end, and where each value begins, as they lie in an array."""
    if pa.types.is_null(given.type):
        given = pa.nulls(len(given), pa.large_binary())
    try:
        packed = given.cast(pa.large_binary())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(f"column '{name}' is {given.type}, not text or binary") from error
    _, places, data = packed.buffers()
    whole = memoryview(places).cast("B").cast("q")
    nulls = None
    if packed.null_count:
        nulls = packed.is_null().cast(pa.uint8()).buffers()[1].to_pybytes()[: len(packed)]
    return (b"" if data is None else data, whole[packed.offset : packed.offset + len(packed) + 1], nulls)


def _rows(pa: Any, batch: Any, timestamps: Any) -> Iterable[Any]:
    none = [None] * batch.num_rows

    def column(name: str) -> list[Any]:
        if name not in batch.schema.names:
            return none
        given = batch.column(name)
        if name == "headers":
            return given.to_pylist()  # type: ignore[no-any-return]
        return given.cast(pa.large_binary()).to_pylist()  # type: ignore[no-any-return]

    times = none if timestamps is None else timestamps.to_pylist()
    for key, value, headers, timestamp in zip(column("key"), column("value"), column("headers"), times, strict=True):
        yield (key, value, [(header["key"], header["value"]) for header in headers or ()], timestamp)
