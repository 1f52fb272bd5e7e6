"""`python -m tests.history FILE`: judges a recorded history."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.history.checker import check, load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--at-least-once", action="store_true", help="inputs may have their outputs twice")
    chosen = parser.parse_args()
    verdict = check(load(chosen.file), exactly_once=not chosen.at_least_once)
    print(verdict.report())
    return 1 if verdict.anomalies else 0


if __name__ == "__main__":
    sys.exit(main())
