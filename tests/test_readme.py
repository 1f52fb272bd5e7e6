"""The README is run: each program in it against a fresh broker, its output compared with the block below it.

A block is run as printed, in a process of its own, with one change: the port of the test's broker instead of 9092,
which may be taken on the machine of whoever runs the tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ottla
from tests.clients import node
from tests.clients.programs import refuse
from tests.test_house import ROOT

if TYPE_CHECKING:
    from tests.conftest import MakeBroker

README = (ROOT / "README.md").read_text()
SNIPPET = re.compile(
    r"^```(?P<language>python|javascript)\n(?P<program>.*?)^```\n+^```text\n(?P<output>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
SNIPPETS = [(match["language"], match["program"], match["output"]) for match in SNIPPET.finditer(README)]


def name(program: str) -> str:
    """The package a snippet is about."""
    first = re.findall(r"^(?:import |from |const .* = require\(')(\w+)", program, re.MULTILINE)[0]
    return str(first)


def test_every_snippet_is_run() -> None:
    """No program stands without the output that the test below compares."""
    assert len(SNIPPETS) == README.count("```python") + README.count("```javascript") == 6
    assert [name(program) for _language, program, _output in SNIPPETS] == [
        *("kafka", "confluent_kafka", "kafkajs", "ottla", "ottla", "confluent_kafka")
    ]


@pytest.mark.ottla
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "language, program, output", SNIPPETS, ids=[name(program) for _language, program, _output in SNIPPETS]
)
def test_snippet_prints_what_the_readme_says(
    language: str, program: str, output: str, make_broker: MakeBroker, tmp_path: Path
) -> None:
    """A newcomer who copies a block sees what the README shows."""
    if language == "javascript":
        refuse(node.missing())
        (tmp_path / "node_modules").symlink_to(node.install(), target_is_directory=True)
    if "127.0.0.1:9092" in program:
        program = program.replace("127.0.0.1:9092", make_broker({}).bootstrap)
    path = tmp_path / ("snippet.py" if language == "python" else "snippet.js")
    path.write_text(program)
    interpreter = sys.executable if language == "python" else "node"
    # What it makes in its directory goes with the test; where Ottla is must not depend on that directory.
    there = {**os.environ, "PYTHONPATH": str(Path(ottla.__file__).parents[1])}
    done = subprocess.run(
        [interpreter, path], capture_output=True, text=True, check=False, timeout=90, cwd=tmp_path, env=there
    )
    assert (done.returncode, done.stdout) == (0, output), done.stderr
