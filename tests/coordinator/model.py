"""What the stateful test believes: clients, what they were told, what may be committed. Nothing of how it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ottla.messages import GroupMetadataKey, OffsetCommitKey
from tests.coordinator.world import Box, World

Partition = tuple[str, int]


class Client:
    """A consumer, as simple as one can be: it does what the rules say, in any order."""

    def __init__(self, name: str, instance: str | None) -> None:
        self.name = name
        self.instance = instance
        self.forget()

    def forget(self) -> None:
        """The process is new: it knows nothing."""
        self.member_id = ""
        self.generation = -1
        self.members: list[str] = []
        self.synced = False
        self.box: WatchedBox | None = None

    @property
    def key(self) -> str:
        """What stays the same when a static member comes back."""
        return self.instance or self.member_id


class WatchedBox(Box):
    """Tells the model what the coordinator has said, whether or not the client ever hears it."""

    def __init__(self, what: str, told: Callable[[Any], None]) -> None:
        super().__init__(what)
        self.told = told

    def __call__(self, response: Any) -> None:
        assert not self.answers, f"{self.what} is answered twice"
        super().__call__(response)
        self.told(response)


class WatchedWorld(World):
    """A world whose next box is the model's."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.told: Callable[[Any], None] = lambda _: None
        super().__init__(*arguments, **keywords)

    def _box(self, what: str) -> Box:
        box = WatchedBox(what, self.told)
        self.boxes.append(box)
        return box


@dataclass
class Written:
    """One commit or deletion of an offset, as it was handled."""

    # None: deleted, or expired.
    value: int | None
    # True: acknowledged. False: nobody knows yet. None: refused.
    kept: bool | None = False
    # Wall clock, and how long it is to be kept.
    at_ms: int = 0
    retention_ms: int = 0
    # An end of its own, whatever becomes of the group.
    has_end: bool = False

    def may_have_expired(self, now_ms: int, empty_since_ms: int) -> bool:
        """A group without members counts from when it became empty, which may be before the commit (KIP-211)."""
        if self.value is None:
            return True
        return now_ms - (self.at_ms if self.has_end else min(self.at_ms, empty_since_ms)) >= self.retention_ms


class OffsetModel:
    """By partition everything that was written, in the order it was handled."""

    def __init__(self, partitions: tuple[Partition, ...]) -> None:
        self.written: dict[Partition, list[Written]] = {partition: [] for partition in partitions}

    def write(self, partition: Partition, written: Written) -> Written:
        """It is being handled."""
        self.written[partition].append(written)
        return written

    def compare(self, fetched: Mapping[Partition, int], now_ms: int, empty_since_ms: int) -> None:
        """What is fetched is the last thing acknowledged, or something later whose answer is unknown."""
        for partition, history in self.written.items():
            acknowledged = max((place for place, each in enumerate(history) if each.kept), default=-1)
            possible = [each for each in history[max(acknowledged, 0) :] if each.kept is not None]
            value = fetched.get(partition)
            if acknowledged < 0:
                possible.append(Written(None))
            if value is None and all(each.value is not None for each in possible):
                assert any(each.may_have_expired(now_ms, empty_since_ms) for each in possible), (partition, history)
                # It is gone for good: nothing that was handled before comes back.
                history.append(Written(None, kept=True))
            else:
                assert value in {each.value for each in possible}, (partition, value, history)


@dataclass
class Folded:
    """What the log says, read in the plainest way."""

    # The last committed record of the group; None if it ended, or never had one.
    group: Any
    # It has a record, or an offset: what a start finds, which knows nothing of what was deleted before.
    exists: bool
    offsets: dict[Partition, int]
    # Wall clock of the last record that said the group has no members any more.
    empty_since_ms: int
    # How often the group has ended.
    endings: int


def fold(world: World) -> Folded:
    """The committed records of the log, one after the other."""
    folded = Folded(None, False, {}, 1 << 62, 0)
    for offset, _, key, value in world.journal().records:
        if offset >= world.journal().high_watermark:
            break
        read_key, read = world.codec.decode_coordinator_record("group", key, value)
        match read_key:
            case GroupMetadataKey():
                folded.group = read
                folded.endings += read is None
                if read is not None and not read.members and read.protocol_type:
                    folded.empty_since_ms = read.current_state_timestamp
            case OffsetCommitKey():
                place = read_key.topic, read_key.partition
                if read is None:
                    folded.offsets.pop(place, None)
                else:
                    folded.offsets[place] = read.offset
    folded.exists = folded.group is not None or bool(folded.offsets)
    return folded


def endings(world: World) -> int:
    """How often the group has ended, as far as the log was written: its generations begin anew each time."""
    return sum(
        1
        for _, _, key, value in world.journal().records
        if value is None and isinstance(world.codec.decode_coordinator_record("group", key, value)[0], GroupMetadataKey)
    )
