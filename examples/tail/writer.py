"""An owner with something to say: `python -m examples.tail.writer DIRECTORY`, until it is ended."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import ottla
from examples import children

if TYPE_CHECKING:
    from pathlib import Path

PAUSE_S = 0.05


def write(place: Path) -> int:
    with ottla.Log(place) as log:
        while True:
            log.append(b"load %.2f" % (time.monotonic() % 1), key=b"web-%d" % (log.end_offset % 3))
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    sys.exit(children.main(write, children.path))
