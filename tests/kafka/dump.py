"""Kafka's DumpLogSegments over a data directory: one JVM per kind of log, all kinds at once."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.kafka import jars

# What the tool reads, by the end of the name.
SUFFIXES = (".log", ".index", ".timeindex", ".txnindex", ".snapshot", ".checkpoint")
# It prints what is wrong and ends with 0 all the same.
COMPLAINTS = re.compile(r"isvalid: false|ismatch|out of (order|bound)|not found|corrupt|[Ee]xception|[Ii]nvalid")
DECODERS = {"__cluster_metadata": "--cluster-metadata-decoder", "__consumer_offsets": "--offsets-decoder"}


def files_of(partition: Path) -> list[Path]:
    return sorted(path for path in partition.iterdir() if path.suffix in SUFFIXES)


def decoder(partition: Path) -> str | None:
    return DECODERS.get(partition.name.rpartition("-")[0])


def dump(partitions: Iterable[Path], data: bool = True) -> dict[str | None, str]:
    """The tool's text for all files of these partition directories, by the decoder that was used; with keys and values
    if `data`.
    """
    by_decoder: dict[str | None, list[Path]] = {}
    for partition in partitions:
        by_decoder.setdefault(decoder(partition), []).extend(files_of(partition))
    running = {}
    for option, files in by_decoder.items():
        options = ["--deep-iteration", *(["--print-data-log"] if data else []), *([option] if option else [])]
        command = jars.java("org.apache.kafka.tools.DumpLogSegments", *options, "--files", ",".join(map(str, files)))
        running[option] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return {option: process.communicate(timeout=120)[0] for option, process in running.items()}


def by_file(text: str) -> dict[str, str]:
    """The text cut at the line with which the tool begins each file."""
    parts = re.split(r"^Dumping (.+)$", text, flags=re.MULTILINE)
    return {"/".join(Path(name).parts[-2:]): body for name, body in zip(parts[1::2], parts[2::2], strict=True)}
