"""The brokers that are compared. A peer is started once and serves every round of a comparison."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import ottla
from benches import kfake, nisshi
from tests.kafka import jars
from tests.kafka.broker import SERVER_JVM, KafkaProcess
from tests.processes import OttlaProcess, Process

# For both: what one node needs, and nothing that makes either faster. `ottla.durability=os` is what Kafka does by
# default: an answer means the page cache has it.
# Both log as they do by default, at the level INFO.
# The delay before the first rebalance of a group, and before its next assignment, is no work of anybody's.
SETTINGS = {
    "node.id": "1",
    "offsets.topic.replication.factor": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.assignment.interval.ms": "0",
    "ottla.durability": "os",
}


# Those with everything a workload may ask for; others are measured where they can.
WHOLE = ("ottla", "kafka")
# What an answer means then: the disk has it. For the partitions of the coordinators too, on both.
SYNCED = {"ottla.durability": "fsync", "log.flush.interval.messages": "1"}


class Peer:
    """One broker under measurement."""

    def __init__(self, process: Process, version: str) -> None:
        self.process = process
        self.name = process.name
        self.version = version

    def describe(self) -> dict[str, object]:
        """What a sceptic needs to start the same broker."""
        command = ["CLASSPATH" if word.count(os.pathsep) > 9 else word for word in self.process.command()]
        told: dict[str, object] = {"version": self.version, "command": command, "settings": self.process.settings}
        return {**told, "environment": self.process.variables} if self.process.variables else told


def ottla_version() -> str:
    """The version, and the commit if this is a clone."""
    commit = ""
    if shutil.which("git"):
        git = ["git", "-C", str(jars.ROOT), "describe", "--always", "--dirty"]
        asked = subprocess.run(git, capture_output=True, text=True, check=False)
        commit = f" ({asked.stdout.strip()})" if asked.returncode == 0 else ""
    return f"{ottla.__version__}{commit}"


def java_version() -> str:
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    return said.splitlines()[0]


def _ottla(folder: Path, settings: Mapping[str, str]) -> Peer:
    return Peer(OttlaProcess(folder, settings), ottla_version())


def _kafka(folder: Path, settings: Mapping[str, str]) -> Peer:
    return Peer(KafkaProcess(folder, settings, SERVER_JVM, "INFO"), jars.VERSION)


def _kfake(folder: Path, settings: Mapping[str, str]) -> Peer:
    return Peer(kfake.KfakeProcess(folder, settings), kfake.version())


def _nisshi(folder: Path, settings: Mapping[str, str]) -> Peer:
    return Peer(nisshi.NisshiProcess(folder, settings), nisshi.version())


PEERS = {"ottla": _ottla, "kafka": _kafka, "kfake": _kfake, "nisshi": _nisshi}


def make_peers(folder: Path, names: Sequence[str], more: Mapping[str, str] | None = None) -> list[Peer]:
    """The peers by name, each over a directory of its own, not yet started; `more` settings replace the usual ones."""
    settings = {**SETTINGS, **(more or {})}
    return [PEERS[name](folder / name, settings) for name in names]


def client_versions() -> dict[str, str]:
    return {"confluent-kafka": importlib.metadata.version("confluent-kafka"), "java": java_version()}
