"""How kafka-console-consumer prints a record: Kafka's DefaultMessageFormatter and what it can be told.

The deserializers are those whose values have a text: of the Java classes, by their last word.
"""

from __future__ import annotations

import math
import struct
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from ottla.cli.kafka.usage import complain, log_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PACKAGE = "org.apache.kafka.tools.consumer."
LOGGER = f"{PACKAGE}DefaultMessageFormatter"
FLOAT_DIGITS_MAX, DOUBLE_DIGITS_MAX = 9, 17


SERIALIZATION_EXCEPTION = "org.apache.kafka.common.errors.SerializationException"


class FormatError(Exception):
    """A record cannot be printed; `kind` is the exception Kafka's tool would print."""

    def __init__(self, sentence: str, kind: str = SERIALIZATION_EXCEPTION) -> None:
        super().__init__(sentence)
        self.kind = kind


class Record(NamedTuple):
    """A record as it came. `timestamp_type` is CreateTime, LogAppendTime or None."""

    topic: str
    partition: int
    offset: int
    timestamp_type: str | None
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class DefaultFormatter:
    """Columns of a record, as properties ask for them."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        def wanted(name: str, *, default: bool = False) -> bool:
            return properties[name].strip().lower() == "true" if name in properties else default

        def text(name: str, default: str) -> bytes:
            return properties.get(name, default).encode("utf-8", "surrogateescape")

        self._separator = text("key.separator", "\t")
        self._end = text("line.separator", "\n")
        self._headers_separator = text("headers.separator", ",")
        self._null = text("null.literal", "null")
        self._key_reader, self._value_reader, self._header_reader = (
            _deserializer(properties.get(f"{part}.deserializer")) for part in ("key", "value", "headers")
        )
        columns: list[tuple[bool, Callable[[Record], bytes]]] = [
            (wanted("print.timestamp"), _timestamp),
            (wanted("print.partition"), lambda record: b"Partition:%d" % record.partition),
            (wanted("print.offset"), lambda record: b"Offset:%d" % record.offset),
            # Of share groups, and of a field the Java tool does not hand on: it never has them either.
            (wanted("print.delivery"), lambda _: b"Delivery:NOT_PRESENT"),
            (wanted("print.epoch"), lambda _: b"Epoch:NOT_PRESENT"),
            (wanted("print.headers"), self._headers),
            (wanted("print.key"), lambda record: self._read(self._key_reader, record.key)),
        ]
        self._columns = [column for on, column in columns if on]
        self._print_value = wanted("print.value", default=True)

    def write(self, record: Record) -> bytes:
        """Give the bytes to print."""
        parts = [column(record) for column in self._columns]
        if self._print_value:
            parts.append(self._read(self._value_reader, record.value))
        return self._separator.join(parts) + (self._end if parts else b"")

    def _headers(self, record: Record) -> bytes:
        if not record.headers:
            return b"NO_HEADERS"
        return self._headers_separator.join(
            name.encode() + b":" + self._read(self._header_reader, value) for name, value in record.headers
        )

    def _read(self, reader: Callable[[bytes], bytes] | None, content: bytes | None) -> bytes:
        # A null goes through the deserializer as its literal, in Kafka's tool too.
        given = self._null if content is None else content
        return given if reader is None else reader(given)


class NoOpFormatter:
    """Prints nothing."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        pass

    def write(self, _record: Record) -> bytes:
        """Give nothing."""
        return b""


def _of_internal_topic(name: str) -> Callable[[Mapping[str, str]], Any]:
    def make(_properties: Mapping[str, str]) -> Any:
        from ottla.cli.kafka import internal_records

        return internal_records.FORMATTERS[name]()

    return make


FORMATTERS: dict[str, Callable[[Mapping[str, str]], Any]] = {
    **{
        f"{PACKAGE}{name}": _of_internal_topic(name)
        for name in ("GroupMetadataMessageFormatter", "OffsetsMessageFormatter", "TransactionLogMessageFormatter")
    },
    f"{PACKAGE}DefaultMessageFormatter": DefaultFormatter,
    # It logs too, at a level that is not shown.
    f"{PACKAGE}LoggingMessageFormatter": DefaultFormatter,
    f"{PACKAGE}NoOpMessageFormatter": NoOpFormatter,
}


def _timestamp(record: Record) -> bytes:
    if record.timestamp_type is None:
        return b"NO_TIMESTAMP"
    return f"{record.timestamp_type}:{record.timestamp}".encode()


def _deserializer(name: str | None) -> Callable[[bytes], bytes] | None:
    if name is None:
        return None
    short = name.rpartition(".")[2]
    if short not in _DESERIALIZERS:
        log_line("ERROR", f"Unable to instantiate a deserializer from {name}", LOGGER)
        complain(f"java.lang.ClassNotFoundException: {name}")
        return None
    return _DESERIALIZERS[short]


def _number(kind: str, name: str, text_of: Callable[[Any], str] = str) -> Callable[[bytes], bytes]:
    size = struct.calcsize(kind)

    def read(content: bytes) -> bytes:
        if len(content) != size:
            raise FormatError(f"Size of data received by {name} is not {size}")
        return text_of(struct.unpack(kind, content)[0]).encode()

    return read


def _fraction(kind: str, name: str, digits_max: int) -> Callable[[bytes], bytes]:
    """Read a float or a double and write it as Java does: two digits, or as many as tell it from its neighbours."""

    def text_of(number: float) -> str:
        if math.isnan(number) or math.isinf(number):
            return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
        text = next(text for count in range(1, digits_max) if _reads_as(text := f"{number:.{count}e}", kind, number))
        mantissa, _, exponent = text.partition("e")
        sign = "-" if mantissa.startswith("-") else ""
        digits, power = mantissa.removeprefix("-").replace(".", "").rstrip("0") or "0", int(exponent)
        if -3 <= power < 0:
            return f"{sign}0.{'0' * (-power - 1)}{digits}"
        if 0 <= power < 7:
            return f"{sign}{digits[: power + 1].ljust(power + 1, '0')}.{digits[power + 1 :] or '0'}"
        return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power}"

    return _number(kind, name, text_of)


def _reads_as(text: str, kind: str, number: float) -> bool:
    try:
        return bool(struct.unpack(kind, struct.pack(kind, float(text)))[0] == number)
    except OverflowError:
        # Rounded up past the largest there is.
        return False


def _boolean(content: bytes) -> bytes:
    if len(content) != 1:
        raise FormatError("Size of data received by BooleanDeserializer is not 1")
    if content not in (b"\0", b"\1"):
        raise FormatError(f"Unexpected byte received by BooleanDeserializer: {content[0]}")
    return b"true" if content == b"\1" else b"false"


def _uuid(content: bytes) -> bytes:
    try:
        return str(uuid.UUID(content.decode())).encode()
    except ValueError as error:
        raise FormatError("Error parsing data into UUID") from error


def _bytes(content: bytes) -> bytes:
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else ("\\\\" if byte == 0x5C else f"\\x{byte:02X}")
        for byte in content
    ).encode()


_DESERIALIZERS: dict[str, Callable[[bytes], bytes]] = {
    "BooleanDeserializer": _boolean,
    "BytesDeserializer": _bytes,
    "DoubleDeserializer": _fraction(">d", "DoubleDeserializer", DOUBLE_DIGITS_MAX),
    "FloatDeserializer": _fraction(">f", "FloatDeserializer", FLOAT_DIGITS_MAX),
    "IntegerDeserializer": _number(">i", "IntegerDeserializer"),
    "LongDeserializer": _number(">q", "LongDeserializer"),
    "ShortDeserializer": _number(">h", "ShortDeserializer"),
    "StringDeserializer": lambda content: content.decode(errors="replace").encode(),
    "UUIDDeserializer": _uuid,
}
