"""What a type checker is told is true: of every public name, and of the native module."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ottla
from ottla import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("every_name.py")
STUBTEST = ("--mypy-config-file", "pyproject.toml", "--allowlist", "tools/stubtest.txt")


def run(*words: object, cwd: Path = ROOT) -> str:
    """What Python says to these arguments; what it says when it fails is the failure."""
    there = {**os.environ, "PYTHONPATH": str(Path(ottla.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=there, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def public() -> Iterator[str]:
    """Every name a user may write behind a dot."""
    yield from ottla.__all__
    classes: tuple[type, ...] = (
        *(ottla.Log, ottla.LogStatus, ottla.Record, ottla.Columns, ottla.Broker, ottla.BrokerStatus),
        *(ottla.Records, ottla.Follow, _core.Arrival),
    )
    for found in classes:
        yield from (name for name in dir(found) if not name.startswith("_"))


def test_the_program_uses_every_name() -> None:
    """And every parameter of what is opened, made and appended."""
    tree = ast.parse(PROGRAM.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not set(public()) - used
    given = {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords}
    calls = (ottla.Log.__new__, ottla.Log.append, ottla.Log.append_many, ottla.Log.append_columns, ottla.Broker)
    taken = {
        parameter.name
        for call in calls
        for parameter in inspect.signature(call).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    # A clock that a test turns.
    assert not taken - given - {"virtual_clock"}


def test_the_program_runs(tmp_path: Path) -> None:
    """What a type checker believes of it happens."""
    lines = run(PROGRAM, tmp_path / "orders").splitlines()
    assert lines[-3:] == [
        "['OffsetOutOfRange', 'DirectoryInUse', 'ConfigError', 'ReadOnly']",
        f"{ottla.__version__} True",
        "['this broker runs on the real clock']",
    ]


def test_types_as_a_user_has_them(tmp_path: Path) -> None:
    """`mypy --strict` has nothing to say about a program outside the tree, and notices one that is wrong."""
    good = tmp_path / "every_name.py"
    good.write_text(PROGRAM.read_text())
    mypy = ("-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}")
    assert "Success" in run(*mypy, good, cwd=tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import ottla\nottla.Log('x').append('text')\nottla.Log('x', durability='maybe')\n")
    with pytest.raises(AssertionError, match="Found 2 errors"):
        run(*mypy, wrong, cwd=tmp_path)


def test_stubs_say_what_is_there() -> None:
    """Stubtest compares every name, parameter and default with the package as it runs, its native module too."""
    assert "Success" in run("-m", "mypy.stubtest", *STUBTEST, "ottla")
