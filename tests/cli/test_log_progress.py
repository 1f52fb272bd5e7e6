"""Progress bars of `ottla log`: on a terminal, on stderr, while what is printed goes elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from threading import Thread
from typing import TYPE_CHECKING

import pytest

import ottla

if TYPE_CHECKING:
    from pathlib import Path

SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some mebibytes, so that a bar moves more than once."""
    data = tmp_path_factory.mktemp("progress") / "orders"
    with ottla.Log(data) as log:
        log.append_many(os.urandom(1000) for _ in range(4000))
    return data


def drained(terminal: int, into: list[bytes]) -> None:
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            # The other side was closed.
            return
        if not read:
            return
        into.append(read)


def on_a_terminal(*words: object) -> tuple[str, str]:
    """What a command writes to stdout, a pipe, and to stderr, a terminal."""
    terminal, side = pty.openpty()
    shown: list[bytes] = []
    reading = Thread(target=drained, args=(terminal, shown))
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "ottla", "log", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=side,
            text=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        ) as process:
            os.close(side)
            reading.start()
            output, _ = process.communicate(timeout=60)
            reading.join()
    finally:
        os.close(terminal)
    text = SEQUENCE.sub("", b"".join(shown).decode())
    assert process.returncode == 0, text
    return output, text


def parts(shown: str) -> list[float]:
    """How far it was each time it was drawn, in MiB, of those in all."""
    sizes = {float(total) for _, total in re.findall(r"([\d.]+)/([\d.]+) MiB", shown)}
    assert len(sizes) == 1, shown
    (total,) = sizes
    return [float(at) / total for at, _ in re.findall(r"([\d.]+)/([\d.]+) MiB", shown)]


@pytest.mark.parametrize("command", ["verify", "stats", "repair"])
def test_reading(data: Path, command: str) -> None:
    """It begins with nothing and ends with all; what is printed has nothing of it."""
    output, shown = on_a_terminal(command, data, "-t", "orders")
    assert "reading" in shown
    assert (parts(shown)[0], parts(shown)[-1]) == (0, 1)
    assert "MiB" not in output
    assert "\x1b" not in output


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_there_and_back(data: Path, tmp_path: Path, form: str) -> None:
    """Of an export as far as the files were read, of an import as far as the file was."""
    pytest.importorskip("pyarrow")
    target = tmp_path / f"orders.{form}"
    _, shown = on_a_terminal("export", data / "orders-0", "--to", target)
    assert "exporting" in shown
    assert parts(shown)[-1] == 1
    assert shown.rstrip().endswith("4000 records")
    _, shown = on_a_terminal("import", target, tmp_path / "copy")
    assert "importing" in shown
    assert parts(shown)[-1] == 1
    assert shown.rstrip().endswith("4000 records, offsets 0 to 3999")


def test_none_where_nobody_looks(data: Path) -> None:
    """Stderr that is a file gets no bars."""
    done = subprocess.run(
        [sys.executable, "-m", "ottla", "log", "verify", str(data), "-t", "orders"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
