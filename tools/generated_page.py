"""What scripts that write a page of the documentation have in common: with `--check` they only compare."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def kept(page: Path, text: str, source: str) -> int:
    """Write the page, or look whether it is what `source` says; the script's exit code."""
    if sys.argv[1:] == ["--check"]:
        if not page.exists() or page.read_text() != text:
            print(f"{page.name} is not what {source}: run python tools/{sys.argv[0].rpartition('/')[2]}")
            return 1
        return 0
    page.write_text(text)
    return 0
