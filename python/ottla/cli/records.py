"""Records as text: the JSON line that `consume` prints and `produce` reads, and templates in the manner of kcat.

Keys, values and headers are bytes. In JSON they are text where they are UTF-8, and base64 under another name
(`value_base64`) where they are not, so that what is consumed can be produced again byte for byte.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ottla.cli.times import utc

if TYPE_CHECKING:
    from collections.abc import Callable

Headers = tuple[tuple[str, bytes | None], ...]

FIELDS_READ = (
    *("topic", "partition", "offset", "timestamp", "timestamp_type"),
    *("key", "key_base64", "value", "value_base64", "headers"),
)
PARTITION_MAX, TIMESTAMP_MS_MAX = 2**31 - 1, 2**63 - 1
TOKENS = "%t topic, %p partition, %o offset, %k key, %s value, %h headers, %T time in ms, %K and %S lengths, %% percent"
_TOKEN = re.compile(rb"%(.?)|\\(.?)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"0": b"\0", b"\\": b"\\"}


class Out(NamedTuple):
    """A record to be produced."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int | None = None


class In(NamedTuple):
    """A record as consumed. `timestamp_type` is CreateTime, LogAppendTime or None."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: str | None
    key: bytes | None
    value: bytes | None
    headers: Headers


# JSON.


def json_line(record: In) -> bytes:
    """Give a record as one line."""
    line: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "timestamp_type": record.timestamp_type,
        **_named("key", record.key),
        **_named("value", record.value),
        "headers": [{"name": name, **_named("value", value)} for name, value in record.headers],
    }
    return msgspec.json.encode(line)


def _named(name: str, content: bytes | None) -> dict[str, str | None]:
    if content is None:
        return {name: None}
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}


def from_json_line(line: bytes) -> Out:
    """Read a record; raises ValueError with a sentence. Topic and offset are where it came from, and do not count."""
    try:
        told = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(f"this is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("this is nested too deeply to be read as JSON") from error
    if not isinstance(told, dict):
        raise ValueError('a record is an object, such as {"key": "a", "value": "b"}')  # noqa: TRY004 - bad input
    unknown = sorted(told.keys() - set(FIELDS_READ))
    if unknown:
        raise ValueError(f"a record has no {', '.join(unknown)}; it may have {', '.join(FIELDS_READ)}")
    return Out(
        key=_content(told, "key"),
        value=_content(told, "value"),
        headers=_headers(told.get("headers")),
        partition=_number(told, "partition", PARTITION_MAX),
        timestamp_ms=_number(told, "timestamp", TIMESTAMP_MS_MAX),
    )


def _content(told: dict[str, Any], name: str) -> bytes | None:
    plain, coded = told.get(name), told.get(f"{name}_base64")
    if plain is not None and coded is not None:
        raise ValueError(f"{name} and {name}_base64 both say what it is: give one of them")
    if coded is not None:
        try:
            return base64.b64decode(coded, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise ValueError(f"{name}_base64 is no base64") from error
    if plain is None or isinstance(plain, str):
        return None if plain is None else plain.encode()
    # An object or a number is sent as the JSON it is.
    return msgspec.json.encode(plain)


def _number(told: dict[str, Any], name: str, most: int) -> int | None:
    value = told.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{name} is a whole number from 0 to {most}, not {msgspec.json.encode(value).decode():.40}")
    return value


def _headers(told: Any) -> Headers:
    if told is None:
        return ()
    if isinstance(told, dict):
        told = [{"name": name, "value": value} for name, value in told.items()]
    if not isinstance(told, list) or any(not isinstance(each, dict) or "name" not in each for each in told):
        raise ValueError('headers are {"name": "value"} or [{"name": "n", "value": "v"}]')
    return tuple((str(each["name"]), _content(each, "value")) for each in told)


# Templates.


def compiled(template: str) -> Callable[[In], bytes]:
    """Give what writes a record by a template; raises ValueError with a sentence."""
    parts: list[bytes | Callable[[In], bytes]] = []
    source = template.encode()
    position = 0
    for match in _TOKEN.finditer(source):
        parts.append(source[position : match.start()])
        position = match.end()
        letter, escaped = match[1], match[2]
        if escaped is not None:
            parts.append(_ESCAPES.get(escaped, b"\\" + escaped))
        elif letter in _WRITERS:
            parts.append(_WRITERS[letter])
        else:
            raise ValueError(f"'%{letter.decode(errors='replace')}' is no part of a record: {TOKENS}")
    parts.append(source[position:])

    def write(record: In) -> bytes:
        return b"".join(part if isinstance(part, bytes) else part(record) for part in parts)

    return write


def header_text(headers: Headers) -> bytes:
    """Give headers as kcat does: name=value,name=value."""
    return b",".join(name.encode() + b"=" + (b"NULL" if value is None else value) for name, value in headers)


_WRITERS: dict[bytes, Callable[[In], bytes]] = {
    b"%": lambda _: b"%",
    b"t": lambda record: record.topic.encode(),
    b"p": lambda record: b"%d" % record.partition,
    b"o": lambda record: b"%d" % record.offset,
    b"k": lambda record: record.key or b"",
    b"s": lambda record: record.value or b"",
    b"h": lambda record: header_text(record.headers),
    b"T": lambda record: b"%d" % record.timestamp_ms,
    b"K": lambda record: b"%d" % (-1 if record.key is None else len(record.key)),
    b"S": lambda record: b"%d" % (-1 if record.value is None else len(record.value)),
}


def long_form(record: In) -> bytes:
    """Give a record on one line for people: where, when, and what with every byte visible."""
    when = utc(record.timestamp_ms) if record.timestamp_ms >= 0 else "no-time"
    text = (
        f"{record.topic}[{record.partition}]@{record.offset} {when} key={shown(record.key)} value={shown(record.value)}"
    )
    for name, value in record.headers:
        text += f" {name}={shown(value)}"
    return text.encode()


def shown(content: bytes | None) -> str:
    """Give bytes as text in quotes; what cannot be seen is escaped."""
    if content is None:
        return "null"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"0x{content.hex()}"
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in text) + '"'


def _escape(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char.encode("unicode_escape").decode()
