"""Golden scripts: comment, command, expected text. `OTTLA_REWRITE_SCRIPTS=1` writes what is printed now; read the diff.

What Apache Kafka 4.3.1 answers was asked of it once for each refusal in these scripts; the sentences are what it said.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.controller.world import play

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    """Every command of the script prints what stands below it."""
    script = path.read_text()
    printed = play(script)
    if os.environ.get("OTTLA_REWRITE_SCRIPTS"):
        path.write_text(printed)
    assert printed == script
