"""Maps that remember what is committed while they already show what is only appended.

A write of a coordinator sees every earlier write of its shard, committed or not; a plain read (ListGroups, OffsetFetch)
must not show what a crash could still take back. So a `TimelineDict` keeps the newest values in a plain dict and, for
the keys changed by records that are not committed yet, the values before them. Apache Kafka gets the same from its
timeline hash maps.

    offset of the change      10        11        12
    current                   a = 1     a = 2     a = 3
    before[a]                           [(absent, 10), (1, 11), (2, 12)]
    committed up to 11 (exclusive)      the entry of offset 10 goes: a reader of committed state sees 1

Cost: a change is two dict look-ups and an append while it is uncommitted, nothing afterwards. During replay
everything is committed already and nothing is remembered.

`undo` takes uncommitted changes back, newest first. That is for records which could not be appended, and only where
they have changed nothing but such maps; else the shard is thrown away and its journal replayed (`runtime`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Final[Any] = object()


class Timeline:
    """Where the shard is in its log; shared by all maps of the shard."""

    __slots__ = ("_changes", "offset", "replaying")

    def __init__(self) -> None:
        # Offset of the record that is being applied, or that the operation in progress would write next.
        self.offset = 0
        # Records come from the log, committed long since: nothing before them can be asked for.
        self.replaying = True
        self._changes: deque[tuple[int, TimelineDict[Any, Any], Any]] = deque()

    def __len__(self) -> int:
        """How many changes are not committed."""
        return len(self._changes)

    def changed(self, owner: TimelineDict[Any, Any], key: object) -> None:
        """A map remembered the value a key had before the current offset."""
        assert not self._changes or self._changes[-1][0] <= self.offset, "changes come in the order of the log"
        self._changes.append((self.offset, owner, key))

    def committed(self, end_offset: int) -> None:
        """Every record before `end_offset` is committed: forget what was before them."""
        changes = self._changes
        while changes and changes[0][0] < end_offset:
            _, owner, key = changes.popleft()
            owner.forget_oldest(key)

    def undo(self, from_offset: int) -> None:
        """The changes from this offset on were never made."""
        changes = self._changes
        while changes and changes[-1][0] >= from_offset:
            _, owner, key = changes.pop()
            owner.restore_newest(key)
        self.offset = min(self.offset, from_offset)


class TimelineDict(Generic[K, V]):
    """A dict with two views: `get`, `items` show everything; `committed_get`, `committed_items` what will stay."""

    __slots__ = ("_before", "_current", "_timeline", "get")

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._current: dict[K, V] = {}
        # The newest value of a key: the dict's own method, which is asked several times with every request.
        self.get: Callable[[K], V | None] = self._current.get
        # For each key with uncommitted changes the values before each of them, oldest first: nearly always one. Where a
        # disk hangs they may be very many, hence a deque for two and more, which is slower to make.
        self._before: dict[K, list[V] | deque[V]] = {}

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, key: K) -> bool:
        return key in self._current

    def __iter__(self) -> Iterator[K]:
        return iter(self._current)

    @property
    def is_forgotten(self) -> bool:
        """Neither view has anything: the map itself may go."""
        return not self._current and not self._before

    def items(self) -> list[tuple[K, V]]:
        """The newest values; a copy, so that a loop may change the map."""
        return list(self._current.items())

    def values(self) -> list[V]:
        """The newest values without their keys; a copy."""
        return list(self._current.values())

    def set(self, key: K, value: V) -> None:
        """Change a value at the timeline's offset."""
        if not self._timeline.replaying:
            self._remember(key)
        self._current[key] = value

    def remove(self, key: K) -> None:
        """Remove a key at the timeline's offset; nothing happens if it is not there."""
        if key not in self._current:
            return
        if not self._timeline.replaying:
            self._remember(key)
        del self._current[key]

    def committed_get(self, key: K) -> V | None:
        """The value a crash cannot take back."""
        before = self._before.get(key)
        if before is None:
            return self._current.get(key)
        value = before[0]
        return None if value is _ABSENT else value

    def committed_items(self) -> list[tuple[K, V]]:
        """The values a crash cannot take back."""
        if not self._before:
            return list(self._current.items())
        found = [(key, value) for key, value in self._current.items() if key not in self._before]
        found += [(key, before[0]) for key, before in self._before.items() if before[0] is not _ABSENT]
        return found

    def forget_oldest(self, key: K) -> None:
        """The oldest uncommitted change of the key is committed (called by `Timeline.committed`)."""
        before = self._before[key]
        if len(before) == 1:
            del self._before[key]
        else:
            assert isinstance(before, deque)
            before.popleft()

    def restore_newest(self, key: K) -> None:
        """The newest uncommitted change of the key is taken back (called by `Timeline.undo`)."""
        before = self._before[key]
        value = before.pop()
        if not before:
            del self._before[key]
        if value is _ABSENT:
            self._current.pop(key, None)
        else:
            self._current[key] = value

    def _remember(self, key: K) -> None:
        value = self._current.get(key, _ABSENT)
        before = self._before.get(key)
        if before is None:
            self._before[key] = [value]
        elif isinstance(before, deque):
            before.append(value)
        else:
            self._before[key] = deque((*before, value))
        self._timeline.changed(self, key)
