"""Static members (KIP-345, KIP-814): they come back, are fenced, and are taken out by instance."""

from __future__ import annotations

from typing import Any

from tests.wire.cases.groups import Committer, Member
from tests.wire.client import Plain
from tests.wire.differential import Talk, case


class StaticMember(Member):
    """A member with a group.instance.id, which it sends with every request."""

    def __init__(self, talk: Talk, group: str, join: int, instance: str) -> None:
        super().__init__(talk, group, join)
        self.instance = instance

    def join(self, label: str, names: tuple[str, ...] = ("range",), keep: bool = True, **more: Any) -> Any:
        return super().join(label, names, keep, **{"group_instance_id": self.instance, **more})

    def fields(self, **more: Any) -> Plain:
        return super().fields(**{"group_instance_id": self.instance, **more})

    def sync(self, label: str, assignment: bytes | None = None, **more: Any) -> Any:
        assigned = [] if assignment is None else [{"member_id": self.member_id, "assignment": assignment}]
        return self.talk.ask(label, "sync_group", 3, **self.fields(assignments=assigned, **more))

    def heartbeat(self, label: str, **more: Any) -> Any:
        return self.talk.ask(label, "heartbeat", 3, **self.fields(**more))


def stable(talk: Talk, version: int) -> StaticMember:
    """A group of one static member that has its assignment."""
    talk.coordinate(talk.topic())
    member = StaticMember(talk, talk.topic(), version, "one")
    member.join("joins at once")
    member.sync("gets its part", b"all of it")
    member.heartbeat("alive")
    return member


@case(range(5, 10))
def join_group_of_a_static_member(talk: Talk, version: int) -> None:
    """Restarted it gets a new id and the running generation, and its old id is fenced wherever it speaks."""
    member = stable(talk, version)
    old = member.member_id
    member.join("comes back without an id", member_id="")
    talk.ask("still stable", "describe_groups", 5, groups=[talk.topic()])
    member.sync("its part is the same")
    member.heartbeat("alive under its new id")
    member.heartbeat("the old id", member_id=old)
    member.sync("the old id syncs", member_id=old)
    member.join("the old id joins", keep=False, member_id=old)
    member.heartbeat("the old id without its instance", member_id=old, group_instance_id=None)
    member.heartbeat("the new id without its instance", group_instance_id=None)
    member.heartbeat("an instance nobody has", group_instance_id="nobody")
    member.join("an instance nobody has joins with an id", keep=False, group_instance_id="nobody")
    member.join("joins again with its id")
    talk.ask("described", "describe_groups", 5, groups=[talk.topic()])


@case(range(5, 10))
def join_group_of_a_static_member_with_something_new(talk: Talk, version: int) -> None:
    """Back with another protocol there is another generation."""
    member = stable(talk, version)
    member.join("back with one more", ("range", "roundrobin"), member_id="")
    member.sync("its part")
    member.join("back with another", ("roundrobin",), member_id="")
    member.heartbeat("alive")
    talk.ask("described", "describe_groups", 5, groups=[talk.topic()])


@case(range(3, 6))
def leave_group_of_a_static_member(talk: Talk, version: int) -> None:
    """By instance, with and without the id; an id that is not the instance's is fenced."""
    member = stable(talk, 5)

    def leave(label: str, member_id: str, instance: str | None) -> None:
        members = [{"member_id": member_id, "group_instance_id": instance, "reason": "done"}]
        talk.ask(label, "leave_group", version, group_id=talk.topic(), members=members)

    leave("an instance nobody has", "", "nobody")
    leave("the id of another", "stranger", "one")
    leave("neither", "", None)
    leave("by its instance", "", "one")
    leave("again", "", "one")
    member.heartbeat("gone")
    member.join("back", member_id="")
    leave("by both", member.member_id, "one")
    member.join("and back", member_id="")
    leave("by its id", member.member_id, None)
    talk.ask("described", "describe_groups", 5, groups=[talk.topic()])


@case(range(7, 11))
def offset_commit_of_a_static_member(talk: Talk, version: int) -> None:
    """Under its id and instance; the id before is fenced."""
    by = Committer(talk, version)
    by.ids[""] = talk.create()
    member = stable(talk, 9)
    old = member.member_id
    member.join("comes back", member_id="")

    def commit(label: str, offset: int, member_id: str, instance: str | None) -> None:
        entry = {
            "partition_index": 0,
            "committed_offset": offset,
            "committed_metadata": "",
            "committed_leader_epoch": -1,
        }
        talk.ask(
            label,
            "offset_commit",
            version,
            group_id=talk.topic(),
            generation_id_or_member_epoch=member.generation,
            member_id=member_id,
            group_instance_id=instance,
            topics=[{**by.named(""), "partitions": [entry]}],
        )

    commit("as itself", 1, member.member_id, "one")
    commit("without its instance", 2, member.member_id, None)
    commit("under the old id", 3, old, "one")
    commit("under the old id without the instance", 4, old, None)
    commit("as nobody", 5, member.member_id, "nobody")
    talk.note("what is kept", talk.quietly("offset_fetch", 7, group_id=talk.topic(), topics=None))
