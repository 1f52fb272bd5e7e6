"""Records of internal topics as JSON: what a group or a transaction has written, for kafka-console-consumer.

Kafka: org.apache.kafka.tools.consumer.CoordinatorRecordMessageFormatter and the classes made of it. A key says by its
first two bytes which record it belongs to; a formatter prints those of its own kinds and passes over all others. Fields
have the names of Kafka's message definitions; one that the version of the record does not have is left out, and so is a
tagged one that has its default.
"""

from __future__ import annotations

import base64
import re
import struct
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ottla.cli.kafka.formatters import FormatError
from ottla.embed import new_codec
from ottla.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.cli.kafka.formatters import Record

# Of a message and a field: the versions that have it, where not all do.
_VERSIONS = {
    ("GroupMetadataValue", "current_state_timestamp"): range(2, 1 << 15),
    ("GroupMetadataValueMemberMetadata", "group_instance_id"): range(3, 1 << 15),
    ("GroupMetadataValueMemberMetadata", "rebalance_timeout"): range(1, 1 << 15),
    ("OffsetCommitValue", "expire_timestamp"): range(1, 2),
    ("OffsetCommitValue", "leader_epoch"): range(3, 1 << 15),
}
_TAGGED = frozenset(
    {
        ("OffsetCommitValue", "topic_id"),
        ("TransactionLogValue", "client_transaction_version"),
        ("TransactionLogValue", "next_producer_epoch"),
        ("TransactionLogValue", "next_producer_id"),
        ("TransactionLogValue", "previous_producer_id"),
    }
)
_UUIDS = frozenset({"topic_id"})
LEGACY_OFFSET_COMMIT, OFFSET_COMMIT, GROUP_METADATA = 0, 1, 2
TRANSACTION_LOG = 0


class RecordsFormatter:
    """Prints the records of some kinds, by the number their keys begin with."""

    def __init__(self, topic_kind: Literal["group", "transaction"], kinds: frozenset[int]) -> None:
        self._topic_kind = topic_kind
        self._kinds = kinds
        self._codec = new_codec()

    def write(self, record: Record) -> bytes:
        """Give the bytes to print."""
        if record.key is None:
            return b""
        try:
            decoded = self._codec.decode_coordinator_record(self._topic_kind, record.key, record.value)
        except CodecError as error:
            raise FormatError(
                f"Could not read record at offset {record.offset} due to: {error}", "java.lang.RuntimeException"
            ) from error
        if decoded is None:
            return b""
        (kind,) = struct.unpack_from(">h", record.key)
        if kind not in self._kinds:
            return b""
        key, value = decoded
        shown: dict[str, Any] = {"key": {"type": kind, "data": fields_of(key, 0)}, "value": None}
        if value is not None and record.value is not None:
            (version,) = struct.unpack_from(">h", record.value)
            shown["value"] = {"version": version, "data": fields_of(value, version)}
        return msgspec.json.encode(shown)


def fields_of(message: msgspec.Struct, version: int) -> dict[str, Any]:
    """Give the fields that a message has in a version, by Kafka's names."""
    name = type(message).__name__
    default = type(message)()
    found = {}
    for field in message.__struct_fields__:
        value = getattr(message, field)
        if version not in _VERSIONS.get((name, field), range(1 << 15)):
            continue
        if (name, field) in _TAGGED and value == getattr(default, field):
            continue
        found[re.sub("_(.)", lambda match: match[1].upper(), field)] = _shown(field, value, version)
    return found


def _shown(field: str, value: Any, version: int) -> Any:
    if isinstance(value, bytes):
        if field in _UUIDS:
            return base64.urlsafe_b64encode(value).decode().rstrip("=")
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_shown(field, each, version) for each in value]
    return fields_of(value, version) if isinstance(value, msgspec.Struct) else value


FORMATTERS: dict[str, Callable[[], RecordsFormatter]] = {
    "GroupMetadataMessageFormatter": lambda: RecordsFormatter("group", frozenset({GROUP_METADATA})),
    "OffsetsMessageFormatter": lambda: RecordsFormatter("group", frozenset({LEGACY_OFFSET_COMMIT, OFFSET_COMMIT})),
    "TransactionLogMessageFormatter": lambda: RecordsFormatter("transaction", frozenset({TRANSACTION_LOG})),
}
