"""The storage engine alone, without a broker, each figure beside the machine's limit of the same rounds.

The programs are Rust (`rust/log/examples/*_speed.rs`, where each says what it does and what its limit is); they are
built as the native module is and print their rounds as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benches.meters import empty_page_cache, warm_memory
from tests.kafka import jars

# What each is called with, and the memory it fills. FOLDER stands for the disk that is measured.
PROGRAMS: dict[str, tuple[list[str], int]] = {
    "append_speed": (["FOLDER", "512", "5"], 5 << 30),
    "group_commit_speed": (["32", "300", "3"], 0),
    "seek_speed": (["FOLDER", "20000", "3"], 2 << 30),
    "compaction_speed": (["FOLDER", "256", "16", "3"], 2 << 30),
    "recovery_speed": (["FOLDER", "205", "10", "3"], 5 << 30),
    "transactions_speed": (["FOLDER", "20000", "3"], 0),
}
# Those with more data, as the bars are worded: 10 GiB in 10 partitions, 50,000 idle ones.
LARGE: dict[str, list[str]] = {
    "append_speed": ["FOLDER", "1024", "5"],
    "compaction_speed": ["FOLDER", "1024", "16", "3"],
    "recovery_speed": ["FOLDER", "1024", "10", "3", "50000"],
}


def build() -> dict[str, Path]:
    """The programs, by name."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--locked", "--release", "-p", "ottla-log", "--examples"]
    command.append("--message-format=json-render-diagnostics")
    said = subprocess.run(command, cwd=jars.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = [json.loads(line) for line in said.splitlines()]
    found = {
        message["target"]["name"]: Path(message["executable"])
        for message in messages
        if message["reason"] == "compiler-artifact" and message["target"]["kind"] == ["example"]
    }
    return {name: found[name] for name in PROGRAMS}


def arguments(name: str, *, large: bool) -> list[str]:
    usual, _ = PROGRAMS[name]
    return LARGE.get(name, usual) if large else usual


def run(folder: Path, programs: Mapping[str, Path], names: Sequence[str], *, large: bool) -> dict[str, Any]:
    """Each program once; its rounds are interleaved with those of its limit."""
    results = {}
    for name in names:
        words = arguments(name, large=large)
        page_cache = empty_page_cache([folder])
        warm_memory(PROGRAMS[name][1])
        command = [str(programs[name]), *(str(folder) if word == "FOLDER" else word for word in words), "--json"]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=1200, check=True).stdout
        results[name] = {"command": [name, *words, "--json"], "page_cache": page_cache, **json.loads(said)}
    return {"workload": "storage", "programs": results}
