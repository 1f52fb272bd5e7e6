"""The entrypoint as a program: `ottla container run` with a container's environment and nothing else of ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ottla.config.listeners import parse_endpoints
from tests.processes import START_TIMEOUT_S, BrokerFailed, Process, free_port

COMMAND = [sys.executable, "-m", "ottla", "container"]
_LISTENERS = ("KAFKA_LISTENERS", "KAFKA_CFG_LISTENERS")
_ADVERTISED = ("KAFKA_ADVERTISED_LISTENERS", "KAFKA_CFG_ADVERTISED_LISTENERS")
_ENDPOINT = re.compile(r"(?P<name>[^:/,\s]+)://(?P<host>[^:,]*):(?P<port>\d+)")


def container_environment(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """A container's environment: its variables, and what the interpreter needs to run here."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG") if name in os.environ}
    python = str(Path(__file__).parents[2] / "python")
    return {**kept, "PYTHONPATH": python, "TMPDIR": str(folder), "OTTLA_BIND_ADDRESS": "127.0.0.1", **variables}


def on_loopback(variables: Mapping[str, str]) -> tuple[dict[str, str], dict[str, int]]:
    """The same variables with a free port for each listener, and the port of each listener by its name.

    Where the listeners are given, their hosts become 127.0.0.1 and what is advertised stays as it is written. Where
    they are derived from what is advertised, that has the free ports.
    """
    changed, ports = dict(variables), dict[str, int]()

    def replaced(text: str, host: str | None) -> str:
        def endpoint(found: re.Match[str]) -> str:
            ports[found["name"].upper()] = port = free_port()
            return f"{found['name']}://{found['host'] if host is None else host}:{port}"

        return _ENDPOINT.sub(endpoint, text)

    for name in _LISTENERS:
        if name in variables:
            changed[name] = replaced(variables[name], "127.0.0.1")
    if not ports:
        for name in _ADVERTISED:
            if name in variables:
                changed[name] = replaced(variables[name], None)
    if "KAFKA_PORT" in variables:
        ports["PLAINTEXT"] = free_port()
        changed["KAFKA_PORT"] = str(ports["PLAINTEXT"])
    return changed, ports


def endpoints(text: str) -> dict[str, tuple[str, int]]:
    """Host and port by name of a list of listeners."""
    return {endpoint.name: (endpoint.host, endpoint.port) for endpoint in parse_endpoints(text.split(","))}


class ContainerProcess(Process):
    """A broker as the image runs it."""

    name = "container"

    def __init__(self, folder: Path, variables: Mapping[str, str], port: int, *words: str) -> None:
        super().__init__(folder)
        self.variables, self.port, self.words = dict(variables), port, words

    def command(self) -> list[str]:
        return [*COMMAND, "run", *self.words]

    def environment(self) -> dict[str, str]:
        return container_environment(self.folder, self.variables)

    def wait_until_up(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns once the entrypoint has said that everything it has to do is done."""
        deadline = time.monotonic() + timeout_s
        super().wait_until_up(timeout_s)
        while "Kafka Server started" not in self.output():
            if not self.running or time.monotonic() > deadline:
                raise BrokerFailed(f"{self.name} did not finish its start:\n{self.tail()}")

    def ask(self, command: str) -> subprocess.CompletedProcess[str]:
        """Another command in the same container."""
        return subprocess.run(
            [*COMMAND, command], env=self.environment(), capture_output=True, text=True, check=False, timeout=60
        )
