"""Names and sentences of Kafka's Java client, which its tools print.

An error is printed as the exception the client makes of it. Where a broker sends a code without words (DeleteGroups,
OffsetDelete, DeleteRecords, ListOffsets) the client adds its own, and scripts look for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.errors import ErrorCode, InvalidInput, RequestError, Unreachable

if TYPE_CHECKING:
    from ottla.errors import OttlaError

_PACKAGE = "org.apache.kafka.common.errors."
CONFIG_EXCEPTION = "org.apache.kafka.common.config.ConfigException"

# Where the exception is not named as the code is.
_CLASSES = {
    ErrorCode.GROUP_MAX_SIZE_REACHED: "GroupMaxSizeReachedException",
    ErrorCode.INVALID_CONFIG: "InvalidConfigurationException",
    ErrorCode.INVALID_TOPIC_EXCEPTION: "InvalidTopicException",
    ErrorCode.LEADER_NOT_AVAILABLE: "LeaderNotAvailableException",
    ErrorCode.MESSAGE_TOO_LARGE: "RecordTooLargeException",
    ErrorCode.NON_EMPTY_GROUP: "GroupNotEmptyException",
    ErrorCode.RECORD_LIST_TOO_LARGE: "RecordBatchTooLargeException",
    ErrorCode.REQUEST_TIMED_OUT: "TimeoutException",
    ErrorCode.TOPIC_ALREADY_EXISTS: "TopicExistsException",
    ErrorCode.UNKNOWN_MEMBER_ID: "UnknownMemberIdException",
    ErrorCode.UNKNOWN_SERVER_ERROR: "UnknownServerException",
}
_WITHOUT_WORDS = {
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "The coordinator is not available.",
    ErrorCode.GROUP_ID_NOT_FOUND: "The group id does not exist.",
    ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC: (
        "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."
    ),
    ErrorCode.INVALID_GROUP_ID: "The configured groupId is invalid.",
    ErrorCode.NON_EMPTY_GROUP: "The group is not empty.",
    ErrorCode.OFFSET_OUT_OF_RANGE: (
        "The requested offset is not within the range of offsets maintained by the server."
    ),
    ErrorCode.UNKNOWN_MEMBER_ID: "The coordinator is not aware of this member.",
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "This server does not host this topic-partition.",
}


def exception_class(code: ErrorCode) -> str:
    """Give the full name of the exception for a code."""
    if code is ErrorCode.INVALID_RECORD:
        return "org.apache.kafka.common.InvalidRecordException"
    if code in _CLASSES:
        return _PACKAGE + _CLASSES[code]
    name = "".join(part.capitalize() for part in code.name.split("_"))
    return f"{_PACKAGE}{name}Exception"


def message(error: OttlaError) -> str:
    """Give what the exception says."""
    if isinstance(error, RequestError) and error.message == error.code.message:
        return _WITHOUT_WORDS.get(error.code, error.message)
    return str(error)


def exception(error: OttlaError) -> str:
    """Give an error as Java prints an exception: class and message."""
    if isinstance(error, RequestError):
        name = exception_class(error.code)
    elif isinstance(error, Unreachable):
        name = f"{_PACKAGE}TimeoutException"
    elif isinstance(error, InvalidInput):
        name = CONFIG_EXCEPTION
    else:
        name = "org.apache.kafka.common.KafkaException"
    return f"{name}: {message(error)}"
