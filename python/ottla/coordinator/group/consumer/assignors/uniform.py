"""The uniform assignor: as even as can be, moving as few partitions as possible.

**All members subscribe to the same topics** (`_assign_alike`): the numbers of partitions differ by one at most. Every
member keeps what it has up to its share; what is too much, and what nobody has, goes to those who have too little, in
the order of the members. One pass over everything.

**Subscriptions differ** (`_Balance`): every member keeps what it has and still subscribes to. What nobody has is given
out topic by topic, those with the most partitions per subscriber first, to whoever has least. Then, topic by topic
again, partitions go from those who have most to those who have least, as long as that makes it more even; when a whole
round of topics has changed nothing it is done, after 16 rounds in any case. Without racks, as in Kafka 4.3.

Reference: Apache Kafka 4.3, UniformAssignor and its two builders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from ottla.coordinator.group.consumer.assignors.subject import Subject
    from ottla.coordinator.group.consumer.member import Target

_ROUNDS_MAX: Final = 16
_NOBODY: Final = -1


def assign_uniformly(
    subjects: Sequence[Subject], partition_counts: Mapping[bytes, int], *, alike: bool
) -> dict[str, Target]:
    """Everybody's target."""
    if not subjects:
        return {}
    if alike:
        return _assign_alike(subjects, subjects[0].topics, partition_counts)
    return _Balance(subjects, partition_counts).assign()


def _assign_alike(
    subjects: Sequence[Subject], topics: Sequence[bytes], partition_counts: Mapping[bytes, int]
) -> dict[str, Target]:
    total = sum(partition_counts[topic_id] for topic_id in topics)
    share, with_one_more = divmod(total, len(subjects))
    subscribed = frozenset(topics)
    owned = {topic_id: bytearray(partition_counts[topic_id]) for topic_id in topics}
    for subject in subjects:
        for topic_id, partitions in subject.target.items():
            if topic_id in subscribed:
                for partition in partitions:
                    owned[topic_id][partition] = 1
    # To be given out: what nobody has first, then what is taken away.
    spare = [(topic_id, index) for topic_id in topics for index, has in enumerate(owned[topic_id]) if not has]
    found: dict[str, Target] = {}
    unfilled: list[tuple[str, int]] = []
    for index, subject in enumerate(subjects):
        # As long as there are shares with one more, who comes may have one...
        has_one_more = with_one_more > 0
        room = share + 1 if has_one_more else share
        target = subject.target
        count = 0
        for topic_id, partitions in target.items():
            count += len(partitions) if topic_id in subscribed else room + 1
        if count <= room:
            # It keeps everything: the same object, which then need not be compared.
            room -= count
        else:
            target, room = _kept(target, subscribed, room, spare)
        # ... but gets none to fill it with if enough others follow who may have theirs already.
        if room > 0 and has_one_more and len(subjects) - index > with_one_more:
            room -= 1
            has_one_more = False
        if room > 0:
            unfilled.append((subject.member_id, room))
        if has_one_more:
            with_one_more -= 1
        found[subject.member_id] = target
    given = 0
    for member_id, room in unfilled:
        found[member_id] = _joined(found[member_id], spare[given : given + room])
        given += room
    assert given >= len(spare), "every partition has a member"
    return found


def _kept(
    target: Target, subscribed: AbstractSet[bytes], room: int, spare: list[tuple[bytes, int]]
) -> tuple[Target, int]:
    """What there is room for of what a member has, and the room that is left; the rest is to be given out."""
    kept: dict[bytes, tuple[int, ...]] = {}
    for topic_id, partitions in target.items():
        if topic_id not in subscribed:
            continue
        keeps = partitions[:room]
        spare += [(topic_id, partition) for partition in partitions[room:]]
        room -= len(keeps)
        if keeps:
            kept[topic_id] = keeps
    return kept, room


def _joined(target: Target, more: Sequence[tuple[bytes, int]]) -> Target:
    merged: dict[bytes, list[int]] = {}
    for topic_id, partition in more:
        merged.setdefault(topic_id, []).append(partition)
    joined = dict(target)
    for topic_id, partitions in merged.items():
        joined[topic_id] = tuple(sorted([*target.get(topic_id, ()), *partitions]))
    return joined


class _Balance:
    """Members by their place in the list; owners by partition."""

    def __init__(self, subjects: Sequence[Subject], partition_counts: Mapping[bytes, int]) -> None:
        self._subjects = subjects
        self._loads = [0] * len(subjects)
        self._subscribers: dict[bytes, list[int]] = {}
        for index, subject in enumerate(subjects):
            for topic_id in subject.topics:
                self._subscribers.setdefault(topic_id, []).append(index)
        self._owners = {topic_id: [_NOBODY] * partition_counts[topic_id] for topic_id in self._subscribers}

    def assign(self) -> dict[str, Target]:
        """Keep, give out, even out."""
        for index, subject in enumerate(self._subjects):
            subscribed = frozenset(subject.topics)
            for topic_id, partitions in subject.target.items():
                if topic_id in subscribed:
                    self._loads[index] += len(partitions)
                    for partition in partitions:
                        self._owners[topic_id][partition] = index
        topics = sorted(self._subscribers, key=self._urgency)
        for topic_id in topics:
            self._give_out(topic_id)
        self._even_out([topic_id for topic_id in topics if len(self._subscribers[topic_id]) > 1])
        found: dict[str, dict[bytes, list[int]]] = {subject.member_id: {} for subject in self._subjects}
        for topic_id, owners in self._owners.items():
            for partition, owner in enumerate(owners):
                found[self._subjects[owner].member_id].setdefault(topic_id, []).append(partition)
        return {
            member_id: {topic_id: tuple(partitions) for topic_id, partitions in topics_of.items()}
            for member_id, topics_of in found.items()
        }

    def _urgency(self, topic_id: bytes) -> tuple[float, int, bytes]:
        subscribers = len(self._subscribers[topic_id])
        # Java compares ids as two signed numbers.
        flipped = bytes([topic_id[0] ^ 0x80, *topic_id[1:8], topic_id[8] ^ 0x80, *topic_id[9:]])
        return -len(self._owners[topic_id]) / subscribers, subscribers, flipped

    def _move(self, topic_id: bytes, partition: int, index: int) -> None:
        owners = self._owners[topic_id]
        if owners[partition] != _NOBODY:
            self._loads[owners[partition]] -= 1
        owners[partition] = index
        self._loads[index] += 1

    def _give_out(self, topic_id: bytes) -> None:
        spare = [partition for partition, owner in enumerate(self._owners[topic_id]) if owner == _NOBODY]
        if spare:
            ladder = _Ladder(self._loads, self._subscribers[topic_id])
            for partition in spare:
                self._move(topic_id, partition, ladder.least_loaded())

    def _even_out(self, topics: Sequence[bytes]) -> None:
        last_changed = -1
        for _ in range(_ROUNDS_MAX):
            for place, topic_id in enumerate(topics):
                if place == last_changed:
                    return
                if self._even_out_topic(topic_id) or last_changed < 0:
                    last_changed = place

    def _even_out_topic(self, topic_id: bytes) -> bool:
        ladder = _Ladder(self._loads, self._subscribers[topic_id])
        if ladder.is_level:
            return False
        stock: dict[int, list[int]] = {}
        for partition, owner in enumerate(self._owners[topic_id]):
            stock.setdefault(owner, []).append(partition)
        moved = False
        while not ladder.is_balanced():
            giver = ladder.most_loaded()
            if giver == _NOBODY:
                break
            if not stock.get(giver):
                # It has much, but of other topics.
                ladder.exclude()
                continue
            partition = stock[giver].pop()
            taker = ladder.least_loaded()
            if ladder.is_balanced():
                break
            self._move(topic_id, partition, taker)
            moved = True
        return moved


class _Ladder:
    """The subscribers of a topic by load, walked from both ends: who has least gets next, who has most gives next.

    From each end a range grows: all whose load was the least (the most) when the walk reached them. Each of a range is
    named once before the load goes on by one, so the range stays level while it fills (empties).
    """

    def __init__(self, loads: list[int], subscribers: Sequence[int]) -> None:
        self._loads = loads
        self._members = sorted(subscribers, key=lambda index: (loads[index], index))
        count = len(self._members)
        least, most = loads[self._members[0]], loads[self._members[-1]]
        self.is_level = most - least <= 1
        self._low_end, self._low_load, self._low_next = 0, least - 1, 0
        self._high_start, self._high_end, self._high_load, self._high_next = count, count, most + 1, count - 1

    def is_balanced(self) -> bool:
        """The two ends have met."""
        return self._high_load - self._low_load <= 1

    def least_loaded(self) -> int:
        """Who gets the next partition."""
        members, loads = self._members, self._loads
        if self._low_next >= self._low_end:
            self._low_load += 1
            while self._low_end < len(members) and loads[members[self._low_end]] == self._low_load:
                self._low_end += 1
            self._low_next = 0
        self._low_next += 1
        return members[self._low_next - 1]

    def most_loaded(self) -> int:
        """Who gives one; nobody if all were excluded."""
        members, loads = self._members, self._loads
        if self._high_next < self._high_start:
            if self._high_end <= self._high_start and self._high_start > 0:
                # Everyone of the range was excluded: down to the next load there is.
                self._high_load = loads[members[self._high_start - 1]]
            else:
                self._high_load -= 1
            while self._high_start > 0 and loads[members[self._high_start - 1]] == self._high_load:
                self._high_start -= 1
            self._high_next = self._high_end - 1
        if self._high_next < 0:
            return _NOBODY
        self._high_next -= 1
        return members[self._high_next + 1]

    def exclude(self) -> None:
        """Who was named last by `most_loaded` has nothing to give."""
        place, last = self._high_next + 1, self._high_end - 1
        members = self._members
        members[place], members[last] = members[last], members[place]
        self._high_end -= 1
