"""Kafka's own tools, one after the other in one JVM (java/ToolRunner.java): a start of each costs 1.6 s."""

from __future__ import annotations

import base64
import select
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.kafka import jars

PROGRAM = Path(__file__).with_name("java") / "ToolRunner.java"
TIMEOUT_S = 60


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class ToolRunner:
    """The JVM. `option` is one of its own, which says how the tools log."""

    def __init__(self, option: str) -> None:
        self._option = option
        self._one_at_a_time = threading.Lock()
        self._start()

    def _start(self) -> None:
        pipe = subprocess.PIPE
        command = jars.java(self._option, str(PROGRAM))
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        # Threads of tools that ended in the middle of something may still be there.
        self._process.kill()
        self._process.wait()

    def run(self, main_class: str, arguments: Sequence[str], stdin: bytes) -> Said:
        """Run one tool to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [main_class.encode(), stdin, *(argument.encode() for argument in arguments)]
        with self._one_at_a_time:
            self._process.stdin.write(" ".join(base64.b64encode(word).decode() for word in words) + "\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], TIMEOUT_S)
            assert ready, f"{main_class} {' '.join(arguments)} has not ended in {TIMEOUT_S} s"
            answer = self._process.stdout.readline()
            if not answer:
                # The parser of some tools ends the JVM without asking Kafka's `Exit`.
                self.close()
                self._start()
                return self.alone(main_class, arguments, stdin)
        code, out, err = answer.rstrip("\n").split(" ")
        return Said(int(code), *(base64.b64decode(text).decode(errors="replace") for text in (out, err)))

    def alone(self, main_class: str, arguments: Sequence[str], stdin: bytes) -> Said:
        """Run a tool in a JVM of its own."""
        command = jars.java(self._option, main_class, *arguments)
        ran = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False)
        return Said(ran.returncode, ran.stdout.decode(), ran.stderr.decode())
