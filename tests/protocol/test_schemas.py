"""The generated schema tables are what the script makes of Kafka's jars."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kafka import jars

ROOT = Path(__file__).parents[2]


def linked_jars(folder: Path) -> Path:
    """A folder with links to Kafka's jars."""
    for jar in jars.classpath().split(os.pathsep):
        if Path(jar).name.startswith("kafka-"):
            (folder / Path(jar).name).symlink_to(jar)
    return folder


@pytest.mark.long
@pytest.mark.kafka
def test_the_tables_are_those_of_the_jars(tmp_path: Path) -> None:
    """A fresh run of tools/refresh_schemas.py over the jars of Kafka 4.3.1 changes nothing."""
    command = [sys.executable, str(ROOT / "tools/refresh_schemas.py"), str(linked_jars(tmp_path)), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
