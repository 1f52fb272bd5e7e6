r"""Java's properties syntax, which server.properties is written in, with line numbers.

    # comment          ! also a comment (first character that is not blank)
    name=value         name: value        name value          (`=`, `:` or blanks; one of the first two is eaten)
    name = first \     a backslash at the end of a line joins the next one, whose leading blanks are dropped;
           second      a joined line is never a comment
    a\ b\=c = d        a backslash takes the special meaning from the next character: the name is `a b=c`
    \t \n \r \f        control characters;   \u00e9 one UTF-16 unit

Trailing blanks belong to the value. A name may be given again: the last one counts, as in Java, and the caller is told
of each. Files are UTF-8; one that is not is read as Latin-1, which is what Java does with every file.
"""

from __future__ import annotations

from msgspec import Struct

_BLANKS = " \t\f"
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Property(Struct, frozen=True):
    """A name and its value, and the line (from 1) where the entry begins."""

    name: str
    value: str
    line: int


class PropertiesError(ValueError):
    """A line that is not in the syntax (only a broken unicode escape can be)."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"line {line}: {reason}")


def decode(content: bytes) -> str:
    """Turn the bytes of a file into text."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def parse(text: str) -> list[Property]:
    """Read all entries in their order. Raises `PropertiesError`."""
    return [_entry(logical, line) for line, logical in _logical_lines(text)]


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Drop comments and blank lines, join what a backslash at the end continues."""
    found: list[tuple[int, str]] = []
    parts: list[str] | None = None
    begin = 0
    # Only \n, \r and \r\n end a line; str.splitlines would also cut at form feeds and others.
    naturals = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, natural in enumerate(naturals, start=1):
        line = natural.lstrip(_BLANKS)
        if parts is None:
            if not line or line[0] in "#!":
                continue
            parts, begin = [], number
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2 == 1:
            parts.append(line[:-1])
            if not any(naturals[number:]) and len(naturals) - number <= 1:
                # A backslash in the last line joins nothing; Java makes an entry even of a lone one.
                found.append((begin, "".join(parts)))
                break
            if parts == [""]:
                # A line of nothing but a backslash continues nothing: what follows may be a comment.
                parts = None
            continue
        parts.append(line)
        logical = "".join(parts)
        parts = None
        if logical:
            found.append((begin, logical))
    return found


def _entry(logical: str, line: int) -> Property:
    end = 0
    while end < len(logical) and logical[end] not in "=:" + _BLANKS:
        end += 2 if logical[end] == "\\" else 1
    end = min(end, len(logical))
    start = end
    while start < len(logical) and logical[start] in _BLANKS:
        start += 1
    if start < len(logical) and logical[start] in "=:":
        start += 1
        while start < len(logical) and logical[start] in _BLANKS:
            start += 1
    return Property(_unescape(logical[:end], line), _unescape(logical[start:], line), line)


def _unescape(text: str, line: int) -> str:
    if "\\" not in text:
        return text
    parts: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char != "\\" or at == len(text):
            # A backslash with nothing behind it stands only where Java drops it too: at the end of the file.
            parts.append("" if char == "\\" else char)
            continue
        escaped = text[at]
        at += 1
        if escaped == "u":
            digits = text[at : at + 4]
            if len(digits) < 4 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                raise PropertiesError(line, f"\\u{digits} is not a unicode escape: it needs four hexadecimal digits")
            parts.append(chr(int(digits, 16)))
            at += 4
        else:
            parts.append(_CONTROL.get(escaped, escaped))
    # Two units of a surrogate pair make one character; a lone one is replaced.
    return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
