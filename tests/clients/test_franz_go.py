"""franz-go against the broker: the cases of go/*.go."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.clients import golang
from tests.clients.programs import CaseRunner, refuse
from tests.processes import Process

CASES = [
    name
    for path in sorted(golang.FOLDER.glob("*.go"))
    for name in re.findall(r'^\tcases\["(\w+)"\] = ', path.read_text(), re.MULTILINE)
]


@pytest.fixture(scope="session")
def runner(broker: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseRunner]:
    """One process for all cases."""
    refuse(golang.missing())
    program = CaseRunner([golang.build(), "cases", broker.bootstrap], tmp_path_factory.mktemp("franz-go") / "cases.err")
    yield program
    program.stop()


@pytest.mark.parametrize("case", CASES)
def test_case(runner: CaseRunner, case: str, unique: str) -> None:
    """What the comment above the case's function says."""
    runner.run(case, unique)
