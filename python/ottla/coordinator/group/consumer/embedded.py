"""What consumers of the classic protocol say to each other, read and written: subscriptions and assignments.

Both begin with an int16 version; a version that is not known is read as the newest that is (as in Kafka: every version
begins with the fields of the one before).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from ottla.errors import ErrorCode, OttlaError, RequestError
from ottla.messages import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)

if TYPE_CHECKING:
    from ottla.coordinator.group.consumer.member import Target
    from ottla.coordinator.group.consumer.topics import Topics
    from ottla.types import Codec

T = TypeVar("T")

_VERSION_BYTES: Final = 2
_VERSION_MAX: Final = 3


def read_subscription(codec: Codec, data: bytes) -> ConsumerProtocolSubscription:
    """What a member sent for one of its protocols; RequestError if it cannot be read."""
    return _read(codec, "ConsumerProtocolSubscription", data, ConsumerProtocolSubscription)


def read_assignment(codec: Codec, data: bytes) -> ConsumerProtocolAssignment:
    """What a leader sent for a member; RequestError if it cannot be read."""
    return _read(codec, "ConsumerProtocolAssignment", data, ConsumerProtocolAssignment)


def _read(codec: Codec, name: str, data: bytes, kind: type[T]) -> T:
    version = int.from_bytes(data[:_VERSION_BYTES], "big", signed=True)
    if len(data) < _VERSION_BYTES or version < 0:
        raise RequestError(ErrorCode.UNKNOWN_SERVER_ERROR, f"this is no {name}")
    try:
        read = codec.decode_struct(name, min(version, _VERSION_MAX), data[_VERSION_BYTES:])
    except (OttlaError, ValueError) as error:
        raise RequestError(ErrorCode.UNKNOWN_SERVER_ERROR, f"this is no {name}: {error}") from error
    assert isinstance(read, kind)
    return read


def write_assignment(codec: Codec, topics: Topics, target: Target, subscription: bytes) -> bytes:
    """The assignment of a member, in the version its subscription has; topics that are gone are left out."""
    version = max(0, min(int.from_bytes(subscription[:_VERSION_BYTES], "big", signed=True), _VERSION_MAX))
    named = [(topics.with_id(topic_id), partitions) for topic_id, partitions in target.items()]
    assignment = ConsumerProtocolAssignment(
        assigned_partitions=[
            ConsumerProtocolAssignmentTopicPartition(topic=topic.name, partitions=list(partitions))
            for topic, partitions in named
            if topic is not None
        ]
    )
    body = codec.encode_struct("ConsumerProtocolAssignment", version, assignment)
    return version.to_bytes(_VERSION_BYTES, "big", signed=True) + body
