"""Files are read as java.util.Properties reads them, with the line each entry begins in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.config.properties import PropertiesError, Property, decode, parse


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a=b", [("a", "b", 1)]),
        ("\n# c\n! d\n  # e\na: b \n", [("a", "b ", 5)]),
        ("a b", [("a", "b", 1)]),
        ("a \t=\f b", [("a", "b", 1)]),
        ("a==b", [("a", "=b", 1)]),
        ("a = = b", [("a", "= b", 1)]),
        ("a", [("a", "", 1)]),
        ("=b", [("", "b", 1)]),
        ("a=b\\\n   c\\\n#d\ne=f", [("a", "bc#d", 1), ("e", "f", 4)]),
        ("a=b\\\\\nc=d", [("a", "b\\", 1), ("c", "d", 2)]),
        ("# no \\\na=b", [("a", "b", 2)]),
        ("a\\ b\\=c\\:d = e", [("a b=c:d", "e", 1)]),
        ("a=\\t\\n\\r\\f\\q\\u00e9", [("a", "\t\n\r\fqé", 1)]),
        ("a=\\ud83d\\ude00", [("a", "😀", 1)]),
        ("a=1\r\nb=2\rc=3", [("a", "1", 1), ("b", "2", 2), ("c", "3", 3)]),
        ("a=b\\", [("a", "b", 1)]),
        ("\\\n#=", []),
        ("a=1\na=2", [("a", "1", 1), ("a", "2", 2)]),
        ("", []),
    ],
)
def test_entries(text: str, expected: list[tuple[str, str, int]]) -> None:
    """Each case is what java.util.Properties makes of the same text; lines count from 1."""
    assert parse(text) == [Property(*entry) for entry in expected]


def test_a_broken_unicode_escape_names_its_line() -> None:
    """The one thing the syntax refuses."""
    with pytest.raises(PropertiesError, match=r"line 2: .*four hexadecimal digits"):
        parse("a=1\nb=\\u12g4")


def test_a_file_is_utf8_or_else_latin1() -> None:
    """Java reads Latin-1; UTF-8, which people write, is tried first. A byte order mark is no part of a name."""
    assert decode("ä".encode()) == decode("ä".encode("latin-1")) == "ä"
    assert decode(b"\xef\xbb\xbfa=b") == "a=b"


# What would be blank, a separator or the start of a comment is escaped in names; leading blanks in values.
def escaped(text: str) -> str:
    named = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f"}
    return "".join(named.get(char, "\\" + char if char in "\\=: #!" else char) for char in text)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
            st.text(st.characters(codec="utf-8"), max_size=20),
            st.sampled_from(["=", ":", " ", " = ", "\t:\f"]),
            st.sampled_from(["\n", "\r\n", "\r", "\n\n# comment\n", "\n   \n"]),
        )
    )
)
def test_what_is_written_is_read_back(entries: list[tuple[str, str, str, str]]) -> None:
    """Escaped names and values survive any separator and line ending."""
    text = "".join(escaped(name) + separator + escaped(value) + end for name, value, separator, end in entries)
    assert [(entry.name, entry.value) for entry in parse(text)] == [(name, value) for name, value, _, _ in entries]


@given(st.text(st.sampled_from("ab=: \t\f\n\r\\#!u0e9"), max_size=60))
def test_any_text_is_read_or_refused_with_a_line_inside_it(text: str) -> None:
    """Lines reported lie in the file and never go back; nothing else than `PropertiesError` is raised."""
    last = len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    try:
        lines = [entry.line for entry in parse(text)]
    except PropertiesError as error:
        lines = [error.line]
    assert lines == sorted(lines)
    assert all(1 <= line <= last for line in lines)
