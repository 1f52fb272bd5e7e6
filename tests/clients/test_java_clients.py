"""Kafka's Java client in four versions against the broker: the cases of java/*.java, one JVM for each version."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.clients import javaclients
from tests.clients.programs import CaseRunner
from tests.processes import Process

CASES = [
    name
    for path in sorted(javaclients.FOLDER.glob("*.java"))
    for name in re.findall(r'cases\.put\("(\w+)", ', path.read_text())
]
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture(scope="session", params=javaclients.VERSIONS)
def java_runner(
    request: pytest.FixtureRequest, broker: Process, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CaseRunner]:
    """One JVM for all cases of a version."""
    command = javaclients.java(request.param, "Cases", broker.bootstrap)
    program = CaseRunner(command, tmp_path_factory.mktemp("java") / f"{request.param}.err")
    yield program
    program.stop()


@pytest.mark.kafka
@pytest.mark.parametrize("case", [*CASES, *(f"codec_{codec}" for codec in CODECS)])
def test_case(java_runner: CaseRunner, case: str, unique: str) -> None:
    """What the comment above the case's method says."""
    java_runner.run(case, unique)
