"""Log lines of several hosts: shipped, counted, searched by time, with a shipper killed in an incident."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from examples.logs.__main__ import CRASHES, HOSTS, VISITS
from examples.logs.shipper import MARK_EVERY
from tests.examples.plays import Play, environment, words
from tests.test_house import ROOT

if TYPE_CHECKING:
    from tests.examples.conftest import Plays

# A line that it listens, visits of which each tenth finds nothing, twice, and a line that it has stopped.
ORDINARY = {"INFO": 2 + 2 * VISITS * 9 // 10, "WARNING": 2 * VISITS // 10}


def check(outcome: dict[str, Any]) -> None:
    assert outcome["counts"] == {host: ORDINARY | {"ERROR": CRASHES.get(host, 0)} for host in HOSTS}
    assert Counter(entry["host"] for entry in outcome["errors"]) == CRASHES
    assert all(entry["traceback"].startswith("Traceback") for entry in outcome["errors"])
    lines = len(HOSTS) * sum(ORDINARY.values()) + sum(CRASHES.values())
    assert outcome["records"] == lines + outcome["shipped_again"]


@pytest.mark.ottla
@pytest.mark.plays("logs", "plain")
def test_lines_are_counted_and_found(plays: Plays) -> None:
    """Each line a host wrote is there once, by host and level, and the incident is found by its time."""
    run = plays("logs", "plain")
    check(run.outcome)
    assert run.outcome["shipped_again"] == 0
    assert run.outcome["read"] < run.outcome["records"] * 2 / 3
    assert run.output.count("ConnectionError: the database does not answer") == sum(CRASHES.values())


@pytest.mark.plays("logs", "kill")
def test_a_killed_shipper_loses_no_line(plays: Plays) -> None:
    """What the host wrote meanwhile is shipped later, and what had not been noted is in the topic twice."""
    run = plays("logs", "kill")
    check(run.outcome)
    assert run.outcome["shipped_again"] == (1 + VISITS) % MARK_EVERY == 11
    seen: dict[str, list[int]] = {host: [] for host in HOSTS}
    for message in run.records("logs"):
        headers, entry = dict(message.headers()), json.loads(message.value())
        assert headers["level"].decode() == entry["level"]
        assert message.timestamp()[1] == entry["time_ms"]
        seen[message.key().decode()].append(int(headers["position"]))
    for host, positions in seen.items():
        copies = len(positions) - len(set(positions))
        assert copies == (run.outcome["shipped_again"] if host == "web-2" else 0)
        assert sorted(set(positions)) == list(dict.fromkeys(positions))


@pytest.mark.plays("logs", "kill")
def test_searching_as_the_readme_says(plays: Plays) -> None:
    """The search is a command of its own: the same errors, those of one host, and everything."""
    run = plays("logs", "kill")
    since, until = str(run.outcome["since_ms"]), str(run.outcome["until_ms"])
    errors = search(run, "--since", since, "--until", until, "--level", "ERROR")
    assert errors == run.outcome["errors"]
    assert search(run, "--since", since, "--host", "web-3", "--level", "ERROR") == [
        entry for entry in errors if entry["host"] == "web-3"
    ]
    everything = search(run)
    assert len(everything) == run.outcome["records"] - run.outcome["shipped_again"]
    assert search(run, "--until", since) + search(run, "--since", since) == everything


def search(run: Play, *options: str) -> list[Any]:
    command = [*words("python -m examples.logs.search"), run.bootstrap, str(run.outcome["topic"]), *options]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(run.scratch), capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
