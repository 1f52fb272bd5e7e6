"""`pip install .` gives a wheel for every Python from 3.11 on, with the `ottla` command in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ottla
from tools import check_wheel


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_installs_into_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """The wheel is abi3 for cp311, brings its licence and its types, and works where nothing else is installed."""
    check_wheel.check(wheel, tmp_path)
    assert wheel.name.startswith(f"ottla-{ottla.__version__}-cp311-abi3-")
    program = "import ottla\nwith ottla.Broker() as broker:\n    print(broker.bootstrap_servers)"
    python = tmp_path / "environment" / "bin" / "python"
    assert check_wheel.run(python, "-c", program, cwd=tmp_path).startswith("127.0.0.1:")


GOOD = (
    *("ottla/__init__.py", "ottla/_core.pyi", "ottla/_core.abi3.so", "ottla/py.typed", "ottla/messages/__init__.pyi"),
    *(f"ottla-1.0.dist-info/{name}" for name in ("licenses/LICENSE", "licenses/NOTICE", "entry_points.txt")),
)


@pytest.mark.parametrize(
    "name, files, said",
    [
        ("ottla-1.0-cp311-abi3-linux_x86_64.whl", GOOD, ""),
        ("ottla-1.0-cp313-cp313-linux_x86_64.whl", GOOD, "is no wheel of ours"),
        ("ottla-1.0-cp311-abi3-linux_x86_64.whl", [one for one in GOOD if "py.typed" not in one], "ottla/py.typed"),
        ("ottla-1.0-cp311-abi3-win_amd64.whl", GOOD, "ottla/_core.pyd"),
        ("ottla-1.0-cp311-abi3-linux_x86_64.whl", [*GOOD, "tests/conftest.py"], "tests/conftest.py"),
    ],
)
def test_what_is_in_a_wheel(name: str, files: list[str], said: str, tmp_path: Path) -> None:
    """A wheel that lacks something, or brings something of others, is named before anybody installs it."""
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for each in files:
            archive.writestr(each, "")
    if said:
        with pytest.raises(SystemExit, match=said):
            check_wheel.contents(tmp_path / name)
    else:
        assert check_wheel.contents(tmp_path / name) == "1.0"


def test_what_an_import_loads() -> None:
    """`import ottla` loads the top of the package and nothing else; a name brings what it needs when it is used."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); import ottla; print(*sys.modules)"
    where = Path(ottla.__file__).parents[1]
    done = subprocess.run([sys.executable, "-I", "-c", program, where], capture_output=True, text=True, check=True)
    heavy = {"ottla", "msgspec", "asyncio", "click", "logging", "socket", "inspect", "dataclasses"}
    assert [name for name in done.stdout.split() if name.split(".")[0] in heavy] == ["ottla"]
