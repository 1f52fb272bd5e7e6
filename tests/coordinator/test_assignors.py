"""The assignors: what always holds of what they decide, and that Apache Kafka decides the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ottla.coordinator.group.consumer.assignors import ASSIGNORS, RANGE, UNIFORM
from ottla.coordinator.group.consumer.assignors.subject import Subject
from ottla.coordinator.group.consumer.member import Target

Counts = Mapping[bytes, int]
TOPICS = [bytes([0] * 15 + [index]) for index in range(1, 7)]


def topic_counts() -> st.SearchStrategy[Counts]:
    return st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 9), min_size=1, max_size=5)


@st.composite
def groups(draw: st.DrawFn, *, alike: bool) -> tuple[list[Subject], Counts]:
    """Members that hold disjoint parts of topics they may not subscribe to any more."""
    counts = draw(topic_counts())
    names = [f"m{index}" for index in range(draw(st.integers(1, 6)))]
    everything = tuple(sorted(counts))
    held: dict[str, dict[bytes, list[int]]] = {name: {} for name in names}
    for topic_id, count in counts.items():
        for partition in range(count):
            owner = draw(st.sampled_from([None, *names]))
            if owner is not None:
                held[owner].setdefault(topic_id, []).append(partition)
    subjects = []
    for index, name in enumerate(names):
        topics = everything if alike else tuple(draw(st.sets(st.sampled_from(everything))))
        instance = f"i{9 - index}" if draw(st.booleans()) else None
        target = {topic_id: tuple(partitions) for topic_id, partitions in held[name].items()}
        subjects.append(Subject(name, instance, topics, target))
    return subjects, counts


def sizes(found: Mapping[str, Target]) -> dict[str, int]:
    return {name: sum(map(len, target.values())) for name, target in found.items()}


def moved(subjects: Sequence[Subject], found: Mapping[str, Target]) -> int:
    """Partitions that somebody has to give up."""
    return sum(
        len(set(partitions) - set(found[subject.member_id].get(topic_id, ())))
        for subject in subjects
        for topic_id, partitions in subject.target.items()
        if topic_id in subject.topics
    )


def check_valid(subjects: Sequence[Subject], counts: Counts, found: Mapping[str, Target]) -> None:
    """Everybody has a target; each partition somebody subscribes to is given to one who does."""
    assert found.keys() == {subject.member_id for subject in subjects}
    given_out = Counter(
        (topic_id, partition)
        for target in found.values()
        for topic_id, partitions in target.items()
        for partition in partitions
    )
    wanted = {topic_id for subject in subjects for topic_id in subject.topics}
    assert given_out == {(topic_id, index): 1 for topic_id in wanted for index in range(counts[topic_id])}
    for subject in subjects:
        target = found[subject.member_id]
        assert target.keys() <= set(subject.topics)
        assert all(partitions and list(partitions) == sorted(partitions) for partitions in target.values())


@given(groups(alike=True))
def test_uniform_shares_evenly_and_moves_no_more_than_it_must(case: tuple[list[Subject], Counts]) -> None:
    """Numbers differ by one at most; who has no more than its share keeps all of it."""
    subjects, counts = case
    found = ASSIGNORS[UNIFORM](subjects, counts, alike=True)
    check_valid(subjects, counts, found)
    held = sizes(found)
    assert max(held.values()) - min(held.values()) <= 1
    share, more = divmod(sum(counts.values()), len(subjects))
    had = sorted((sum(map(len, subject.target.values())) for subject in subjects), reverse=True)
    # The least that can move: everything above the shares, the larger of which go to those who have most.
    least = sum(max(0, count - share - (index < more)) for index, count in enumerate(had))
    assert moved(subjects, found) == least or (more and moved(subjects, found) <= least + len(subjects))
    # Decided again nothing moves.
    settled = [replace(subject, target=found[subject.member_id]) for subject in subjects]
    assert ASSIGNORS[UNIFORM](settled, counts, alike=True) == found


@given(groups(alike=False))
def test_uniform_balances_what_differs_and_then_rests(case: tuple[list[Subject], Counts]) -> None:
    """No partition can go to a subscriber that has two less than its owner; decided again nothing moves."""
    subjects, counts = case
    found = ASSIGNORS[UNIFORM](subjects, counts, alike=False)
    check_valid(subjects, counts, found)
    held = sizes(found)
    for subject in subjects:
        for topic_id in found[subject.member_id]:
            for other in subjects:
                if topic_id in other.topics:
                    assert held[subject.member_id] - held[other.member_id] <= 1
    settled = [replace(subject, target=found[subject.member_id]) for subject in subjects]
    assert ASSIGNORS[UNIFORM](settled, counts, alike=False) == found


@given(groups(alike=False))
def test_range_gives_neighbours(case: tuple[list[Subject], Counts]) -> None:
    """Each subscriber has one run of each topic, and those of topics of one size fall together."""
    subjects, counts = case
    found = ASSIGNORS[RANGE](subjects, counts, alike=False)
    check_valid(subjects, counts, found)
    for target in found.values():
        for partitions in target.values():
            assert list(partitions) == list(range(partitions[0], partitions[-1] + 1))


def test_range_orders_static_members_first() -> None:
    """By instance id, whatever member ids they have now."""
    subjects = [
        Subject("a", None, (TOPICS[0],), {}),
        Subject("b", "two", (TOPICS[0],), {}),
        Subject("c", "one", (TOPICS[0],), {}),
    ]
    found = ASSIGNORS[RANGE](subjects, {TOPICS[0]: 4}, alike=True)
    assert found == {"c": {TOPICS[0]: (0, 1)}, "b": {TOPICS[0]: (2,)}, "a": {TOPICS[0]: (3,)}}


@pytest.mark.parametrize("name", [UNIFORM, RANGE])
@pytest.mark.parametrize("alike", [True, False])
def test_a_member_that_comes_or_goes_moves_little(name: str, alike: bool) -> None:
    """Five hundred members, five thousand partitions of ten topics: one more costs its own share."""
    topics = tuple(bytes([1] * 15 + [index]) for index in range(10))
    counts = dict.fromkeys(topics, 500)
    # Where subscriptions differ, every tenth member leaves out a topic.
    subjects = [
        Subject(f"m{index:03}", None, topics if alike or index % 10 else topics[1:], {}) for index in range(500)
    ]
    found = ASSIGNORS[name](subjects, counts, alike=alike)
    check_valid(subjects, counts, found)
    if name == UNIFORM:
        assert set(sizes(found).values()) == {10}
        more = [replace(subject, target=found[subject.member_id]) for subject in subjects]
        more.append(Subject("new", None, topics, {}))
        again = ASSIGNORS[name](more, counts, alike=alike)
        assert moved(more, again) == sizes(again)["new"] == 9


@settings(max_examples=25)
@given(st.data())
def test_nobody_and_nothing(data: st.DataObject) -> None:
    """Groups without members, members without topics."""
    for name, assign in ASSIGNORS.items():
        assert assign([], {}, alike=True) == {}, name
        members = [Subject(f"m{index}", None, (), {}) for index in range(data.draw(st.integers(1, 3)))]
        assert assign(members, {}, alike=True) == {member.member_id: {} for member in members}
