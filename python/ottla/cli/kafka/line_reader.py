"""Lines of stdin as records: Kafka's org.apache.kafka.tools.LineMessageReader and its properties.

Values are bytes here: a line that is not UTF-8 is sent as it is, where Kafka's reader replaces what it cannot read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# A byte that is no UTF-8 travels through text and back.
CODEC = ("utf-8", "surrogateescape")


class ReaderError(Exception):
    """A line, or a property, does not fit; Kafka's tool ends with this sentence."""


class Line(NamedTuple):
    """A record that was read."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class LineReader:
    """Takes lines apart as the properties say."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        self.parse_key = _true(properties, "parse.key")
        self.key_separator = properties.get("key.separator", "\t")
        self.parse_headers = _true(properties, "parse.headers")
        self.headers_delimiter = properties.get("headers.delimiter", "\t")
        self.headers_separator = properties.get("headers.separator", ",")
        self.headers_key_separator = properties.get("headers.key.separator", ":")
        self.ignore_error = _true(properties, "ignore.error")
        self.null_marker = properties.get("null.marker")
        self._line_number = 0
        self._refuse_doubles()
        try:
            self._headers_pattern = re.compile(self.headers_separator)
        except re.error as error:
            raise ReaderError(f"headers.separator '{self.headers_separator}' is an invalid regex: {error}") from error

    def _refuse_doubles(self) -> None:
        names = {
            "headers.delimiter": self.headers_delimiter,
            "headers.separator": self.headers_separator,
            "headers.key.separator": self.headers_key_separator,
        }
        pairs = [
            ("headers.delimiter", "headers.separator"),
            ("headers.delimiter", "headers.key.separator"),
            ("headers.separator", "headers.key.separator"),
        ]
        for one, other in pairs:
            if names[one] == names[other]:
                raise ReaderError(f"{one} and {other} may not be equal")
        for name in ("key.separator", "headers.separator", "headers.delimiter", "headers.key.separator"):
            if self.null_marker == (self.key_separator if name == "key.separator" else names[name]):
                raise ReaderError(f"null.marker and {name} may not be equal")

    def read(self, line: str) -> Line:
        """Take the next line apart; raises `ReaderError`."""
        self._line_number += 1
        start = 0
        headers = key = None
        if self.parse_headers:
            headers, start = self._part(line, start, self.headers_delimiter, "headers delimiter")
        if self.parse_key:
            key, start = self._part(line, start, self.key_separator, "key separator")
        return Line(
            None if key is None else self._content(key),
            self._content(line[start:]),
            [] if headers is None or headers == self.null_marker else self._headers(headers),
        )

    def _part(self, line: str, start: int, separator: str, name: str) -> tuple[str | None, int]:
        end = line.find(separator, start)
        if end >= 0:
            return line[start:end], end + len(separator)
        if self.ignore_error:
            return None, start
        raise ReaderError(f"No {name} found on line number {self._line_number}: '{line}'")

    def _headers(self, text: str) -> list[tuple[str, bytes | None]]:
        pairs = self._headers_pattern.split(text)
        while len(pairs) > 1 and not pairs[-1]:
            pairs.pop()
        return [self._header(pair) for pair in pairs]

    def _header(self, pair: str) -> tuple[str, bytes | None]:
        name, separator, value = pair.partition(self.headers_key_separator)
        if not separator:
            if self.ignore_error:
                return pair.encode(*CODEC).decode(errors="replace"), None
            raise ReaderError(f"No header key separator found in pair '{pair}' on line number {self._line_number}")
        if name == self.null_marker:
            raise ReaderError(
                f"Header keys should not be equal to the null marker '{self.null_marker}' as they can't be null"
            )
        # A name is text, whatever came: here as in Kafka's reader.
        return name.encode(*CODEC).decode(errors="replace"), self._content(value)

    def _content(self, text: str) -> bytes | None:
        return None if text == self.null_marker else text.encode(*CODEC)


def _true(properties: Mapping[str, str], name: str) -> bool:
    return properties.get(name, "").strip().lower() == "true"
