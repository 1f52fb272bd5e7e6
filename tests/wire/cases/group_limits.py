"""Groups at their limits: group.max.size, bounds of sessions, the delay of the first rebalance, offsets that expire.

With brokers of their own, which have `differential.LIMITS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.wire.cases.consumer_groups import Consumer, describe, prepare
from tests.wire.cases.group_rounds import BUSY_MS, Party
from tests.wire.cases.groups import Committer
from tests.wire.client import Plain
from tests.wire.differential import WAIT_S, Talk, limited_case

SESSION: Plain = {"session_timeout": 20_000, "rebalance_timeout": 20_000}


def keep(talk: Talk) -> None:
    """Gives the group an offset, so that it is not gone at the next look for expired ones whenever nobody is in it."""
    by = Committer(talk, 9)
    by.ids[""] = talk.create()
    talk.coordinate(talk.topic())
    by.commit("an offset", ("", 0, 1))


def start_together(party: Party, *names: str, **more: Any) -> None:
    """All join while the first rebalance waits; the first one leads, each gets its name."""
    first, *others = (party[name] for name in names)
    if first.instance is None:
        first.join_version = 3  # no id to ask for first: a group that has only given out an id may be gone by then
    for count, member in enumerate((first, *others), 1):
        if count > 1:
            member.knock(**more)
        member.park(**more)
        party.wait_for(f"{member.name} is in", lambda group, count=count: len(group["members"]) == count)  # type: ignore[misc]
    for name in names:
        party[name].receive(f"{name} of generation 1")
    for other in others:
        other.park_sync()
    first.sync("parts", {name: name for name in names})
    for other in others:
        other.receive("part")


@limited_case([5])
def initial_delay(talk: Talk, _version: int) -> None:
    """Who comes while the first rebalance of an empty group waits is in its first generation; later rounds wait for
    nobody; an id that is given out is not waited for.
    """
    keep(talk)
    party = Party(talk)
    party["c"].knock("an id that is never used")
    start_together(party, "a", "b")
    party.describe("both")
    party["a"].leave("both leave", "b")
    # Nobody is left when the time is over.
    party["d"].knock(**SESSION)
    party["d"].park(**SESSION)
    party.wait_for("it is in", lambda group: bool(group["members"]))
    party.describe("waits")
    aside = party["e"].talk.quietly("leave_group", 3, group_id=party.group, members=[])
    talk.note("nobody leaves", aside)
    party["d"].receive("joins alone")
    party["d"].heartbeat("alone")
    party.close()


@limited_case([5, 9])
def full_group(talk: Talk, version: int) -> None:
    """group.max.size=2: in every round, for strangers, members, static members and ids that are given out."""
    keep(talk)
    party = Party(talk)
    for name in "abcdefgh":
        party[name].join_version = version
    party["a"].instance = party["e"].instance = "one"
    start_together(party, "a", "b", **SESSION)
    party["c"].enter("a third one", **SESSION)
    party["b"].join("a member asks again", **SESSION)
    party["d"].instance = "two"
    party["d"].join("a static third one", **SESSION)
    party["e"].join("the next life of a static member", **SESSION)
    party["a"].heartbeat("the old life goes on")
    # In the first round there is room for those who come first.
    party["b"].leave("makes room")
    party["f"].knock("an id", **SESSION)
    party["g"].knock("one more id", **SESSION)
    party["f"].park(**SESSION)
    party.wait_for("it is in", lambda group: len(group["members"]) == 2)
    party["g"].leave("gives its id back")
    party["a"].park(**SESSION)
    party["a"].receive("both")
    party["f"].receive("both")
    party["h"].enter("one too many in the second round", **SESSION)
    party.describe("two")
    party.close()


@limited_case([5])
def session_bounds(talk: Talk, _version: int) -> None:
    """group.min.session.timeout.ms and group.max.session.timeout.ms, themselves allowed."""
    for session in (1_000, 30_000, 999, 30_001, 0, -1, -(2**31), 2**31 - 1):
        party = Party(talk, talk.topic(f"-{session}"))
        party["a"].knock(f"{session}", session_timeout=session)
        party.close()


@limited_case([2, 4])
def expiry(talk: Talk, version: int) -> None:
    """An offset with an end of its own goes then, and the group with its last one; not what a member subscribes to."""
    by = Committer(talk, version)
    by.ids[""] = talk.create(partitions=2)
    # Groups of `Party` subscribe to "t".
    if all(each["name"] != "t" for each in talk.quietly("metadata", 12, topics=None)["topics"]):
        talk.quietly(
            "create_topics", 7, topics=[{"name": "t", "num_partitions": 1, "replication_factor": 1}], timeout=10_000
        )
    talk.wait_for_leaders("t", 1)

    def commit(label: str, topic: str, partition: int, retention: int, **more: Any) -> None:
        entry = {"partition_index": partition, "committed_offset": 5, "committed_metadata": "m"}
        fields: Plain = {"generation_id_or_member_epoch": -1, "member_id": "", "retention_time": retention, **more}
        topics = [{"name": topic, "partitions": [entry]}]
        talk.ask(label, "offset_commit", version, group_id=talk.topic(), topics=topics, **fields)

    def kept() -> Any:
        return talk.quietly("offset_fetch", 7, group_id=talk.topic(), topics=None)

    def wait_until_only(*partitions: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while True:
            found = kept()["topics"]
            if sorted(each["partition_index"] for topic in found for each in topic["partitions"]) == [*partitions]:
                return
            assert time.monotonic() < deadline, found

    talk.coordinate(talk.topic())
    commit("for ever", talk.topic(), 0, -1)
    commit("for a moment", talk.topic(), 1, 1)
    wait_until_only(0)
    talk.note("one is left", kept())
    commit("a new end", talk.topic(), 0, 0)
    wait_until_only()
    talk.ask("the group is gone too", "describe_groups", 5, groups=[talk.topic()])
    party = Party(talk)
    start_together(party, "a")
    member = {"generation_id_or_member_epoch": 1, "member_id": party["a"].member_id}
    commit("of a topic that is consumed", "t", 0, 1, **member)
    commit("of one that is not", talk.topic(), 1, 1, **member)
    wait_until_only(0)
    talk.note("what is consumed is left", kept())
    talk.ask(
        "consumed",
        "offset_delete",
        0,
        group_id=talk.topic(),
        topics=[
            {"name": "t", "partitions": [{"partition_index": 0}]},
            {"name": talk.topic(), "partitions": [{"partition_index": 0}]},
        ],
    )
    party["a"].leave("leaves")
    wait_until_only()
    talk.ask("nothing is left", "describe_groups", 5, groups=[talk.topic()])
    party["a"].heartbeat("of a group that has expired")
    party.close()


@limited_case([5])
def pending_id_of_an_expired_group(talk: Talk, _version: int) -> None:
    """A group of an id that was given out has nothing to keep: it is gone at the next look, and the id with it."""
    party = Party(talk)
    party["a"].knock("an id", session_timeout=BUSY_MS * 10)
    party.wait_for_state("Dead")
    party["a"].join("the group is gone", session_timeout=BUSY_MS * 10)
    party.close()


@limited_case([1])
def consumer_group_limits(talk: Talk, version: int) -> None:
    """group.consumer.max.size=2, a member that falls silent, and one that does not give up what it is told to."""
    prepare(talk, partitions=2)
    one, two = Consumer(talk, version, "one", talk.topic()), Consumer(talk, version, "two", talk.topic())
    one.join("joins", rebalance_timeout=1000)
    two.join("joins, too")
    Consumer(talk, version, "three", talk.topic()).join("no room")
    Consumer(talk, version, "three", talk.topic(), instance_id="i").join("nor for an instance")
    one.join("begins anew", rebalance_timeout=1000)
    one.beat("gives up")
    one.beat("has")
    two.beat("gets")
    quietly(one, lambda: members(talk) == ["one"], "the silent one is gone")
    # Who says everything is told everything, whether or not it has heard of it meanwhile.
    one.beat("everything is its own", rebalance_timeout=1000, subscribed_topic_names=one.topics)
    describe(talk, "one is left")
    everything = one.owned
    two.join("joins anew")
    quietly(two, lambda: deaf(one, everything), "the deaf one is fenced")
    two.beat("everything is its own now", rebalance_timeout=30_000, subscribed_topic_names=two.topics)
    describe(talk, "the other one is left")


def members(talk: Talk) -> list[str]:
    groups = talk.quietly("consumer_group_describe", 1, group_ids=(talk.topic(),))["groups"]
    return sorted(member["member_id"] for member in groups[0]["members"])


def deaf(member: Consumer, everything: list[Plain]) -> bool:
    """A heartbeat that says that nothing was given up."""
    transcript = list(member.talk.transcript)
    answer = member.beat("deaf", owned=everything)
    member.talk.transcript[:] = transcript
    return bool(answer["error_code"] == "unknown_member_id")


def quietly(member: Consumer, until: Callable[[], bool], what: str) -> None:
    """Heartbeats that nobody looks at, until something has come."""
    deadline = time.monotonic() + WAIT_S
    while not until():
        transcript = list(member.talk.transcript)
        answer = member.beat("meanwhile")
        member.talk.transcript[:] = transcript
        assert answer["error_code"] == "none", (what, answer)
        assert time.monotonic() < deadline, what
