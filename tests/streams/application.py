"""The word count application (WordCount.java) as a process: its jars by Maven, compiled once, and its states."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.clients.programs import Program
from tests.kafka import jars
from tests.processes import Process

FOLDER = Path(__file__).parent
APPLICATION, LINES, COUNTS = "word-count", "lines", "counts"
WAIT_S = 90.0


def classpath() -> str:
    """Of Kafka Streams and the application. The first call on a machine downloads and compiles."""
    streams = jars.classpath(FOLDER / "pom.xml")
    return os.pathsep.join((str(jars.compiled([FOLDER / "WordCount.java"], streams)), streams))


class Instance(Program):
    """One instance of the application, and the states it went through."""

    def __init__(self, broker: Process, folder: Path, name: str, guarantee: str) -> None:
        self.states: list[str] = []
        self._changed = threading.Condition()
        command = [
            *("java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classpath(), "WordCount"),
            *(broker.bootstrap, APPLICATION, str(folder / name), guarantee, LINES, COUNTS),
        ]
        super().__init__(command, folder / f"{name}.err")

    def said(self, line: str) -> None:
        with self._changed:
            self.states.append(line.strip())
            self._changed.notify_all()

    def ended(self) -> None:
        self.said("GONE")

    def wait_until_running(self) -> None:
        with self._changed:
            met = self._changed.wait_for(lambda: self.states[-1:] in (["RUNNING"], ["GONE"]), WAIT_S)
        assert met and self.states[-1] == "RUNNING", f"{self.states}: {self.tail()}"  # noqa: PT018 - one sentence
