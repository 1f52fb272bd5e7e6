"""The commands of golden scripts for the consumer protocol; `golden` explains scripts.

    topic NAME PARTITIONS                  there is such a topic now, or it has so many partitions
    gone NAME                              the topic is deleted
    begin WHO [NAME=VALUE ...]             the first heartbeat, with epoch 0: topics=t,u pattern= assignor= rebalance=
                                           instance= group=
    beat WHO [NAME=VALUE ...]              a heartbeat with the epoch and the partitions WHO was told last; epoch=
                                           owned=t:0.1,u:0 (or -, or ?: does not say) and what `begin` has
    end WHO [EPOCH]                        leaves; with -2 for now; -instance= -group=
    describe-consumers GROUP...

WHO is a member id as it stands. Topics are shown by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ottla.coordinator.group.consumer.state import MemberState
from ottla.errors import ErrorCode
from ottla.messages import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMetadataKey,
)
from tests.coordinator.consumers import Partitions, beat

if TYPE_CHECKING:
    from tests.coordinator.world import World


def partitions_of(text: str) -> dict[str, list[int]]:
    """t:0.1,u:0 taken apart."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, indexes = part.partition(":")
        found[name] = [int(index) for index in indexes.split(".")]
    return found


class ConsumerCommands:
    """Mixed into the player."""

    who: str

    @property
    def world(self) -> World:
        """The player's."""
        raise NotImplementedError

    def name(self, member_id: str) -> str:
        """How the script calls a member."""
        raise NotImplementedError

    def __init__(self) -> None:
        # What each was told last.
        self.epochs: dict[str, int] = {}
        self.owned: dict[str, Partitions] = {}
        self.topic_names: dict[bytes, str] = {}

    def do_topic(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        name, count = plain
        there = self.world.topics.named(name)
        if there is None:
            self.topic_names[self.world.topics.create(name, int(count))] = name
        else:
            self.world.topics.grow(name, int(count))
        self.world.coordinator.on_topics_changed({name}, created=there is None)

    def do_gone(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.topics.delete(plain[0])
        self.world.coordinator.on_topics_changed({*plain}, created=False)

    def do_begin(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        (who,) = plain
        self.epochs[who], self.owned[who] = 0, {}
        self._say(who, {"topics": "", "rebalance": "60000", **options}, end_turn)

    def do_beat(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        self._say(plain[0], options, end_turn)

    def do_end(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        who, *epoch = plain
        self._say(who, {"epoch": epoch[0] if epoch else "-1", "owned": "?", **options}, end_turn)

    def _say(self, who: str, options: dict[str, str], end_turn: bool) -> None:
        owned: Partitions | None = self.owned.get(who, {})
        match options.get("owned"):
            case "?":
                owned = None
            case "-":
                owned = {}
            case str(text):
                owned = {}
                for name, indexes in partitions_of(text).items():
                    topic = self.world.topics.named(name)
                    assert topic is not None, name
                    owned[topic.topic_id] = indexes
        topics = options.get("topics")
        beat(
            self.world,
            who,
            int(options.get("epoch", self.epochs.get(who, 0))),
            group=options.get("group", "g"),
            instance=options.get("instance"),
            rebalance_ms=int(options.get("rebalance", -1)),
            topics=None if topics is None else [name for name in topics.split(",") if name],
            pattern=options.get("pattern"),
            assignor=options.get("assignor"),
            owned=owned,
            end_turn=end_turn,
        )

    def do_describe_consumers(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.who = ""
        self.world.coordinator.describe_consumer_groups(plain, self.world._box("describe-consumers"))

    # What came of it.

    def answer_beat(self, who: str, response: Any) -> str:
        code = ErrorCode(response.error_code)
        if code is not ErrorCode.NONE:
            return f"beat {code.name}"
        self.epochs[who] = response.member_epoch
        if response.assignment is None:
            return f"beat NONE epoch {response.member_epoch}"
        self.owned[who] = {said.topic_id: said.partitions for said in response.assignment.topic_partitions}
        return f"beat NONE epoch {response.member_epoch} owns {self.places(self.owned[who])}"

    def answer_describe_consumers(self, _who: str, response: Any) -> str:
        lines = []
        for group in response.groups:
            lines.append(
                f"{group.group_id}: {ErrorCode(group.error_code).name} {group.group_state or '-'} epoch "
                f"{group.group_epoch} target {group.assignment_epoch} {group.assignor_name or '-'}"
            )
            for member in group.members:
                has, shall = (
                    {said.topic_id: said.partitions for said in part.topic_partitions}
                    for part in (member.assignment, member.target_assignment)
                )
                kind = "" if member.member_type else " (classic)"
                lines.append(
                    f"  {self.name(member.member_id)}{kind} epoch {member.member_epoch} has {self.places(has)}, "
                    f"shall have {self.places(shall)}"
                )
        return "\n".join(lines)

    def places(self, partitions: Mapping[bytes, Iterable[int]]) -> str:
        named = {self.topic_names[topic_id]: sorted(indexes) for topic_id, indexes in partitions.items()}
        return ",".join(f"{name}:{'.'.join(map(str, named[name]))}" for name in sorted(named)) or "nothing"

    def consumer_record(self, key: Any, value: Any) -> str:
        """A record of a consumer group, in words."""
        match key:
            case ConsumerGroupMetadataKey():
                return f"group {key.group_id} " + ("gone" if value is None else f"epoch {value.epoch}")
            case ConsumerGroupPartitionMetadataKey():
                return "no old metadata"
            case ConsumerGroupMemberMetadataKey():
                if value is None:
                    return f"member {self.name(key.member_id)} gone"
                said = [f"topics {','.join(value.subscribed_topic_names) or '-'}"]
                said += [f"pattern {value.subscribed_topic_regex}"] if value.subscribed_topic_regex else []
                said += [f"instance {value.instance_id}"] if value.instance_id else []
                said += ["classic"] if value.classic_member_metadata is not None else []
                return f"member {self.name(key.member_id)} {' '.join(said)}"
            case ConsumerGroupTargetAssignmentMetadataKey():
                return "target gone" if value is None else f"target of epoch {value.assignment_epoch}"
            case ConsumerGroupTargetAssignmentMemberKey():
                shall = {} if value is None else {said.topic_id: said.partitions for said in value.topic_partitions}
                return f"target {self.name(key.member_id)} " + ("gone" if value is None else self.places(shall))
            case ConsumerGroupCurrentMemberAssignmentKey():
                return f"current {self.name(key.member_id)} " + ("gone" if value is None else self._current(value))
            case ConsumerGroupRegularExpressionKey():
                return f"pattern {key.regular_expression} " + (
                    "gone" if value is None else ",".join(value.topics) or "-"
                )
        raise AssertionError(key)

    def _current(self, value: Any) -> str:
        keeps, gives_up = (
            {said.topic_id: said.partitions for said in part}
            for part in (value.assigned_partitions, value.partitions_pending_revocation)
        )
        until = f" gives up {self.places(gives_up)}" if gives_up else ""
        state = MemberState.of(value.state).name
        return f"{state} epoch {value.member_epoch} after {value.previous_member_epoch} {self.places(keeps)}{until}"
