"""JSON objects as a struct of columns, by pyarrow's reader."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from ottla.embed.extras import pyarrow, pyarrow_json
from ottla.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.embed.values import Refuse

# What the reader looks at in one go; a value must have room.
_BLOCK_BYTES = 1 << 20
_BLOCK_BYTES_MAX = 2**31 - 1
# The reader counts the objects of a piece, not ours.
_IN_ROW = re.compile(r" in row \d+$")


class Json:
    """By a schema, which says what is wanted of an object; or, when `schema` is True, by what the first values are.

    Then a field those do not have does not fit: it would be lost without anybody having said so.
    """

    def __init__(self, schema: Any, *, is_strict: bool) -> None:
        self._pa = pa = pyarrow()
        self._is_strict = is_strict
        self._check = msgspec.json.Decoder(msgspec.Raw)
        self._schema: Any = None
        self._others = "error"
        self.type: Any = None
        if schema is True:
            return
        if isinstance(schema, pa.StructType):
            schema = pa.schema(list(schema))
        if not isinstance(schema, pa.Schema):
            raise InvalidInput(f"json is True, or a schema of pyarrow; not {schema!r}")
        if len(set(schema.names)) < len(schema.names):
            raise InvalidInput(f"a field is there twice: {', '.join(schema.names)}")
        self._schema, self._others = schema, "ignore"
        self.type = _nullable(pa, pa.struct(list(schema)))
        try:
            self._read([b"{}"], pa.schema(list(self.type)), "ignore")
        except pa.ArrowNotImplementedError as error:
            raise InvalidInput(f"no such column can be made of JSON: {error}") from error

    def columns(self, texts: Sequence[memoryview | None], refuse: Refuse) -> tuple[Sequence[int], Any]:
        """See `Kind`."""
        places: list[int] = []
        objects: list[memoryview] = []
        malformed: list[tuple[int, str]] = []
        for place, text in enumerate(texts):
            if text is None:
                continue
            why = self._why_no_object(text)
            if why is None:
                places.append(place)
                objects.append(text)
                continue
            malformed.append((place, why))
            if self._is_strict:
                break
        if objects and self._schema is None:
            self._infer(objects)
        fitting: list[int] = []
        pieces = []
        # Halves of what does not fit as a whole, those in front first.
        spans = [(0, len(objects))] if objects else []
        while spans:
            begin, end = spans.pop()
            try:
                pieces.append(self._read(objects[begin:end], self._schema, self._others))
            except (self._pa.ArrowInvalid, UnicodeDecodeError) as error:
                if end - begin == 1:
                    refuse(places[begin], _IN_ROW.sub("", str(error)))
                else:
                    middle = (begin + end) // 2
                    spans += [(middle, end), (begin, middle)]
            else:
                fitting += places[begin:end]
        for place, why in malformed:
            refuse(place, why)
        return fitting, self._pa.concat_arrays([piece.cast(self.type) for piece in pieces]) if pieces else None

    def _why_no_object(self, text: memoryview) -> str | None:
        """One object and nothing else: so that rows are values, one by one."""
        try:
            found = self._check.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            return str(error)
        return None if bytes(memoryview(found)[:1]) == b"{" else "JSON, but not an object"

    def _infer(self, objects: Sequence[memoryview]) -> None:
        """Take the schema from the values as far as they go together."""
        first = next(
            (place for place in range(len(objects)) if self._found(objects[place : place + 1]) is not None), None
        )
        if first is None:
            return
        objects = objects[first:]
        known = self._found(objects)
        if known is None:
            good, bad = 1, len(objects)
            while bad - good > 1:
                middle = (good + bad) // 2
                good, bad = (good, middle) if self._found(objects[:middle]) is None else (middle, bad)
            known = self._found(objects[:good])
        self._schema, self.type = self._pa.schema(list(known)), known

    def _found(self, objects: Sequence[memoryview]) -> Any:
        """The type of these, None if they have none in common."""
        try:
            return self._read(objects, None, "infer").type
        except (self._pa.ArrowInvalid, UnicodeDecodeError):
            return None

    def _read(self, objects: Sequence[memoryview | bytes], schema: Any, others: str) -> Any:
        """An array of as many structs. Raises ArrowInvalid, UnicodeDecodeError."""
        lines = b"\n".join(objects)
        # The reader takes text as it is.
        str(lines, "utf-8")
        json = pyarrow_json()
        longest = max(map(len, objects))
        table = json.read_json(
            self._pa.BufferReader(lines),
            read_options=json.ReadOptions(block_size=min(max(_BLOCK_BYTES, longest + 1), _BLOCK_BYTES_MAX)),
            parse_options=json.ParseOptions(
                explicit_schema=schema, newlines_in_values=True, unexpected_field_behavior=others
            ),
        )
        if table.num_rows != len(objects):
            raise self._pa.ArrowInvalid(f"{table.num_rows} rows of {len(objects)} values")
        return self._pa.concat_arrays(table.to_struct_array().chunks)


def _nullable(pa: Any, kind: Any) -> Any:
    """The same, where every field may be null: so is all of a value that is null itself."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _nullable(pa, each.type)) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(_nullable(pa, kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_nullable(pa, kind.value_type))
    return kind
