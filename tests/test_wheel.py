"""`pip install .` gives a wheel for every Python from 3.11 on, with the `ottla` command in it."""

from __future__ import annotations

import os
import subprocess
import venv
import zipfile
from typing import TYPE_CHECKING

import pytest

import ottla

if TYPE_CHECKING:
    from pathlib import Path


def run(*command: object, cwd: Path) -> str:
    """Runs a command without this environment's own path to ottla."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_installs_into_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """The wheel is abi3 for cp311, brings its licence, and its command answers where nothing else is installed."""
    assert wheel.name.startswith(f"ottla-{ottla.__version__}-cp311-abi3-")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"ottla/_core.abi3.so", "ottla/_core.pyi", "ottla/py.typed"} <= set(names)
    assert any(name.endswith("licenses/NOTICE") for name in names)

    empty = tmp_path / "empty"
    venv.create(empty, with_pip=True)
    run(empty / "bin" / "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert ottla.__version__ in run(empty / "bin" / "ottla", "--version", cwd=tmp_path)
    program = "import ottla\nwith ottla.Broker() as broker:\n    print(broker.bootstrap_servers)"
    assert run(empty / "bin" / "python", "-c", program, cwd=tmp_path).startswith("127.0.0.1:")
