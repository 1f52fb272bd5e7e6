"""What an opening says of cursors when somebody else had the files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

import ottla
from ottla import _core

if TYPE_CHECKING:
    from pathlib import Path


def opened(path: Path, caplog: pytest.LogCaptureFixture) -> tuple[int | None, str]:
    """Open a log; where its cursor is, and what was said."""
    caplog.clear()
    with caplog.at_level(logging.WARNING), ottla.Log(path) as log:
        position = log.cursor("c")
    _core.flush_logs()
    return position, caplog.text


def test_records_that_went_before_their_cursors_were_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever deleted them did not ask for cursors: an older position is not given without a word."""
    path = tmp_path / "d"
    with ottla.Log(path) as log:
        log.append(b"1", cursors={"c": 1})
    noted = (path / ".ottla_cursors").read_bytes()
    with ottla.Log(path) as log:
        log.append(b"2", cursors={"c": 2})
        log.append(b"3")
        log.delete_before(2)
    assert opened(path, caplog) == (2, "")
    (path / ".ottla_cursors").write_bytes(noted)
    position, said = opened(path, caplog)
    assert position == 1
    assert "positions may be older than those committed" in said
    # Once is enough: it is noted now.
    assert opened(path, caplog) == (1, "")


def test_a_log_that_was_cut_after_its_cursors_were_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file says that offsets were looked through which are given again: it is written anew, and that is said."""
    path = tmp_path / "d"
    with ottla.Log(path) as log:
        for value in (b"1", b"2", b"3"):
            log.append(value)
        log.commit({"c": 1})
    noted = (path / ".ottla_cursors").read_bytes()
    with ottla.Log(path) as log:
        log.truncate(1)
    (path / ".ottla_cursors").write_bytes(noted)
    position, said = opened(path, caplog)
    assert position == 1
    assert "the log was cut after cursors were noted" in said
    assert opened(path, caplog) == (1, "")
