"""`ottla install-tools`: scripts that run this Python's ottla, from any directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ottla
from ottla.cli.kafka.names import TOOLS
from ottla.cli.main import main


def test_scripts_run_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files each; the one of a name with .sh runs, also where a file would hide a module."""
    monkeypatch.setenv("PYTHONPATH", str(Path(ottla.__file__).parents[1]))
    assert main(["install-tools", str(tmp_path / "bin")]) == 0
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {
        f"{name}{ending}" for name in TOOLS for ending in ("", ".sh", ".bat")
    }
    (tmp_path / "click.py").write_text("raise SystemExit('the wrong click')")
    for ending in ("", ".sh"):
        command = [str(tmp_path / "bin" / f"kafka-topics{ending}"), "--version"]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert ran.stdout == "4.3.1\n"
    batch = (tmp_path / "bin" / "kafka-topics.bat").read_bytes()
    assert f'"{sys.executable}" -P -m ottla kafka-topics %*\r\n'.encode() in batch


def test_files_of_others_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written where a file of another origin would be lost; --force says it may; again is fine."""
    (tmp_path / "kafka-configs.sh").write_text("#!/bin/sh\nexec java\n")
    assert main(["install-tools", str(tmp_path)]) == 2
    assert "kafka-configs.sh is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kafka-configs.sh"]
    assert main(["install-tools", "--force", str(tmp_path)]) == 0
    assert "ottla kafka-configs" in (tmp_path / "kafka-configs.sh").read_text()
    assert main(["install-tools", str(tmp_path)]) == 0


def test_a_file_is_no_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    (tmp_path / "file").touch()
    assert main(["install-tools", str(tmp_path / "file")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
