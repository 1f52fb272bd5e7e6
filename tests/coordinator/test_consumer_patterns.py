"""Subscriptions by pattern, with thousands of topics and with patterns that take their time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ottla.coordinator.group.consumer.topics import TopicView
from ottla.errors import ErrorCode, RequestError
from tests.coordinator.consumers import assigned, beat, join
from tests.coordinator.world import World


class Elsewhere:
    """Work that is done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def __call__(self, work: Callable[[], Any], done: Callable[[Any], None], /) -> None:
        self.waiting.append((work, done))

    def finish(self, outcome: Exception | None = None) -> None:
        """Do what waits longest, or fail to."""
        work, done = self.waiting.pop(0)
        done(work() if outcome is None else outcome)


@pytest.fixture
def world() -> World:
    world = World()
    world.elsewhere = Elsewhere()
    world.start()
    return world


def work_of(world: World) -> Elsewhere:
    assert isinstance(world.elsewhere, Elsewhere)
    return world.elsewhere


def test_nobody_waits_for_a_pattern(world: World) -> None:
    """It is matched on another thread, one time for all heartbeats that come meanwhile; then the next one tells."""
    a, work = world.topics.create("a-1", 1), work_of(world)
    box = join(world, "m", pattern="a-.*")
    assert (box.code, assigned(box.response)) == (ErrorCode.NONE, {})
    epoch = box.response.member_epoch
    for _ in range(3):
        world.wait(10_001)
        assert assigned(beat(world, "m", epoch, owned={}).response) is None
    assert len(work.waiting) == 1
    work.finish()
    world.turn()
    assert assigned(beat(world, "m", epoch, owned={}).response) == {a: [0]}
    assert not work.waiting


def test_topics_count_as_they_were_when_they_were_matched(world: World) -> None:
    """One that is created meanwhile is found by the next look, which is not left out."""
    work = work_of(world)
    a = world.topics.create("a-1", 1)
    epoch = join(world, "m", pattern="a-.*").response.member_epoch
    b = world.topics.create("a-2", 1)
    world.coordinator.on_topics_changed({"a-2"}, created=True)
    work.finish()
    world.turn()
    box = beat(world, "m", epoch, owned={})
    assert assigned(box.response) == {a: [0]}
    world.wait(10_001)
    epoch = box.response.member_epoch
    beat(world, "m", epoch, owned={a: [0]})
    work.finish()
    world.turn()
    assert assigned(beat(world, "m", epoch, owned={a: [0]}).response) == {a: [0], b: [0]}


def test_a_pattern_that_was_not_matched_is_asked_for_again(world: World) -> None:
    """Too much may wait already."""
    a, work = world.topics.create("a-1", 1), work_of(world)
    epoch = join(world, "m", pattern="a-.*").response.member_epoch
    work.finish(RequestError(ErrorCode.REQUEST_TIMED_OUT))
    beat(world, "m", epoch, owned={})
    work.finish()
    world.turn()
    assert assigned(beat(world, "m", epoch, owned={}).response) == {a: [0]}


def test_what_nobody_waits_for_any_more_is_not_written(world: World) -> None:
    """The member has left, and with it the pattern, or the group is gone, or the whole coordinator."""
    world.topics.create("a-1", 1)
    work = work_of(world)
    join(world, "stays", "t")
    join(world, "m", pattern="a-.*")
    beat(world, "m", -1)
    written = len(world.records())
    work.finish()
    world.turn()
    assert len(world.records()) == written
    join(world, "m", pattern="a-.*")
    world.coordinator.unload(0)
    written = len(world.records())
    work.finish()
    world.turn()
    assert len(world.records()) == written


def test_a_heartbeat_costs_what_it_moves_not_what_its_group_subscribes_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a thousand topics it looks at those it has, and at none once it is settled."""
    work = work_of(world)
    for index in range(1000):
        world.topics.create(f"a-{index}", 1)
    epoch = join(world, "m", pattern="a-.*").response.member_epoch
    work.finish()
    world.turn()
    box = beat(world, "m", epoch, owned={})
    owned = assigned(box.response)
    assert owned is not None
    assert len(owned) == 1000
    epoch = box.response.member_epoch
    world.wait(20_000)
    other = join(world, "n", pattern="a-.*")
    looked_at: Counter[str] = Counter()
    named = world.topics.named

    def counted(name: str) -> TopicView | None:
        looked_at[name] += 1
        return named(name)

    monkeypatch.setattr(world.topics, "named", counted)
    settled = beat(world, "m", epoch, owned=owned)
    kept = assigned(settled.response)
    assert kept is not None
    assert len(kept) == 500
    assert beat(world, "m", epoch, owned=kept).response.member_epoch == other.response.member_epoch
    # It waits for nobody any more: the other one has what it gave up.
    world.wait(20_000)
    beat(world, "m", other.response.member_epoch)
    assert not looked_at
