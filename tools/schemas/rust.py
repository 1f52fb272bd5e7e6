"""Writes the schema table of `ottla-protocol`."""

from __future__ import annotations
from pathlib import Path
from schemas.model import Message


def write_rust(messages: list[Message]) -> dict[Path, str]:
    return {}
