"""Kafka's command line tools in one JVM, and conversations with them that are compared between two brokers.

A tool is run by the name of its class. What it prints is settled before it is compared: addresses, ids that a broker or
a client invents, directories and clock readings become a word, and lines in the order of a hash map are sorted.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.kafka.tool_runner import Said, ToolRunner
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
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
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


class Tools:
    """The tools by their short names."""

    def __init__(self) -> None:
        self._runner = ToolRunner(QUIET)
        self.close = self._runner.close

    def run(self, tool: str, *arguments: str, stdin: str = "") -> Said:
        run = self._runner.alone if tool in ALONE else self._runner.run
        return run(TOOLS[tool], arguments, stdin.encode())


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
