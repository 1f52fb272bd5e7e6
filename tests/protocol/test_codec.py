"""The codec as Python sees it: classes, defaults, framing of records, and errors that name what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from ottla import messages
from ottla._core import Codec
from ottla.errors import CodecError, ErrorCode
from ottla.messages import (
    ConsumerGroupMemberMetadataValue,
    ConsumerProtocolSubscription,
    FetchResponse,
    FetchResponseNodeEndpoint,
    FetchResponsePartitionData,
    GroupMetadataKey,
    GroupMetadataValue,
    HeartbeatRequest,
    HeartbeatResponse,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    OffsetCommitKey,
    OffsetCommitValue,
    TopicRecord,
    TransactionLogKey,
    TransactionLogValue,
)

CODEC = Codec()
ANY: Any = CODEC
"""The codec for calls that a type checker would refuse too."""
NAMES: list[str] = vars(messages)["__all__"]


def test_every_class_round_trips_with_its_defaults() -> None:
    """A message of nothing but defaults encodes in its newest version and decodes to an equal one."""
    for name in NAMES:
        value = getattr(messages, name)()
        for version in range(24, -1, -1):
            try:
                data = CODEC.encode_struct(name, version, value)
            except CodecError:
                continue
            assert CODEC.decode_struct(name, version, data) == value
            break


def test_lists_of_defaults_are_fresh() -> None:
    """Two messages do not share the list (or struct) of a field that neither had on the wire."""
    data = CODEC.encode_response(1, 4, FetchResponse(responses=[]))
    first, second = (cast(FetchResponse, CODEC.decode_response(1, 4, data)) for _ in range(2))
    first.node_endpoints.append(FetchResponseNodeEndpoint())
    assert second.node_endpoints == []
    one, other = FetchResponsePartitionData(), FetchResponsePartitionData()
    assert one.current_leader is not other.current_leader


def test_enum_members_and_tuples_are_taken() -> None:
    """What a handler naturally has at hand (an IntEnum's code, a tuple) is encoded as the number, the list."""
    response = HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS)
    assert CODEC.encode_response(12, 0, response) == b"\x00\x1b"
    request = MetadataRequest(topics=(MetadataRequestTopic(name="t"),))  # type: ignore[arg-type]
    assert CODEC.encode_request(3, 0, request) == b"\x00\x00\x00\x01\x00\x01t"


@pytest.mark.parametrize(
    "attempt, sentence",
    [
        (
            lambda: ANY.encode_response(12, 4, HeartbeatResponse(error_code=1 << 15)),
            "error_code.*32768 is out of range",
        ),
        (
            lambda: ANY.encode_response(12, 4, HeartbeatResponse(error_code=cast(int, "x"))),
            "HeartbeatResponse.error_code.*'str'",
        ),
        (lambda: ANY.encode_response(12, 4, HeartbeatRequest()), "no attribute 'throttle_time_ms'"),
        (
            lambda: ANY.encode_request(12, 2, HeartbeatRequest(group_instance_id="i")),
            "group_instance_id.*lacks the field",
        ),
        (
            lambda: ANY.encode_request(12, 4, HeartbeatRequest(group_id=cast(str, None))),
            "group_id.*null is not allowed",
        ),
        (lambda: ANY.encode_request(12, 4, HeartbeatRequest(group_id="x" * 40000)), "40000 bytes is longer"),
        (
            lambda: ANY.encode_request(3, 1, MetadataRequest(topics=cast(list[MetadataRequestTopic], "t"))),
            "expected list, found str",
        ),
        (lambda: ANY.encode_metadata_record(TopicRecord(topic_id=b"short"), 0), "a uuid is 16 bytes, found 5"),
        (lambda: ANY.encode_metadata_record(HeartbeatRequest(), 0), "HeartbeatRequest.*no metadata record"),
        (lambda: ANY.encode_coordinator_record(HeartbeatRequest(), None), "no key of a coordinator's record"),
        (lambda: ANY.encode_struct("Nothing", 0, HeartbeatRequest()), "unknown message Nothing"),
        (lambda: ANY.decode_request(56, 2, b""), "unknown API key 56"),
        (lambda: ANY.decode_request(12, 5, b""), "HeartbeatRequest has no version 5"),
        (lambda: ANY.decode_request(12, 4, b"\x02"), "byte 1, reading group_id: needs 1 bytes, 0 remain"),
        (lambda: ANY.decode_request(3, 0, b"\x7f\xff\xff\xff\xb6"), "2147483647 elements cannot fit"),
        (lambda: ANY.decode_coordinator_record("share", b"\0\0", None), "no coordinator has the topic kind"),
    ],
)
def test_errors_name_the_field(attempt: Callable[[], object], sentence: str) -> None:
    """Whatever does not fit is a CodecError that names the message, the field or the byte."""
    with pytest.raises(CodecError, match=sentence):
        attempt()


def test_headers() -> None:
    """Request and response headers by the API's dialect; ApiVersions is answered in the oldest."""
    assert CODEC.encode_request_header(12, 3, 7, "me") == b"\0\x0c\0\x03\0\0\0\x07\0\x02me"
    assert CODEC.encode_request_header(12, 4, 7, None) == b"\0\x0c\0\x04\0\0\0\x07\xff\xff\0"
    assert CODEC.decode_response_header(12, 4, b"\0\0\0\x07\0body") == (7, b"body")
    assert CODEC.decode_response_header(18, 4, b"\0\0\0\x07body") == (7, b"body")


def test_coordinator_records() -> None:
    """Keys carry their type, values their version: Kafka's, that is the newest one that is not flexible."""
    key, value = OffsetCommitKey(group="g", topic="t", partition=3), OffsetCommitValue(offset=9, commit_timestamp=5)
    raw_key, raw_value = CODEC.encode_coordinator_record(key, value)
    assert raw_key == b"\0\x01\0\x01g\0\x01t\0\0\0\x03"
    assert raw_value is not None
    assert raw_value[:2] == b"\0\x03"
    assert CODEC.decode_coordinator_record("group", raw_key, raw_value) == (key, value)
    assert CODEC.decode_coordinator_record("group", raw_key, None) == (key, None)
    assert CODEC.encode_coordinator_record(key, None) == (raw_key, None)
    _, newest = CODEC.encode_coordinator_record(key, value, 4)
    assert newest is not None
    assert CODEC.decode_coordinator_record("group", raw_key, newest) == (key, value)
    with pytest.raises(CodecError, match="version 9: no such version"):
        CODEC.encode_coordinator_record(key, value, 9)


@pytest.mark.parametrize(
    "topic_kind, key, value, version",
    [
        ("group", GroupMetadataKey(group="g"), GroupMetadataValue(protocol_type="consumer", generation=4), 3),
        ("transaction", TransactionLogKey(transactional_id="t"), TransactionLogValue(producer_id=8), 0),
    ],
)
def test_values_of_both_coordinators(topic_kind: Any, key: Any, value: Any, version: int) -> None:
    """The other record types round trip in the version Kafka writes."""
    raw_key, raw_value = CODEC.encode_coordinator_record(key, value)
    assert raw_value is not None
    assert int.from_bytes(raw_value[:2]) == version
    assert CODEC.decode_coordinator_record(topic_kind, raw_key, raw_value) == (key, value)


def test_unknown_record_types_are_none() -> None:
    """A record of a later Kafka is left to the caller to skip."""
    assert CODEC.decode_coordinator_record("group", b"\x7f\x00rest", b"any") is None
    assert CODEC.decode_metadata_record(b"\x01\xff\x7f\x00rest") is None


def test_metadata_records() -> None:
    """Frame version, type and version are varints in front; bytes behind the record are an error, as in Kafka."""
    record = TopicRecord(name="orders", topic_id=bytes(range(16)))
    data = CODEC.encode_metadata_record(record, 0)
    assert data == b"\x01\x02\x00\x07orders" + bytes(range(16)) + b"\x00"
    assert CODEC.decode_metadata_record(data) == record
    with pytest.raises(CodecError, match="1 bytes follow"):
        CODEC.decode_metadata_record(data + b"\0")
    with pytest.raises(CodecError, match="frame version 2"):
        CODEC.decode_metadata_record(b"\x02" + data[1:])


def test_the_default_of_a_tagged_struct_is_not_null() -> None:
    """Kafka's schema says null for this one, but its generator makes it a struct of defaults: null must be written."""
    plain = ConsumerGroupMemberMetadataValue()
    null = ConsumerGroupMemberMetadataValue(classic_member_metadata=None)
    assert plain.classic_member_metadata is not None
    data = CODEC.encode_struct("ConsumerGroupMemberMetadataValue", 0, null)
    assert data.endswith(b"\x01\x00\x01\x00")
    assert CODEC.decode_struct("ConsumerGroupMemberMetadataValue", 0, data) == null


def test_subscription_without_its_version() -> None:
    """The int16 in front of a consumer's subscription is the caller's."""
    subscription = ConsumerProtocolSubscription(topics=["a", "b"], user_data=None)
    data = CODEC.encode_struct("ConsumerProtocolSubscription", 0, subscription)
    assert data == b"\0\0\0\x02\0\x01a\0\x01b\xff\xff\xff\xff"
    assert CODEC.decode_struct("ConsumerProtocolSubscription", 0, data) == subscription


def test_messages_are_light() -> None:
    """The garbage collector does not track messages, and importing the package imports none of its modules."""
    assert not MetadataResponse.__struct_config__.gc
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(messages, "Nothing")  # noqa: B009
    assert all(issubclass(getattr(messages, name), msgspec.Struct) for name in NAMES)
