"""What the documentation says is true where a machine can tell: generated pages are current, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_house import ROOT, relative, tracked

LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
PAGES = [path for path in tracked() if path.suffix == ".md"]


def test_configuration_page_is_current() -> None:
    """The page of settings is what the table of settings renders to."""
    result = subprocess.run(
        [sys.executable, "tools/settings_page.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files(page: Path) -> None:
    """A relative link names a file or folder of this repository."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    broken = [match[1] for match in LINK.finditer(text) if not (page.parent / match[1]).exists()]
    assert not broken, f"{relative(page)} links to {broken}"
