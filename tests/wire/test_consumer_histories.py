"""Histories of consumer groups by chance, the same with Ottla and Apache Kafka, compared answer by answer.

Members come, stay, lag behind, hold on to what they shall give up, repeat themselves, leave for good and for now, come
back under other ids, change what they subscribe to and which protocol they speak, and commit and fetch offsets at all
epochs. The assignor is `range`, whose answer depends on names alone: what everybody has can be compared to the
partition. (The order of members and topics, which others look at, is that of hash maps in Kafka.)
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import TEST_SETTINGS
from tests.kafka import jars
from tests.kafka.broker import KafkaProcess
from tests.processes import Process
from tests.wire.cases.consumer_groups import prepare
from tests.wire.client import Plain
from tests.wire.differential import WAIT_S, Talk, differences

# A target as soon as it is needed: when that is must not depend on how long a request took.
SETTINGS = {**TEST_SETTINGS, "group.consumer.assignment.interval.ms": "0"}
TOPICS = {"-a": 6, "-b": 4, "-c": 1}
STEPS = 100
RESTARTS_PER_STEP = 0.06
KILLED_SEEDS = [150, 151, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(152, 180))]
SEEDS = [*range(12), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(12, 150))]

# What a member says it owns: topic id -> partitions.
Owned = dict[str, list[int]]


class Member:
    """Of either protocol; it remembers what it was told, in what each broker calls a topic."""

    def __init__(self, name: str, instance: str | None) -> None:
        self.name = name
        self.instance = instance
        self.life = 0
        self.epoch = 0
        self.epoch_before = 0
        self.owned: Owned = {}
        self.owned_before: Owned = {}
        self.is_classic = False
        self.member_id = name


class History:
    """One group of one broker."""

    def __init__(
        self, talk: Talk, ids: dict[str, str], group: str, seed: int, restart: Callable[[History], None] | None = None
    ) -> None:
        self.talk = talk
        self.restart = restart
        # Suffix -> id of the topic, and back.
        self.ids = ids
        self.names = {topic_id: suffix for suffix, topic_id in ids.items()}
        self.group = group
        self.chance = random.Random(seed)
        # The first one stays, and keeps the group one of the consumer protocol.
        self.anchor = Member("anchor", None)
        dynamic = [Member(f"m{index}", None) for index in range(2)]
        static = [Member(f"s{index}", f"i{index}") for index in range(2)]
        self.members = [self.anchor, *dynamic, *static]
        self.seen: list[tuple[str, Any]] = []

    def play(self) -> list[tuple[str, Any]]:
        """What was asked, and what was answered."""
        self.join(self.anchor)
        for _ in range(STEPS):
            self.step()
        self.describe()
        for member in self.members:
            self.say(member, "leaves", -1)
        return self.seen

    def step(self) -> None:
        chance = self.chance
        # All of it is drawn whatever is done with it, so that a broker that answers otherwise does not change the rest.
        member, what, number, topics = (
            chance.choice(self.members),
            chance.random(),
            chance.randrange(6),
            chance.sample(["-a", "-b", "-c", "-none"], chance.randint(0, 3)),
        )
        if chance.random() < RESTARTS_PER_STEP and self.restart is not None:
            self.restart(self)
        if member.is_classic:
            self.classic_step(member, what, number, topics)
        elif not member.epoch and number:
            # It has none, or has lost its place; once in a while it asks for something else all the same.
            self.join(member, topics if number < 3 else None)
        elif what < 0.34:
            self.beat(member)
        elif what < 0.40:
            self.say(member, "says nothing", member.epoch)
        elif what < 0.48:
            self.say(member, "holds on", member.epoch, owned=member.owned_before)
        elif what < 0.54:
            self.say(member, "lags behind", member.epoch_before, owned=member.owned)
        elif what < 0.66:
            self.say(member, "lags behind with more", member.epoch_before, owned=member.owned_before)
        elif what < 0.68:
            self.say(member, "is ahead", member.epoch + 1, owned=member.owned)
        elif what < 0.77:
            self.say(member, f"resubscribes to {topics}", member.epoch, owned=member.owned, topics=topics)
        elif what < 0.85:
            self.join(member, topics)
        elif what < 0.88 and member is not self.anchor:
            self.say(member, "leaves", -1)
        elif what < 0.92 and member.instance is not None:
            self.say(member, "leaves for now", -2)
            self.come_back(member, number, topics)
        elif what < 0.96:
            self.offsets(member, number)
        else:
            self.describe()

    def classic_step(self, member: Member, what: float, number: int, topics: list[str]) -> None:
        if what < 0.5:
            self.classic_beat(member)
        elif what < 0.6:
            self.classic_join(member, topics, member.member_id)
        elif what < 0.7:
            self.offsets(member, number)
        elif what < 0.8:
            self.classic_leave(member)
        else:
            # Comes back with the other protocol.
            member.life += 1
            self.join(member, topics, f"{member.name}-{member.life}")

    # The consumer protocol.

    def join(self, member: Member, topics: list[str] | None = None, member_id: str | None = None) -> None:
        was, member.member_id = member.member_id, member_id or member.member_id
        member.epoch = member.epoch_before = 0
        member.owned = {}
        # Who joins without a subscription can take everything from everybody in Kafka 4.3.1 (it goes on as if all
        # members subscribed to the same).
        chosen = topics or ["-a", "-b"]
        self.say(member, f"joins with {chosen}", 0, owned={}, topics=chosen, timeout=300_000)
        if not member.epoch and member.instance is not None:
            # An earlier life of it has not left.
            member.member_id = was
            self.say(member, "leaves", -1)

    def come_back(self, member: Member, number: int, topics: list[str]) -> None:
        if number == 0:
            return
        member.life += 1
        if number < 3:
            self.classic_join(member, topics, "")
        else:
            self.join(member, None if number == 3 else topics, f"{member.name}-{member.life}")

    def beat(self, member: Member) -> None:
        self.say(member, "beats", member.epoch, owned=member.owned)

    def say(
        self,
        member: Member,
        what: str,
        epoch: int,
        *,
        owned: Owned | None = None,
        topics: list[str] | None = None,
        timeout: int = -1,
    ) -> None:
        answer = self.talk.quietly(
            "consumer_group_heartbeat",
            1,
            group_id=self.group,
            member_id=member.member_id,
            member_epoch=epoch,
            instance_id=member.instance,
            rack_id=None,
            rebalance_timeout=timeout,
            subscribed_topic_names=None if topics is None else tuple(self.talk.topic(suffix) for suffix in topics),
            subscribed_topic_regex=None,
            server_assignor="range" if topics is not None else None,
            topic_partitions=None
            if owned is None
            else tuple({"topic_id": self.ids[suffix], "partitions": tuple(has)} for suffix, has in owned.items()),
        )
        told: Owned | None = None
        if answer["assignment"] is not None:
            told = self.by_name(answer["assignment"]["topic_partitions"])
        self.note(member, what, (answer["error_code"], answer["member_epoch"], told))
        if answer["error_code"] in {"fenced_member_epoch", "unknown_member_id"} or epoch == -1:
            member.epoch = 0
        if answer["error_code"] != "none" or epoch < 0:
            return
        if answer["member_epoch"] != member.epoch:
            member.epoch_before = member.epoch
        member.epoch = answer["member_epoch"]
        member.is_classic = False
        if told is not None:
            member.owned_before, member.owned = member.owned, told

    # The classic protocol.

    def classic_join(self, member: Member, topics: list[str], member_id: str) -> None:
        fields: Plain = {
            "group_id": self.group,
            "session_timeout": 30_000,
            "rebalance_timeout": 300_000,
            "member_id": member_id,
            "group_instance_id": member.instance,
            "protocol_type": "consumer",
            "protocols": ({"name": "range", "metadata": self.subscription(member, topics)},),
            "reason": None,
        }
        answer = self.talk.quietly("join_group", 9, **fields)
        said = (answer["error_code"], answer["generation_id"], answer["protocol_name"], len(answer["members"]))
        self.note(member, f"joins as a classic member with {topics}", said)
        if answer["error_code"] == "none":
            member.is_classic = True
            member.member_id = answer["member_id"]
            member.epoch_before, member.epoch = member.epoch, answer["generation_id"]
            self.classic_sync(member)

    def subscription(self, member: Member, topics: list[str]) -> bytes:
        def text(value: str) -> bytes:
            return len(value).to_bytes(2, "big") + value.encode()

        def many(parts: list[bytes]) -> bytes:
            return len(parts).to_bytes(4, "big") + b"".join(parts)

        owned = [
            text(self.talk.topic(suffix)) + many([index.to_bytes(4, "big") for index in has])
            for suffix, has in member.owned.items()
        ]
        names = [text(self.talk.topic(suffix)) for suffix in topics]
        return b"\0\1" + many(names) + b"\xff\xff\xff\xff" + many(owned)

    def classic_sync(self, member: Member) -> None:
        answer = self.talk.quietly(
            "sync_group",
            5,
            group_id=self.group,
            generation_id=member.epoch,
            member_id=member.member_id,
            group_instance_id=member.instance,
            protocol_type="consumer",
            protocol_name="range",
            assignments=(),
        )
        self.note(member, "syncs", (answer["error_code"], self.unnamed(answer["assignment"])))
        if answer["error_code"] == "none":
            member.owned_before, member.owned = member.owned, self.read_assignment(answer["assignment"])

    def unnamed(self, assignment: bytes) -> Any:
        return sorted(self.read_assignment(assignment).items()) if assignment else None

    def read_assignment(self, data: bytes) -> Owned:
        at = 2

        def number(size: int) -> int:
            nonlocal at
            at += size
            return int.from_bytes(data[at - size : at], "big")

        owned: Owned = {}
        for _ in range(number(4)):
            size = number(2)
            name = data[at : at + size].decode()
            at += size
            owned[name.removeprefix(self.talk.name)] = sorted(number(4) for _ in range(number(4)))
        return owned

    def classic_beat(self, member: Member) -> None:
        answer = self.talk.quietly(
            "heartbeat",
            4,
            group_id=self.group,
            generation_id=member.epoch,
            member_id=member.member_id,
            group_instance_id=member.instance,
        )
        self.note(member, "beats", answer["error_code"])
        if answer["error_code"] == "unknown_member_id":
            member.is_classic, member.epoch = False, 0
        if answer["error_code"] == "rebalance_in_progress":
            self.classic_join(member, ["-a", "-b"], member.member_id)

    def classic_leave(self, member: Member) -> None:
        answer = self.talk.quietly(
            "leave_group",
            5,
            group_id=self.group,
            members=({"member_id": member.member_id, "group_instance_id": member.instance, "reason": None},),
        )
        self.note(member, "leaves", [each["error_code"] for each in answer["members"]])
        member.is_classic, member.epoch = False, 0
        member.owned = {}

    # Offsets, and what others see.

    def offsets(self, member: Member, number: int) -> None:
        epoch = member.epoch - number % 4 + 1
        suffix, partition = ("-a", number) if number % 2 else ("-b", number % 4)
        answer = self.talk.quietly(
            "offset_commit",
            9,
            group_id=self.group,
            generation_id_or_member_epoch=epoch,
            member_id=member.member_id,
            group_instance_id=member.instance,
            retention_time=-1,
            topics=(
                {
                    "name": self.talk.topic(suffix),
                    "partitions": (
                        {
                            "partition_index": partition,
                            "committed_offset": number,
                            "committed_leader_epoch": -1,
                            "committed_metadata": "",
                        },
                    ),
                },
            ),
        )
        code = answer["topics"][0]["partitions"][0]["error_code"]
        self.note(member, f"commits {suffix}-{partition} at {epoch}", code)
        answer = self.talk.quietly(
            "offset_fetch",
            9,
            groups=({"group_id": self.group, "member_id": member.member_id, "member_epoch": epoch, "topics": None},),
            require_stable=bool(number % 2),
        )
        found = {
            (topic["name"], each["partition_index"]): each["committed_offset"]
            for topic in answer["groups"][0]["topics"]
            for each in topic["partitions"]
        }
        self.note(member, f"fetches at {epoch}", (answer["groups"][0]["error_code"], sorted(found.items())))

    def describe(self) -> None:
        answer = self.talk.quietly(
            "consumer_group_describe", 1, group_ids=(self.group,), include_authorized_operations=False
        )
        (group,) = answer["groups"]
        members = sorted(
            (
                *(str(member["instance_id"]), member["member_id"] if member["instance_id"] is None else ""),
                *(member["member_epoch"], member["member_type"], sorted(member["subscribed_topic_names"])),
                sorted(self.by_name(member["assignment"]["topic_partitions"]).items()),
                sorted(self.by_name(member["target_assignment"]["topic_partitions"]).items()),
            )
            for member in group["members"]
        )
        head = [group[key] for key in ("error_code", "group_state", "group_epoch", "assignment_epoch", "assignor_name")]
        self.seen.append(("described", [head, [list(each) for each in members]]))

    def by_name(self, said: list[Plain]) -> Owned:
        return {self.names[str(each["topic_id"])]: sorted(each["partitions"]) for each in said}

    def note(self, member: Member, what: str, answer: Any) -> None:
        self.seen.append((f"{member.name} {what}", answer))


@pytest.fixture(scope="module")
def pair(broker_class: type[Process], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Talk, Talk]]:
    """A conversation with each, about topics that both have."""
    if absent := jars.missing():
        pytest.fail(absent)
    ours = broker_class(tmp_path_factory.mktemp("histories"), SETTINGS)
    theirs = KafkaProcess(tmp_path_factory.mktemp("histories-reference"), SETTINGS)
    ours.start()
    theirs.start()
    yield Talk(ours, "histories"), Talk(theirs, "histories")
    ours.stop_without_fault()
    theirs.kill()


@pytest.fixture(scope="module")
def ids(pair: tuple[Talk, Talk]) -> list[dict[str, str]]:
    """Of each, the ids of its topics."""
    return [{suffix: prepare(talk, suffix, count) for suffix, count in TOPICS.items()} for talk in pair]


@pytest.mark.parametrize("seed", SEEDS)
def test_both_tell_the_same(pair: tuple[Talk, Talk], ids: list[dict[str, str]], seed: int) -> None:
    """Every answer to every member, its epochs and partitions; the first difference is what there is to look at."""
    ours, theirs = (
        History(talk, known, f"histories-{seed}", seed).play() for talk, known in zip(pair, ids, strict=True)
    )
    compare(ours, theirs)


@pytest.mark.parametrize("seed", KILLED_SEEDS)
def test_a_kill_changes_nothing_for_members(pair: tuple[Talk, Talk], ids: list[dict[str, str]], seed: int) -> None:
    """Ours is killed and started again on the way; Kafka, which is not, still tells the same."""
    ours = History(pair[0], ids[0], f"histories-{seed}", seed, killed).play()
    theirs = History(pair[1], ids[1], f"histories-{seed}", seed).play()
    compare(ours, theirs)


def killed(history: History) -> None:
    """Kill the broker, start it again, and wait until the group is loaded."""
    talk = history.talk
    talk.close()
    talk.broker.kill()
    talk.broker.start()
    deadline = time.monotonic() + WAIT_S
    asked = {"group_id": history.group, "topics": (), "member_id": None, "member_epoch": -1}
    while True:
        answer = talk.quietly("offset_fetch", 9, groups=(asked,), require_stable=False)
        if answer["groups"][0]["error_code"] == "none":
            return
        assert time.monotonic() < deadline, answer


def compare(ours: list[tuple[str, Any]], theirs: list[tuple[str, Any]]) -> None:
    """The first difference counts; the steps before it are told."""
    for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        before = "\n".join(f"{label}: {answer}" for label, answer in theirs[max(0, index - 12) : index])
        assert mine == other, f"{differences(mine[1], other[1])} {mine} {other} after\n{before}"
