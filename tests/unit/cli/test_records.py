"""Records as text, moments as people write them: what is printed can be read again, what is wrong is said."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.cli.produce import Reader
from ottla.cli.records import In, Out, compiled, from_json_line, json_line, long_form
from ottla.cli.times import parse_moment, utc
from ottla.errors import InvalidInput

RECORD = In("orders", 2, 7, 1_700_000_000_123, "CreateTime", b"k", b"v", (("h", b"1"), ("n", None)))


@given(
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=20),
    headers=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
)
def test_what_is_consumed_as_json_is_produced_again_to_the_byte(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    """Text, bytes that are no text, null and the empty string all survive."""
    line = json_line(RECORD._replace(key=key, value=value, headers=tuple(headers)))
    assert b"\n" not in line
    assert from_json_line(line) == Out(key, value, tuple(headers), 2, 1_700_000_000_123)


@pytest.mark.parametrize(
    "line, found",
    [
        (b'{"value": "v"}', Out(None, b"v")),
        (b'{"value": {"a": 1}}', Out(None, b'{"a":1}')),
        (b'{"key": 5, "value": null}', Out(b"5", None)),
        (b'{"value": "v", "headers": {"a": "b"}}', Out(None, b"v", (("a", b"b"),))),
        (b'{"value_base64": "/w=="}', Out(None, b"\xff")),
    ],
)
def test_json_written_by_hand(line: bytes, found: Out) -> None:
    """The short forms a person writes."""
    assert from_json_line(line) == found


@pytest.mark.parametrize(
    "line, said",
    [
        (b"{", "this is not JSON"),
        (b"[1]", "a record is an object, such as"),
        (b'{"vlaue": 1}', "a record has no vlaue; it may have topic, partition"),
        (b'{"value": "a", "value_base64": "YQ=="}', "give one of them"),
        (b'{"value_base64": "%"}', "value_base64 is no base64"),
        (b'{"value_base64": 5}', "value_base64 is no base64"),
        (b'{"partition": -1}', "partition is a whole number from 0 to 2147483647, not -1"),
        (b'{"timestamp": "now"}', 'timestamp is a whole number from 0 to 9223372036854775807, not "now"'),
        (b'{"partition": 2147483648}', "partition is a whole number from 0 to 2147483647"),
        (b'{"timestamp": 9223372036854775808}', "timestamp is a whole number from 0 to"),
        (b"[" * 100_000, "this is nested too deeply"),
        (b'{"headers": [1]}', "headers are"),
    ],
)
def test_json_that_is_no_record(line: bytes, said: str) -> None:
    """A sentence that says what would be right."""
    with pytest.raises(ValueError, match=said):
        from_json_line(line)


@pytest.mark.parametrize(
    "template, printed",
    [
        ("%s", b"v"),
        (r"%t[%p]@%o %T %k=%s %h %K/%S 100%%\n", b"orders[2]@7 1700000000123 k=v h=1,n=NULL 1/1 100%\n"),
        (r"\t\0\\%s\q", b"\t\0\\v\\q"),
    ],
)
def test_templates(template: str, printed: bytes) -> None:
    """The letters of kcat."""
    assert compiled(template)(RECORD) == printed


@pytest.mark.parametrize("template", ["%q", "%", "%é"])
def test_templates_that_name_nothing(template: str) -> None:
    """The sentence lists what there is."""
    with pytest.raises(ValueError, match="is no part of a record: %t topic"):
        compiled(template)


def test_the_long_form_shows_every_byte() -> None:
    """What cannot be printed is escaped, what is no text is hex, null is no word in quotes."""
    assert long_form(RECORD) == b'orders[2]@7 2023-11-14T22:13:20.123Z key="k" value="v" h="1" n=null'
    odd = RECORD._replace(key=None, value=b'a\n"\xc3\xa9', headers=(("x", b"\xff\x00"),), timestamp_ms=-1)
    assert long_form(odd).decode() == 'orders[2]@7 no-time key=null value="a\\n\\"é" x=0xff00'


# Moments.


@pytest.fixture
def zone_of_amsterdam() -> Iterator[None]:
    """A local time that is not UTC."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Amsterdam"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    "text, moment",
    [
        ("1700000000123", 1_700_000_000_123),
        ("now", 1_000_000_000),
        ("15m", 1_000_000_000 - 900_000),
        ("-2h", 1_000_000_000 - 7_200_000),
        ("1.5s ago", 1_000_000_000 - 1500),
        ("2023-11-14T22:13:20.123Z", 1_700_000_000_123),
        ("2023-11-14T23:13:20.123", 1_700_000_000_123),
        ("2023-11-14 23:13:20.123+01:00", 1_700_000_000_123),
        ("2023-11-15", 1_700_002_800_000),
    ],
)
@pytest.mark.usefixtures("zone_of_amsterdam")
def test_moments(text: str, moment: int) -> None:
    """A time without a zone is local time, which in November is an hour ahead of UTC here."""
    assert parse_moment(text, 1_000_000_000) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "5", "2023-13-01", "m", "1e3s", "9999-99-99T00:00:00Z"])
def test_what_is_no_moment(text: str) -> None:
    """The sentence shows each way to write one."""
    with pytest.raises(ValueError, match="is no moment: write 2026-11-21T10:00:00Z"):
        parse_moment(text, 0)


def test_timestamps_are_printed_in_utc() -> None:
    """To the millisecond, and not rounded into the next second."""
    assert utc(1_700_000_000_999) == "2023-11-14T22:13:20.999Z"


# Lines and files.


def read(text: bytes, **how: object) -> list[Out]:
    return list(Reader(**how).records(io.BytesIO(text), "f"))  # type: ignore[arg-type]


def test_lines_end_as_in_kafkas_console_producer() -> None:
    """Either end of line, and a last line without one."""
    assert [record.value for record in read(b"a\r\nb\n\nc")] == [b"a", b"b", b"", b"c"]


def test_a_key_ends_at_the_first_separator() -> None:
    """What follows belongs to the value; a null value makes a tombstone."""
    found = read(b"a::b::c\nd::NULL\n", separator=b"::", null_value=b"NULL", headers=(("h", b"1"),))
    assert found == [Out(b"a", b"b::c", (("h", b"1"),)), Out(b"d", None, (("h", b"1"),))]


def test_a_whole_file_is_one_record() -> None:
    """Lines in it stay what they are."""
    assert read(b"a\nb\n", form="whole", key=b"k") == [Out(b"k", b"a\nb\n")]


def test_json_lines_may_have_empty_ones_between() -> None:
    """And headers given for all come behind those of the line."""
    found = read(b'{"value": "v", "headers": {"a": "1"}}\n\n', form="json", headers=(("b", b"2"),))
    assert found == [Out(None, b"v", (("a", b"1"), ("b", b"2")))]


@pytest.mark.parametrize(
    "text, how, said",
    [
        (b"a:1\nb\n", {"separator": b":"}, "f, line 2: there is no ':' between key and value"),
        (b'{"value": 1}\n{', {"form": "json"}, "f, line 2: this is not JSON"),
    ],
)
def test_a_line_that_is_no_record_is_named(text: bytes, how: dict[str, object], said: str) -> None:
    """File and number, so that it can be found."""
    with pytest.raises(InvalidInput, match=said):
        read(text, **how)


def test_a_line_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that never ends a line must not fill the memory."""
    monkeypatch.setattr("ottla.cli.produce.RECORD_BYTES_MAX", 10)
    with pytest.raises(InvalidInput, match="f, line 2: longer than"):
        read(b"short\n" + b"x" * 100)
    with pytest.raises(InvalidInput, match="are no record"):
        read(b"x" * 11, form="whole")


def test_a_time_that_no_calendar_has_is_printed_as_it_is() -> None:
    """A producer that writes microseconds must not end who reads its records."""
    record = In("t", 0, 1, 1_700_000_000_000_000_000, "CreateTime", None, b"v", ())
    assert long_form(record) == b't[0]@1 1700000000000000000ms key=null value="v"'
