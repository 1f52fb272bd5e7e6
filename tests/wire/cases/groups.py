"""FindCoordinator, the classic group protocol, OffsetCommit, OffsetFetch, DescribeGroups, ListGroups."""

from __future__ import annotations

from typing import Any

from tests.wire.cases.metadata import UNKNOWN_ID
from tests.wire.client import Plain, decode_response
from tests.wire.differential import Talk, case

JOIN_TIMES: Plain = {"session_timeout": 10_000, "rebalance_timeout": 10_000}
# ConsumerProtocolSubscription version 0: one topic "t", no user data. Kafka reads it when a generation starts, and a
# subscription that it cannot read leaves the joins of the group unanswered; so these conversations send a readable one.
SUBSCRIPTION = b"\x00\x00" + b"\x00\x00\x00\x01\x00\x01t" + b"\xff\xff\xff\xff"


@case(range(7))
def find_coordinator(talk: Talk, version: int) -> None:
    """The one broker coordinates every group; a kind that does not exist is an error."""
    talk.coordinate(talk.topic())

    def ask(label: str, kind: int, *names: str) -> None:
        if version >= 4:
            talk.ask(label, "find_coordinator", version, key_type=kind, coordinator_keys=names)
        else:
            talk.ask(label, "find_coordinator", version, key=names[0], key_type=kind)

    ask("a group", 0, talk.topic())
    ask("a group without a name", 0, "")
    if version >= 1:
        ask("no such kind", 7, talk.topic())
        ask("a negative kind", -1, talk.topic())
    if version >= 4:
        ask("two groups", 0, talk.topic(), talk.topic("-2"))
        ask("none", 0)


class Committer:
    """Commits and fetches in one version, by name or (from 10) by id."""

    def __init__(self, talk: Talk, version: int) -> None:
        self.talk, self.version = talk, version
        self.ids: dict[str, str] = {}

    def named(self, suffix: str) -> Plain:
        return {"name": self.talk.topic(suffix), "topic_id": self.ids.get(suffix, UNKNOWN_ID)}

    def commit(
        self,
        label: str,
        *places: tuple[str, int, int],
        metadata: str | None = "",
        member: str = "",
        generation: int = -1,
    ) -> Any:
        topics = []
        for suffix, partition, offset in places:
            entry = {"partition_index": partition, "committed_offset": offset, "committed_metadata": metadata}
            topics.append({**self.named(suffix), "partitions": [{**entry, "committed_leader_epoch": -1}]})
        return self.talk.ask(
            label,
            "offset_commit",
            self.version,
            group_id=self.talk.topic(),
            generation_id_or_member_epoch=generation,
            member_id=member,
            group_instance_id=None,
            retention_time=-1,
            topics=topics,
        )


@case(range(2, 11))
def offset_commit(talk: Talk, version: int) -> None:
    """Commits without a group, and every reason against one."""
    by = Committer(talk, version)
    by.ids[""] = talk.create(partitions=2)
    talk.coordinate(talk.topic())
    by.commit("two partitions", ("", 0, 5), ("", 1, 6))
    by.commit("with metadata", ("", 0, 7), metadata="where I was")
    by.commit("null metadata", ("", 0, 7), metadata=None)
    by.commit("as much metadata as may be", ("", 0, 8), metadata="m" * 4096)
    by.commit("too much metadata", ("", 0, 9), metadata="m" * 4097)
    by.commit("unknown topic", ("-none", 0, 1))
    by.commit("unknown partition", ("", 7, 1), ("", 1, 9))
    by.commit("negative partition", ("", -1, 1))
    by.commit("negative offset", ("", 0, -5))
    by.commit("no such generation", ("", 0, 1), generation=3)
    by.commit("no such member", ("", 0, 1), generation=3, member="nobody")
    by.commit("a member without generation", ("", 0, 1), member="nobody")
    by.commit("nothing")
    topics = [{**by.named(""), "partitions": [{"partition_index": 0, "committed_offset": 1}]}]
    fields: Plain = {"generation_id_or_member_epoch": -1, "member_id": "", "retention_time": -1, "topics": topics}
    talk.ask("group without a name", "offset_commit", version, group_id="", **fields)
    answer = talk.quietly("offset_fetch", 7, group_id=talk.topic(), topics=None)
    talk.note("what is kept", answer)


@case(range(1, 11))
def offset_fetch(talk: Talk, version: int) -> None:
    """What was committed, what was not, all of it, of several groups."""
    by = Committer(talk, 9)
    by.ids[""] = talk.create(partitions=3)
    talk.coordinate(talk.topic())
    by.commit("committed", ("", 0, 5), ("", 1, 6), metadata="m")

    def group(name: str, topics: list[Plain] | None, **more: Any) -> Plain:
        return {"group_id": name, "topics": topics, "member_id": None, "member_epoch": -1, **more}

    def ask(label: str, topics: list[Plain] | None, name: str = talk.topic(), *, stable: bool = False) -> None:
        if version >= 8:
            talk.ask(label, "offset_fetch", version, groups=[group(name, topics)], require_stable=stable)
        else:
            talk.ask(label, "offset_fetch", version, group_id=name, topics=topics, require_stable=stable)

    def of(*partitions: int, suffix: str = "") -> list[Plain]:
        return [{**by.named(suffix), "partition_indexes": partitions}]

    ask("known", of(0, 1))
    ask("never committed", of(2))
    ask("unknown partition", of(0, 9))
    ask("unknown topic", of(0, suffix="-none"))
    if version >= 2:
        ask("everything", None)
        ask("everything of an unknown group", None, talk.topic("-nobody"))
    ask("unknown group", of(0), talk.topic("-nobody"))
    ask("nothing", [])
    ask("group without a name", of(0), "")
    if version >= 7:
        ask("as if transactions mattered", of(0, 1), stable=True)
    if version >= 8:
        groups = [group(talk.topic(), of(0)), group(talk.topic("-nobody"), None)]
        talk.ask("two groups", "offset_fetch", version, groups=groups, require_stable=True)
        talk.ask("no group", "offset_fetch", version, groups=[], require_stable=True)
    if version >= 9:
        stranger = group(talk.topic(), of(0), member_id="nobody", member_epoch=4)
        talk.ask("as a stranger", "offset_fetch", version, groups=[stranger], require_stable=False)


class Member:
    """One group member that speaks given versions."""

    def __init__(self, talk: Talk, group: str, join: int) -> None:
        self.talk, self.group, self.join_version = talk, group, join
        self.member_id = ""
        self.generation = -1

    def join(self, label: str, names: tuple[str, ...] = ("range",), keep: bool = True, **more: Any) -> Any:
        entries = [{"name": name, "metadata": SUBSCRIPTION} for name in names]
        fields: Plain = {"group_id": self.group, "member_id": self.member_id, "group_instance_id": None, **JOIN_TIMES}
        fields |= {"protocol_type": "consumer", "protocols": entries, "reason": "because"}
        answer = self.talk.ask(label, "join_group", self.join_version, **{**fields, **more})
        if keep and isinstance(answer, dict):
            self.member_id = answer["member_id"] or self.member_id
            self.generation = answer["generation_id"]
        return answer

    def fields(self, **more: Any) -> Plain:
        base = {"group_id": self.group, "generation_id": self.generation, "member_id": self.member_id}
        return {**base, "group_instance_id": None, **more}


@case(range(10))
def join_group(talk: Talk, version: int) -> None:
    """A lone member joins, joins again, and every refusal."""
    talk.coordinate(talk.topic())
    member = Member(talk, talk.topic(), version)
    member.join("first")
    if version >= 4:
        member.join("with the id it was given")
    member.join("again")
    other = Member(talk, talk.topic("-x"), version)
    other.join("group without a name", keep=False, group_id="")
    other.join("session too short", keep=False, session_timeout=1)
    other.join("session too long", keep=False, session_timeout=2**31 - 1)
    other.join("an id nobody was given", keep=False, member_id="invented")
    other.join("no protocols", (), keep=False)
    other.join("no protocol type", keep=False, protocol_type="")
    third = Member(talk, talk.topic(), version)
    third.join("other protocol type", keep=False, protocol_type="connect")
    third.join("other protocols", ("roundrobin",), keep=False)


@case(range(6))
def sync_group(talk: Talk, version: int) -> None:
    """The leader's assignment comes back; and every refusal."""
    talk.coordinate(talk.topic())
    member = Member(talk, talk.topic(), 5)
    member.join("join")
    member.join("join")

    def ask(label: str, assigned: str | None = None, **more: Any) -> None:
        assignments = [{"member_id": assigned or member.member_id, "assignment": b"all of it"}]
        fields = member.fields(protocol_type="consumer", protocol_name="range", assignments=assignments)
        talk.ask(label, "sync_group", version, **{**fields, **more})

    ask("unknown member", member_id="nobody")
    ask("wrong generation", generation_id=member.generation + 1)
    ask("unknown group", group_id=talk.topic("-none"))
    ask("group without a name", group_id="")
    if version >= 5:
        ask("other protocol name", protocol_name="roundrobin")
        ask("other protocol type", protocol_type="connect")
    ask("leader")
    ask("leader again", assignments=[])
    talk.ask("stable", "describe_groups", 5, groups=[talk.topic()])


@case(range(5))
def heartbeat(talk: Talk, version: int) -> None:
    """Alive, rebalancing, and every refusal."""
    talk.coordinate(talk.topic())
    member = Member(talk, talk.topic(), 5)
    member.join("join")
    member.join("join")
    assignments = [{"member_id": member.member_id, "assignment": b"a"}]

    def ask(label: str, **more: Any) -> None:
        talk.ask(label, "heartbeat", version, **member.fields(**more))

    ask("before the assignment")
    talk.ask("sync", "sync_group", 3, **member.fields(assignments=assignments))
    ask("alive")
    ask("wrong generation", generation_id=member.generation + 1)
    ask("unknown member", member_id="nobody")
    ask("empty member", member_id="")
    ask("unknown group", group_id=talk.topic("-none"))
    ask("group without a name", group_id="")


@case(range(6))
def leave_group(talk: Talk, version: int) -> None:
    """One leaves, from version 3 several at once; strangers are told so."""
    talk.coordinate(talk.topic())
    member = Member(talk, talk.topic(), 5)
    member.join("join")
    member.join("join")

    def ask(label: str, *members: str, group: str = talk.topic()) -> None:
        if version >= 3:
            entries = [{"member_id": each, "group_instance_id": None, "reason": "done"} for each in members]
            talk.ask(label, "leave_group", version, group_id=group, members=entries)
        else:
            talk.ask(label, "leave_group", version, group_id=group, member_id=members[0])

    ask("a stranger", "nobody")
    ask("of an unknown group", "nobody", group=talk.topic("-none"))
    ask("of a group without a name", "nobody", group="")
    if version >= 3:
        ask("nobody")
        ask("a stranger and a member", "nobody", member.member_id)
    else:
        ask("the member", member.member_id)
    ask("again", member.member_id)
    talk.ask("empty", "describe_groups", 5, groups=[talk.topic()])


@case(range(7))
def describe_groups(talk: Talk, version: int) -> None:
    """A group while it forms, when it is stable, empty, and one that was never there."""
    talk.coordinate(talk.topic())

    def ask(label: str, *groups: str, operations: bool = False) -> None:
        talk.ask(label, "describe_groups", version, groups=groups, include_authorized_operations=operations)

    ask("never there", talk.topic())
    ask("without a name", "")
    ask("none")
    member = Member(talk, talk.topic(), 5)
    member.join("join")
    member.join("join", ("range", "roundrobin"))
    ask("waits for the assignment", talk.topic())
    assignments = [{"member_id": member.member_id, "assignment": b"mine"}]
    talk.ask("sync", "sync_group", 3, **member.fields(assignments=assignments))
    ask("stable", talk.topic(), talk.topic("-none"))
    if version >= 3:
        ask("with operations", talk.topic(), operations=True)
    talk.ask("leave", "leave_group", 3, group_id=talk.topic(), members=[{"member_id": member.member_id}])
    ask("empty", talk.topic())


@case(range(6))
def list_groups(talk: Talk, version: int) -> None:
    """Groups of this case, by state and by type."""
    talk.coordinate(talk.topic())
    stable = Member(talk, talk.topic("-stable"), 5)
    stable.join("join")
    stable.join("join")
    assignments = [{"member_id": stable.member_id, "assignment": b"mine"}]
    talk.ask("sync", "sync_group", 3, **stable.fields(assignments=assignments))
    by = Committer(talk, 9)
    by.ids[""] = talk.create()
    by.commit("a group by its commit only", ("", 0, 1))

    def ask(label: str, **more: Any) -> None:
        answer = talk.quietly("list_groups", version, **more)
        answer["groups"] = sorted(
            (each for each in answer["groups"] if each["group_id"].startswith(talk.name)),
            key=lambda each: str(each["group_id"]),
        )
        talk.note(label, answer)

    ask("all")
    if version >= 4:
        ask("stable", states_filter=["Stable"])
        ask("stable or empty, oddly spelt", states_filter=["stable", "EMPTY"])
        ask("no such state", states_filter=["Sleeping"])
    if version >= 5:
        ask("classic", types_filter=["classic"])
        ask("consumer", types_filter=["Consumer"])
        ask("no such type", types_filter=["club"])


@case([2, 5, 9])
def commit_in_a_group(talk: Talk, version: int) -> None:
    """A member commits under its generation; another generation, a stranger and an outsider are fenced."""
    by = Committer(talk, version)
    by.ids[""] = talk.create()
    talk.coordinate(talk.topic())
    member = Member(talk, talk.topic(), 5)
    member.join("join")
    member.join("join")
    by.commit("before the assignment", ("", 0, 1), member=member.member_id, generation=member.generation)
    assignments = [{"member_id": member.member_id, "assignment": b"a"}]
    talk.ask("sync", "sync_group", 3, **member.fields(assignments=assignments))
    by.commit("as a member", ("", 0, 2), member=member.member_id, generation=member.generation)
    by.commit("of the last generation", ("", 0, 3), member=member.member_id, generation=member.generation - 1)
    by.commit("of the next generation", ("", 0, 3), member=member.member_id, generation=member.generation + 1)
    by.commit("as a stranger", ("", 0, 3), member="nobody", generation=member.generation)
    by.commit("from outside", ("", 0, 3))
    talk.note("what is kept", talk.quietly("offset_fetch", 7, group_id=talk.topic(), topics=None))


@case([5, 9])
def rebalance_of_two(talk: Talk, version: int) -> None:
    """A second member makes the first rejoin: heartbeat 27, both join, the leader assigns both, generation 2."""
    talk.coordinate(talk.topic())
    first = Member(talk, talk.topic(), version)
    first.join("first joins")
    first.join("first joins")
    assignments = [{"member_id": first.member_id, "assignment": b"alone"}]
    talk.ask("first syncs", "sync_group", 3, **first.fields(assignments=assignments))
    aside = Talk(talk.broker, talk.name, "with")  # sorts behind the first
    second = Member(aside, talk.topic(), version)
    second.join("second asks")
    entries = [{"name": "range", "metadata": SUBSCRIPTION}]
    fields: Plain = {"group_id": talk.topic(), "member_id": second.member_id, "protocol_type": "consumer", **JOIN_TIMES}
    aside.connection.submit("join_group", version, protocols=entries, group_instance_id=None, reason=None, **fields)
    answer: Plain = {"error_code": "none"}
    while answer["error_code"] == "none":  # until the second's join has arrived
        answer = talk.quietly("heartbeat", 3, **first.fields())
    talk.note("heartbeat", answer)
    first.join("first rejoins")
    joined = decode_response("join_group", version, aside.connection.receive())[1]
    talk.note("second joined", joined)
    second.generation = joined["generation_id"]
    both = [
        {"member_id": first.member_id, "assignment": b"half"},
        {"member_id": second.member_id, "assignment": b"other half"},
    ]
    talk.ask("first syncs", "sync_group", 3, **first.fields(assignments=both))
    talk.note("second syncs", aside.quietly("sync_group", 3, **second.fields(assignments=[])))
    described = talk.quietly("describe_groups", 5, groups=[talk.topic()])
    described["groups"][0]["members"].sort(key=lambda each: str(each["member_assignment"]))
    talk.note("described", described)
    aside.close()


@case(range(3))
def delete_groups(talk: Talk, version: int) -> None:
    """Groups without members go with their offsets; others stay."""
    by = Committer(talk, 9)
    by.ids[""] = talk.create()
    talk.coordinate(talk.topic())
    by.commit("offsets only", ("", 0, 5))
    member = Member(talk, talk.topic("-busy"), 5)
    member.join("join")
    member.join("join")

    def ask(label: str, *groups: str) -> None:
        answer = talk.quietly("delete_groups", version, groups_names=groups)
        answer["results"].sort(key=lambda each: str(each["group_id"]))
        talk.note(label, answer)

    ask("none")
    ask("without a name", "")
    ask("three, one of them twice", talk.topic(), talk.topic("-busy"), talk.topic("-none"), talk.topic("-none"))
    talk.note("what is kept", talk.quietly("offset_fetch", 7, group_id=talk.topic(), topics=None))
    talk.ask("described", "describe_groups", 5, groups=[talk.topic()])
    ask("again", talk.topic())
    talk.ask("leave", "leave_group", 3, group_id=talk.topic("-busy"), members=[{"member_id": member.member_id}])
    ask("empty now", talk.topic("-busy"))


@case([0])
def offset_delete(talk: Talk, version: int) -> None:
    """Offsets of topics nobody subscribes to go; every reason against it."""
    by = Committer(talk, 9)
    by.ids[""] = talk.create(partitions=2)
    talk.coordinate(talk.topic())
    by.commit("two", ("", 0, 5), ("", 1, 6))

    def ask(label: str, group: str, *places: tuple[str, list[int]]) -> None:
        topics = [
            {"name": name, "partitions": [{"partition_index": partition} for partition in partitions]}
            for name, partitions in places
        ]
        talk.ask(label, "offset_delete", version, group_id=group, topics=topics)

    ask("nothing", talk.topic())
    ask("one of two", talk.topic(), (talk.topic(), [0]))
    ask("what is not committed", talk.topic(), (talk.topic(), [0]))
    ask("unknown partition", talk.topic(), (talk.topic(), [1, 9]))
    ask("unknown topic", talk.topic(), (talk.topic("-none"), [0]))
    ask("unknown group", talk.topic("-none"), (talk.topic(), [0]))
    ask("unknown group and topic", talk.topic("-none"), (talk.topic("-none"), [0]))
    ask("group without a name", "", (talk.topic(), [0]))
    talk.note("what is kept", talk.quietly("offset_fetch", 7, group_id=talk.topic(), topics=None))
    member = Member(talk, talk.topic("-connect"), 5)
    member.join("join", protocol_type="connect")
    member.join("join", protocol_type="connect")
    ask("members that are no consumers", talk.topic("-connect"), (talk.topic(), [0]))
    consumer = Member(talk, talk.topic("-consumer"), 5)
    topic = talk.topic().encode()
    subscription = b"\0\0" + b"\0\0\0\1" + len(topic).to_bytes(2, "big") + topic + b"\xff" * 4
    entries = [{"name": "range", "metadata": subscription}]
    consumer.join("join", protocols=entries)
    consumer.join("join", protocols=entries)
    ask("subscribed", talk.topic("-consumer"), (talk.topic(), [0]))
