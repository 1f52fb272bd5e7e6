"""Deciding on topics to delete, by name or by id. Kafka's order and words (ControllerApis.deleteTopics)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from ottla.controller.decision import Decision
from ottla.errors import ErrorCode
from ottla.messages import RemoveTopicRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.controller.image import MetadataImage

NO_ID = bytes(16)


class TopicReference(Struct, frozen=True):
    """A topic by name or by id; requests may also name both or neither, which is refused."""

    name: str | None = None
    topic_id: bytes = NO_ID


class DeletedTopic(Struct, frozen=True):
    """What one item of the request is answered."""

    name: str | None
    topic_id: bytes = NO_ID
    code: ErrorCode = ErrorCode.NONE
    message: str | None = None


def delete_topics(image: MetadataImage, topics: Sequence[TopicReference]) -> Decision[DeletedTopic]:
    """Decide on each topic, independent of the others. A topic meant twice, in whatever way, is not deleted."""
    name_counts = Counter(topic.name for topic in topics if topic.name is not None)
    id_counts = Counter(topic.topic_id for topic in topics if topic.topic_id != NO_ID)
    # Ids that are also meant by their name: one answer covers both.
    meant_twice = {
        image.topics[name].topic_id
        for name in name_counts
        if name in image.topics and image.topics[name].topic_id in id_counts
    }
    results: dict[object, DeletedTopic] = {}
    records: list[Struct] = []
    for number, topic in enumerate(topics):
        key = topic.topic_id if topic.name is None else topic.name
        if topic.name is None and topic.topic_id == NO_ID:
            results[number] = _refused(topic, "Neither topic name nor id were specified.")
        elif topic.name is not None and topic.topic_id != NO_ID:
            results[number] = _refused(topic, "You may not specify both topic name and topic id.")
        elif topic.name is not None and name_counts[topic.name] > 1:
            results[key] = _refused(topic, "Duplicate topic name.")
        elif topic.name is None and id_counts[topic.topic_id] > 1:
            results[key] = _refused(topic, "Duplicate topic id.")
        elif topic.name is not None and topic.name in image.topics and image.topics[topic.name].topic_id in meant_twice:
            words = "The provided topic name maps to an ID that was already supplied."
            results[key] = _refused(TopicReference(topic.name, image.topics[topic.name].topic_id), words)
        elif topic.name is None and topic.topic_id in meant_twice:
            continue
        else:
            result = results[key] = _delete(image, topic)
            if result.code is ErrorCode.NONE:
                records.append(RemoveTopicRecord(topic_id=result.topic_id))
    return Decision(list(results.values()), records)


def _refused(topic: TopicReference, message: str) -> DeletedTopic:
    return DeletedTopic(topic.name, topic.topic_id, ErrorCode.INVALID_REQUEST, message)


def _delete(image: MetadataImage, topic: TopicReference) -> DeletedTopic:
    if topic.name is not None:
        found = image.topics.get(topic.name)
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    else:
        found = image.topics_by_id.get(topic.topic_id)
        code = ErrorCode.UNKNOWN_TOPIC_ID
    if found is None:
        return DeletedTopic(topic.name, topic.topic_id, code, code.message)
    return DeletedTopic(found.name, found.topic_id)
