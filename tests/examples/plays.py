"""Runs examples as their READMEs say, several at once: each spends most of its time waiting for its processes.

A run gets a session and a temporary folder of its own, so that a process or a file it leaves behind is noticed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from ottla.admin import Admin, Resource, ResourceType
from ottla.errors import RequestError
from tests.test_house import ROOT

TIMEOUT_S = 150
BLOCK = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def readme_commands(example: str) -> list[str]:
    """The commands of an example's README: the plain one and the one with a kill."""
    first = BLOCK.findall((ROOT / "examples" / example / "README.md").read_text())[0]
    return [line for line in first.splitlines() if line.startswith("python -m")]


def words(command: str) -> list[str]:
    """A command of a README for this interpreter."""
    python, *rest = shlex.split(command)
    assert python == "python"
    return [sys.executable, *rest]


def environment(scratch: Path) -> dict[str, str]:
    scratch.mkdir(parents=True, exist_ok=True)
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), str(ROOT)]),
        "TMPDIR": str(scratch),
        "COLUMNS": "100",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass
class Play:
    """A run that has ended."""

    output: str
    outcome: dict[str, Any]
    bootstrap: str
    scratch: Path

    def topic(self, word: str) -> str:
        return str(self.outcome["prefix"]) + word

    def config(self, word: str) -> dict[str, str | None]:
        """The settings of a topic that the run made."""
        topic = Resource(ResourceType.TOPIC, self.topic(word))
        with Admin(self.bootstrap) as admin:
            found = admin.describe_configs([topic])[topic]
        assert not isinstance(found, RequestError), found
        return {entry.name: entry.value for entry in found}

    def records(self, word: str) -> list[Any]:
        return list(records(self.bootstrap, self.topic(word)))


@contextmanager
def running(line: Sequence[str], scratch: Path, *, errors: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """A command in a session and with temporary files of its own; when the block ends, nothing of it is left."""
    process = subprocess.Popen(
        line,
        cwd=ROOT,
        env=environment(scratch),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
    assert_nothing_left(process.pid, scratch)


def run(command: str, folder: Path, *more: str) -> str:
    """Runs a command to its end, as a person does, and gives what it printed: it succeeds, and complains of nothing."""
    with running([*words(command), *more], folder / "scratch") as process:
        output, errors = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, errors) == (0, ""), f"{command}\n{output}\n{errors}"
    return output


def play(command: str, folder: Path, bootstrap: str = "", *more: str) -> Play:
    """Runs a command to its end and checks what must hold for each: it says that all is well and leaves nothing."""
    told = folder / "outcome.json"
    output = run(command, folder, "--json", str(told), *(("--bootstrap", bootstrap) if bootstrap else ()), *more)
    outcome = json.loads(told.read_text())
    assert outcome["wrong"] == []
    return Play(output, outcome, bootstrap, folder / "scratch")


def assert_nothing_left(session: int, scratch: Path) -> None:
    """No process of the run's session lives, no file of it stays."""
    alive = [
        stat.parent.name
        for stat in Path("/proc").glob("[0-9]*/stat")
        if int(fields(stat)[3]) == session and fields(stat)[0] != "Z"
    ]
    assert alive == []
    assert list(scratch.iterdir()) == []


def fields(stat: Path) -> list[str]:
    """What the kernel says of a process, from its state on; one that ended meanwhile is a zombie of no session."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["Z", "0", "0", "0"]


def records(bootstrap: str, topic: str) -> Iterator[Any]:
    """Everything in a topic, partition by partition, in order; read here and not by the example's own code."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests", "enable.auto.commit": False})
    try:
        numbers = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        left = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=30)[1] for n in numbers}
        found: dict[int, list[Any]] = {n: [] for n in numbers}
        consumer.assign([TopicPartition(topic, n, 0) for n in numbers])
        while any(left.values()):
            message: Any = consumer.poll(30)
            assert message is not None, f"{topic}: {left} records did not come"
            assert message.error() is None
            found[message.partition()].append(message)
            left[message.partition()] -= 1
        for number in numbers:
            yield from found[number]
    finally:
        consumer.close()
