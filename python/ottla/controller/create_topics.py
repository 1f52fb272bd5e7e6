"""Deciding on new topics.

Kafka's order, from ControllerApis and ReplicationControlManager, seen from outside: names given twice; too many
partitions in one request (then nothing at all is made); then for each topic its name, whether it exists, its settings,
and last how many partitions and replicas. Topics are independent of each other: one that is refused stops no other.
As in Kafka, `a.b` and `a_b` of one request do not see each other, only existing topics.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from ottla.config.topic_config import validate
from ottla.controller.decision import NEW_PARTITIONS_MAX, RECORDS_MAX, Decision
from ottla.controller.image import TOPIC_RESOURCE
from ottla.controller.names import METADATA_TOPIC, check_collision, check_name
from ottla.controller.placement import check_assignment, partition_record, place
from ottla.errors import ErrorCode, RequestError
from ottla.messages import ConfigRecord, TopicRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.config.setting import SettingValue
    from ottla.controller.image import MetadataImage
    from ottla.types import Random

# Asks for the broker's default.
DEFAULT_COUNT = -1


class NewTopic(Struct, frozen=True):
    """A topic as asked for."""

    name: str
    partition_count: int = DEFAULT_COUNT
    replication_factor: int = DEFAULT_COUNT
    # (partition, brokers): chosen by who asks instead of counts.
    assignments: tuple[tuple[int, tuple[int, ...]], ...] = ()
    configs: Mapping[str, str | None] = field(default_factory=dict)


class TopicDefaults(Struct, frozen=True):
    """What the broker's settings give a topic that does not say."""

    partition_count: int
    replication_factor: int
    # Values of topic settings, by topic name of the setting.
    settings: Mapping[str, SettingValue]
    # What the broker's own topics get where whoever makes them does not say, by name.
    own_topics: Mapping[str, NewTopic] = field(default_factory=dict)


class CreatedTopic(Struct, frozen=True):
    """What one item of the request is answered."""

    name: str
    code: ErrorCode = ErrorCode.NONE
    message: str | None = None
    topic_id: bytes = bytes(16)
    partition_count: int = -1
    replication_factor: int = -1
    configs: Mapping[str, str] = field(default_factory=dict)


def create_topics(
    image: MetadataImage,
    topics: Sequence[NewTopic],
    defaults: TopicDefaults,
    random: Random,
    *,
    validate_only: bool = False,
) -> Decision[CreatedTopic]:
    """Decide on each topic; `validate_only` decides the same and leaves the records out."""
    topics = [_with_own_defaults(topic, defaults) for topic in topics]
    twice = {name for name, count in Counter(topic.name for topic in topics).items() if count > 1}
    results: dict[str, CreatedTopic] = {}
    for topic in topics:
        if topic.name in twice:
            results[topic.name] = CreatedTopic(topic.name, ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
        elif topic.name == METADATA_TOPIC:
            words = f"Creation of internal topic {METADATA_TOPIC} is prohibited."
            results[topic.name] = CreatedTopic(topic.name, ErrorCode.INVALID_REQUEST, words)
    wanted = [topic for topic in topics if topic.name not in results]
    if sum(_partitions_asked(topic, defaults) for topic in wanted) > NEW_PARTITIONS_MAX:
        return _refuse_all(topics, results, "Excessively large number of partitions per request.")

    records: list[Struct] = []
    for topic in wanted:
        try:
            made, topic_records = _create(image, topic, defaults, random)
        except RequestError as error:
            results[topic.name] = CreatedTopic(topic.name, error.code, error.message)
        else:
            results[topic.name] = made
            records.extend(topic_records)
    if len(records) > RECORDS_MAX:
        return _refuse_all(topics, {}, "Unable to perform excessively large batch operation.")
    return Decision(_in_order(topics, results), [] if validate_only else records)


def _with_own_defaults(topic: NewTopic, defaults: TopicDefaults) -> NewTopic:
    """Give the broker's own topics what they need, also if a client makes them.

    Kafka makes such a topic like any other, with cleanup.policy=delete: committed offsets are then lost to retention.
    """
    own = defaults.own_topics.get(topic.name)
    if own is None:
        return topic
    asked = topic.assignments or topic.partition_count != DEFAULT_COUNT
    count = topic.partition_count if asked else own.partition_count
    return replace(topic, partition_count=count, configs={**own.configs, **topic.configs})


def _create(
    image: MetadataImage, topic: NewTopic, defaults: TopicDefaults, random: Random
) -> tuple[CreatedTopic, list[Struct]]:
    check_name(topic.name)
    check_collision(topic.name, image)
    if topic.name in image.topics:
        raise RequestError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{topic.name}' already exists.")
    validate(topic.configs, defaults.settings)
    replicas = _replicas_of(image, topic, defaults, random)
    topic_id = _topic_id(image, random)
    texts = {name: text for name, text in topic.configs.items() if text is not None}
    records: list[Struct] = [TopicRecord(name=topic.name, topic_id=topic_id)]
    records.extend(
        ConfigRecord(resource_type=TOPIC_RESOURCE, resource_name=topic.name, name=name, value=text)
        for name, text in texts.items()
    )
    records.extend(partition_record(image, topic_id, index, brokers) for index, brokers in enumerate(replicas))
    made = CreatedTopic(
        topic.name,
        topic_id=topic_id,
        partition_count=len(replicas),
        replication_factor=len(replicas[0]),
        configs=texts,
    )
    return made, records


def _replicas_of(
    image: MetadataImage, topic: NewTopic, defaults: TopicDefaults, random: Random
) -> Sequence[Sequence[int]]:
    if topic.assignments:
        return _assigned(image, topic)
    if topic.replication_factor < DEFAULT_COUNT or topic.replication_factor == 0:
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    if topic.partition_count < DEFAULT_COUNT or topic.partition_count == 0:
        raise RequestError(
            ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
        )
    factor = topic.replication_factor if topic.replication_factor > 0 else defaults.replication_factor
    return place(image, _partitions_asked(topic, defaults), factor, random)


def _assigned(image: MetadataImage, topic: NewTopic) -> list[tuple[int, ...]]:
    given = "A manual partition assignment was specified, but"
    if topic.replication_factor != DEFAULT_COUNT:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"{given} replication factor was not set to -1.")
    if topic.partition_count != DEFAULT_COUNT:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"{given} numPartitions was not set to -1.")
    chosen: dict[int, tuple[int, ...]] = {}
    factor: int | None = None
    for index, brokers in topic.assignments:
        if index in chosen:
            raise RequestError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Found multiple manual partition assignments for partition {index}",
            )
        check_assignment(image, brokers, factor)
        factor = len(brokers)
        chosen[index] = brokers
    if set(chosen) != set(range(len(chosen))):
        raise RequestError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT, "partitions should be a consecutive 0-based integer sequence"
        )
    return [chosen[index] for index in range(len(chosen))]


def _partitions_asked(topic: NewTopic, defaults: TopicDefaults) -> int:
    if topic.assignments:
        return len(topic.assignments)
    return defaults.partition_count if topic.partition_count == DEFAULT_COUNT else max(0, topic.partition_count)


def _topic_id(image: MetadataImage, random: Random) -> bytes:
    """Give a random id that is free and reserved for nothing: Kafka's first hundred ids have meanings of their own."""
    while True:
        topic_id = random.bytes(16)
        # A leading dash would make an id look like an option of a command-line tool (0xf8-0xfb in base64url).
        reserved = int.from_bytes(topic_id, "big") < 100 or 0xF8 <= topic_id[0] <= 0xFB
        if not reserved and topic_id not in image.topics_by_id:
            return topic_id


def _refuse_all(topics: Sequence[NewTopic], results: dict[str, CreatedTopic], message: str) -> Decision[CreatedTopic]:
    for topic in topics:
        results.setdefault(topic.name, CreatedTopic(topic.name, ErrorCode.POLICY_VIOLATION, message))
    return Decision(_in_order(topics, results))


def _in_order(topics: Sequence[NewTopic], results: Mapping[str, CreatedTopic]) -> list[CreatedTopic]:
    """One result for each name, in the order of the request."""
    return [results[name] for name in dict.fromkeys(topic.name for topic in topics)]
