"""`ottla serve` on a disk that dies: run as `python -m tests.unit.cli.serve_on_a_dying_disk ARGUMENT...`.

From the first line of stdin on, no fsync of the process succeeds; it answers with a line then. Ends with 77 where the
kernel does not let a process filter its own calls.
"""

from __future__ import annotations

import os
import sys
import threading

from ottla.cli.main import main
from tests.unit.broker.failing_fsync import NOT_POSSIBLE, fail_every_sync


def wait_for_the_end() -> None:
    sys.stdin.readline()
    if not fail_every_sync():
        os._exit(NOT_POSSIBLE)
    print("dead", flush=True)


if __name__ == "__main__":
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
