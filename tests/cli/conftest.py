"""Commands run inside the test, so that a test pays for no start of an interpreter."""

from __future__ import annotations

import io
import re
import shlex
import sys
from typing import NamedTuple

import pytest

from ottla.cli.main import main
from tests.processes import Process


class Ran(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str


class Shell:
    """Runs command lines against one broker and keeps what they said, without what differs between any two brokers."""

    def __init__(self, process: Process, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._process = process
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.transcript: list[str] = []

    def __call__(self, line: str, stdin: bytes = b"") -> Ran:
        """Run `ottla LINE`."""
        self._monkeypatch.setenv("OTTLA_BOOTSTRAP_SERVER", self._process.bootstrap)
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(shlex.split(line))
        captured = self._capsys.readouterr()
        self.transcript.append(f"$ ottla {line}\n{self._plain(captured.out)}{self._plain(captured.err)}[{code}]")
        return Ran(code, captured.out, captured.err)

    @property
    def bootstrap(self) -> str:
        """The broker's address."""
        return self._process.bootstrap

    def ok(self, line: str, stdin: bytes = b"") -> str:
        """Run a line that must succeed, and give what it printed."""
        ran = self(line, stdin)
        assert ran.code == 0, ran.err
        return ran.out

    def _plain(self, text: str) -> str:
        text = text.replace(self._process.bootstrap, "HOST:PORT")
        text = re.sub(rf'"port": {self._process.port}\b', '"port": PORT', text)
        # Ids are random; times are now.
        text = re.sub(r"\bid \S{22}\b", "id ID", text)
        text = re.sub(r'"topic_id": "[^"]{22}"', '"topic_id": ID', text)
        text = re.sub(r'"timestamp": ?\d+', '"timestamp": TIME', text)
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
        return re.sub(r"[\w-]+-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12} *", "MEMBER ", text)


@pytest.fixture
def shells(
    broker: Process,
    reference: Process,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Shell, Shell]:
    """A shell for the broker under test and one for Apache Kafka."""
    first, second = (Shell(process, capsys, monkeypatch) for process in (broker, reference))
    return first, second
