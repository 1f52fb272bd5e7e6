"""ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848), and what other APIs say about such groups."""

from __future__ import annotations

import struct
import time
from typing import Any

from tests.wire.client import Plain
from tests.wire.differential import WAIT_S, Talk, case

EVERYTHING: Plain = {"rebalance_timeout": 30_000, "topic_partitions": ()}
ITS_OWN = "its own"


class Consumer:
    """A member that does as it is told; `beat` says what it owns unless told otherwise."""

    def __init__(self, talk: Talk, version: int, member_id: str, *topics: str, **always: Any) -> None:
        self.talk, self.version, self.member_id = talk, version, member_id
        self.topics = topics
        self.always = always
        self.epoch = 0
        self.owned: list[Plain] = []

    def join(self, label: str, **more: Any) -> Any:
        self.owned = []
        fields: Plain = {"member_epoch": 0, "subscribed_topic_names": self.topics, **EVERYTHING}
        return self.say(label, **{**fields, **more})

    def beat(self, label: str, *, owned: Any = ITS_OWN, **more: Any) -> Any:
        said = self.owned if owned is ITS_OWN else owned
        fields: Plain = {"member_epoch": self.epoch, "topic_partitions": said}
        return self.say(label, **{**fields, **more})

    def leave(self, label: str, epoch: int = -1, **more: Any) -> Any:
        return self.say(label, member_epoch=epoch, **more)

    def say(self, label: str, **more: Any) -> Any:
        fields: Plain = {
            "group_id": self.talk.topic(),
            "member_id": self.member_id,
            "instance_id": None,
            "rack_id": None,
            "rebalance_timeout": -1,
            "subscribed_topic_names": None,
            "server_assignor": None,
            "topic_partitions": None,
            **self.always,
            **more,
        }
        if self.version >= 1:
            fields.setdefault("subscribed_topic_regex", None)
        answer = self.talk.ask(label, "consumer_group_heartbeat", self.version, **fields)
        if answer["error_code"] == "none" and answer["member_epoch"] >= 0:
            self.member_id = answer["member_id"]
            self.epoch = answer["member_epoch"]
            if answer["assignment"] is not None:
                self.owned = answer["assignment"]["topic_partitions"]
        return answer


def prepare(talk: Talk, suffix: str = "", partitions: int = 1) -> str:
    """A topic that the coordinator knows (in Kafka it hears of it a moment later); returns its id."""
    talk.coordinate(talk.topic())
    topic_id = talk.create(suffix, partitions)
    probe = {"group_id": talk.topic("-probe"), "member_id": "probe", "instance_id": None, "server_assignor": None}
    deadline = time.monotonic() + WAIT_S
    while True:
        names = (talk.topic(suffix),)
        answer = talk.quietly(
            "consumer_group_heartbeat", 0, member_epoch=0, subscribed_topic_names=names, **EVERYTHING, **probe
        )
        if answer["error_code"] == "none":
            found = answer["assignment"]["topic_partitions"]
            left = {"rebalance_timeout": -1, "subscribed_topic_names": None, "topic_partitions": None}
            talk.quietly("consumer_group_heartbeat", 0, member_epoch=-1, **left, **probe)
            if found:
                return topic_id
        assert time.monotonic() < deadline, answer


def describe(talk: Talk, label: str, version: int = 1, group: str | None = None) -> None:
    talk.ask(
        label,
        "consumer_group_describe",
        version,
        group_ids=(talk.topic() if group is None else group,),
        include_authorized_operations=False,
    )


def listed(talk: Talk, label: str, *states: str) -> None:
    """The line of this conversation's group in a list of consumer groups."""
    answer = talk.quietly("list_groups", 5, states_filter=states, types_filter=("consumer",))
    talk.note(label, [row for row in answer["groups"] if row["group_id"] == talk.topic()])


@case(range(2))
def consumer_group_heartbeat(talk: Talk, version: int) -> None:
    """Two members come, share, and go; the partitions follow."""
    prepare(talk, partitions=4)
    one = Consumer(talk, version, "one", talk.topic())
    two = Consumer(talk, version, "two", talk.topic())
    one.join("joins")
    one.beat("nothing new")
    one.beat("without what it owns", owned=None)
    describe(talk, "one has all")
    two.join("a second one joins")
    describe(talk, "one shall give up")
    two.beat("still nothing")
    one.beat("says it still owns all")
    one.beat("gives up", owned=one.owned)
    describe(talk, "in between")
    one.beat("has given up")
    two.beat("gets its part")
    describe(talk, "both have their part")
    listed(talk, "listed", "Stable")
    two.join("begins anew")
    two.beat("has its part again")
    one.leave("leaves")
    two.beat("gets the rest")
    two.beat("has all")
    two.leave("leaves, too")
    describe(talk, "empty")
    two.beat("is gone")
    two.leave("leaves again")


@case(range(2))
def consumer_group_heartbeat_of_epochs(talk: Talk, version: int) -> None:
    """Epochs that are repeated, old, ahead, or none."""
    prepare(talk, partitions=4)
    one = Consumer(talk, version, "one", talk.topic())
    two = Consumer(talk, version, "two", talk.topic())
    one.beat("nobody knows the group", member_epoch=1)
    one.leave("nor to leave it")
    one.join("joins")
    everything = one.owned
    two.join("another joins")
    one.beat("shall give up")
    part = one.owned
    one.beat("has", owned=part)
    new = one.epoch
    one.beat("the epoch before, with what it has", member_epoch=new - 1, owned=part)
    one.beat("the epoch before, with what it had", member_epoch=new - 1, owned=everything)
    one.beat("the epoch before, with nothing said", member_epoch=new - 1, owned=None)
    one.beat("the epoch before that", member_epoch=new - 2, owned=part)
    one.beat("ahead", member_epoch=new + 1, owned=part)
    one.beat("meant as nothing", member_epoch=-3)
    one.leave("leaves for now without an instance", -2)
    Consumer(talk, version, "three").beat("a stranger", member_epoch=new)
    two.beat("the other one")


@case(range(2))
def consumer_group_heartbeat_of_requests(talk: Talk, version: int) -> None:
    """What a request must say, and what it must not."""
    prepare(talk, partitions=2)
    one = Consumer(talk, version, "one", talk.topic())
    one.join("no group", group_id="")
    one.join("no member", member_id="") if version else None
    one.join("blank member", member_id=" ") if version else None
    one.join("blank instance", instance_id="")
    one.join("blank rack", rack_id=" ")
    one.join("no rebalance timeout", rebalance_timeout=-1)
    one.join(
        "owns something", topic_partitions=({"topic_id": "00000000-0000-0000-0000-000000000007", "partitions": (1,)},)
    )
    one.join("does not say what it owns", topic_partitions=None)
    one.join("subscribes to nothing", subscribed_topic_names=None)
    one.join("no such assignor", server_assignor="sticky")
    one.join("subscribes to an empty list", subscribed_topic_names=())
    describe(talk, "subscribed to nothing")
    one.beat("subscribes to what is not there", subscribed_topic_names=(talk.topic("-none"),))
    one.beat("subscribes to what is", subscribed_topic_names=(talk.topic(),))
    one.beat("everything again", rebalance_timeout=20_000, subscribed_topic_names=(talk.topic(),))
    one.beat("unsubscribes", subscribed_topic_names=())
    one.beat("confirms")
    one.beat("range", server_assignor="range", rack_id="r", subscribed_topic_names=(talk.topic(),))
    describe(talk, "with all it said")


@case(range(2))
def consumer_group_heartbeat_of_static_members(talk: Talk, version: int) -> None:
    """Leaves for now, comes back under another id, is in use, is fenced."""
    prepare(talk, partitions=4)
    one = Consumer(talk, version, "one", talk.topic(), instance_id="i")
    other = Consumer(talk, version, "other", talk.topic())
    one.join("joins")
    other.join("another joins")
    one.beat("gives up")
    one.beat("has given up")
    other.beat("has its part")
    Consumer(talk, version, "two", talk.topic(), instance_id="i").join("the instance is in use")
    Consumer(talk, version, "two", talk.topic(), instance_id="i").beat("by another", member_epoch=3)
    Consumer(talk, version, "two", talk.topic(), instance_id="j").beat("an instance nobody has", member_epoch=3)
    one.leave("leaves for now", -2)
    describe(talk, "away")
    one.beat("speaks while it is away")
    other.beat("the other one notices nothing")
    back = Consumer(talk, version, "back", talk.topic(), instance_id="i")
    back.join("is back")
    back.beat("and stays")
    describe(talk, "back")
    one.beat("its earlier life")
    one.leave("its earlier life leaves")
    other.beat("the other one still notices nothing")
    back.leave("leaves for good")
    back.join("and joins anew")
    describe(talk, "anew")


@case([1])
def consumer_group_heartbeat_of_patterns(talk: Talk, version: int) -> None:
    """A subscription by regular expression; what it matches comes a heartbeat later."""
    prepare(talk, "-a", partitions=2)
    one = Consumer(talk, version, "one")
    pattern = talk.topic("-[a-b]")
    one.join("no pattern", subscribed_topic_names=None, subscribed_topic_regex="a(")
    one.join("back-reference", subscribed_topic_names=None, subscribed_topic_regex=r"(a)\1")
    one.join("joins", subscribed_topic_names=None, subscribed_topic_regex=pattern)
    while not one.owned:
        # In Kafka the match runs beside the heartbeats.
        talk.transcript.append(("until it is matched", None))
        before = len(talk.transcript)
        one.beat("again")
        del talk.transcript[before - 1 :]
    one.beat("has what matches")
    describe(talk, "by a pattern")
    one.beat("no pattern any more", subscribed_topic_regex="", subscribed_topic_names=())
    one.beat("confirms")
    describe(talk, "by nothing")


@case(range(2))
def consumer_group_describe(talk: Talk, version: int) -> None:
    """Groups that are none, or of the other protocol."""
    talk.coordinate(talk.topic())
    describe(talk, "no such group", version)
    describe(talk, "no name", version, "")
    talk.ask("none", "consumer_group_describe", version, group_ids=(), include_authorized_operations=True)
    topic = {
        "name": talk.topic(),
        "partitions": ({"partition_index": 0, "committed_offset": 1, "committed_metadata": ""},),
    }
    talk.create()
    talk.quietly(
        "offset_commit",
        8,
        group_id=talk.topic("-simple"),
        topics=(topic,),
        generation_id_or_member_epoch=-1,
        member_id="",
    )
    describe(talk, "a simple group", version, talk.topic("-simple"))
    one = Consumer(talk, 1, "one", talk.topic())
    one.join("joins")
    talk.ask(
        "with operations",
        "consumer_group_describe",
        version,
        group_ids=(talk.topic(), talk.topic("-none")),
        include_authorized_operations=True,
    )
    talk.ask("as a classic group", "describe_groups", 6, groups=(talk.topic(),))
    talk.ask("as one of old", "describe_groups", 5, groups=(talk.topic(),))


@case(range(2, 11))
def offset_commit_of_consumer_groups(talk: Talk, version: int) -> None:
    """By the epoch of the member, for what it has; and fetched by epoch."""
    topic_id = prepare(talk, partitions=2)
    one = Consumer(talk, 1, "one", talk.topic())
    two = Consumer(talk, 1, "two", talk.topic())

    def commit(label: str, epoch: int, partition: int = 0, member_id: str = "one") -> None:
        entry = {
            "partition_index": partition,
            "committed_offset": 1,
            "committed_leader_epoch": -1,
            "committed_metadata": "",
        }
        talk.ask(
            label,
            "offset_commit",
            version,
            group_id=talk.topic(),
            generation_id_or_member_epoch=epoch,
            member_id=member_id,
            group_instance_id=None,
            retention_time=-1,
            topics=({"name": talk.topic(), "topic_id": topic_id, "partitions": (entry,)},),
        )

    one.join("joins")
    commit("at its epoch", one.epoch)
    commit("ahead", one.epoch + 1)
    commit("behind what it has", one.epoch - 1)
    commit("nobody", -1, member_id="")
    commit("a stranger", one.epoch, member_id="stranger")
    two.join("another")
    one.beat("gives up")
    commit("what it gives up, at the old epoch", one.epoch, 1)
    one.beat("has")
    commit("what it kept, at the old epoch", one.epoch - 1)
    commit("what it gave up, at the old epoch", one.epoch - 1, 1)
    commit("what it gave up, at the new epoch", one.epoch, 1)
    one.leave("leaves")
    two.leave("leaves, too")
    commit("nobody, to an empty group", -1, member_id="")
    commit("a member that left", 2)


@case(range(9, 11))
def offset_fetch_of_consumer_groups(talk: Talk, version: int) -> None:
    """Members say their epoch."""
    topic_id = prepare(talk, partitions=2)
    one = Consumer(talk, 1, "one", talk.topic())

    def fetch(label: str, member_id: str | None, epoch: int, *, stable: bool = False) -> None:
        topic = {"name": talk.topic(), "topic_id": topic_id, "partition_indexes": (0,)}
        group = {"group_id": talk.topic(), "member_id": member_id, "member_epoch": epoch, "topics": (topic,)}
        talk.ask(label, "offset_fetch", version, groups=(group,), require_stable=stable)

    fetch("no group", "one", 1)
    one.join("joins")
    fetch("at its epoch", "one", one.epoch)
    fetch("at its epoch, stable", "one", one.epoch, stable=True)
    fetch("behind", "one", one.epoch - 1)
    fetch("ahead", "one", one.epoch + 1)
    fetch("a stranger", "stranger", 1)
    fetch("nobody", None, -1)


@case([1])
def consumer_group_heartbeat_and_the_end_of_groups(talk: Talk, version: int) -> None:
    """DeleteGroups and OffsetDelete while there are members, and after; a classic group takes over the id."""
    prepare(talk)
    one = Consumer(talk, version, "one", talk.topic())
    one.join("joins")
    partition = {"name": talk.topic(), "partitions": ({"partition_index": 0},)}
    talk.ask("not while it has members", "delete_groups", 2, groups_names=(talk.topic(),))
    talk.ask("not while subscribed", "offset_delete", 0, group_id=talk.topic(), topics=(partition,))
    one.leave("leaves")
    talk.ask("now", "offset_delete", 0, group_id=talk.topic(), topics=(partition,))
    talk.ask("gone", "delete_groups", 2, groups_names=(talk.topic(),))
    talk.ask("and again", "delete_groups", 2, groups_names=(talk.topic(),))
    one.join("joins a new one")
    one.leave("and leaves it")
    join = {
        "group_id": talk.topic(),
        "session_timeout": 10_000,
        "rebalance_timeout": 10_000,
        "protocol_type": "consumer",
    }
    protocols = ({"name": "range", "metadata": b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"},)
    answer = talk.quietly("join_group", 5, member_id="", protocols=protocols, group_instance_id=None, **join)
    answer = talk.quietly(
        "join_group", 5, member_id=answer["member_id"], protocols=protocols, group_instance_id=None, **join
    )
    talk.note("a classic generation", answer["generation_id"])
    describe(talk, "is none of these any more")
    leave = {"member_id": answer["member_id"], "group_instance_id": None, "reason": None}
    talk.ask("leaves the classic group", "leave_group", 5, group_id=talk.topic(), members=(leave,))
    one.join("and it is a consumer group again")


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def partitions_of(topic: str, partitions: tuple[int, ...]) -> bytes:
    """An array of at most one topic with its partitions, as the protocol of consumers writes it."""
    if not partitions:
        return struct.pack(">i", 0)
    return struct.pack(">i", 1) + text(topic) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)


class ClassicConsumer:
    """A member of the classic protocol that speaks that of consumers (version 1 of the subscription)."""

    def __init__(self, talk: Talk, instance_id: str | None = None) -> None:
        self.talk, self.instance_id = talk, instance_id
        self.member_id, self.generation = "", -1

    def join(self, label: str, *owned: int, keep: bool = True) -> Any:
        topic = self.talk.topic()
        subscription = b"\x00\x01" + struct.pack(">i", 1) + text(topic) + b"\xff\xff\xff\xff"
        fields: Plain = {
            "group_id": topic,
            "session_timeout": 10_000,
            "rebalance_timeout": 10_000,
            "protocol_type": "consumer",
            "protocols": ({"name": "range", "metadata": subscription + partitions_of(topic, owned)},),
            "group_instance_id": self.instance_id,
        }
        answer = self.talk.quietly("join_group", 6, member_id=self.member_id, **fields)
        if answer["error_code"] == "member_id_required":
            self.member_id = answer["member_id"]
            answer = self.talk.quietly("join_group", 6, member_id=self.member_id, **fields)
        if keep:
            self.talk.note(label, {**answer, "members": len(answer["members"])})
        self.member_id, self.generation = answer["member_id"], answer["generation_id"]
        return answer

    def fields(self) -> Plain:
        own = {"group_id": self.talk.topic(), "generation_id": self.generation, "member_id": self.member_id}
        return {**own, "group_instance_id": self.instance_id}

    def sync(self, label: str, *partitions: int) -> Any:
        assignment = b"\x00\x01" + partitions_of(self.talk.topic(), partitions) + b"\xff\xff\xff\xff"
        sent = ({"member_id": self.member_id, "assignment": assignment},) if partitions else ()
        return self.talk.ask(label, "sync_group", 4, assignments=sent, **self.fields())

    def heartbeat(self, label: str) -> Any:
        return self.talk.ask(label, "heartbeat", 4, **self.fields())


@case([1])
def consumer_group_heartbeat_in_a_classic_group(talk: Talk, version: int) -> None:
    """The group is upgraded, its classic member rebalances step by step; with the other gone it is classic again."""
    prepare(talk, partitions=2)
    old = ClassicConsumer(talk)
    old.join("the classic one joins")
    old.sync("it has both", 0, 1)
    new = Consumer(talk, version, "new", talk.topic())
    new.beat("no way in but by joining", member_epoch=1)
    new.join("the group is upgraded")
    describe(talk, "with a member of each kind")
    listed(talk, "listed")
    old.heartbeat("shall join again")
    old.sync("shall join before it syncs")
    old.join("shall give up one", 0, 1)
    old.sync("has what it may keep")
    old.heartbeat("shall join when it has given up")
    new.beat("nothing yet")
    old.join("has given up", 0)
    old.sync("has one")
    old.heartbeat("is fine")
    new.beat("has the other")
    describe(talk, "each has one")
    talk.ask("a classic id in the new protocol", "heartbeat", 4, **{**old.fields(), "member_id": "new"})
    new.leave("leaves")
    old.heartbeat("the group is classic again, and rebalances")
    answer = old.join("the classic one alone", 0, keep=False)
    talk.note("its protocol", (answer["error_code"], answer["protocol_name"]))
    old.sync("has both again", 0, 1)
    talk.ask("stable", "describe_groups", 5, groups=(talk.topic(),))


@case([1])
def consumer_group_heartbeat_of_a_classic_instance(talk: Talk, version: int) -> None:
    """A static member goes to the new protocol and back; it keeps what it has."""
    prepare(talk, partitions=2)
    old = ClassicConsumer(talk, "i")
    old.join("the classic one joins")
    old.sync("it has both", 0, 1)
    new = Consumer(talk, version, "new", talk.topic(), instance_id="i")
    new.join("is back with the new protocol")
    describe(talk, "as a consumer group")
    old.heartbeat("its earlier life")
    new.leave("leaves for now", -2)
    back = ClassicConsumer(talk, "i")
    back.join("is back with the classic protocol")
    back.sync("has both")
    describe(talk, "is it a consumer group")
    talk.ask("is it a classic one", "describe_groups", 6, groups=(talk.topic(),))
