"""Kafka's own Java clients against the broker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.kafka import jars
from tests.processes import Process

PROGRAMS = Path(__file__).with_name("java")


@pytest.mark.long
@pytest.mark.kafka
def test_a_transactional_java_producer_is_refused_for_good(broker: Process, unique: str) -> None:
    """Error 53 is fatal in the Java client too: initTransactions throws at once instead of retrying until its time is
    over.
    """
    command = jars.java(str(PROGRAMS / "TransactionalProducer.java"), broker.bootstrap, unique)
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.split()
    assert said[-1:] == ["TransactionalIdAuthorizationException" if broker.name == "ottla" else "committed"]
