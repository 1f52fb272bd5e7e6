"""What a log is given that it cannot use: the error says what, where and what to do, and nothing in there changes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import ottla
from ottla.errors import InvalidInput
from tests.embed.test_log_process import said

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A log of three records and a cursor, closed."""
    with ottla.Log(tmp_path / "orders", segment_bytes=1_048_576) as log:
        log.append_many([(b"k", b"a"), (b"k", b"b"), (b"k", b"c")])
        log.commit({"billing": 2})
    return tmp_path / "orders"


def lying_in(place: Path) -> dict[str, bytes]:
    """Every file and its bytes, but for the note who holds the directory."""
    files = (path for path in place.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(place)): path.read_bytes() for path in files}


def records_in(place: Path) -> dict[str, bytes]:
    """What of it holds records and cursors."""
    own = ("orders-0/", ".ottla_cursors", "meta.properties")
    return {name: content for name, content in lying_in(place).items() if name.startswith(own)}


BY_AN_OPEN_LOG: list[tuple[str, Callable[[ottla.Log], object], type[Exception], str]] = [
    ("text", lambda log: log.append("text"), TypeError, r"a value is bytes.* not str: encode it first"),  # type: ignore[arg-type]
    ("number", lambda log: log.append(b"v", key=7), TypeError, r"a key is bytes.* not int"),  # type: ignore[arg-type]
    (
        "headers",
        lambda log: log.append(b"v", headers=[b"h"]),  # type: ignore[list-item]
        TypeError,
        r"headers are a dict, or pairs of a str and bytes",
    ),
    ("time", lambda log: log.append(b"v", timestamp="now"), TypeError, r"an int, milliseconds since 1970"),  # type: ignore[arg-type]
    ("early", lambda log: log.append(b"v", timestamp=-5), InvalidInput, r"timestamp -5 is before 1970"),
    ("item", lambda log: log.append_many([b"v", 7]), TypeError, r"a value is bytes.* not int"),  # type: ignore[list-item]
    ("tuple", lambda log: log.append_many([(b"k",)]), TypeError, r"a record is a value, or a tuple \(key, value\)"),  # type: ignore[list-item]
    (
        "large",
        lambda log: log.append(b"x" * 2_000_000),
        ottla.RecordTooLarge,
        r"2000\d\d\d bytes do not fit in a segment of 1048576 bytes.*larger segment_bytes",
    ),
    (
        "large batch",
        lambda log: log.append_many([b"x" * 500_000] * 3, atomic=True),
        ottla.RecordTooLarge,
        r"do not fit in a segment of 1048576 bytes.*larger segment_bytes",
    ),
    (
        "read",
        lambda log: log.read(-1),
        ottla.OffsetOutOfRange,
        r"offset -1 is no offset: .*/orders-0 holds 0 to below 3$",
    ),
    (
        "behind",
        lambda log: log.read(4),
        ottla.OffsetOutOfRange,
        r"offset 4 lies beyond the end: .*/orders-0 holds 0 to below 3; what is appended next gets 3\. A cursor",
    ),
    ("columns", lambda log: log.read_columns(-1), ottla.OffsetOutOfRange, r"offset -1 is no offset"),
    ("follow", lambda log: log.follow(-7), ottla.OffsetOutOfRange, r"offset -7 is no offset"),
    ("cut", lambda log: log.truncate(-1), ottla.OffsetOutOfRange, r"offset -1 is no offset"),
    ("cut behind", lambda log: log.truncate(4), ottla.OffsetOutOfRange, r"offset 4 lies beyond the end"),
    ("inside", lambda log: log.truncate(1), InvalidInput, r"inside the batch that begins at 0.*truncate at 0"),
    ("delete", lambda log: log.delete_before(-1), ottla.OffsetOutOfRange, r"offset -1 is no offset"),
    ("delete behind", lambda log: log.delete_before(4), ottla.OffsetOutOfRange, r"offset 4 lies beyond the end"),
    ("cursor before", lambda log: log.commit({"billing": -1}), InvalidInput, r"cursor billing cannot stand at -1"),
    (
        "cursor name",
        lambda log: log.commit({"a b": 1}),
        InvalidInput,
        r"\"a b\" is no name for a cursor: 1 to 249 of a-z",
    ),
    ("compact", lambda log: log.compact(), InvalidInput, r"compacted=True"),
]


@pytest.mark.parametrize(
    "work, error, message", [case[1:] for case in BY_AN_OPEN_LOG], ids=[c[0] for c in BY_AN_OPEN_LOG]
)
def test_by_an_open_log(place: Path, work: Callable[[ottla.Log], object], error: type[Exception], message: str) -> None:
    """Refused before anything is written: records, cursors and files are what they were."""
    before = records_in(place)
    with ottla.Log(place) as log:
        with pytest.raises(error, match=message):
            work(log)
        assert (log.end_offset, log.cursor("billing")) == (3, 2)
    assert records_in(place) == before
    with ottla.Log(place) as log:
        assert [record.value for record in log.read()] == [b"a", b"b", b"c"]
        assert log.append(b"d") == 3


def test_a_directory_that_is_no_log(tmp_path: Path) -> None:
    """Somebody's files stay alone in it."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(
        ottla.StorageError, match=r"is no log: it holds \"thesis.txt\".*name a directory of its own"
    ) as told:
        ottla.Log(tmp_path)
    assert str(tmp_path) in str(told.value)
    assert lying_in(tmp_path) == {"thesis.txt": b"mine"}
    with pytest.raises(InvalidInput, match=r"thesis.txt is a file: a log is a directory"):
        ottla.Log(tmp_path / "thesis.txt")
    with pytest.raises(ottla.StorageError, match="no log is here"):
        ottla.Log(tmp_path, read_only=True)
    assert lying_in(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("name", ["ottla.format", "version"])
def test_a_newer_format(place: Path, name: str) -> None:
    """Which file says so, and what to do; a version that does not know it writes nothing."""
    properties = place / "meta.properties"
    properties.write_text(re.sub(rf"^{re.escape(name)}=\d+", f"{name}=999", properties.read_text(), flags=re.MULTILINE))
    before = lying_in(place)
    with pytest.raises(ottla.NewerFormat, match=rf"meta.properties has format version {name}=999.*Use that one"):
        ottla.Log(place)
    with pytest.raises(ottla.NewerFormat, match=rf"{name}=999"):
        ottla.Log(place, read_only=True)
    assert lying_in(place) == before


def test_a_newer_file_of_cursors(place: Path) -> None:
    """It is no damage, and nobody is told to remove it."""
    cursors = place / ".ottla_cursors"
    cursors.write_text(cursors.read_text().replace("version: 0", "version: 1"))
    before = cursors.read_bytes()
    with pytest.raises(ottla.NewerFormat, match=r"\.ottla_cursors has format version 1"):
        ottla.Log(place)
    assert cursors.read_bytes() == before


@pytest.mark.parametrize("content", [b"x" * 4096, b"", b"OTTLAPUB" + (2).to_bytes(4, "big") + bytes(136)])
def test_a_page_that_is_unusable_is_written_anew(place: Path, content: bytes) -> None:
    """It only tells readers how far they may read: its owner opens, and they read."""
    (place / ".ottla_published-orders-0").write_bytes(content)
    with ottla.Log(place) as log, ottla.Log(place, read_only=True) as reader:
        assert log.end_offset == reader.end_offset == 3
        assert len(list(reader.read())) == 3


@pytest.mark.skipif(shutil.which("strace") is None and os.environ.get("CI") != "true", reason="strace is not installed")
def test_a_read_only_file_system(place: Path, tmp_path: Path) -> None:
    """What the kernel says, of which file, and that it can be read; reading it needs nothing to be written."""
    before = lying_in(place)
    program = (
        "import sys, ottla\ntry:\n    ottla.Log(sys.argv[1])\n"
        "except ottla.StorageError as error:\n    print(type(error).__name__, error)\n"
        "with ottla.Log(sys.argv[1], read_only=True) as log:\n    print(len(list(log.read())))\n"
    )
    # The kernel refuses to open files to be written: here the first of them, which every owner needs.
    refused = ["-P", str(place / ".lock"), "-e", "trace=openat", "-e", "inject=openat:error=EROFS"]
    strace = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), *refused]
    done = subprocess.run(
        [*strace, sys.executable, "-c", program, str(place)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    told, count = done.stdout.splitlines()
    assert told.startswith(f"StorageError cannot lock {place}/.lock: Read-only file system")
    assert told.endswith("Opened with read_only=True nothing need be written")
    assert count == "3"
    assert lying_in(place) == before


def test_missing_permission(place: Path, tmp_path: Path) -> None:
    """The same where the user may not write."""
    before = lying_in(place)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
    place.chmod(0o555)
    text = said(lambda: ottla.Log(place))
    place.chmod(0o755)
    assert text.startswith(f"StorageError: cannot lock {place}/.lock: Permission denied")
    assert text.endswith("Opened with read_only=True nothing need be written")
    assert lying_in(place) == before


def test_two_writers(place: Path) -> None:
    """The second is told who has it and what it may do, in this process and in another; the first goes on."""
    other = (
        "import sys, ottla\ntry:\n    ottla.Log(sys.argv[1])\nexcept ottla.DirectoryInUse as error:\n    print(error)\n"
    )
    with ottla.Log(place) as log:
        before = lying_in(place)
        with pytest.raises(ottla.DirectoryInUse) as refused:
            ottla.Log(place)
        there = subprocess.run([sys.executable, "-c", other, str(place)], capture_output=True, text=True, check=True)
        for text in (str(refused.value), there.stdout.strip()):
            assert text.startswith(f"{place} is in use by another owner (pid={os.getpid()}, ")
            assert text.endswith("close it there, or read along with read_only=True")
        assert lying_in(place) == before
        assert log.append(b"d") == 3


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"segment_bytes": 1}, r"segment\.bytes"),
        ({"compression": "rar"}, r"compression\.type"),
        ({"durability": "hope"}, r"ottla\.durability"),
        ({"config": {"no.such.setting": "1"}}, r"no\.such\.setting"),
        ({"topic": "a/b"}, r"Topic name is invalid"),
        ({"read_only": True, "segment_bytes": 1_048_576}, r"has the settings its owner gave it"),
    ],
)
def test_settings(place: Path, asked: Any, message: str) -> None:
    """Which one, and what it may be; the settings that hold go on."""
    before = records_in(place)
    with pytest.raises(InvalidInput, match=message):
        ottla.Log(place, **asked)
    assert records_in(place) == before
    with ottla.Log(place) as log:
        assert log.status().clean_start
        assert [record.value for record in log.read()] == [b"a", b"b", b"c"]
