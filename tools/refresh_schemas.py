#!/usr/bin/env python3
"""Rewrites the message schemas (Rust table, Python classes) from the jars of an Apache Kafka release.

    tools/refresh_schemas.py FOLDER_OF_JARS [--root REPOSITORY] [--check]

Needed jars: kafka-clients, kafka-group-coordinator, kafka-transaction-coordinator, kafka-metadata, kafka-storage.
Only facts are taken: names, types, versions, nullability, tags, defaults. With --check nothing is written and a
difference is an error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tools.schemas.python import write_python
from tools.schemas.read import read_jars
from tools.schemas.rust import write_rust

PYTHON = Path("python/ottla/messages")
RUST = Path("rust/protocol/src/schema/kafka")


def main() -> int:
    """Generates both trees; returns the exit status."""
    arguments = argparse.ArgumentParser(description="Rewrites the message schemas from Kafka's jars.")
    arguments.add_argument("jars", type=Path, help="folder that holds the jars of one Kafka release")
    arguments.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="the repository")
    arguments.add_argument("--check", action="store_true", help="write nothing, fail if something would change")
    chosen = arguments.parse_args()
    messages = read_jars(chosen.jars)
    changed = 0
    for folder, files in ((PYTHON, write_python(messages)), (RUST, write_rust(messages))):
        changed += refresh(chosen.root / folder, files, check=chosen.check)
    print(f"{len(messages)} messages, {changed} files {'differ' if chosen.check else 'changed'}")
    return 1 if chosen.check and changed else 0


def refresh(folder: Path, files: dict[Path, str], *, check: bool) -> int:
    """Makes `folder` hold exactly `files`; returns how many differed."""
    changed = 0
    present = {path.relative_to(folder) for path in folder.rglob("*") if path.suffix in (".py", ".pyi", ".rs")}
    for path in sorted(present - files.keys()):
        changed += 1
        print(f"gone: {folder / path}")
        if not check:
            (folder / path).unlink()
    for path, text in sorted(files.items()):
        target = folder / path
        if path in present and target.read_text() == text:
            continue
        changed += 1
        if check:
            print(f"differs: {target}")
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return changed


if __name__ == "__main__":
    sys.exit(main())
