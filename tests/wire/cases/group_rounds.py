"""The rounds of a classic group with several members: who waits, who is let go, who leads, and what time does to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.wire.cases.groups import JOIN_TIMES, SUBSCRIPTION, Committer
from tests.wire.client import Plain, decode_response
from tests.wire.differential import WAIT_S, Talk, case

# A time-out that is waited for and nothing else; and one within which a few answers must have come.
SHORT_MS = 700
BUSY_MS = 2_000


class Party:
    """Some members of one group, each with its own connection; client ids put them in the order of their names."""

    def __init__(self, talk: Talk, group: str = "") -> None:
        self.talk = talk
        self.group = group or talk.topic()
        self.members: dict[str, Peer] = {}
        talk.coordinate(self.group)

    def __getitem__(self, name: str) -> Peer:
        if name not in self.members:
            self.members[name] = Peer(self, name)
        return self.members[name]

    def describe(self, label: str) -> Any:
        return self.talk.ask(label, "describe_groups", 5, groups=[self.group])

    def state(self) -> Plain:
        answer: Plain = self.talk.quietly("describe_groups", 5, groups=[self.group])["groups"][0]
        return answer

    def wait_for(self, what: str, condition: Callable[[Plain], bool]) -> None:
        """Until the group is as it should be."""
        deadline = time.monotonic() + WAIT_S
        while not condition(found := self.state()):
            assert time.monotonic() < deadline, f"{what}: {found}"

    def wait_for_state(self, *states: str) -> None:
        self.wait_for(" or ".join(states), lambda group: group["group_state"] in states)

    def form(self, *names: str, sync: bool = True, **more: Any) -> None:
        """A stable group of these, the first one leading, each with its name as its part. Not in the transcript.

        What else is given goes into their last JoinGroups.
        """
        first, *others = (self[name] for name in names)
        first.knock()
        first.join("", **({} if others else more))
        for other in others:
            other.knock()
            other.park(**more)
        if others:
            self.wait_for("all are in", lambda group: len(group["members"]) == len(names))
            first.park(**more)
            for each in (first, *others):
                each.receive("")
        if sync:
            for other in others:
                other.park_sync()
            first.sync("", {name: name for name in names})
            for other in others:
                other.receive("")

    def close(self) -> None:
        for member in self.members.values():
            member.talk.close()


class Peer:
    """One member."""

    def __init__(self, party: Party, name: str) -> None:
        self.party, self.name = party, name
        self.talk = Talk(party.talk.broker, party.talk.name, name)
        self.member_id = ""
        self.generation = -1
        self.instance: str | None = None
        self.join_version = 5
        self.names: tuple[str, ...] = ("range",)
        self._parked: tuple[str, int] | None = None

    def fields(self, **more: Any) -> Plain:
        base = {"group_id": self.party.group, "generation_id": self.generation, "member_id": self.member_id}
        return {**base, "group_instance_id": self.instance, **more}

    def _join_fields(self, **more: Any) -> Plain:
        entries = [{"name": name, "metadata": SUBSCRIPTION} for name in self.names]
        fields = self.fields(protocol_type="consumer", protocols=entries, reason="", **JOIN_TIMES)
        fields.pop("generation_id")
        return {**fields, **more}

    def _take(self, label: str, api: str, answer: Plain) -> Plain:
        if label:
            self.party.talk.note(f"{self.name}: {label}", answer)
        if api == "join_group":
            if answer["error_code"] in ("none", "member_id_required"):
                self.member_id = answer["member_id"]
            if answer["error_code"] == "none":
                self.generation = answer["generation_id"]
        return answer

    def _ask(self, label: str, api: str, version: int, fields: Plain) -> Plain:
        return self._take(label, api, self.talk.quietly(api, version, **fields))

    def join(self, label: str, **more: Any) -> Plain:
        return self._ask(label, "join_group", self.join_version, self._join_fields(**more))

    def knock(self, label: str = "", **more: Any) -> None:
        """Gets an id."""
        if self.instance is None and not self.member_id:
            self.join(label, **more)

    def enter(self, label: str = "", **more: Any) -> Plain:
        """Gets an id if it needs one, and joins."""
        self.knock(**more)
        return self.join(label, **more)

    def park(self, **more: Any) -> None:
        """Sends JoinGroup, and reads the answer in `receive`."""
        self.talk.connection.submit("join_group", self.join_version, **self._join_fields(**more))
        self._parked = ("join_group", self.join_version)

    def park_sync(self) -> None:
        self.talk.connection.submit("sync_group", 3, **self.fields(assignments=[]))
        self._parked = ("sync_group", 3)

    def receive(self, label: str) -> Plain:
        assert self._parked is not None
        api, version = self._parked
        return self._take(label, api, decode_response(api, version, self.talk.connection.receive())[1])

    def sync(self, label: str, parts: dict[str, str] | None = None, **more: Any) -> Plain:
        assigned = [
            {"member_id": self.party[name].member_id, "assignment": part.encode()}
            for name, part in (parts or {}).items()
        ]
        return self._ask(label, "sync_group", 3, self.fields(assignments=assigned, **more))

    def heartbeat(self, label: str, **more: Any) -> Plain:
        return self._ask(label, "heartbeat", 3, self.fields(**more))

    def leave(self, label: str, *others: str) -> Plain:
        members = [{"member_id": self.party[name].member_id} for name in (self.name, *others)]
        return self._ask(label, "leave_group", 3, {"group_id": self.party.group, "members": members})

    def wait_for_rebalance(self) -> None:
        """Until a heartbeat says that the others are joining."""
        deadline = time.monotonic() + WAIT_S
        while (answer := self.heartbeat(""))["error_code"] == "none":
            assert time.monotonic() < deadline, answer


@case([5])
def session_time_out(talk: Talk, _version: int) -> None:
    """A member that is not heard of is out: of a stable group, in the second round, and as an id that was given out."""
    party = Party(talk)
    party.form("a", session_timeout=BUSY_MS)
    party.wait_for_state("Empty")
    party.describe("nobody left")
    party["a"].heartbeat("too late")
    party["a"].sync("too late")
    party["a"].join("too late")
    party.form("b", "c", sync=False, session_timeout=SHORT_MS)
    party.wait_for_state("Empty")
    party.describe("nobody left in the second round")
    party["c"].sync("too late")
    # In the first round: d is silent while e waits.
    party.form("d", session_timeout=BUSY_MS)
    party["e"].knock()
    party["e"].park()
    party["e"].receive("alone since the other is silent")
    party["e"].sync("all of it", {"e": "all"})
    party.describe("one left")
    party["f"].knock("an id", session_timeout=SHORT_MS)
    party["e"].park()
    party["e"].receive("waits for the id that was given out until its session is over")
    party["f"].join("too late")
    party.close()


@case([5])
def rebalance_time_out(talk: Talk, _version: int) -> None:
    """The first round does not wait for ever for who sends heartbeats only; another leads; the second one neither."""
    party = Party(talk)
    times: Plain = {"session_timeout": 10_000, "rebalance_timeout": BUSY_MS}
    party.form("a", **times)
    party["b"].knock(**times)
    party["b"].park(**times)
    party["a"].wait_for_rebalance()
    party["b"].receive("leads now")
    party["a"].heartbeat("out")
    party["a"].join("out")
    party["b"].sync("all of it", {"b": "all"})
    party.describe("the second alone")
    # The follower never asks for its part: it is out, and the others join again.
    party["c"].knock(**times)
    party["c"].park(**times)
    party["b"].wait_for_rebalance()
    party["b"].join("both", **times)
    party["c"].receive("both")
    party["b"].sync("half each", {"b": "half", "c": "other half"})
    party.describe("stable without the follower's sync")
    party["b"].wait_for_rebalance()
    party["b"].heartbeat("joins again")
    party["c"].heartbeat("out")
    party["b"].join("alone", **times)
    # The leader never assigns.
    party.wait_for_state("Empty")
    party.describe("a leader that never assigns is out too")
    party.close()


@case([5])
def several_members(talk: Talk, _version: int) -> None:
    """Three members: the vote, the leader and who follows it, repeated requests, and goodbyes in every round."""
    party = Party(talk)
    party["a"].names, party["b"].names, party["c"].names = ("range", "sticky"), ("sticky", "range"), ("sticky", "range")
    party.form("a", "b", "c")
    party.describe("the vote of two beats that of one")
    party["b"].join("a follower asks again")
    party["b"].sync("and gets its part again")
    party["b"].sync("another protocol name", protocol_name="range")
    party["d"].names = ("roundrobin",)
    party["d"].join("nothing in common")
    # A follower with something new begins a rebalance.
    party["c"].names = ("range", "sticky")
    party["c"].park()
    party["a"].wait_for_rebalance()
    party.describe("preparing")
    listed = talk.quietly("list_groups", 4, states_filter=["PreparingRebalance"])["groups"]
    talk.note("listed as preparing", [each for each in listed if each["group_id"] == party.group])
    party["a"].sync("not now")
    party["b"].park()
    party["a"].join("joins")
    party["b"].receive("joins")
    party["c"].receive("joins")
    party.describe("completing")
    listed = talk.quietly("list_groups", 4, states_filter=["completingrebalance"])["groups"]
    talk.note("listed as completing", [each for each in listed if each["group_id"] == party.group])
    party["b"].join("asks again in the second round")
    party["a"].join("the leader asks again in the second round")
    party["b"].park_sync()
    party["c"].leave("leaves in the second round")
    party["b"].receive("is sent back to join")
    party["a"].heartbeat("is sent back to join")
    party["b"].park()
    party["a"].wait_for_rebalance()
    party.wait_for("two are left", lambda group: len(group["members"]) == 2)
    # An admin tool takes out who waits, and the leader.
    party["a"].leave("takes both out", "b")
    party["b"].receive("was taken out while it waited")
    party.describe("nobody left")
    party.close()


@case([5])
def static_members_in_the_rounds(talk: Talk, _version: int) -> None:
    """A second process with the same instance takes over, also from one that waits; a leader that is away keeps its
    place.
    """
    party = Party(talk)
    times: Plain = {"session_timeout": 10_000, "rebalance_timeout": BUSY_MS}
    party["a"].instance = party["b"].instance = "one"
    party["c"].instance = "two"
    party.form("a", **times)
    party["c"].park(**times)
    party["a"].wait_for_rebalance()
    party["c"].receive("leads while the static leader is away")
    party.describe("both are in")
    party["c"].sync("parts", {"a": "first", "c": "second"})
    party["a"].join("the one that was away is back under its id", **times)
    party["a"].sync("its part")
    party["d"].knock(**times)
    party["d"].park(**times)
    party["a"].wait_for_rebalance()
    party["a"].park(**times)
    party.wait_for("three are in", lambda group: len(group["members"]) == 3)
    party["b"].park(**times)
    party["a"].receive("is fenced while it waits")
    party["c"].join("ends the round", **times)
    party["b"].receive("in its place")
    party["d"].receive("joins")
    party["a"].heartbeat("is fenced")
    party.describe("the place is kept")
    # In the second round: the parked SyncGroup is fenced, and everybody joins again.
    party["b"].park_sync()
    party["a"].member_id = ""
    party["a"].park(**times)
    party["b"].receive("is fenced while it waits for its part")
    party["c"].heartbeat("has to join again")
    party["d"].park(**times)
    party["c"].join("again", **times)
    party["a"].receive("again")
    party["d"].receive("again")
    party.close()


@case([2, 7, 9])
def commits_in_the_rounds(talk: Talk, version: int) -> None:
    """Commits, deletions and fetches while members join and while they wait for their parts."""
    by = Committer(talk, version)
    by.ids[""] = talk.create()
    party = Party(talk)
    a = party["a"]
    party.form("a")
    party["b"].knock()
    party["b"].park()
    a.wait_for_rebalance()
    by.commit("of the running generation", ("", 0, 1), member=a.member_id, generation=1)
    by.commit("of another", ("", 0, 2), member=a.member_id, generation=2)
    by.commit("by the new one", ("", 0, 2), member=party["b"].member_id, generation=1)
    by.commit("from outside", ("", 0, 2))
    talk.ask("cannot be deleted", "delete_groups", 1, groups_names=[party.group])
    topics = [{"name": talk.topic(), "partitions": [{"partition_index": 0}]}]
    talk.ask("nobody consumes it", "offset_delete", 0, group_id=party.group, topics=topics)
    a.join("both")
    party["b"].receive("both")
    by.commit("in the second round", ("", 0, 3), member=a.member_id, generation=2)
    by.commit("of the generation before", ("", 0, 3), member=a.member_id, generation=1)
    by.commit("from outside in the second round", ("", 0, 3))
    talk.ask("cannot be deleted in the second round", "delete_groups", 1, groups_names=[party.group])
    party["b"].park_sync()
    a.sync("parts", {"a": "x", "b": "y"})
    party["b"].receive("part")
    by.commit("stable", ("", 0, 4), member=party["b"].member_id, generation=2)
    talk.note("what is kept", talk.quietly("offset_fetch", 7, group_id=party.group, topics=None))
    a.leave("both leave", "b")
    by.commit("nobody is left", ("", 0, 5), member=a.member_id, generation=2)
    by.commit("simple", ("", 0, 6))
    by.commit("a member without a generation", ("", 0, 7), member=a.member_id)
    talk.note("kept in the end", talk.quietly("offset_fetch", 7, group_id=party.group, topics=None))
    party.close()


@case([9])
def cooperative_rebalance(talk: Talk, version: int) -> None:
    """Two generations: in the first the leader keeps back what another still has (KIP-429)."""
    party = Party(talk)
    for name in "ab":
        party[name].names = ("cooperative-sticky",)
        party[name].join_version = version
    party.form("a")
    party["b"].knock()
    party["b"].park()
    party["a"].wait_for_rebalance()
    party["a"].join("first")
    party["b"].receive("first")
    party["b"].park_sync()
    party["a"].sync("keeps one back", {"a": "t0"})
    party["b"].receive("gets nothing yet")
    party["a"].park()
    party["b"].wait_for_rebalance()
    party["b"].join("second")
    party["a"].receive("second")
    party["b"].park_sync()
    party["a"].sync("hands it out", {"a": "t0", "b": "t1"})
    party["b"].receive("gets it")
    party.describe("both")
    party.close()


@case([0, 9])
def requests_of_an_empty_group(talk: Talk, version: int) -> None:
    """An id was given out, or everybody has left: what members know counts for nothing."""
    party = Party(talk)
    party["a"].knock("gets an id")
    party["a"].heartbeat("with no generation", generation_id=0)
    party["a"].sync("with no generation", generation_id=0)
    party.describe("nobody is in")
    party["b"].join("an invented id", member_id="invented")
    party["a"].leave("gives its id back")
    party["a"].join("with the id it gave back")
    party["c"].join_version = version
    party["c"].enter("joins")
    party["c"].sync("gets all", {"c": "all"})
    party["c"].leave("leaves")
    party["c"].heartbeat("has left")
    party["c"].sync("has left")
    party["c"].leave("has left")
    party["c"].join("has left")
    party.describe("the protocol type stays")
    talk.ask("deleted", "delete_groups", 2, groups_names=[party.group])
    party["c"].heartbeat("of a deleted group")
    party["c"].join("of a deleted group")
    party["d"].enter("the generations begin anew")
    party.close()
