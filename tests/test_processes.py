"""What the tests ask of the brokers they run: that a fault is noticed, and that nothing is skipped where it counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest
from tests.processes import OttlaProcess

FAULTS = [
    "Traceback (most recent call last):",
    "thread 'worker' panicked at rust/server/src/x.rs:1:1",
    "2026-01-01 00:00:00 ERROR ottla.protocol.dispatch: the control plane failed in Runtime.flush",
]


class Ended(OttlaProcess):
    """A broker that has ended with a code and an output."""

    def __init__(self, folder: Path, code: int, output: str) -> None:
        super().__init__(folder)
        self.code = code
        self.output_path.write_text(output)

    def stop(self) -> int:
        return self.code


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_output_fails_the_run(tmp_path: Path, fault: str) -> None:
    """The broker went on and every client was answered: it is a failure all the same."""
    with pytest.raises(AssertionError, match="tells of a bug"):
        Ended(tmp_path, 0, f"a\n{fault}\nb\n").stop_without_fault()


def test_an_exit_code_fails_the_run(tmp_path: Path) -> None:
    """SIGTERM ends a broker with 0."""
    with pytest.raises(AssertionError, match="ended with 1"):
        Ended(tmp_path, 1, "").stop_without_fault()
    Ended(tmp_path, 0, "closing connection 7 from 127.0.0.1 on PLAINTEXT: not a frame\n").stop_without_fault()


@pytest.mark.parametrize("ci, skips", [("true", 0), ("", 1)])
def test_in_ci_nothing_is_skipped_for_want_of_a_build(monkeypatch: pytest.MonkeyPatch, ci: str, skips: int) -> None:
    """A person without a build is told so; in CI the tests run and fail."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(conftest, "broker_is_built", lambda: False)
    marks: list[Any] = []
    item: Any = SimpleNamespace(fixturenames=["broker"], get_closest_marker=lambda _: None, add_marker=marks.append)
    config: Any = SimpleNamespace(getoption={"--broker": "ottla", "--long": False}.__getitem__)
    conftest.pytest_collection_modifyitems(config, [item])
    assert len(marks) == skips
