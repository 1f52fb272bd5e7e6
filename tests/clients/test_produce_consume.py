"""Records go in and come out whole, whatever the codec, the acks and the shape of the record."""

from __future__ import annotations

import hashlib

import pytest

from tests.clients.drivers import Driver, Rec, read, read_all

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
TIME = 1_700_000_000_000


@pytest.mark.parametrize("codec", CODECS)
def test_records_of_every_codec_come_back_in_order(driver: Driver, unique: str, codec: str) -> None:
    """What was produced with a codec is consumed byte for byte, with offsets from 0."""
    driver.create_topic(unique)
    sent = [Rec(f"value {number} {'x' * 100}".encode(), f"key {number}".encode()) for number in range(300)]
    assert driver.produce(unique, sent, codec=codec) == list(range(300))
    found = read_all(driver, unique, 300)
    assert [(each.offset, each.key, each.value) for each in found] == [
        (number, record.key, record.value) for number, record in enumerate(sent)
    ]


@pytest.mark.parametrize(
    "acks,idempotent", [(0, False), (1, False), ("all", False), ("all", True)], ids=["0", "1", "all", "idempotent"]
)
def test_every_kind_of_acknowledgement(driver: Driver, unique: str, acks: str | int, idempotent: bool) -> None:
    """Acks 1 and all tell the right offsets (0 cannot, and kafka-python makes some up); the records are there in each
    case.
    """
    driver.create_topic(unique)
    sent = [Rec(str(number).encode()) for number in range(50)]
    offsets = driver.produce(unique, sent, acks=acks, idempotent=idempotent)
    assert acks == 0 or offsets == list(range(50))
    assert [each.value for each in read_all(driver, unique, 50)] == [record.value for record in sent]


def test_empty_and_null_keys_and_values_stay_apart(driver: Driver, unique: str) -> None:
    """Empty is not null, in keys, values and header values."""
    driver.create_topic(unique)
    shapes = [(b"", b""), (None, b""), (b"", None), (b"k", None), (None, b"v")]
    if driver.name == "librdkafka":  # the others refuse to send it
        shapes.append((None, None))
    driver.produce(unique, [Rec(value, key) for key, value in shapes])
    assert [(each.key, each.value) for each in read_all(driver, unique, len(shapes))] == shapes


def test_headers_keep_their_order_and_their_duplicates(driver: Driver, unique: str) -> None:
    """The same header key three times arrives three times, in the order sent, with empty values as sent."""
    driver.create_topic(unique)
    headers = (("trace", b"1"), ("trace", b"2"), ("other", b""), ("trace", b"1"), ("ünïcode", b"\x00\xff"))
    driver.produce(unique, [Rec(b"with", headers=headers), Rec(b"without")])
    assert [each.headers for each in read_all(driver, unique, 2)] == [headers, ()]


def test_reading_from_an_offset(driver: Driver, unique: str) -> None:
    """A reader that seeks to an offset inside a batch gets that record first."""
    driver.create_topic(unique)
    driver.produce(unique, [Rec(str(number).encode()) for number in range(100)], codec="lz4")
    reader = driver.reader(unique, [0], 42)
    try:
        assert [each.offset for each in read(reader, 58)] == list(range(42, 100))
    finally:
        reader.close()


def test_reading_from_a_time(driver: Driver, unique: str) -> None:
    """offsets_for_times gives the first record at or after a time, inside a batch too, and nothing behind the last."""
    driver.create_topic(unique)
    driver.produce(unique, [Rec(b"", timestamp=TIME + 10 * number) for number in range(100)])
    assert driver.offset_at(unique, 0, TIME - 5) == 0
    assert driver.offset_at(unique, 0, TIME + 10 * 33) == 33
    assert driver.offset_at(unique, 0, TIME + 10 * 33 + 1) == 34
    assert driver.offset_at(unique, 0, TIME + 10 * 100) is None
    assert [each.timestamp for each in read_all(driver, unique, 2)[:2]] == [TIME, TIME + 10]


def test_records_of_each_partition_keep_their_order(driver: Driver, unique: str) -> None:
    """Six partitions of one topic are six logs, each with its own offsets from 0."""
    driver.create_topic(unique, partitions=6)
    driver.produce(unique, [Rec(str(number).encode(), partition=number % 6) for number in range(600)])
    found = read_all(driver, unique, 600, range(6))
    for partition in range(6):
        mine = [(each.offset, each.value) for each in found if each.partition == partition]
        assert mine == [(number // 6, str(number).encode()) for number in range(partition, 600, 6)]


def test_transactions_one_after_another(driver: Driver, unique: str) -> None:
    """Each commit takes an offset, for its marker; another producer of the same id goes on behind it."""
    driver.create_topic(unique)
    for number in range(3):
        value = str(number).encode()
        assert driver.produce(unique, [Rec(value), Rec(value)], transactional_id=unique) == [3 * number, 3 * number + 1]
    found = read_all(driver, unique, 6)
    assert [(each.offset, each.value) for each in found] == [
        (0, b"0"),
        (1, b"0"),
        (3, b"1"),
        (4, b"1"),
        (6, b"2"),
        (7, b"2"),
    ]


def test_64_mib_of_records(driver: Driver, unique: str) -> None:
    """64 MiB in 64 KiB records over two partitions: every byte comes back."""
    driver.create_topic(unique, partitions=2)
    block = hashlib.shake_256(b"64 MiB").digest(1 << 16)
    count = 1024

    def value(number: int) -> bytes:
        return number.to_bytes(8, "big") + block[8:]

    driver.produce(unique, (Rec(value(number), partition=number % 2) for number in range(count)), acks=1)
    found = read_all(driver, unique, count, (0, 1))
    assert sorted(int.from_bytes(each.value[:8], "big") for each in found if each.value) == list(range(count))
    assert all(each.value is not None and each.value[8:] == block[8:] for each in found)
