"""The snapshot a formatted controller begins with, so that Apache Kafka finds its quorum of one (KIP-853).

    __cluster_metadata-0/00000000000000000000-0000000000.checkpoint

Two batches of control records (v2): SnapshotHeader, KRaftVersion 1, Voters; then SnapshotFooter. Ottla's own metadata
log begins without one, and `ottla serve` reads past it.
"""

from __future__ import annotations

import struct

FOLDER = "__cluster_metadata-0"
FILE = "00000000000000000000-0000000000.checkpoint"
_CONTROL = 0x20
_HEADER, _FOOTER, _KRAFT_VERSION, _VOTERS = 3, 4, 5, 6


def snapshot(node_id: int, directory_id: bytes, listener: str, host: str, port: int, now_ms: int) -> bytes:
    """Give the file of a quorum whose only voter is this node."""
    endpoint = _text(listener) + _text(host) + struct.pack(">H", port) + b"\0"
    voter = struct.pack(">i", node_id) + directory_id + b"\2" + endpoint + struct.pack(">hh", 0, 1) + b"\0" + b"\0"
    first = [
        _record(0, _HEADER, struct.pack(">hq", 0, now_ms) + b"\0"),
        _record(1, _KRAFT_VERSION, struct.pack(">hh", 0, 1) + b"\0"),
        _record(2, _VOTERS, struct.pack(">h", 0) + b"\2" + voter + b"\0"),
    ]
    return _batch(0, first, now_ms) + _batch(3, [_record(0, _FOOTER, struct.pack(">h", 0) + b"\0")], now_ms)


def _text(text: str) -> bytes:
    content = text.encode()
    return _unsigned(len(content) + 1) + content


def _record(offset_delta: int, kind: int, value: bytes) -> bytes:
    key = struct.pack(">hh", 0, kind)
    body = b"\0" + _varint(0) + _varint(offset_delta) + _varint(len(key)) + key + _varint(len(value)) + value + b"\0"
    return _varint(len(body)) + body


def _batch(base_offset: int, records: list[bytes], now_ms: int) -> bytes:
    fields = struct.pack(">hiqqqhii", _CONTROL, len(records) - 1, now_ms, now_ms, -1, -1, -1, len(records))
    body = fields + b"".join(records)
    front = struct.pack(">ibI", 0, 2, crc32c(body))
    return struct.pack(">qi", base_offset, len(front) + len(body)) + front + body


def _varint(value: int) -> bytes:
    return _unsigned((value << 1) ^ (value >> 63))


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def crc32c(content: bytes) -> int:
    """Give the checksum of record batches (Castagnoli), bit by bit: there are two hundred bytes."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
