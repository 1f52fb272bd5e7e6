"""Event-sourced accounts: versions decide who was first, replay from offset 0 gives the balances that are kept."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from examples.accounts.__main__ import ACCOUNTS, OPENING_CENTS, ROUNDS, TELLERS
from examples.accounts.events import Account, Command, Event, commands, fold
from examples.accounts.replay import replay
from examples.accounts.teller import Log
from ottla.admin import Admin, NewTopic, TopicPartition
from tests.examples.plays import environment, words
from tests.processes import Process
from tests.test_house import ROOT

if TYPE_CHECKING:
    from tests.examples.conftest import Plays

APPLIED = len(ACCOUNTS) + len(TELLERS) * ROUNDS[-1]


def check(outcome: dict[str, Any]) -> None:
    assert outcome["balances"] == outcome["rebuilt"]
    assert outcome["balances"].keys() == set(ACCOUNTS)
    assert outcome["applied"] == APPLIED <= outcome["events"]
    assert outcome["handled"] == outcome["events"] + outcome["read_again"]


@pytest.mark.ottla
@pytest.mark.plays("accounts", "plain")
def test_rebuilt_balances_equal_those_kept(plays: Plays) -> None:
    """Three tellers carry out each command once, and the projection has what a replay gives."""
    run = plays("accounts", "plain")
    check(run.outcome)
    assert f"{run.outcome['events']} events in the log, {APPLIED} applied" in run.output


@pytest.mark.plays("accounts", "kill")
def test_a_killed_teller_does_nothing_twice(plays: Plays) -> None:
    """Added up by other code than the example's: each command once, no version twice, nobody overdrawn."""
    run = plays("accounts", "kill")
    check(run.outcome)
    balances, versions, done = dict.fromkeys(ACCOUNTS, 0), dict.fromkeys(ACCOUNTS, 0), []
    for message in run.records("account-events"):
        event = json.loads(message.value())
        name = message.key().decode()
        if event["version"] != versions[name] + 1:
            assert event["version"] <= versions[name]
            continue
        versions[name] += 1
        balances[name] += {"withdrawn": -1, "refused": 0}.get(event["kind"], 1) * event["cents"]
        assert balances[name] >= 0
        done.append(event["command"])
    assert balances == run.outcome["balances"]
    asked = [command for name in TELLERS for command in commands(name, ACCOUNTS, ROUNDS[-1])]
    assert sorted(done) == sorted([command.id for command in asked] + [f"open/{name}" for name in ACCOUNTS])


@pytest.mark.plays("accounts", "kill")
def test_replaying_as_the_readme_says(plays: Plays) -> None:
    """The replay is a command of its own, and may be run as often as one likes."""
    run = plays("accounts", "kill")
    # And as late as one likes: nothing takes events away.
    config = run.config("account-events")
    assert (config["retention.ms"], config["retention.bytes"]) == ("-1", "-1")
    command = [*words("python -m examples.accounts.replay"), run.bootstrap, str(run.outcome["topic"])]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(run.scratch), capture_output=True, text=True, check=True, timeout=60
    )
    told = dict(line.split() for line in done.stdout.splitlines())
    assert told == {name: f"{cents / 100:.2f}" for name, cents in run.outcome["balances"].items()}


def test_the_second_of_two_events_does_not_count() -> None:
    """Two tellers decide on the same version: the first in the log is applied; the other decides again, and refuses."""
    accounts = {"anna": Account(OPENING_CENTS, 1)}
    both = [Command(name, "anna", "withdraw", OPENING_CENTS).decide(accounts["anna"]) for name in ("one", "two")]
    assert [fold(accounts, event) for event in both] == [True, False]
    assert accounts["anna"] == Account(0, 2)
    again = Command("two", "anna", "withdraw", OPENING_CENTS).decide(accounts["anna"])
    assert (again.kind, again.version) == ("refused", 3)


def test_an_event_that_comes_twice_counts_once() -> None:
    """Repeating any stretch of the log changes nothing, which is what at-least-once asks of a fold."""
    log = [Event(f"c{n}", "anna", n, "opened" if n == 1 else "deposited", n) for n in range(1, 6)]
    once: dict[str, Account] = {}
    assert [fold(once, event) for event in log] == [True] * 5
    twice: dict[str, Account] = {}
    for event in [*log[:3], *log[1:3], *log[3:], *log]:
        fold(twice, event)
    assert twice == once == {"anna": Account(15, 5)}


def test_a_log_that_has_lost_its_beginning_gives_no_balances(broker: Process, unique: str) -> None:
    """Neither replay nor teller takes what is left for all there was: it would be wrong money, and look right."""
    with Admin(broker.bootstrap) as admin:
        admin.create_topics([NewTopic(unique, 1, 1)])
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for _ in range(3):
            producer.produce(unique, b"{}")
        producer.flush(30)
        admin.delete_records({TopicPartition(unique, 0): 2})
    with pytest.raises(SystemExit, match=f"{unique}-0 begins at 2: what came before is gone"):
        replay(broker.bootstrap, unique)
    with pytest.raises(SystemExit, match=f"{unique}-0 begins at 2: what came before is gone"):
        Log(broker.bootstrap, unique)
