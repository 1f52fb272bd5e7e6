"""Each test of this folder runs once with kafka-python and once with librdkafka."""

from __future__ import annotations

import pytest

from tests.clients.drivers import DRIVERS, Driver
from tests.processes import Process


@pytest.fixture(params=sorted(DRIVERS))
def client_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def drivers(broker: Process) -> dict[str, Driver]:
    return {name: driver(broker.bootstrap) for name, driver in DRIVERS.items()}


@pytest.fixture
def driver(client_name: str, drivers: dict[str, Driver]) -> Driver:
    """The client library of this run, pointed at the shared broker."""
    return drivers[client_name]
