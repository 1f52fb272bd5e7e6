"""Compares the version in Cargo.toml with that of the package, the changelog, and a tag if one is given.

    python tools/release_version.py v0.2.0

The release workflow begins with it; a release without an entry in the changelog, or of another version than its tag
says, is not built.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def problems(root: Path, tag: str) -> list[str]:
    """What does not fit, in words. An empty tag: a trial, for which the changelog need not be ready."""
    version = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    package = re.search(r'^__version__ = "(.*)"$', (root / "python/ottla/__init__.py").read_text(), re.MULTILINE)
    found = []
    if package is None or package[1] != version:
        found.append(f"Cargo.toml says {version}, ottla.__version__ {package and package[1]}")
    if tag and tag != f"v{version}":
        found.append(f"Cargo.toml says {version}, the tag {tag}")
    if tag and f"\n## [{version}] - " not in (root / "CHANGELOG.md").read_text():
        found.append(f"CHANGELOG.md has no entry for {version}")
    return found


if __name__ == "__main__":
    wrong = problems(ROOT, sys.argv[1] if len(sys.argv) > 1 else "")
    print("\n".join(wrong) or "one version")
    sys.exit(1 if wrong else 0)
