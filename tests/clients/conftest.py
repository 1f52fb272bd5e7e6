"""Each test of this folder runs once with each client library of Python."""

from __future__ import annotations

import pytest

from tests.clients import golang
from tests.clients.drivers import DRIVERS, Driver
from tests.processes import Process

WANT_GO = {"test_franz_go.py", "test_member_processes.py"}


def pytest_collection_finish(session: pytest.Session) -> None:
    """On a new machine franz-go is compiled while other tests run, if any test will want it."""
    if not session.config.getoption("collectonly") and any(item.path.name in WANT_GO for item in session.items):
        golang.build_in_background()


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
