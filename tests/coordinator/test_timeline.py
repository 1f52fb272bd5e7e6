"""The map with two views, against a plain model that keeps every version."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ottla.coordinator.timeline import Timeline, TimelineDict

KEYS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(0, 9)),
        st.tuples(st.just("remove"), KEYS),
        st.tuples(st.just("commit"), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(STEPS)
def test_both_views_are_what_a_fold_gives(steps: list[Any]) -> None:
    """Current is the fold of all changes, committed the fold of those before the committed offset."""
    timeline = Timeline()
    timeline.replaying = False
    found: TimelineDict[str, int] = TimelineDict(timeline)
    changes: list[tuple[str, int | None]] = []
    committed = 0

    def fold(end: int) -> dict[str, int]:
        state: dict[str, int] = {}
        for key, value in changes[:end]:
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        return state

    for step in steps:
        match step:
            case ("set", key, value):
                timeline.offset = len(changes)
                found.set(key, value)
                changes.append((key, value))
            case ("remove", key):
                timeline.offset = len(changes)
                found.remove(key)
                changes.append((key, None))
            case ("commit", count):
                committed = min(committed + count, len(changes))
                timeline.committed(committed)
        assert dict(found.items()) == fold(len(changes))
        assert dict(found.committed_items()) == fold(committed)
        assert [found.committed_get(key) for key in "abc"] == [fold(committed).get(key) for key in "abc"]
    timeline.committed(len(changes))
    assert len(timeline) == 0
    assert found.is_forgotten == (not fold(len(changes)))


def test_nothing_is_remembered_while_replaying() -> None:
    """What comes from the log is committed."""
    timeline = Timeline()
    found: TimelineDict[str, int] = TimelineDict(timeline)
    found.set("a", 1)
    found.set("a", 2)
    found.set("b", 1)
    found.remove("b")
    assert len(timeline) == 0
    assert found.committed_items() == [("a", 2)]


def test_changes_can_be_taken_back() -> None:
    """Newest first, down to an offset, committed or not before it; both views are as if nothing had happened."""
    timeline = Timeline()
    timeline.replaying = False
    values: TimelineDict[str, int] = TimelineDict(timeline)
    for offset, change in enumerate([1, 2, None, 3, None]):
        timeline.offset = offset
        if change is None:
            values.remove("a")
        else:
            values.set("a", change)
        values.set(f"b{offset}", offset)
    timeline.undo(2)
    assert dict(values.items()) == {"a": 2, "b0": 0, "b1": 1}
    assert len(timeline) == 4
    timeline.committed(1)
    assert dict(values.committed_items()) == {"a": 1, "b0": 0}
    timeline.committed(2)
    assert dict(values.committed_items()) == {"a": 2, "b0": 0, "b1": 1}
    timeline.undo(0)
    assert dict(values.items()) == {"a": 2, "b0": 0, "b1": 1}
    values.remove("a")
    timeline.undo(0)
    assert values.get("a") == 2
