"""Kafka's command line tools in one JVM, and conversations with them that are compared between two brokers.

A tool is run by the name of its class. What it prints is settled before it is compared: addresses, ids that a broker or
a client invents, directories and clock readings become a word, and lines in the order of a hash map are sorted.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.kafka import jars
from tests.processes import Process

WAIT_S = 30
QUIET = "-Dorg.apache.logging.log4j.level=OFF"
TOOLS = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "produce": "org.apache.kafka.tools.ConsoleProducer",
    "consume": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "configs": "kafka.admin.ConfigCommand",
    "offsets": "org.apache.kafka.tools.GetOffsetShell",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    "verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
}
# It ends the process itself, and what it has left to say it says while the JVM shuts down.
ALONE = {"verifiable-producer"}
INVENTED = [
    (re.compile(r"TopicId: [\w-]{22}"), "TopicId: ID"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r'("timestamp":|CreateTime:)\d+'), r"\1TIME"),
    (re.compile(r'("(?:size|avg_throughput)":)[\d.]+'), r"\1NUMBER"),
    (re.compile(r"(\(org\.apache\.kafka[^)]*\))"), ""),
    (re.compile(r"\[?20\d\d-\d\d-\d\d[ T][\d:,.]+\]?"), "CLOCK"),
    # Columns are as wide as their widest value.
    (re.compile(r" {2,}"), "  "),
    (re.compile(r" +$", re.MULTILINE), ""),
    # Of an exception that a tool does not expect it prints where in the JVM it was thrown.
    (re.compile(r"^\s+(at |\.\.\. \d+ more).*\n", re.MULTILINE), ""),
]


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Tools:
    """The JVM."""

    def __init__(self, errors: Path) -> None:
        program = Path(__file__).with_name("java") / "Tools.java"
        with errors.open("w") as output:
            self._process = subprocess.Popen(
                jars.java(QUIET, str(program)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self._errors = errors
        self._one_at_a_time = threading.Lock()

    def run(self, tool: str, *arguments: str, stdin: str = "") -> Said:
        if tool in ALONE:
            command = jars.java(QUIET, TOOLS[tool], *arguments)
            run = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WAIT_S, check=False)
            return Said(run.returncode, run.stdout, run.stderr)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"tool": TOOLS[tool], "arguments": arguments, "stdin": stdin}
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, f"{tool} {arguments} ended the JVM: {self._errors.read_text()[-4000:]}"
        found = json.loads(answer)
        return Said(found["code"], found["out"], found["err"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@dataclass
class Shell:
    """One conversation with one broker; what was said is kept to be compared."""

    tools: Tools
    broker: Process
    name: str
    folder: Path
    transcript: list[tuple[str, int, list[str], list[str]]] = field(default_factory=list)

    def _ask(self, tool: str, arguments: tuple[str, ...], stdin: str) -> Said:
        return self.tools.run(tool, "--bootstrap-server", self.broker.bootstrap, *arguments, stdin=stdin)

    def _keep(self, tool: str, arguments: tuple[str, ...], said: Said, unordered: bool, only: str) -> None:
        out, err = (self.settled(text).splitlines() for text in (said.out, said.err))
        out, err = ([line for line in lines if only in line] for lines in (out, err))
        self.transcript.append((f"{tool} {' '.join(arguments)}", said.code, sorted(out) if unordered else out, err))

    def run(
        self,
        tool: str,
        *arguments: str,
        stdin: str = "",
        code: int | None = 0,
        unordered: bool = False,
        only: str = "",
        compared: bool = True,
    ) -> str:
        """Runs a command against the broker; returns what it printed as it stands. Of a command that shows what other
        tests left, `only` the lines that hold a word are compared. Some tools end with 0 after an error (code None).
        """
        began = time.monotonic()
        said = self._ask(tool, arguments, stdin)
        print(f"{time.monotonic() - began:.2f} s: {self.broker.name} {tool} {' '.join(arguments)}")
        if compared:
            self._keep(tool, arguments, said, unordered, only)
        assert code in (None, said.code), f"{tool} {arguments} ended with {said.code}: {said.out}{said.err}"
        return said.out

    def until(self, pattern: str, tool: str, *arguments: str, unordered: bool = False, only: str = "") -> str:
        """Runs it again until it prints what matches: Kafka's tools end before its brokers show what they changed."""
        deadline = time.monotonic() + WAIT_S
        while True:
            said = self._ask(tool, arguments, "")
            if re.search(pattern, said.out, re.MULTILINE) is not None:
                self._keep(tool, arguments, said, unordered, only)
                return said.out
            assert time.monotonic() < deadline, f"{tool} {arguments} does not say {pattern}: {said.out}{said.err}"

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def settled(self, text: str) -> str:
        text = text.replace(self.broker.bootstrap, "BROKER").replace(str(self.broker.data_dir), "DIRECTORY")
        text = text.replace(str(self.folder), "FOLDER")
        for pattern, word in INVENTED:
            text = pattern.sub(word, text)
        return text


def differences(ours: Shell, kafkas: Shell) -> list[str]:
    """What the two said differently, command by command."""
    found = []
    for mine, theirs in zip(ours.transcript, kafkas.transcript, strict=True):
        if mine[1:] != theirs[1:]:
            sides = "\n".join(f"  {side.broker.name}: {said[1:]}" for side, said in ((ours, mine), (kafkas, theirs)))
            found.append(f"{mine[0]}\n{sides}")
    return found
