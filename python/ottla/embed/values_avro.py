"""Avro's binary encoding as Arrow's columns, by fastavro."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ottla.embed.extras import fastavro, pyarrow
from ottla.embed.values_avro_walk import Walk, has_counts, named
from ottla.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.embed.values import Refuse

# How the serializers of a schema registry begin a value: a zero, and which schema it was written by.
_MAGIC = 0
_FRAME_BYTES = 5
_DECIMAL_DIGITS_MAX = 76
_NO_BYTES = "null"
_PRIMITIVE = {_NO_BYTES, "boolean", "int", "long", "float", "double", "bytes", "string"}


class Avro:
    """Values written by one schema, or, when `avro` has a schema for each id, framed as a schema registry's are.

    Then the columns are those of the schema that is last, and what was written by others is resolved to it.
    """

    def __init__(self, avro: Any) -> None:
        self._avro = fastavro()
        self._pa = pyarrow()
        self._is_framed = isinstance(avro, Mapping) and bool(avro) and all(isinstance(name, int) for name in avro)
        given = avro if self._is_framed else {0: avro}
        self._schemas: dict[int, Any] = {}
        # Names in those whose values choose or count something.
        self._counted: dict[int, dict[str, Any]] = {}
        for number, schema in given.items():
            plain, self.type = _Types(self._pa).of(_parsed(self._avro, schema))
            self._schemas[number] = self._avro.parse_schema(plain)
            if has_counts(plain):
                self._counted[number] = named(plain, {})
        self._latest = [*self._schemas.values()][-1]

    def columns(self, texts: Sequence[memoryview | None], refuse: Refuse) -> tuple[Sequence[int], Any]:
        """See `Kind`."""
        places: list[int] = []
        values: list[Any] = []
        for place, text in enumerate(texts):
            if text is None:
                continue
            try:
                values.append(self._decoded(text))
            # Bytes that are no such value make fastavro raise whatever they lead it to.
            except Exception as error:  # noqa: BLE001
                refuse(place, str(error) or "it ends too early")
            else:
                places.append(place)
        try:
            return places, self._pa.array(values, self.type)
        except (self._pa.ArrowException, OverflowError):
            return self._one_by_one(places, values, refuse)

    def _one_by_one(self, places: Sequence[int], values: Sequence[Any], refuse: Refuse) -> tuple[Sequence[int], Any]:
        """Leave out what has no place in its column: a decimal with more digits than it may have."""
        fitting = []
        for row, value in enumerate(values):
            try:
                self._pa.array([value], self.type)
            except (self._pa.ArrowException, OverflowError) as error:
                refuse(places[row], str(error))
            else:
                fitting.append(row)
        return [places[row] for row in fitting], self._pa.array([values[row] for row in fitting], self.type)

    def _decoded(self, text: memoryview) -> Any:
        number = 0
        if self._is_framed:
            if len(text) < _FRAME_BYTES or text[0] != _MAGIC:
                raise ValueError("it does not begin with a zero and the id of a schema")
            number = int.from_bytes(text[1:_FRAME_BYTES], "big", signed=True)
            text = text[_FRAME_BYTES:]
            if number not in self._schemas:
                raise ValueError(f"it was written by schema {number}, which was not given")
        written_by = self._schemas[number]
        source = io.BytesIO(text)
        value = self._avro.schemaless_reader(source, written_by, None if written_by is self._latest else self._latest)
        if source.tell() < len(text):
            raise ValueError(f"{len(text) - source.tell()} bytes are left behind it")
        names = self._counted.get(number)
        if names is not None and (written_by is not self._latest or not self._is_as_written(value, text)):
            Walk(names, text).over(written_by)
        return value

    def _is_as_written(self, value: Any, text: memoryview) -> bool:
        """Whether fastavro would write it so: then nothing in it is out of place. This is quicker than to look."""
        source = io.BytesIO()
        try:
            self._avro.schemaless_writer(source, self._latest, value)
        except Exception:  # noqa: BLE001 - whatever a value that was misread leads it to
            return False
        return source.getbuffer() == text


def _parsed(avro: Any, schema: Any) -> Any:
    if isinstance(schema, (str, bytes)) and schema not in _PRIMITIVE:
        try:
            schema = msgspec.json.decode(schema)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"the Avro schema is no JSON: {error}") from error
    try:
        return avro.parse_schema(schema)
    # What is no schema makes fastavro raise errors of its own, and whatever else it comes to.
    except Exception as error:
        raise InvalidInput(f"this is no Avro schema: {type(error).__name__}: {error}") from error


class _Types:
    """What a schema is in Arrow, and the schema that fastavro decodes by.

    The latter has no logical types but decimals: Arrow takes times and dates as the numbers they are, also those that
    Python's `datetime` has no room for.
    """

    def __init__(self, pa: Any) -> None:
        self._pa = pa
        self._named: dict[str, Any] = {}
        # Of these, whose values take no bytes.
        self._nothing = {_NO_BYTES}
        # Records inside each other, outermost first.
        self._inside: list[str] = []

    def of(self, schema: Any) -> tuple[Any, Any]:
        """Give (schema to decode by, Arrow's type). Raises `InvalidInput` for what Arrow has no column for."""
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            schema = {"type": schema}
        name = schema["type"]
        if isinstance(name, (dict, list)):
            return self.of(name)
        if name in self._inside:
            raise InvalidInput(f"Avro's {name} contains itself, which no column can")
        if name in self._named:
            return name, self._named[name]
        if name in {"record", "error"}:
            return self._record(schema)
        if name == "array":
            items, kind = self.of(schema["items"])
            if self._is_nothing(items):
                raise InvalidInput("an Avro array of what takes no bytes has no column")
            return {"type": "array", "items": items}, self._pa.list_(kind)
        if name == "map":
            values, kind = self.of(schema["values"])
            return {"type": "map", "values": values}, self._pa.map_(self._pa.string(), kind)
        if name in {"enum", "fixed"}:
            return self._own(schema)
        return self._primitive(schema)

    def _union(self, branches: list[Any]) -> tuple[Any, Any]:
        others = [branch for branch in branches if branch not in (_NO_BYTES, {"type": _NO_BYTES})]
        if not others:
            return branches, self._pa.null()
        if len(others) > 1:
            raise InvalidInput(f"an Avro union of {len(others)} types besides null has no column: {others}")
        plain, kind = self.of(others[0])
        return [branch if branch not in others else plain for branch in branches], kind

    def _record(self, schema: Any) -> tuple[Any, Any]:
        self._inside.append(schema["name"])
        fields, columns = [], []
        for field in schema["fields"]:
            plain, kind = self.of(field["type"])
            fields.append({**field, "type": plain})
            columns.append(self._pa.field(field["name"], kind))
        self._inside.pop()
        return self._known(schema, {**_bare(schema), "fields": fields}, self._pa.struct(columns))

    def _own(self, schema: Any) -> tuple[Any, Any]:
        if schema["type"] == "enum":
            return self._known(schema, _bare(schema), self._pa.string())
        if schema.get("logicalType") == "decimal":
            return self._known(schema, schema, self._decimal(schema))
        return self._known(schema, _bare(schema), self._pa.binary(schema["size"]))

    def _known(self, schema: Any, plain: Any, kind: Any) -> tuple[Any, Any]:
        """Named where it stands first; by its name from there on."""
        self._named[schema["name"]] = kind
        is_nothing = schema["type"] == "fixed" and schema["size"] == 0
        if is_nothing or ("fields" in plain and all(self._is_nothing(field["type"]) for field in plain["fields"])):
            self._nothing.add(schema["name"])
        return plain, kind

    def _is_nothing(self, plain: Any) -> bool:
        """Whether a value takes no bytes: a few of an array could say that there are 2^62 of them."""
        return (plain.get("name", "") if isinstance(plain, dict) else str(plain)) in self._nothing

    def _primitive(self, schema: Any) -> tuple[Any, Any]:
        pa, name, logical = self._pa, schema["type"], schema.get("logicalType")
        if name == "bytes" and logical == "decimal":
            return schema, self._decimal(schema)
        times = {
            ("int", "date"): pa.date32(),
            ("int", "time-millis"): pa.time32("ms"),
            ("long", "time-micros"): pa.time64("us"),
        }
        for unit, word in (("ms", "millis"), ("us", "micros"), ("ns", "nanos")):
            times["long", f"timestamp-{word}"] = pa.timestamp(unit, tz="UTC")
            times["long", f"local-timestamp-{word}"] = pa.timestamp(unit)
        plain = {
            _NO_BYTES: pa.null(),
            "boolean": pa.bool_(),
            "int": pa.int32(),
            "long": pa.int64(),
            "float": pa.float32(),
            "double": pa.float64(),
            "bytes": pa.binary(),
            "string": pa.string(),
        }
        return name, times.get((name, logical), plain[name])

    def _decimal(self, schema: Any) -> Any:
        digits, scale = schema["precision"], schema.get("scale", 0)
        if digits > _DECIMAL_DIGITS_MAX:
            raise InvalidInput(f"Avro's decimal of {digits} digits has no column: {_DECIMAL_DIGITS_MAX} at the most")
        return self._pa.decimal128(digits, scale) if digits <= 38 else self._pa.decimal256(digits, scale)


def _bare(schema: Any) -> Any:
    """Without a logical type, and without what fastavro noted for itself."""
    return {name: value for name, value in schema.items() if name != "logicalType" and not name.startswith("__")}
