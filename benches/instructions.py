"""`make bench-instructions`: instructions of the storage engine and of the wire, beside the counts that are committed.

Callgrind counts what `benches/instructions.rs` of each crate does, as often as not with the same result to the last
digit, on a busy machine too. More than the tolerance above a committed count is a regression and ends with 1. Counts
depend on the compiler: those of another version are compared all the same, with a word about it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Where the counts of each crate are committed.
COMMITTED = {f"ottla-{name}": ROOT / "rust" / name / "benches" / "instructions.json" for name in ("log", "protocol")}
CARGO = os.environ.get("CARGO", "cargo")
TOLERANCE_PERCENT = 2.0


def missing() -> str | None:
    """What must be installed first, or None."""
    if shutil.which("valgrind") is None:
        return "valgrind not found: callgrind counts the instructions (on Debian: apt-get install valgrind)"
    locked = re.search(r'name = "gungraun"\nversion = "([^"]+)"', (ROOT / "Cargo.lock").read_text())
    assert locked is not None
    wanted = f"gungraun-runner {locked[1]}"
    if shutil.which("gungraun-runner"):
        asked = subprocess.run(["gungraun-runner", "--version"], capture_output=True, text=True, check=False)
        if asked.stdout.strip() == wanted:
            return None
    return f"{wanted} not found: cargo install gungraun-runner --version {locked[1]} --locked"


def counted(crate: str) -> dict[str, int]:
    """Instructions by name, of the tree as it is."""
    command = [CARGO, "bench", "--locked", "-p", crate, "--bench", "instructions", "--", "--output-format=json"]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(count_of(json.loads(line)) for line in said.splitlines() if line.startswith("{"))


def count_of(told: dict[str, Any]) -> tuple[str, int]:
    """Name and count of one bench, from what gungraun tells of it."""
    (callgrind,) = told["profiles"]
    return f"{told['function_name']}.{told['id']}", callgrind["data"]["total"]["metrics"]["Ir"]["values"]["new"]


def here() -> dict[str, str]:
    """What counts depend on besides the source."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return {"rustc": rustc.strip(), "machine": platform.machine()}


def compare(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[list[str], bool]:
    """A line for each bench, and whether one of them is a regression or has no count to be compared with."""
    lines, failed = [], False
    for name in [*before, *(name for name in now if name not in before)]:
        if name not in before or name not in now:
            lines.append(f"{name}: only {'counted now' if name in now else 'committed'}")
            failed = True
            continue
        change = 100 * (now[name] / before[name] - 1)
        word = ""
        if change > TOLERANCE_PERCENT:
            word, failed = "  more than the tolerance", True
        elif change < -TOLERANCE_PERCENT:
            word = "  less: --refresh keeps it"
        lines.append(f"{name:32} {before[name]:>12,} {now[name]:>12,} {change:+7.2f} %{word}")
    return lines, failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="benches.instructions", description=__doc__)
    parser.add_argument("--refresh", action="store_true", help="commit to the counts of this tree")
    options = parser.parse_args()
    if absent := missing():
        sys.exit(absent)
    place = here()
    failed = [crate for crate in COMMITTED if not unchanged(crate, place, refresh=options.refresh)]
    if failed:
        sys.exit(f"{', '.join(failed)}: more instructions than benches/instructions.json allows, or other benches")


def unchanged(crate: str, place: Mapping[str, str], *, refresh: bool) -> bool:
    """Whether a crate's counts are within the tolerance of those committed; or commits to them."""
    path, now = COMMITTED[crate], counted(crate)
    if refresh:
        path.write_text(json.dumps({**place, "instructions": now}, indent=2) + "\n")
        print(f"{len(now)} counts written to {path.relative_to(ROOT)}")
        return True
    committed = json.loads(path.read_text())
    lines, failed = compare(committed["instructions"], now)
    print(f"{crate:32} {'committed':>12} {'now':>12} {'change':>9}")
    print("\n".join(lines))
    if other := {name: value for name, value in place.items() if committed[name] != value}:
        print(f"The committed counts are of {', '.join(committed[name] for name in other)}; these of {other}.")
    return not failed


if __name__ == "__main__":
    main()
