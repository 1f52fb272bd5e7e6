"""The programs of the pages in docs do what the page says they print, one after another in one directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ottla

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page, count", [("start.md", 2), ("embed.md", 9)])
def test_the_page_s_programs(page: str, count: int, tmp_path: Path) -> None:
    """Each leaves its directory to the next."""
    if page == "embed.md":
        for package in ("duckdb", "pandas", "polars", "pyarrow"):
            pytest.importorskip(package)
    programs = PROGRAM.findall((ROOT / "docs" / page).read_text())
    assert len(programs) == count
    there = {**os.environ, "PYTHONPATH": str(Path(ottla.__file__).parents[1])}
    for program, printed in programs:
        command = [sys.executable, "-c", program]
        ended = subprocess.run(
            command, cwd=tmp_path, env=there, capture_output=True, text=True, check=False, timeout=60
        )
        assert (ended.stdout, ended.stderr) == (printed, ""), program
