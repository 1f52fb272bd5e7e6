"""Goes over the bytes of an Avro value and says what in them is none of its schema.

fastavro takes a branch or a symbol of a negative number for one counted from the end, as lists of Python do, and the
least of all numbers, as the count of a block, for no items.
"""

from __future__ import annotations

from typing import Any

_VARINT_BYTES_MAX = 10
_LEAST = -(2**63)
# By their names; those that are one number, and those that have a length in front.
_FIXED_BYTES = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_NUMBERS = {"int", "long"}
_SIZED = {"bytes", "string"}


def named(schema: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Collect what a schema defines under a name, which it may refer to from there on."""
    if isinstance(schema, list):
        for branch in schema:
            named(branch, found)
    elif isinstance(schema, dict):
        if "name" in schema:
            found[schema["name"]] = schema
        for inner in (schema.get("items"), schema.get("values"), schema["type"]):
            if not isinstance(inner, str):
                named(inner, found)
        for field in schema.get("fields", ()):
            named(field["type"], found)
    return found


def has_counts(schema: Any) -> bool:
    """Whether there is something in its values that chooses or counts: a union, an enum, an array, a map."""
    if isinstance(schema, dict):
        is_one = schema["type"] in {"enum", "array", "map"}
        return (
            is_one or has_counts(schema["type"]) or any(has_counts(each["type"]) for each in schema.get("fields", ()))
        )
    return isinstance(schema, list)


class Walk:
    """One value. Raises `ValueError`."""

    def __init__(self, names: dict[str, Any], text: memoryview) -> None:
        self._names = names
        self._text = text
        self._at = 0

    def over(self, schema: Any) -> None:
        """Go over a value of this schema."""
        if isinstance(schema, list):
            self.over(schema[self._index(len(schema), "branch")])
            return
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, (dict, list)) or kind in self._names:
            self.over(kind if isinstance(kind, (dict, list)) else self._names[kind])
        elif kind in _FIXED_BYTES:
            self._pass(_FIXED_BYTES[kind])
        elif kind in _NUMBERS:
            self._number()
        elif kind in _SIZED:
            self._pass(self._number())
        elif kind == "fixed":
            self._pass(schema["size"])
        elif kind == "enum":
            self._index(len(schema["symbols"]), "symbol")
        elif kind == "array":
            self._blocks([schema["items"]])
        elif kind == "map":
            self._blocks(["string", schema["values"]])
        else:
            for field in schema["fields"]:
                self.over(field["type"])

    def _blocks(self, item: list[Any]) -> None:
        while count := self._number():
            if count == _LEAST:
                raise ValueError(f"a block of {count} items at byte {self._at}")
            end = None
            if count < 0:
                # So many items, and their bytes in front of them.
                size = self._number()
                end = self._at + size
            for _ in range(abs(count)):
                for schema in item:
                    self.over(schema)
            if end not in (None, self._at):
                raise ValueError(f"a block of {size} bytes ends at byte {self._at}")

    def _index(self, count: int, what: str) -> int:
        index = self._number()
        if not 0 <= index < count:
            raise ValueError(f"{what} {index} at byte {self._at}, of {count}")
        return index

    def _number(self) -> int:
        value = 0
        for place in range(_VARINT_BYTES_MAX):
            byte = self._pass(1)[0]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
        raise ValueError(f"a number of more than {_VARINT_BYTES_MAX} bytes at byte {self._at}")

    def _pass(self, count: int) -> memoryview:
        begin, end = self._at, self._at + count
        if count < 0 or end > len(self._text):
            raise ValueError(f"{count} bytes at byte {begin}, of {len(self._text)}")
        self._at = end
        return self._text[begin:end]
