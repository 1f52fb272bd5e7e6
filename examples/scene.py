"""What the examples of `ottla.Log` share: a folder of their own, processes that are killed on the way, a verdict.

with Scene("outbox") as scene:
    relay = scene.start("relay", "examples.outbox.relay", ...)
    scene.wait("half of it", lambda: ...)
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from examples.children import Child, Failed, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.01


class Scene:
    """A temporary folder and the processes of an example; neither outlives it."""

    def __init__(self, example: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"ottla-{example}-"))
        self.children: list[Child] = []
        self._until = time.monotonic() + TIMEOUT_S

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))  # so that __exit__ runs
        return self

    def __exit__(self, *_error: object) -> None:
        for child in self.children:
            child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name: str, module: str, *words: object) -> Child:
        child = Child(name, [sys.executable, "-m", module, *map(str, words)], self.folder / f"{name}.out")
        self.children.append(child)
        return child

    def wait(self, what: str, is_so: Callable[[], bool], needed: Child) -> None:
        """Until it is so. The process that is to bring it about must not end before."""
        while not is_so():
            if needed.ended() is not None and not is_so():
                raise Failed(f"{needed.name} ended with {needed.ended()} before {what}\n{tail(needed.output)}")
            if time.monotonic() > self._until:
                raise Failed(f"no {what} in {TIMEOUT_S:.0f} s\n{tail(needed.output)}")
            time.sleep(LOOK_EVERY_S)


def verdict(wrong: Sequence[str]) -> int:
    """Say what is wrong; the exit code."""
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if not wrong:
        print("all as it should be")
    return 1 if wrong else 0


def play(work: Callable[[], int]) -> int:
    """Run an example: a story that cannot go on ends with a sentence, Ctrl-C without a traceback."""
    try:
        return work()
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
