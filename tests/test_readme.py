"""The README is run: each Python block against a fresh broker, its output compared with the block below it.

A block is run as printed, in a process of its own, with one change: the port of the test's broker instead of 9092,
which may be taken on the machine of whoever runs the tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.test_house import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeBroker

README = (ROOT / "README.md").read_text()
SNIPPET = re.compile(r"^```python\n(?P<program>.*?)^```\n+^```text\n(?P<output>.*?)^```$", re.DOTALL | re.MULTILINE)
SNIPPETS = [(match["program"], match["output"]) for match in SNIPPET.finditer(README)]


def name(program: str) -> str:
    """The package a snippet is about."""
    first = re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE)[0]
    return str(first)


def test_every_snippet_is_run() -> None:
    """No Python block stands without the output that the test below compares."""
    assert len(SNIPPETS) == README.count("```python") == 3
    assert [name(program) for program, _output in SNIPPETS] == ["kafka", "confluent_kafka", "ottla"]


@pytest.mark.ottla
@pytest.mark.timeout(120)
@pytest.mark.parametrize("program, output", SNIPPETS, ids=[name(program) for program, _output in SNIPPETS])
def test_snippet_prints_what_the_readme_says(
    program: str, output: str, make_broker: MakeBroker, tmp_path: Path
) -> None:
    """A newcomer who copies a block sees what the README shows."""
    if "127.0.0.1:9092" in program:
        program = program.replace("127.0.0.1:9092", make_broker({}).bootstrap)
    path = tmp_path / "snippet.py"
    path.write_text(program)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, timeout=90)
    assert (done.returncode, done.stdout) == (0, output), done.stderr
