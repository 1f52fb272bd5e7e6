"""The scripts say what the group coordinator answers and writes; see `golden` for their language."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla import _core
from tests.coordinator.golden import Player, scripts


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    """Playing the script gives what it says."""
    expected = path.read_text()
    assert Player().play(expected) == expected


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.stem)
def test_script_with_the_records_of_a_broker(path: Path) -> None:
    """The same with Kafka's bytes, whose versions do not all carry everything: nothing that counts is left out."""
    expected = path.read_text()
    assert Player(_core.Codec()).play(expected) == expected


def test_there_are_scripts() -> None:
    """An empty folder would pass everything."""
    assert len(scripts()) >= 10
