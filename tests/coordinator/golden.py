"""Scripts that play a group coordinator: comment, command, `---`, what came of it (`golden_script` has their form).

What came of it: answers in the order they were sent, with whom they went to, and `log:` lines for records, where `|`
divides records of one append.

    set NAME=VALUE ...                     settings of the coordinator; before anything else
    join WHO [NAME=VALUE ...]              WHO stands for a client; the id it is given is sent from then on
                                           group=g version=9 instance=- session=10000 rebalance=20000 type=consumer
                                           protocols=range,sticky metadata=- id= (empty: as one who has none)
    sync WHO GENERATION [MEMBER=TEXT ...]  with an assignment if WHO leads; -protocol= -type= -instance= -group=
                                           @t:0.1,u:0 for TEXT: as consumers write it
    heartbeat WHO GENERATION               -instance= -group=
    leave WHO...                           WHO, instance:NAME or WHO@NAME (both)
    commit WHO GENERATION T-P=OFFSET ...   WHO may be - and GENERATION -1; -version= -metadata= -retention= -instance=
    txn-commit ID WHO GENERATION T-P=OFFSET ...   producer ID commits in its transaction; else like commit, and -epoch=
    marker ID commit|abort                 the marker of its transaction comes; -epoch= -coordinator= -version=
    gate CODE                              what the coordinator of transactions says to the next questions
    fetch [T-P ...]                        without partitions: all; -stable
    describe GROUP...   list [STATE...]
    delete-groups GROUP...   delete-offsets T-P... [-group=]   delete-topics NAME...
    wait MS                                time passes; deadlines fire
    keep WHO GENERATION MS                 the same, while WHO sends heartbeats that nobody looks at
    hold / release                         appends are not committed until released
    fail                                   the next append fails
    restart [NAME=VALUE ...]               the coordinator starts again from the log, with other settings if given
    unload / load                          the broker loses the partition, and gets it back

`golden_consumers` has the commands of the consumer protocol.

`python -m tests.coordinator.golden` writes the expected output anew; read the difference before you commit it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode, StorageError
from ottla.messages import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    GroupMetadataKey,
    OffsetCommitKey,
)
from ottla.types import Codec
from tests.coordinator.golden_consumers import ConsumerCommands, partitions_of
from tests.coordinator.golden_script import SCRIPTS, ScriptPlayer, rewrite
from tests.coordinator.producers import TRANSACTIONS_2, Producers
from tests.coordinator.world import Box, World, subscription

ASSIGNMENT_VERSION = b"\0\3"


class LoggingBox(Box):
    """Tells the player when an answer comes."""

    def __init__(self, what: str, player: Player) -> None:
        super().__init__(what)
        self.player = player
        self.who = player.who

    def __call__(self, response: Any) -> None:
        assert not self.answers, f"{self.what} is answered twice"
        super().__call__(response)
        self.player.show_answer(self.who, self.what, response)


class PlayedWorld(World):
    """A world whose boxes report to a player."""

    def __init__(self, player: Player, settings: GroupSettings, codec: Codec | None) -> None:
        self.player = player
        super().__init__(settings, codec=codec)

    def _box(self, what: str) -> Box:
        box = LoggingBox(what.split(maxsplit=1)[0], self.player)
        self.boxes.append(box)
        return box


class Player(ScriptPlayer, ConsumerCommands):
    """Plays one script."""

    def __init__(self, codec: Codec | None = None) -> None:
        ScriptPlayer.__init__(self)
        ConsumerCommands.__init__(self)
        self.codec = codec
        self.ids: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self._world: PlayedWorld | None = None
        self._producers: Producers | None = None
        self.shown_appends = 0

    @property
    def world(self) -> PlayedWorld:
        if self._world is None:
            self._world = PlayedWorld(self, GroupSettings(**self.settings), self.codec)
        return self._world

    @property
    def producers(self) -> Producers:
        if self._producers is None:
            self._producers = Producers(self.world)
        return self._producers

    # Commands.

    def do_set(self, _plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        self.settings.update({name: int(value) for name, value in options.items()})

    def do_join(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        who = plain[0]
        metadata = options.get("metadata", "")
        data = (
            subscription(*metadata.removeprefix("topics:").split(","), codec=self.codec)
            if metadata.startswith("topics:")
            else metadata.encode()
        )
        self.world.join(
            self.ids.get(who, "") if "id" not in options else self.ids.get(options["id"], options["id"]),
            client=who,
            group=options.get("group", "g"),
            version=int(options.get("version", 9)),
            instance=options.get("instance"),
            protocol_type=options.get("type", "consumer"),
            protocols=tuple((name, data) for name in options.get("protocols", "range").split(",") if name),
            session_ms=int(options.get("session", 10_000)),
            rebalance_ms=int(options.get("rebalance", 20_000)),
            end_turn=end_turn,
        )

    def do_sync(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        named = {key: options.pop(key, None) for key in ("protocol", "type", "instance", "group")}
        self.world.sync(
            self.ids.get(plain[0], plain[0]),
            int(plain[1]),
            {self.ids.get(who, who): self.assignment(text) for who, text in options.items()},
            group=named["group"] or "g",
            instance=named["instance"],
            protocol=named["protocol"],
            protocol_type=named["type"],
            end_turn=end_turn,
        )

    def do_heartbeat(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        self.world.heartbeat(
            self.ids.get(plain[0], plain[0]),
            int(plain[1]),
            group=options.get("group", "g"),
            instance=options.get("instance"),
            end_turn=end_turn,
        )

    def do_leave(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        self.who = ""
        members: list[tuple[str, str | None]] = []
        for word in plain:
            who, _, instance = word.removeprefix("instance:").partition("@")
            by_instance = word.startswith("instance:")
            members.append(("", who) if by_instance else (self.ids.get(who, who), instance or None))
        self.world.leave(*members, group=options.get("group", "g"), end_turn=end_turn)

    def do_commit(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        who, generation = plain
        named = {key: options.pop(key, None) for key in ("version", "metadata", "retention", "instance", "group")}
        self.world.commit(
            {_partition(name): int(value) for name, value in options.items()},
            member_id="" if who == "-" else self.ids.get(who, who),
            generation=int(generation),
            instance=named["instance"],
            group=named["group"] or "g",
            version=int(named["version"] or 9),
            metadata=named["metadata"],
            retention_ms=int(named["retention"] or -1),
            end_turn=end_turn,
        )

    def do_txn_commit(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        producer_id, who, generation = plain
        self.who = f"producer {producer_id}"
        named = {key: options.pop(key, None) for key in ("version", "metadata", "epoch", "instance", "group")}
        self.producers.commit(
            int(producer_id),
            {_partition(name): int(value) for name, value in options.items()},
            member_id="" if who == "-" else self.ids.get(who, who),
            generation=int(generation),
            instance=named["instance"],
            group=named["group"] or "g",
            epoch=int(named["epoch"] or 0),
            version=int(named["version"] or TRANSACTIONS_2),
            metadata=named["metadata"],
            end_turn=end_turn,
        )

    def do_marker(self, plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        told = self.producers.end(
            int(plain[0]),
            committed=plain[1] == "commit",
            epoch=int(options.get("epoch", 0)),
            coordinator_epoch=int(options.get("coordinator", 0)),
            version=int(options.get("version", 0)),
        )
        self.show_log()
        self.show(f"marker {plain[0]} {told[0].name if told else 'waits'}")

    def do_gate(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.producers.gate.code = ErrorCode[plain[0]]

    def do_fetch(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        self.who = ""
        partitions = [_partition(name) for name in plain if name != "-stable"]
        self.world.fetch(
            partitions or None,
            group=options.get("group", "g"),
            require_stable="-stable" in plain,
            end_turn=end_turn,
        )

    def do_describe(self, plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        self.who = ""
        self.world.describe(*plain, version=int(options.get("version", 6)))

    def do_list(self, plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        self.who = ""
        self.world.list_groups(tuple(plain), tuple(filter(None, options.get("types", "").split(","))))

    def do_delete_groups(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.who = ""
        self.world.delete_groups(*plain)

    def do_delete_offsets(self, plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        self.who = ""
        self.world.delete_offsets([_partition(name) for name in plain], group=options.get("group", "g"))

    def do_delete_topics(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.coordinator.on_topics_deleted(dict.fromkeys(plain, bytes(16)))
        self.world.turn()

    def do_wait(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.wait(int(plain[0]))

    def do_keep(self, plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        # Half the shortest session; the answers are shown like any, so only the others are kept.
        for _ in range(int(plain[2]) // 3000):
            self.world.wait(3000)
            self.world.heartbeat(self.ids[plain[0]], int(plain[1]), group=options.get("group", "g"))
            ours = {f"{plain[0]}: heartbeat {code}" for code in ("NONE", "REBALANCE_IN_PROGRESS")}
            self.output = [line for line in self.output if line not in ours]

    def do_hold(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.journal().commit_at_once = False

    def do_release(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.journal().commit_at_once = True
        self.world.journal().commit()
        self.world.turn()

    def do_fail(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.journal().fail_with = StorageError("the disk is full")

    def do_restart(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        self.do_set(plain, options, end_turn)
        self.world.settings = GroupSettings(**self.settings)
        self.world.start()

    def do_unload(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.coordinator.unload(0)
        self.world.turn()

    def do_load(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.coordinator.load(0)
        self.world.turn()

    # What came of it.

    def name(self, member_id: str) -> str:
        for who, known in self.ids.items():
            if known == member_id:
                return who
        # An id its client has not heard of yet: whose, and the how manieth id.
        prefix, number = member_id[:-37], member_id[-12:]
        return f"{prefix}#{int(number, 16)}" if prefix else member_id or "-"

    def show_answer(self, who: str, what: str, response: Any) -> None:
        self.show_log()
        prefix = f"{who}: " if who else ""
        self.show(prefix + getattr(self, "answer_" + what.replace("-", "_"))(who, response))

    def answer_join(self, who: str, response: Any) -> str:
        code = ErrorCode(response.error_code)
        if response.member_id and code in {ErrorCode.NONE, ErrorCode.MEMBER_ID_REQUIRED}:
            self.ids[who] = response.member_id
        if code is not ErrorCode.NONE:
            return f"join {code.name}"
        skip = " skip-assignment" if response.skip_assignment else ""
        members = "".join(
            f" {self.name(member.member_id)}" + (f"({member.group_instance_id})" if member.group_instance_id else "")
            for member in response.members
        )
        return (
            f"join NONE generation {response.generation_id}, {response.protocol_type} {response.protocol_name}, "
            f"leader {self.name(response.leader)}" + (f", members{members}" if members else "") + skip
        )

    def assignment(self, text: str) -> bytes:
        """What a leader sends for a member."""
        if not text.startswith("@"):
            return text.encode()
        owned = partitions_of(text.removeprefix("@"))
        said = ConsumerProtocolAssignment(
            assigned_partitions=[
                ConsumerProtocolAssignmentTopicPartition(topic=topic, partitions=indexes)
                for topic, indexes in owned.items()
            ]
        )
        return ASSIGNMENT_VERSION + bytes(self.world.codec.encode_struct("ConsumerProtocolAssignment", 3, said))

    def text(self, data: bytes) -> str:
        """An assignment, as a script would write it."""
        if not data:
            return ""
        if data[0] != 0:
            return f" '{data.decode(errors='replace')}'"
        # As the member's own subscription: of its version.
        version = int.from_bytes(data[:2])
        read = self.world.codec.decode_struct("ConsumerProtocolAssignment", version, data[2:])
        assert isinstance(read, ConsumerProtocolAssignment)
        owned = {said.topic: ".".join(map(str, sorted(said.partitions))) for said in read.assigned_partitions}
        return " @" + ",".join(f"{topic}:{owned[topic]}" for topic in sorted(owned))

    def answer_sync(self, _who: str, response: Any) -> str:
        return f"sync {ErrorCode(response.error_code).name}" + self.text(response.assignment)

    def answer_heartbeat(self, _who: str, response: Any) -> str:
        return f"heartbeat {ErrorCode(response.error_code).name}"

    def answer_leave(self, _who: str, response: Any) -> str:
        members = "".join(
            f" {member.group_instance_id or self.name(member.member_id)}={ErrorCode(member.error_code).name}"
            for member in response.members
        )
        return f"leave {ErrorCode(response.error_code).name}{members}"

    def answer_commit(self, _who: str, response: Any) -> str:
        return "commit" + "".join(
            f" {topic.name}-{partition.partition_index}={ErrorCode(partition.error_code).name}"
            for topic in response.topics
            for partition in topic.partitions
        )

    def answer_txn_commit(self, who: str, response: Any) -> str:
        return "txn-" + self.answer_commit(who, response)

    def answer_fetch(self, _who: str, response: Any) -> str:
        return f"fetch {ErrorCode(response.error_code).name}" + "".join(
            f" {topic.name}-{partition.partition_index}="
            + (ErrorCode(partition.error_code).name if partition.error_code else f"{partition.committed_offset}")
            + (f"({partition.metadata})" if partition.metadata else "")
            for topic in response.topics
            for partition in topic.partitions
        )

    def answer_delete_groups(self, _who: str, response: Any) -> str:
        return "delete-groups" + "".join(
            f" {result.group_id}={ErrorCode(result.error_code).name}" for result in response.results
        )

    def answer_delete_offsets(self, _who: str, response: Any) -> str:
        return f"delete-offsets {ErrorCode(response.error_code).name}" + "".join(
            f" {topic.name}-{partition.partition_index}={ErrorCode(partition.error_code).name}"
            for topic in response.topics
            for partition in topic.partitions
        )

    def answer_describe(self, _who: str, response: Any) -> str:
        return "\n".join(
            f"{group.group_id}: {ErrorCode(group.error_code).name} {group.group_state} "
            f"{group.protocol_type or '-'} {group.protocol_data or '-'}"
            + "".join(
                f" {self.name(member.member_id)}{self.text(member.member_assignment)}" for member in group.members
            )
            for group in response.groups
        )

    def answer_list(self, _who: str, response: Any) -> str:
        groups = "".join(
            f"\n  {group.group_id} {group.protocol_type or '-'} {group.group_state} {group.group_type}"
            for group in response.groups
        )
        return f"list {ErrorCode(response.error_code).name}{groups}"

    def show_log(self) -> None:
        if self._world is None:
            return
        journal = self.world.journal()
        for offset, appended in journal.appends[self.shown_appends :]:
            if isinstance(appended, list):
                shown = [
                    self.record(*self.world.codec.decode_coordinator_record("group", *record)) for record in appended
                ]
                whose = f" of producer {journal.producers[offset][0]}" if offset in journal.producers else ""
                self.show(f"log{whose}: " + " | ".join(shown))
            else:
                self.show(f"log: {'commit' if appended.committed else 'abort'} of producer {appended.producer_id}")
        self.shown_appends = len(journal.appends)

    def record(self, key: Any, value: Any) -> str:
        match key:
            case OffsetCommitKey():
                end = "gone" if value is None else f"= {value.offset}"
                until = "" if value is None or value.expire_timestamp < 0 else " with an end"
                return f"offset {key.group} {key.topic}-{key.partition} {end}{until}"
            case GroupMetadataKey():
                if value is None:
                    return f"group {key.group} gone"
                members = "".join(
                    f" {self.name(member.member_id)}{self.text(member.assignment)}" for member in value.members
                )
                return f"group {key.group} generation {value.generation}" + (
                    f" {value.protocol} leader {self.name(value.leader)}:{members}" if members else " empty"
                )
        return self.consumer_record(key, value)


def _partition(name: str) -> tuple[str, int]:
    topic, _, index = name.rpartition("-")
    return topic, int(index)


def scripts() -> list[Path]:
    """All of them."""
    return sorted(SCRIPTS.glob("*.txt"))


if __name__ == "__main__":
    rewrite(scripts(), Player)
