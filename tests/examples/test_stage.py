"""What all examples have in common: how they are stopped, and what they say to bad input."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.examples.plays import TIMEOUT_S, environment, running, words
from tests.processes import free_port
from tests.test_house import ROOT


@pytest.mark.ottla
@pytest.mark.parametrize("ask, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_half_way_nothing_is_left(ask: signal.Signals, code: int, tmp_path: Path) -> None:
    """SIGTERM and Ctrl-C end the example, its processes and its files, whenever they come."""
    # It waits for a clock that nobody turns.
    line = [*words("python -m examples.retries"), "--clock", str(tmp_path / "clock")]
    with running(line, tmp_path / "scratch") as process:
        (tmp_path / "clock").write_text("0")
        assert process.stdout is not None
        while "payments sent" not in (line_said := process.stdout.readline()):
            assert line_said, process.communicate()
        process.send_signal(ask)
        _rest, errors = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, errors) == (code, "")


@pytest.mark.parametrize(
    "options, code, says",
    [
        (["--bootstrap", f"127.0.0.1:{free_port()}"], 1, "no broker answers at 127.0.0.1:"),
        (["--bootstrap", "localhost"], 2, "'localhost' is not HOST:PORT"),
        (["--prefix", "a/b "], 1, "a topic could not be created: "),
        (["--kill", "nobody"], 2, "invalid choice: 'nobody'"),
        (["--orders", "0"], 2, "'0' is not a whole number above 0"),
        (["--what"], 2, "unrecognized arguments: --what"),
    ],
)
def test_bad_input(options: list[str], code: int, says: str, tmp_path: Path) -> None:
    """One line that says what is wrong, and nothing started."""
    done = subprocess.run(
        [*words("python -m examples.orders"), *options],
        cwd=ROOT,
        env=environment(tmp_path / "scratch"),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == code
    assert says in done.stderr.splitlines()[-1]
    assert list((tmp_path / "scratch").iterdir()) == []
