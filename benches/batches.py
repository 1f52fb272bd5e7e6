"""A record batch of one record: what `benches.transactions`, `start` and `many_requests` send, and no more.

0 baseOffset 8 · 8 batchLength 4 · 12 partitionLeaderEpoch 4 · 16 magic 1 · 17 crc 4 (of everything behind it)
21 attributes 2 · 23 lastOffsetDelta 4 · 27 baseTimestamp 8 · 35 maxTimestamp 8 · 43 producerId 8 · 51 producerEpoch 2
53 baseSequence 4 · 57 recordCount 4 · 61 records
"""

from __future__ import annotations

import struct

TRANSACTIONAL = 0x10
PLAIN = 0
NO_PRODUCER = -1
CASTAGNOLI = 0x82F63B78


def _table() -> list[int]:
    table = []
    for byte in range(256):
        rest = byte
        for _ in range(8):
            rest = (rest >> 1) ^ (CASTAGNOLI if rest & 1 else 0)
        table.append(rest)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Byte by byte: a transaction has one small batch."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest = (rest >> 8) ^ _TABLE[(rest ^ byte) & 0xFF]
    return rest ^ 0xFFFFFFFF


def varint(number: int) -> bytes:
    """Zigzag, seven bits a byte; of a length, which is not negative."""
    rest = number << 1
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def plain_batch(value: bytes, timestamp_ms: int) -> bytes:
    """Of a producer that is not idempotent."""
    return batch(value, timestamp_ms, NO_PRODUCER, NO_PRODUCER, NO_PRODUCER, PLAIN)


def batch(
    value: bytes,
    timestamp_ms: int,
    producer_id: int,
    producer_epoch: int,
    sequence: int,
    attributes: int = TRANSACTIONAL,
) -> bytes:
    """Attributes, the two deltas and the length of no key are a byte each; so is the number of headers."""
    record = b"\0\0\0\1" + varint(len(value)) + value + b"\0"
    records = varint(len(record)) + record
    tail = struct.pack(
        ">hiqqqhii",
        *(attributes, 0, timestamp_ms, timestamp_ms),
        *(producer_id, producer_epoch, sequence, 1),
    )
    checked = tail + records
    return struct.pack(">qiibI", 0, 9 + len(checked), -1, 2, crc32c(checked)) + checked
