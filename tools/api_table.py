"""Writes the README's table of what is served from the table ApiVersions is answered from."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
sys.path.insert(0, str(ROOT / "python"))

from ottla.protocol.registry import APIS, Api  # noqa: E402 - from the tree

HEAD = "| key | API | versions | by |\n|---|---|---|---|\n"
ROWS = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")


def row(api: Api) -> str:
    versions = f"{api.lowest}-{api.highest}" if api.highest > api.lowest else str(api.lowest)
    return f"| {api.key} | {api.name} | {versions} | {'Rust' if api.native else 'Python'} |\n"


def updated(text: str) -> str:
    """The text with its table replaced."""
    return ROWS.sub(HEAD + "".join(row(api) for api in APIS), text, count=1)


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
