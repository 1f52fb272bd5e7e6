"""Topics that are made because somebody needs them: a producer or consumer, or a coordinator its own."""

from __future__ import annotations

from ottla.controller.names import OFFSETS_TOPIC
from ottla.errors import ErrorCode
from tests.unit.protocol.world import World


def test_topics_are_made_for_the_data_plane() -> None:
    """By name, with the broker's defaults; a name no topic may have is told so; repeated names count once."""
    world = World(num_partitions="3")
    world.bridge.items.append(("create_topics", 5, ["a", "b b", "a"]))
    world.turn()
    invalid = ErrorCode.INVALID_TOPIC_EXCEPTION
    assert world.bridge.resumed == {5: [("a", ErrorCode.NONE), ("b b", invalid), ("a", ErrorCode.NONE)]}
    assert len(world.services.image.topics["a"].partitions) == 3
    world.bridge.items.append(("create_topics", 6, ["a"]))
    world.turn()
    assert world.bridge.resumed[6] == [("a", ErrorCode.NONE)]


def test_internal_topics_get_their_own_settings_or_are_not_made() -> None:
    """A client that names a topic of a coordinator gets the real one; the others are not anybody's to make."""
    world = World(offsets_topic_num_partitions="4", transaction_state_log_num_partitions="3")
    own = ["__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"]
    world.bridge.items.append(("create_topics", 5, [*own, "x"]))
    world.turn()
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert world.bridge.resumed[5] == [
        ("__consumer_offsets", 0),
        ("__transaction_state", 0),
        ("__share_group_state", unknown),
        ("__cluster_metadata", unknown),
        ("x", 0),
    ]
    image = world.services.image
    assert len(image.topics["__consumer_offsets"].partitions) == 4
    assert image.topic_config("__consumer_offsets") == {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "segment.bytes": "104857600",
    }
    assert image.topics["__consumer_offsets"].partitions[0].replicas == (1,)
    assert len(image.topics["__transaction_state"].partitions) == 3
    assert image.topic_config("__transaction_state") == {
        "cleanup.policy": "compact",
        "compression.type": "uncompressed",
        "min.insync.replicas": "2",
        "segment.bytes": "104857600",
        "unclean.leader.election.enable": "false",
    }


def test_a_tiny_segment_of_the_offsets_topic_does_not_cost_the_coordinator() -> None:
    """Kafka's bounds for the two settings differ; the topic is made with the smallest segment there may be."""
    world = World(offsets_topic_segment_bytes="100")
    world.bridge.items.append(("create_topics", 5, ["__consumer_offsets"]))
    world.turn()
    assert world.bridge.resumed[5] == [("__consumer_offsets", 0)]
    assert world.services.image.topic_config("__consumer_offsets")["segment.bytes"] == "1048576"


def test_no_topic_is_made_where_that_is_switched_off() -> None:
    """auto.create.topics.enable=false."""
    world = World(auto_create_topics_enable="false")
    world.bridge.items.append(("create_topics", 5, ["a"]))
    world.turn()
    assert world.bridge.resumed == {5: [("a", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]}


def test_all_who_need_the_offsets_topic_wait_for_one_change() -> None:
    """Two ask before it is committed: one topic, both are told; who asks later is told at once."""
    world = World()
    world.journal.commit_at_once = False
    told: list[ErrorCode] = []
    world.services.internal_topics.ensure(OFFSETS_TOPIC, told.append)
    world.services.internal_topics.ensure(OFFSETS_TOPIC, told.append)
    assert told == []
    world.journal.commit()
    world.services.internal_topics.ensure(OFFSETS_TOPIC, told.append)
    assert told == [ErrorCode.NONE] * 3
    assert len(world.journal.history) == 2


def test_a_panic_in_one_who_needs_the_offsets_topic_leaves_the_others_told() -> None:
    """What is no Exception costs those behind it nothing either."""

    class Panic(BaseException):
        pass

    def broken(_: ErrorCode) -> None:
        raise Panic("mine")

    world = World()
    world.journal.commit_at_once = False
    told: list[ErrorCode] = []
    for done in (broken, told.append):
        world.services.internal_topics.ensure(OFFSETS_TOPIC, done)
    world.journal.commit()
    assert told == [ErrorCode.NONE]
