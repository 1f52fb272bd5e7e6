"""How the programs in Python read their arguments and tell their events."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from tests.history import events
from tests.history.events import AnyEvent, Place


class Teller:
    """The events of one process."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.stopped = threading.Event()
        self._encode = msgspec.json.Encoder().encode
        signal.signal(signal.SIGTERM, lambda *_: self.stopped.set())

    def tell(self, kind: type[AnyEvent], **fields: Any) -> None:
        line = self._encode(kind(at=events.now_us(), process=self.process, **fields)) + b"\n"
        while line:  # straight to the pipe, as what lies in a buffer dies with the process
            line = line[os.write(1, line) :]

    def die(self) -> None:
        """As by a kill at this very moment."""
        self.tell(events.Fault, what="dies", target=self.process)
        os.kill(os.getpid(), signal.SIGKILL)

    def assigned(self, group: str, partitions: Sequence[Place]) -> None:
        self.tell(events.Assigned, group=group, partitions=list(partitions))

    def revoked(self, group: str, partitions: Sequence[Place]) -> None:
        self.tell(events.Revoked, group=group, partitions=list(partitions), closing=self.stopped.is_set())

    def lost(self, group: str, partitions: Sequence[Place]) -> None:
        self.tell(events.Lost, group=group, partitions=list(partitions))


def arguments() -> tuple[str, str, str, dict[str, str]]:
    """Role, process, bootstrap, and the rest by name."""
    role, process, bootstrap, *rest = sys.argv[1:]
    return role, process, bootstrap, dict(word.split("=", 1) for word in rest)
