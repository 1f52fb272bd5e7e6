"""Values as typed columns: what `Log.to_arrow` and `ottla log export` do with values that are JSON or Avro.

The column `value` becomes a struct, with a column for each field. What cannot become one is an error that names its
offset, or null if the caller wants that; a null value stays null.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ottla.embed.extras import pyarrow
from ottla.errors import InvalidInput, UnfitValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Unfit = Literal["raise", "null"]
# Told the place of a value in its array, and what is wrong with it; may raise.
Refuse = Callable[[int, str], None]


class Kind(Protocol):
    """JSON or Avro."""

    # Arrow's; None: there was no value yet that says it.
    type: Any

    def columns(self, texts: Sequence[memoryview | None], refuse: Refuse) -> tuple[Sequence[int], Any]:
        """Give the places of those that fit, in order, and an array of them. Of the others the first is refused first;
        None is nothing to be refused.
        """


class Values:
    """How values become typed columns, an array after the other: `json` or `avro` as `Log.to_arrow` has them."""

    def __init__(self, json: Any, avro: Any, unfit: Unfit) -> None:
        if unfit not in {"raise", "null"}:
            raise InvalidInput(f"unfit is 'raise' or 'null', not {unfit!r}")
        if (json is None) == (avro is None):
            raise InvalidInput("values are JSON or Avro: give one of json and avro")
        self._is_strict = unfit == "raise"
        self._kind: Kind
        # What is not asked for need not be there.
        if json is not None:
            from ottla.embed.values_json import Json  # noqa: PLC0415

            self._kind = Json(json, is_strict=self._is_strict)
        else:
            from ottla.embed.values_avro import Avro  # noqa: PLC0415

            self._kind = Avro(avro)

    @property
    def is_known(self) -> bool:
        """Whether `type` is what it will be."""
        return self._kind.type is not None

    @property
    def type(self) -> Any:
        """Arrow's type of what `typed` gives. Without a schema and without any value, a struct of nothing."""
        return self._kind.type if self.is_known else pyarrow().struct([])

    def typed(self, offsets: Any, values: Any) -> Any:
        """Give the array for an array of binary values. Raises `UnfitValue`."""

        def refuse(place: int, why: str) -> None:
            if self._is_strict:
                raise UnfitValue(offsets[place].as_py(), why)

        pa = pyarrow()
        places, found = self._kind.columns(_slices(pa, values), refuse)
        if not places:
            return pa.nulls(len(values), self.type)
        if len(places) == len(values):
            return found
        rows: list[int | None] = [None] * len(values)
        for row, place in enumerate(places):
            rows[place] = row
        return found.take(pa.array(rows, pa.int64()))


def typed(schema: Any, batches: Iterable[Any], values: Values) -> Any:
    """Give a `RecordBatchReader` of the same record batches with their column `value` typed.

    Without a schema for the values as many are read at once as it takes to meet one.
    """
    pa = pyarrow()
    place = schema.get_field_index("value")
    begun = []
    rest = iter(batches)

    def replaced(batch: Any, array: Any) -> Any:
        return batch.set_column(place, pa.field("value", array.type), array)

    def converted(batch: Any) -> Any:
        return replaced(batch, values.typed(batch.column("offset"), batch.column(place)))

    for batch in rest:
        begun.append(converted(batch))
        if values.is_known:
            break

    def all_of_them() -> Iterator[Any]:
        # In front of the first that had a value there are nulls alone.
        for batch in begun[:-1]:
            yield replaced(batch, pa.nulls(batch.num_rows, values.type))
        yield from begun[-1:]
        begun.clear()
        yield from map(converted, rest)

    return pa.RecordBatchReader.from_batches(schema.set(place, pa.field("value", values.type)), all_of_them())


def _slices(pa: Any, values: Any) -> list[memoryview | None]:
    """Each value where it lies."""
    packed = values.cast(pa.large_binary())
    _, places, data = packed.buffers()
    ends = memoryview(places).cast("B").cast("q")[packed.offset : packed.offset + len(packed) + 1].tolist()
    whole = memoryview(b"" if data is None else data).cast("B")
    slices: list[memoryview | None] = [whole[begin:end] for begin, end in pairwise(ends)]
    if packed.null_count:
        for place, is_there in enumerate(packed.is_valid().to_pylist()):
            if not is_there:
                slices[place] = None
    return slices
