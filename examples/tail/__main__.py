"""The command: `python -m examples.tail [DIRECTORY] [-n 10] [--lines 20] [--timeout-ms 1000]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import ottla
from examples.scene import Scene, play
from examples.tail.follow import line, tail

DEMONSTRATED = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.tail", description="tail -f of a log that is written.")
    parser.add_argument("directory", nargs="?", type=Path, help="without it: one that a child writes")
    parser.add_argument("-n", type=int, default=10, metavar="COUNT", help="begin with so many (default: 10)")
    parser.add_argument("--lines", type=int, help="end after so many")
    parser.add_argument("--timeout-ms", type=int, help="end when nothing came for so long")
    chosen = parser.parse_args()
    if chosen.directory is not None:
        return show(chosen.directory, chosen.n, chosen.lines, chosen.timeout_ms)
    with Scene("tail") as scene:
        place = scene.folder / "load"
        ottla.Log(place).close()
        scene.start("writer", "examples.tail.writer", place)
        return show(place, chosen.n, chosen.lines or DEMONSTRATED, chosen.timeout_ms)


def show(place: Path, last: int, lines: int | None, timeout_ms: int | None) -> int:
    try:
        log = ottla.Log(place, read_only=True)
    except ottla.OttlaError as error:
        print(error, file=sys.stderr)
        return 1
    with log:
        shown = 0
        for item in tail(log, last, timeout_ms=timeout_ms):
            if isinstance(item, str):
                print(item, file=sys.stderr, flush=True)
                continue
            print(line(item), flush=True)
            shown += 1
            if shown == lines:
                break
    return 0


if __name__ == "__main__":
    sys.exit(play(main))
