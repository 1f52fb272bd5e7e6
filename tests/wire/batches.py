"""Record batches (magic 2) as a test needs them: right by default, wrong in exactly the field that a test names.

0 baseOffset 8 · 8 batchLength 4 · 12 partitionLeaderEpoch 4 · 16 magic 1 · 17 crc 4 (of everything behind it)
21 attributes 2 · 23 lastOffsetDelta 4 · 27 baseTimestamp 8 · 35 maxTimestamp 8 · 43 producerId 8 · 51 producerEpoch 2
53 baseSequence 4 · 57 recordCount 4 · 61 records
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import crc32c
from kafka import codec

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
COMPRESS = {
    NONE: lambda data: data,
    GZIP: codec.gzip_encode,
    SNAPPY: codec.snappy_encode,
    LZ4: codec.lz4_encode,
    ZSTD: codec.zstd_encode,
}
DECOMPRESS = {
    NONE: lambda data: data,
    GZIP: codec.gzip_decode,
    SNAPPY: codec.snappy_decode,
    LZ4: codec.lz4_decode,
    ZSTD: codec.zstd_decode,
}


def varint(number: int) -> bytes:
    """Zigzag, seven bits a byte."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    shift = number = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at


def nullable(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


@dataclass
class Record:
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp: int = 1_700_000_000_000
    offset_delta: int | None = None

    def encode(self, index: int, base_timestamp: int) -> bytes:
        delta = index if self.offset_delta is None else self.offset_delta
        body = (
            b"\0" + varint(self.timestamp - base_timestamp) + varint(delta) + nullable(self.key) + nullable(self.value)
        )
        body += varint(len(self.headers))
        for name, value in self.headers:
            body += nullable(name.encode()) + nullable(value)
        return varint(len(body)) + body


@dataclass
class Batch:
    """Every header field may be set; None means the right value."""

    records: Sequence[Record] = field(default_factory=lambda: [Record(b"value")])
    base_offset: int = 0
    leader_epoch: int = -1
    magic: int = 2
    attributes: int = 0
    producer_id: int = -1
    producer_epoch: int = -1
    base_sequence: int = -1
    length: int | None = None
    crc: int | None = None
    last_offset_delta: int | None = None
    base_timestamp: int | None = None
    max_timestamp: int | None = None
    count: int | None = None
    body: bytes | None = None

    def encode(self) -> bytes:
        first = self.records[0].timestamp if self.records else 0
        base_timestamp = first if self.base_timestamp is None else self.base_timestamp
        plain_body = b"".join(record.encode(index, base_timestamp) for index, record in enumerate(self.records))
        body = COMPRESS[self.attributes & 7](plain_body) if self.body is None else self.body
        latest = max((record.timestamp for record in self.records), default=0)
        tail = struct.pack(
            ">hiqqqhii",
            self.attributes,
            len(self.records) - 1 if self.last_offset_delta is None else self.last_offset_delta,
            base_timestamp,
            latest if self.max_timestamp is None else self.max_timestamp,
            self.producer_id,
            self.producer_epoch,
            self.base_sequence,
            len(self.records) if self.count is None else self.count,
        )
        crc = crc32c.crc32c(tail + body) if self.crc is None else self.crc
        length = 9 + len(tail) + len(body) if self.length is None else self.length
        return struct.pack(">qiibI", self.base_offset, length, self.leader_epoch, self.magic, crc) + tail + body


def summaries(data: bytes | None) -> list[dict[str, object]] | None:
    """What a fetched byte range holds, batch by batch; a cut batch at the end is only named."""
    if data is None:
        return None
    found: list[dict[str, object]] = []
    at = 0
    while at < len(data):
        if len(data) - at < 61 or len(data) - at < 12 + struct.unpack_from(">i", data, at + 8)[0]:
            found.append({"cut": True})
            break
        base, length, epoch, magic, crc = struct.unpack_from(">qiibI", data, at)
        attributes, last, base_time, max_time, pid, p_epoch, sequence, count = struct.unpack_from(
            ">hiqqqhii", data, at + 21
        )
        end = at + 12 + length
        found.append(
            {
                "base_offset": base,
                "length": length,
                "leader_epoch": epoch,
                "magic": magic,
                "crc_ok": crc32c.crc32c(data[at + 21 : end]) == crc,
                "attributes": attributes,
                "last_offset_delta": last,
                "base_timestamp": base_time,
                "max_timestamp": max_time,
                "producer": [pid, p_epoch, sequence],
                "records": decode_records(DECOMPRESS[attributes & 7](data[at + 61 : end]), count),
            }
        )
        at = end
    return found


def decode_records(
    body: bytes, count: int
) -> list[tuple[int, int, bytes | None, bytes | None, list[tuple[bytes, bytes | None]]]]:
    """(timestamp delta, offset delta, key, value, headers) of each record."""
    found = []
    at = 0

    def text() -> bytes | None:
        nonlocal at
        size, at = read_varint(body, at)
        if size < 0:
            return None
        at += size
        return body[at - size : at]

    for _ in range(count):
        size, at = read_varint(body, at)
        end = at + size
        at += 1
        time_delta, at = read_varint(body, at)
        offset_delta, at = read_varint(body, at)
        key, value = text(), text()
        headers, at = read_varint(body, at)
        found.append((time_delta, offset_delta, key, value, [(text() or b"", text()) for _ in range(headers)]))
        assert at == end, "a record's length is what its fields take"
    assert at == len(body)
    return found
