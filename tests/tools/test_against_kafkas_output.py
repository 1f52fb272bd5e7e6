"""Our tools say what Kafka's Java tools say: the same lines, compared with what those printed (fixtures/).

The fixtures are written by `python -m pytest --long tests/tools --refresh-tools`; a long test plays the lines with the
Java tools again and compares.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import TEST_SETTINGS
from tests.kafka.broker import KafkaProcess
from tests.processes import OttlaProcess, Process
from tests.tools.java_tools import JavaTools
from tests.tools.play import FIXTURES, RunTool, ours, play
from tests.tools.sections import SECTIONS, prepare


def transcripts(process: Process, run: RunTool, folder: Path, *, patient: bool = False) -> dict[str, str]:
    """Play every section against a broker of its own."""
    folder.mkdir()
    prepare(folder)
    process.start()
    try:
        return {
            name: play(steps, run, process.bootstrap, str(folder), kept(name) if patient else None)
            for name, steps in SECTIONS.items()
        }
    finally:
        process.stop()


def kept(section: str) -> str:
    """What Kafka's tools said when the fixtures were written."""
    return (FIXTURES / f"{section}.txt").read_text()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What our tools say against Ottla."""
    place = tmp_path_factory.mktemp("tools")
    return transcripts(OttlaProcess(place / "broker", TEST_SETTINGS), ours, place / "files")


def blocks(transcript: str) -> list[str]:
    """One step each, so that a failure shows the step."""
    return transcript.rstrip("\n").split("\n\n")


@pytest.mark.ottla
@pytest.mark.parametrize("section", SECTIONS)
def test_our_tools_say_what_kafkas_said(said: dict[str, str], section: str) -> None:
    """Columns, messages, streams and exit codes, line by line."""
    expected = blocks(kept(section))
    actual = blocks(said[section])
    for theirs, mine in zip(expected, actual, strict=True):
        assert mine == theirs


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_the_fixtures_are_what_kafkas_tools_say(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """The Java tools again, against Apache Kafka; --refresh-tools keeps what they say now."""
    with JavaTools() as tools:
        process = KafkaProcess(tmp_path / "broker", TEST_SETTINGS)
        found = transcripts(process, tools.run, tmp_path / "files", patient=True)
    for section, transcript in found.items():
        path = FIXTURES / f"{section}.txt"
        if pytestconfig.getoption("--refresh-tools"):
            path.write_text(transcript)
        assert blocks(transcript) == blocks(path.read_text()), section


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_our_tools_work_against_apache_kafka(tmp_path: Path) -> None:
    """The same lines once more: our tools are for any cluster."""
    process = KafkaProcess(tmp_path / "broker", TEST_SETTINGS)
    found = transcripts(process, ours, tmp_path / "files", patient=True)
    for section, transcript in found.items():
        for theirs, mine in zip(blocks(kept(section)), blocks(transcript), strict=True):
            assert mine == theirs
