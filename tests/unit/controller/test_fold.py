"""The image is a fold: however often it was snapshot and restarted, it is what the records make of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.controller.create_topics import NewTopic, create_topics
from ottla.controller.image import MetadataImage
from ottla.controller.producer_ids import take_block
from ottla.controller.registration import check_features, features_to_write
from ottla.errors import ErrorCode, StorageError
from tests.unit.controller.world import World

NAMES = st.sampled_from(["a", "b", "c.d", "c_d", "e"])
COMMANDS = st.one_of(
    st.builds("create {} n={} retention.ms={}".format, NAMES, st.integers(1, 3), st.integers(1, 9)),
    st.builds("create {} {}".format, NAMES, NAMES),
    st.builds("grow {}={}".format, NAMES, st.integers(1, 6)),
    st.builds("delete {}".format, NAMES),
    st.builds("delete id:{}".format, NAMES),
    st.builds("alter {} retention.ms={} -segment.ms".format, NAMES, st.integers(1, 9)),
    st.builds("alter {} -retention.ms segment.ms=5".format, NAMES),
    st.just("producer_ids 700"),
    st.just("register"),
    st.just("register unclean"),
    st.just("restart"),
    st.sampled_from(
        [
            """log '{"ClientQuotaRecord": {"key": "x", "value": 1.0}}'""",
            """log '{"FeatureLevelRecord": {"name": "group.version", "feature_level": 1}}'""",
            """log '{"FeatureLevelRecord": {"name": "group.version"}}'""",
            """log '{"FenceBrokerRecord": {"id": 1}}' '{"UnfenceBrokerRecord": {"id": 1}}'""",
            """log '{"BeginTransactionRecord": {}}' '{"NoOpRecord": {}}' '{"EndTransactionRecord": {}}'""",
            """log '{"ConfigRecord": {"resource_type": 4, "resource_name": "", "name": "x", "value": "1"}}'""",
        ]
    ),
)


def state(image: MetadataImage) -> object:
    """Everything an image holds."""
    return (
        image.topics,
        image.topics_by_id,
        image.configs,
        image.brokers,
        image.controllers,
        image.features,
        image.producer_ids,
        image.kept,
        image.colliding_names,
    )


@settings(max_examples=150)
@given(commands=st.lists(COMMANDS, max_size=30), snapshot_bytes=st.integers(200, 5000))
def test_snapshot_and_tail_make_the_same_image_as_the_whole_log(commands: list[str], snapshot_bytes: int) -> None:
    """Two worlds live through the same, one of them writes snapshots all the time; both restart now and then."""
    whole, cut = World(), World()
    cut.run(f"snapshot {snapshot_bytes}")
    for command in ["register", *commands, "restart"]:
        assert whole.run(command) == cut.run(command)
    assert state(whole.controller.image) == state(cut.controller.image)
    assert whole.controller.applied_offset == cut.controller.applied_offset


@settings(max_examples=50)
@given(st.lists(COMMANDS, max_size=20))
def test_a_running_image_is_the_one_a_restart_finds(commands: list[str]) -> None:
    """What was applied at commit equals what is read back."""
    world = World()
    for command in ["register", *commands]:
        world.run(command)
    running = world.controller.image
    world.run("restart")
    assert state(world.controller.image) == state(running)


def test_features_of_a_fuller_broker_are_noticed() -> None:
    """A directory whose finalized features this version does not understand must not be opened."""
    world = World()
    world.run("register")
    assert check_features(world.controller.image) == []
    world.controller.image.features["group.version"] = 1
    assert check_features(world.controller.image) == []
    world.controller.image.features["metadata.version"] = 31
    world.controller.image.features["quantum.version"] = 1
    assert check_features(world.controller.image) == ["metadata.version=31", "quantum.version=1"]


@pytest.mark.parametrize("error", [StorageError("disk full"), RuntimeError("mine")])
def test_a_snapshot_that_fails_costs_no_change(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong with it: the change before it is answered, the next ones are made."""
    world = World()
    world.run("snapshot 1")
    world.journal.fail_snapshot_with = error
    assert "\n=> " in world.run("register")
    assert "'a' 1x1 NONE" in world.run("create a")
    assert str(error) in caplog.text
    assert world.controller.status().waiting_changes == 0


def test_a_change_that_cannot_be_applied_ends_all_changes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is not what the log says: everybody is told, and nothing is decided from it any more."""
    world = World()
    world.run("register")
    world.run("hold")
    answers: list[Any] = []
    for name in ("a", "b"):
        topics = [NewTopic(name, 1, 1)]
        decide = partial(create_topics, topics=topics, defaults=world.defaults(), random=world.random)
        world.controller.change(decide, answers.append)

    def broken(*_: object) -> None:
        raise RuntimeError("mine")

    with monkeypatch.context() as patched:
        patched.setattr(MetadataImage, "apply", broken)
        world.run("commit")
    assert [answer.code for answer in answers] == [ErrorCode.UNKNOWN_SERVER_ERROR] * 2
    assert "could not be applied: RuntimeError('mine')" in str(world.controller.status().halted)
    assert "UNKNOWN_SERVER_ERROR: Nothing can be changed until" in world.run("create c")
    assert "RuntimeError: mine" in caplog.text


def test_what_timed_out_is_not_kept() -> None:
    """Behind a commit that does not come, retries of clients do not pile up."""
    world = World()
    world.run("register")
    world.run("hold")
    world.run("create a")
    for number in range(100):
        world.run(f"create b{number} timeout=50")
    assert world.controller.status().waiting_changes == 101
    world.run("wait 50")
    assert world.controller.status().waiting_changes == 1


class Panic(BaseException):
    """What a panic of the native side is in Python: no Exception."""


@pytest.mark.parametrize("error", [RuntimeError("mine"), Panic("mine")])
def test_a_callback_that_raises_costs_nobody_else_a_producer_id(error: BaseException) -> None:
    """All three wait for the same block; the first is at fault."""
    world = World()
    world.run("register")
    world.run("hold")
    taken: list[object] = []

    def broken(_: object) -> None:
        raise error

    for callback in (broken, taken.append, taken.append):
        world.producer_ids.take(callback)
    world.run("commit")
    assert taken == [1, 2]
    world.producer_ids.take(taken.append)
    assert taken == [1, 2, 3]


@pytest.mark.parametrize("error", [RuntimeError("mine"), Panic("mine")])
def test_a_callback_that_raises_does_not_stop_the_queue(error: BaseException) -> None:
    """Whoever asked may be at fault; the next change goes on."""
    world = World()
    world.run("register")
    world.run("hold")

    def broken(_: object) -> None:
        raise error

    world.controller.change(lambda image: take_block(image, 1, 1), broken)
    world.run("create a")
    world.run("commit")
    world.run("commit")
    assert "a" in world.controller.image.topics


def test_a_panic_where_a_change_is_written_does_not_stop_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """In deciding, or in appending: who asked is answered, the next change is made."""
    world = World()
    world.run("register")
    answers: list[Any] = []

    def broken(*_: object) -> Any:
        raise Panic("mine")

    world.controller.change(broken, answers.append)
    with monkeypatch.context() as patched:
        patched.setattr(world.journal, "append", broken)
        world.controller.change(lambda image: take_block(image, 1, 1), answers.append)
    assert [answer.code for answer in answers] == [ErrorCode.UNKNOWN_SERVER_ERROR] * 2
    assert "'a' 1x1 NONE" in world.run("create a")


def test_a_panic_where_a_change_is_shown_does_not_stop_the_queue() -> None:
    """It is safe and answered; the next ones are made."""
    world = World()
    world.run("register")

    def broken(*_: object) -> None:
        raise Panic("mine")

    show, world.controller._on_change = world.controller._on_change, broken
    assert "'a' 1x1 NONE" in world.run("create a")
    world.controller._on_change = show
    assert "'b' 1x1 NONE" in world.run("create b")


def test_a_log_that_cannot_say_what_is_safe_ends_all_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a commit that nobody will tell of; whoever is responsible for the process hears of it, once."""
    world = World()
    world.run("register")
    told: list[str] = []

    def tell(reason: str) -> None:
        told.append(reason)
        raise Panic("mine")

    def broken(*_: object) -> None:
        raise Panic("no watch")

    world.controller._on_halt = tell
    monkeypatch.setattr(world.journal, "when_committed", broken)
    # A topic of one partition is two records.
    offset = world.controller.applied_offset + 2
    for name in ("a", "b"):
        assert "UNKNOWN_SERVER_ERROR: Nothing can be changed until" in world.run(f"create {name}")
    assert told == [f"nobody can say whether the change at offset {offset} is safe: Panic('no watch')"]
    assert world.controller.status().halted == told[0]


@pytest.mark.parametrize(
    "said, written",
    [
        ({}, {"metadata.version": 30, "group.version": 1, "transaction.version": 2}),
        # A directory of an earlier version of ours.
        ({"metadata.version": 30}, {"group.version": 1, "transaction.version": 2}),
        # Apache Kafka's, which has finalized what this version does not serve.
        (
            {"metadata.version": 29, "group.version": 1, "transaction.version": 1, "share.version": 1},
            {"metadata.version": 30, "share.version": 0},
        ),
        ({"metadata.version": 30, "group.version": 1}, {"transaction.version": 2}),
        ({"metadata.version": 30, "group.version": 1, "transaction.version": 2}, {}),
    ],
)
def test_a_start_finalizes_what_is_served_and_nobody_has_spoken_of(
    said: dict[str, int], written: dict[str, int]
) -> None:
    """Features that come with this version, once; what is finalized already stays."""
    image = MetadataImage()
    image.features.update(said)
    assert features_to_write(image) == written
