"""The native load generator and the limit program (`benches/native`): built once, run as a process, told in JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.kafka import jars
from tests.processes import taken_along

TIMEOUT_S = 600
# More flights than a batch of any size holds; their values come round again.
FLIGHTS = 50_000


def build(profile: str = "release") -> Path:
    """The program, of a cargo profile."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--locked", "--profile", profile, "-p", "ottla-load"]
    command.append("--message-format=json-render-diagnostics")
    said = subprocess.run(command, cwd=jars.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = (json.loads(line) for line in said.splitlines())
    found = [Path(message["executable"]) for message in messages if message.get("executable")]
    return found[-1]


def flags(values: Mapping[str, object]) -> list[str]:
    """As a command line has them; True is a switch, False and None are nothing."""
    words: list[str] = []
    for name, value in values.items():
        if value is not None and value is not False:
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


class Failed(Exception):
    """The program ended with an error; it is told with what was counted until then."""


def result(command: Sequence[str], said: str, code: int | None) -> dict[str, Any]:
    """What the last line of a run tells."""
    lines = said.splitlines()
    told: dict[str, Any] = json.loads(lines[-1]) if lines else {"error": f"ended with {code} and said nothing"}
    if code or "error" in told:
        raise Failed(f"{' '.join(command)}: {told.get('error', f'ended with {code}')}")
    return told


def run(program: Path, command: str, values: Mapping[str, object]) -> dict[str, Any]:
    """One run from begin to end."""
    words = [str(program), *command.split(), *flags(values)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)
    return result(words, done.stdout, done.returncode)


class Running:
    """A run that says when it has begun in earnest (`--ready`, `--hold`), so that something can be done beside it."""

    def __init__(self, program: Path, command: str, values: Mapping[str, object]) -> None:
        self._words = [str(program), *command.split(), *flags(values)]
        self._process = subprocess.Popen(
            [*taken_along(), *self._words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        first = self._out.readline()
        self.begun: dict[str, Any] = json.loads(first) if first else {"error": "it said nothing"}
        if "error" in self.begun:
            self._process.wait(TIMEOUT_S)
            raise Failed(f"{' '.join(self._words)}: {self.begun['error']}")

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def finish(self) -> dict[str, Any]:
        """Its result; one that holds lets go."""
        said, _ = self._process.communicate(timeout=TIMEOUT_S)
        return result(self._words, said, self._process.returncode)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def flights_file() -> Path:
    """The flights as JSON lines, written once."""
    from examples.flights.table import flights  # noqa: PLC0415 - wants the package with the data

    path = jars.ROOT / "target" / "bench" / f"flights-{FLIGHTS}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        lines = (json.dumps(flight, separators=(",", ":")) for flight in flights(FLIGHTS))
        partial.write_text("".join(f"{line}\n" for line in lines))
        partial.replace(path)
    return path
