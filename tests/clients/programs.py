"""Programs in other languages that the tests drive: one that runs named cases, and group members that can be killed.

Both speak JSON lines. A case runner answers each line on its stdin with one on its stdout (the protocol stands in
js/cases.js); a member tells what happens to it (js/member.js). Missing tools skip a test with the reason, or fail it
where CI=true.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.processes import taken_along

WAIT_S = 30.0
CASE_S = 90.0


def refuse(absent: str | None) -> None:
    """Skips for the reason given, if there is one; nothing may be skipped in CI."""
    if absent is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)


class Program:
    """A process whose stdout is read line by line by a thread; what it says on stderr is kept for the failure."""

    def __init__(self, command: Sequence[str | Path], errors: Path, env: Mapping[str, str] | None = None) -> None:
        self.errors = errors
        with errors.open("w") as output:
            self.process = subprocess.Popen(
                [*taken_along(), *(str(word) for word in command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=None if env is None else {**os.environ, **env},
            )
        self._reader = threading.Thread(target=self._read, name=f"read {errors.stem}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said(line)
        self.ended()

    def said(self, line: str) -> None:
        raise NotImplementedError

    def ended(self) -> None:
        raise NotImplementedError

    def tail(self) -> str:
        return self.errors.read_text(errors="replace")[-4000:]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signals the process and waits for its end; SIGKILL follows when it does not listen."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.errors.stem} did not end on {how.name}: {self.tail()}") from None
        finally:
            self._reader.join(WAIT_S)
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()


class CaseRunner(Program):
    """One process for all cases of a client: starting it costs more than a case."""

    def __init__(self, command: Sequence[str | Path], errors: Path) -> None:
        self._answers: queue.Queue[str] = queue.Queue()
        super().__init__(command, errors)

    def said(self, line: str) -> None:
        self._answers.put(line)

    def ended(self) -> None:
        self._answers.put("")

    def run(self, case: str, unique: str) -> None:
        """Runs one case; fails with what it says went wrong."""
        assert self.process.stdin is not None
        assert self.process.poll() is None, f"ended in an earlier case: {self.tail()}"
        self.process.stdin.write(json.dumps({"case": case, "unique": unique}) + "\n")
        self.process.stdin.flush()
        try:
            answer = self._answers.get(timeout=CASE_S)
        except queue.Empty:
            self.stop(signal.SIGKILL)  # its next answer would be taken for the next case's
            pytest.fail(f"{case} gave no answer in {CASE_S:.0f} s: {self.tail()}")
        assert answer, f"{case} ended the program: {self.tail()}"
        found: dict[str, Any] = json.loads(answer)
        assert found["case"] == case
        if found["error"] is not None:
            pytest.fail(found["error"], pytrace=False)


class Member(Program):
    """A group member as a process, and everything it told."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path, changed: threading.Condition) -> None:
        self.name = name
        self.partitions: frozenset[int] | None = None
        self.group = ""
        self.records: list[tuple[int, int, str]] = []
        # What it had to give up, each time.
        self.revoked: list[frozenset[int]] = []
        self.crashes: list[str] = []
        self.gone = False
        self._changed = changed
        super().__init__(command, folder / f"{name}.err")

    def said(self, line: str) -> None:
        told = json.loads(line)
        with self._changed:
            if told["event"] == "owns":
                self.partitions, self.group = frozenset(told["partitions"]), told["group"]
            elif told["event"] == "revoked":
                self.revoked.append(frozenset(told["partitions"]))
            elif told["event"] == "record":
                self.records.append((told["partition"], told["offset"], told["value"]))
            else:
                self.crashes.append(told["error"])
            self._changed.notify_all()

    def ended(self) -> None:
        with self._changed:
            self.gone, self.partitions = True, None
            self._changed.notify_all()

    @property
    def owned(self) -> frozenset[int]:
        """Nothing before its first assignment and after its end."""
        return self.partitions or frozenset()

    @property
    def values(self) -> list[str]:
        return [value for _partition, _offset, value in self.records]


class MemberProcesses:
    """The members of one test. `start` is told the arguments behind the program's name."""

    def __init__(self, command: Sequence[str | Path], folder: Path) -> None:
        self.command = command
        self.folder = folder
        self.all: list[Member] = []
        self._changed = threading.Condition()

    def start(self, *arguments: str) -> Member:
        member = Member(f"member-{len(self.all)}", [*self.command, *arguments], self.folder, self._changed)
        self.all.append(member)
        return member

    @property
    def alive(self) -> list[Member]:
        return [member for member in self.all if not member.gone]

    def shares(self) -> list[int]:
        """How many partitions each living member owns, smallest first; -1 before its first assignment."""
        return sorted(-1 if member.partitions is None else len(member.partitions) for member in self.alive)

    def owned(self) -> frozenset[int]:
        return frozenset().union(*(member.owned for member in self.alive))

    def values(self) -> set[str]:
        """What arrived at anybody, dead or alive."""
        return {value for member in self.all for value in member.values}

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, WAIT_S):
                state = {
                    each.name: (each.partitions, len(each.records), each.crashes, each.tail()) for each in self.all
                }
                pytest.fail(f"{what}: not within {WAIT_S} s: {state}")

    def close(self) -> None:
        for member in self.all:
            member.stop(signal.SIGKILL)
