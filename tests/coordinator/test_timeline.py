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
