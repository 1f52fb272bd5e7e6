"""KafkaJS 2.2.4 against the broker: the cases of js/cases, and a tutorial's programs as printed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import node
from tests.clients.programs import CaseRunner, refuse
from tests.conftest import MakeBroker
from tests.processes import Process

CASES = [
    name
    for path in sorted((node.FOLDER / "cases").glob("*.js"))
    for name in re.findall(r"^exports\.(\w+) = ", path.read_text(), re.MULTILINE)
]


@pytest.fixture(scope="session")
def runner(broker: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseRunner]:
    """One Node process for all cases."""
    refuse(node.missing())
    node.install()
    program = CaseRunner(
        ["node", node.FOLDER / "cases.js", broker.bootstrap], tmp_path_factory.mktemp("kafkajs") / "cases.err"
    )
    yield program
    program.stop()


def test_lock_file_names_no_registry() -> None:
    """Packages are pinned by version and checksum; where they come from is the business of whoever installs them."""
    text = (node.FOLDER / "package-lock.json").read_text()
    packages = {name: each for name, each in json.loads(text)["packages"].items() if name}
    assert all(each["version"] and each["integrity"] for each in packages.values())
    assert "://" not in text


@pytest.mark.parametrize("case", CASES)
def test_case(runner: CaseRunner, case: str, unique: str) -> None:
    """What the case's comment in js/cases says."""
    runner.run(case, unique)


def test_tutorial_works_as_printed(make_broker: MakeBroker, tmp_path: Path) -> None:
    """Admin, producer per location and a consumer per group do what a beginner expects; only the port is ours."""
    refuse(node.missing())
    broker = make_broker()
    programs = tmp_path / "tutorial"
    shutil.copytree(node.FOLDER / "tutorial", programs)
    (tmp_path / "node_modules").symlink_to(node.install(), target_is_directory=True)
    client = programs / "client.js"
    client.write_text(client.read_text().replace("localhost:9092", f"localhost:{broker.port}"))

    def run(program: str, typed: str = "") -> str:
        done = subprocess.run(
            ["node", program], cwd=programs, input=typed, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "topics: [ 'taxi-positions' ]" in run("admin.js")
    assert "producer connected" in run("producer.js", "ann north\nbob south\neve NORTH\n")
    readers = {
        group: subprocess.Popen(
            ["node", "consumer.js", group], cwd=programs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for group in ("riders", "billing")
    }
    try:
        for group, reader in readers.items():
            assert reader.stdout is not None
            # Besides what the program prints, KafkaJS logs lines of JSON.
            told = (line.rstrip() for line in reader.stdout if line.startswith(f"{group}:"))
            assert sorted(next(told) for _ in range(3)) == [
                f'{group}: [taxi-positions]: PART:0: {{"driver":"ann","location":"north"}}',
                f'{group}: [taxi-positions]: PART:0: {{"driver":"eve","location":"NORTH"}}',
                f'{group}: [taxi-positions]: PART:1: {{"driver":"bob","location":"south"}}',
            ]
    finally:
        for reader in readers.values():
            reader.send_signal(signal.SIGKILL)
            reader.wait()
            assert reader.stdout is not None
            reader.stdout.close()
