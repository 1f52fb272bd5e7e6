"""Records as they lie in internal topics, every version of them, for the formatters of kafka-console-consumer."""

from __future__ import annotations

from ottla.embed import new_codec
from ottla.messages import (
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    GroupMetadataKey,
    GroupMetadataValue,
    GroupMetadataValueMemberMetadata,
    LegacyOffsetCommitKey,
    LegacyOffsetCommitValue,
    OffsetCommitKey,
    OffsetCommitValue,
    TransactionLogKey,
    TransactionLogValue,
    TransactionLogValuePartitionsSchema,
)

Records = list[tuple[bytes | None, bytes | None]]
_encode = new_codec().encode_coordinator_record
_PLACE = OffsetCommitKey(group="billing", topic="orders", partition=2)
_COMMIT = OffsetCommitValue(
    offset=1 << 40, leader_epoch=7, metadata='caf\u00e9 "x"\\', commit_timestamp=1_700_000_000_000
)
_GROUP = GroupMetadataKey(group="billing")


def _groups() -> Records:
    found: Records = []
    for version in range(5):
        commit = _COMMIT
        if version == 1:
            commit = OffsetCommitValue(offset=5, commit_timestamp=6, expire_timestamp=7)
        found.append(_encode(_PLACE, commit, version))
    with_id = OffsetCommitValue(offset=3, commit_timestamp=4, topic_id=bytes(range(240, 256)))
    found.append(_encode(_PLACE, with_id, 4))
    found.append(_encode(_PLACE, None))
    legacy = LegacyOffsetCommitKey(group="old", topic="t", partition=0)
    found.append(_encode(legacy, LegacyOffsetCommitValue(offset=1, metadata="m", commit_timestamp=2), 0))
    members = [
        GroupMetadataValueMemberMetadata(
            member_id=f"m-{instance}",
            group_instance_id=instance,
            client_id="c",
            client_host="/127.0.0.1",
            rebalance_timeout=300_000,
            session_timeout=45_000,
            subscription=bytes(range(5)),
            assignment=b"\xff\xfe\xfd\xfc",
        )
        for instance in (None, "i-1")
    ]
    for version in range(5):
        # A version without the field takes its default only.
        ours = members if version >= 3 else members[:1]
        value = GroupMetadataValue(
            protocol_type="consumer",
            generation=3,
            protocol="range",
            leader="m-i-1",
            current_state_timestamp=8 if version >= 2 else -1,
            members=ours,
        )
        found.append(_encode(_GROUP, value, version))
    found.append(_encode(_GROUP, GroupMetadataValue(protocol_type="", protocol=None, leader=None), 3))
    found.append(_encode(_GROUP, None))
    # Passed over: another kind, a kind that nobody knows, no key at all.
    found.append(_encode(ConsumerGroupMetadataKey(group_id="new"), ConsumerGroupMetadataValue(epoch=1), 0))
    found.append((b"\0\x63later", b"\0\0"))
    found.append((None, b"no key"))
    return found


def _transactions() -> Records:
    key = TransactionLogKey(transactional_id="payments")
    partitions = [TransactionLogValuePartitionsSchema(topic="orders", partition_ids=[0, 2])]
    plain = TransactionLogValue(
        producer_id=9,
        producer_epoch=1,
        transaction_timeout_ms=60_000,
        transaction_status=1,
        transaction_partitions=partitions,
        transaction_last_update_timestamp_ms=11,
        transaction_start_timestamp_ms=12,
    )
    tagged = TransactionLogValue(
        producer_id=9,
        previous_producer_id=8,
        next_producer_id=10,
        producer_epoch=1,
        next_producer_epoch=0,
        transaction_partitions=None,
        client_transaction_version=2,
    )
    return [_encode(key, plain, 0), _encode(key, plain, 1), _encode(key, tagged, 1), _encode(key, None)]


RECORDS = {"groups": _groups(), "transactions": _transactions()}
