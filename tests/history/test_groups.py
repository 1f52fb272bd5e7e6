"""Groups of three client libraries under joins, leaves, kills and pauses: everything is delivered, nothing is owned
twice at a time, and committed offsets never go back.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEST_SETTINGS, MakeBroker
from tests.history.inside import Feed
from tests.history.proxy import (
    CONSUMER_GROUP_HEARTBEAT,
    HEARTBEAT,
    JOIN_GROUP,
    LEAVE_GROUP,
    OFFSET_COMMIT,
    SYNC_GROUP,
    Chaos,
    Fate,
    Proxy,
    Request,
    passing,
)
from tests.history.run import LIBRDKAFKA, Client, Run, franz_go, java
from tests.history.served import CONSUMER_PROTOCOL, need
from tests.processes import Process

PARTITIONS = 24
SESSION_MS = 3000
GROUP = "members"
OF_GROUPS = {JOIN_GROUP, SYNC_GROUP, HEARTBEAT, LEAVE_GROUP, OFFSET_COMMIT, CONSUMER_GROUP_HEARTBEAT}
# How long a member of the consumer protocol may be silent is the broker's to say.
SETTINGS = {
    **TEST_SETTINGS,
    "group.consumer.session.timeout.ms": str(SESSION_MS),
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "100",
}
Command = tuple[Sequence[str | Path], dict[str, Any]]


def commands(*names: str) -> list[Command]:
    """The member programs of the libraries; a JVM is three members."""
    found: list[Command] = []
    for name in names:
        match name:
            case "librdkafka":
                found.append((LIBRDKAFKA, {}))
            case "franz-go":
                found.append((franz_go(), {}))
            case _:
                found.append((java(), {"count": 3}))
    return found


class Members:
    """The members of a run; new ones are of the libraries in turn."""

    def __init__(self, run: Run, choices: Sequence[Command], **options: object) -> None:
        self.run = run
        self.choices = choices
        self.options = options
        self.living: list[Client] = []
        self._started = 0

    def join(self) -> Client:
        command, more = self.choices[self._started % len(self.choices)]
        slot = f"{Path(command[0]).name.split('-')[0]}{self._started}"
        self._started += 1
        client = self.run.start(command, "member", slot, **{**self.options, **more})
        self.living.append(client)
        return client

    def leave(self, client: Client) -> None:
        self.living.remove(client)
        self.run.end(client)

    def kill(self, client: Client) -> None:
        self.living.remove(client)
        self.run.kill(client)

    def wait_until_shared(self) -> None:
        """Until as many have been given partitions as there can be."""
        names = [name for client in self.living for name in client.names]
        counts = self.run.counts

        def there() -> bool:
            return sum(counts[f"assigned {name}"] > 0 for name in names) >= min(len(names), PARTITIONS)

        self.run.wait_for(there, f"{len(names)} members share {PARTITIONS} partitions")

    def wait_for_work(self, commits: int) -> None:
        """Until every partition has had so many commits more, by whoever owns it now: it has an owner who works."""
        goal = [done + commits for done in self.run.commits(PARTITIONS)]

        def there() -> bool:
            return all(has >= wanted for has, wanted in zip(self.run.commits(PARTITIONS), goal, strict=True))

        self.run.wait_for(there, f"{commits} commits for every partition")


def churn(members: Members, chance: random.Random, rounds: int, most: int) -> None:
    """Each round lets some come or go in one way or another, and waits until every partition is worked on."""
    run = members.run
    for at in range(rounds):
        what = ["join", "pause", "leave", "kill", "broker"][at % 5]
        some = chance.sample(members.living, min(len(members.living) // 2, chance.randrange(1, 4)))
        if what == "join":
            while len(members.living) < most:
                members.join()
            members.wait_until_shared()
        elif what == "leave":
            for client in some:
                members.leave(client)
        elif what == "kill":
            for client in some:
                members.kill(client)
        elif what == "pause":
            for client in some:
                run.pause(client)
        else:
            run.restart_broker()
        # What those who are stopped owned goes to others when their sessions are over.
        members.wait_for_work(2)
        if what == "pause":
            for client in some:
                run.resume(client)
            members.wait_for_work(1)


def play(
    folder: Path,
    broker: Process,
    choices: Sequence[Command],
    seed: int,
    rounds: int,
    most: int,
    protocol: str,
    proxy: Proxy | None = None,
) -> None:
    chance = random.Random(seed)
    options = {"topic": "work", "group": GROUP, "protocol": protocol, "session_ms": SESSION_MS}
    with Run(folder / "run", broker, proxy) as run:
        run.create_topic("work", PARTITIONS)
        with Feed(run, "work", PARTITIONS):
            members = Members(run, choices, **options)
            members.join()
            members.wait_for_work(1)
            churn(members, chance, rounds, most)
        if proxy is not None:
            proxy.decide = passing
        run.wait_until_committed(GROUP, "work", PARTITIONS)
        for client in members.living:
            run.end(client)
        run.verdict(at_least={"assigned": PARTITIONS // 4, "offsets_committed": 3 * PARTITIONS, "fault": rounds // 2})


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_of_two_libraries(make_broker: MakeBroker, tmp_path: Path, protocol: str) -> None:
    """Librdkafka and franz-go in one group, cooperative-sticky or by the broker's own assignor: what
    `test_members_of_three_libraries` does without Java.
    """
    broker = make_broker(SETTINGS)
    if protocol == "consumer":
        need(broker, CONSUMER_PROTOCOL)
    play(tmp_path, broker, commands("librdkafka", "franz-go"), 1, rounds=5, most=8, protocol=protocol)


def test_members_of_both_protocols(make_broker: MakeBroker, tmp_path: Path) -> None:
    """Half of a group speaks the classic protocol and half the consumer protocol, as while it is moved to the new one
    without a pause; who is left may be of either. Sticky assignors keep data with the members, which bars the way.
    """
    broker = make_broker(SETTINGS)
    need(broker, CONSUMER_PROTOCOL)
    both = [command for command, _ in commands("librdkafka", "franz-go")]
    choices: list[Command] = [(command, {"assignor": "range"}) for command in both]
    choices += [(command, {"protocol": "consumer"}) for command in both]
    play(tmp_path, broker, choices, 4, rounds=5, most=8, protocol="classic")


UNFAIR = {(Fate.LATE, OFFSET_COMMIT), (Fate.REPEAT, JOIN_GROUP), (Fate.LATE, JOIN_GROUP)}
# So many requests of groups lie between two that are due.
DUE_EVERY = 5


class Trouble:
    """Chance, for the requests of groups, and each fate once whatever chance says. A late commit is one that the broker
    cannot tell from one of now, and a repeated JoinGroup waits for a round that its member, who has its answer, does
    not know of.
    """

    def __init__(self, seed: int) -> None:
        self._due = [Fate.LATE, Fate.REPEAT, Fate.CUT, Fate.UNANSWERED, Fate.DELAY]
        self._asked = 0
        rates = {Fate.CUT: 0.05, Fate.UNANSWERED: 0.05, Fate.REPEAT: 0.05, Fate.LATE: 0.03, Fate.DELAY: 0.03}
        self._chaos = Chaos(seed, rates)

    def __call__(self, request: Request) -> Fate:
        if request.api not in OF_GROUPS:
            return Fate.PASS
        self._asked += 1
        if self._asked % DUE_EVERY == 0:
            for fate in self._due:
                if (fate, request.api) not in UNFAIR:
                    self._due.remove(fate)
                    return fate
        fate = self._chaos(request)
        return Fate.UNANSWERED if (fate, request.api) in UNFAIR else fate


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_in_trouble(make_broker: MakeBroker, tmp_path: Path, protocol: str) -> None:
    """Librdkafka and franz-go behind a proxy that cuts, repeats, delays and reorders what they ask of the group."""
    with Proxy(Trouble(3)) as proxy:
        broker = make_broker({**SETTINGS, **proxy.settings})
        proxy.lead_to(broker.host, broker.port)
        if protocol == "consumer":
            need(broker, CONSUMER_PROTOCOL)
        choices = commands("librdkafka", "franz-go")
        play(tmp_path, broker, choices, 3, rounds=4, most=6, protocol=protocol, proxy=proxy)
        assert {fate for (_, fate), count in proxy.counts.items() if count} == set(Fate), proxy.counts


@pytest.mark.kafka
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_members_of_three_libraries(make_broker: MakeBroker, tmp_path: Path, protocol: str) -> None:
    """librdkafka, franz-go and Java in one group."""
    broker = make_broker(SETTINGS)
    if protocol == "consumer":
        need(broker, CONSUMER_PROTOCOL)
    choices = commands("librdkafka", "franz-go", "java", "librdkafka", "franz-go")
    play(tmp_path, broker, choices, 2, rounds=5, most=8, protocol=protocol)


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_fifty_members(make_broker: MakeBroker, tmp_path: Path, protocol: str) -> None:
    """Fifty members in minutes of coming and going, from a seed that is printed; OTTLA_SEED plays one again."""
    seed = int(os.environ.get("OTTLA_SEED", random.randrange(1 << 32)))
    print(f"OTTLA_SEED={seed}")
    broker = make_broker(SETTINGS)
    if protocol == "consumer":
        need(broker, CONSUMER_PROTOCOL)
    choices = commands("java", *["librdkafka", "franz-go", "franz-go"] * 4)
    play(tmp_path, broker, choices, seed, rounds=60, most=42, protocol=protocol)
