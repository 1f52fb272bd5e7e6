"""Bad input, byte by byte: the protocol's error or a closed connection, a log line, nobody else disturbed.

The answers to malformed record batches and to fenced generations are compared with Kafka's in test_differential.py;
here is what no well-formed message can carry, and what must hold for Ottla whatever Kafka does.
"""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest

from tests.processes import Process
from tests.wire import batches
from tests.wire.batches import Batch, Record
from tests.wire.client import API, Closed, Connection, framed, request_bytes
from tests.wire.conftest import Undisturbed
from tests.wire.differential import Talk
from tests.wire.requests import EVERY_VERSION, REQUESTS, SERVED

REQUEST_MAX = 104_857_600  # socket.request.max.bytes
HUGE = struct.pack(">i", 2**31 - 1)
HUGE_COMPACT = b"\xff\xff\xff\xff\x07"  # as an unsigned varint, one more than the count


def connect(broker: Process) -> Connection:
    return Connection(broker.host, broker.port)


def header(api: str, version: int, client_id: bytes = b"bad") -> bytes:
    """A request header by hand; `api` may be a number that nobody knows."""
    flexible = api in SERVED and version >= SERVED[api][2]
    head = struct.pack(">hhih", API.get(api, 0), version, 1, len(client_id)) + client_id
    return head + (b"\0" if flexible else b"")


def refused(connection: Connection, data: bytes) -> bool:
    """Sends bytes and tells whether the broker closed the connection."""
    with contextlib.suppress(Closed):
        connection.send(data)
    return connection.closed_by_peer()


@pytest.mark.parametrize("length", [REQUEST_MAX + 1, 2**31 - 1, -1, -(2**31), 0, 7], ids=lambda length: f"{length}")
def test_lengths_that_no_frame_has(broker: Process, undisturbed: Undisturbed, length: int) -> None:
    """Longer than socket.request.max.bytes, negative, or too short for a header: closed without waiting for the
    rest.
    """
    with undisturbed(), connect(broker) as offender:
        assert refused(offender, struct.pack(">i", length) + b"\0" * max(0, min(length, 7)))


@pytest.mark.parametrize("sent", [b"\0", b"\0\0\0", b"\0\0\0\x64", b"\0\0\0\x64" + b"\0" * 99], ids=len)
def test_a_peer_that_leaves_in_the_middle_of_a_frame(broker: Process, undisturbed: Undisturbed, sent: bytes) -> None:
    """Part of a length or of a frame, then the end of the stream: nobody's fault, and nothing is left behind."""
    with undisturbed(logged=False), connect(broker) as offender:
        offender.send(sent)
        offender.socket.shutdown(1)
        assert offender.closed_by_peer()


@pytest.mark.parametrize(
    "message",
    [
        b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 64,
        b"\xff" * 40,
        struct.pack(">hhih", 3, 1, 1, 500) + b"short",
        struct.pack(">hhih", 3, 1, 1, -2),
        struct.pack(">hhih3s", 3, 1, 1, 3, b"\xff\xfe\xfd") + HUGE,
        struct.pack(">hhih", 3, 9, 1, -1) + HUGE_COMPACT,
        struct.pack(">hhih", 3, 9, 1, -1) + b"\x01\x00" + HUGE_COMPACT,
    ],
    ids=["http", "tls", "ones", "client id too long", "client id of -2", "not utf-8", "tags without end", "huge tag"],
)
@pytest.mark.parametrize("whole", [True, False], ids=["framed", "bare"])
def test_garbage_for_a_header(broker: Process, undisturbed: Undisturbed, message: bytes, whole: bool) -> None:
    """What is no Kafka header closes the connection, framed or as other protocols open it."""
    if not whole and struct.unpack(">i", message[:4])[0] in range(len(message), REQUEST_MAX + 1):
        pytest.skip("bare, it is the length of a frame that may yet come")
    with undisturbed(), connect(broker) as offender:
        assert refused(offender, framed(message) if whole else message)


@pytest.mark.parametrize("key", [-1, 4, 7, 93, 999, 32767])
def test_an_unknown_key_closes_the_connection(broker: Process, undisturbed: Undisturbed, key: int) -> None:
    """As Kafka does; also for keys that only controllers speak."""
    with undisturbed(), connect(broker) as offender:
        assert refused(offender, framed(struct.pack(">hhih", key, 0, 1, -1)))


@pytest.mark.parametrize("api", [api for api in SERVED if api != "api_versions"])
@pytest.mark.parametrize("step", [-1, 1], ids=["below", "above"])
def test_an_unknown_version_closes_the_connection(
    broker: Process, undisturbed: Undisturbed, api: str, step: int
) -> None:
    """One below the lowest and one above the highest. ApiVersions is the exception (test_differential.py)."""
    low, high, _ = SERVED[api]
    version = low - 1 if step < 0 else high + 1
    message = struct.pack(">hhih", API[api], version, 1, -1) + b"\0" * 40
    with undisturbed(), connect(broker) as offender:
        assert refused(offender, framed(message))


@pytest.mark.parametrize("api,version", EVERY_VERSION)
def test_bodies_that_claim_more_than_they_hold(
    broker: Process, undisturbed: Undisturbed, api: str, version: int
) -> None:
    """A well-formed request whose end is replaced by the largest count: nothing of that size is ever reserved."""
    claims = [HUGE, HUGE + b"\xb6", HUGE_COMPACT, b"\0\0" + HUGE, b"\0" * 4 + HUGE, b"\x01" + HUGE_COMPACT]
    claims += [b"\0\0" + HUGE_COMPACT, b"\0\0\xff\xff" + b"\0" * 12 + HUGE]
    claims += [b"\xff\xff\xff\xff\x7f", b"\xff" * 12, b"\x7f\xff" * 3]
    before = forget_peak(broker)
    with undisturbed(logged=False):
        for claim in claims:
            with connect(broker) as offender:
                offender.send(framed(header(api, version) + claim))
                answered_or_closed(offender)
    assert peak_bytes(broker) - before < 64 << 20


@pytest.mark.parametrize("api,version", EVERY_VERSION)
def test_every_prefix_of_a_request(broker: Process, undisturbed: Undisturbed, api: str, version: int) -> None:
    """A request cut at every byte, its length told truly: an answer or a closed connection, each time."""
    whole = request_bytes(api, version, 1, "cut", REQUESTS[api])
    with undisturbed(logged=False):
        offender = connect(broker)
        for size in range(8, len(whole)):
            offender.send(framed(whole[:size]))
            if not answered_or_closed(offender):
                offender.socket.close()
                offender = connect(broker)
        offender.socket.close()


def answered_or_closed(connection: Connection) -> bool:
    """True when an answer came, False when the connection was closed; a time-out fails the test."""
    try:
        connection.receive()
    except Closed:
        return False
    return True


def forget_peak(broker: Process) -> int:
    """Lets the peak begin anew; returns what is resident now."""
    Path(f"/proc/{broker.pid}/clear_refs").write_text("5")
    return peak_bytes(broker)


def peak_bytes(broker: Process) -> int:
    """The most memory the process had resident since it started or the peak was forgotten."""
    status = Path(f"/proc/{broker.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_null_records_are_answered(broker: Process, undisturbed: Undisturbed, unique: str) -> None:
    """A partition without records in a Produce. Kafka 4.3.1 fails inside and never answers; Ottla must not hang."""
    if broker.name == "kafka":
        pytest.skip("Apache Kafka 4.3.1 never answers this")
    talk = Talk(broker, unique)
    talk.create()
    talk.close()
    data = [{"name": unique, "partition_data": [{"index": 0, "records": None}]}]
    with undisturbed(), connect(broker) as offender:
        offender.submit("produce", 9, acks=-1, timeout=1000, topic_data=data)
        answered_or_closed(offender)


@pytest.mark.ottla
@pytest.mark.parametrize("deltas", [(0, 7), (1,), (0, 0), (1, 0)], ids=str)
def test_offsets_in_a_batch_follow_each_other(
    broker: Process, undisturbed: Undisturbed, unique: str, deltas: tuple[int, ...]
) -> None:
    """Record offsets inside a batch are 0, 1, 2: others are INVALID_RECORD, the first wrong one told by its index."""
    talk = Talk(broker, unique)
    talk.create()
    records = [Record(b"v", offset_delta=delta) for delta in deltas]
    data = [{"name": unique, "partition_data": [{"index": 0, "records": Batch(records).encode()}]}]
    with undisturbed(logged=False):
        answer = talk.quietly("produce", 9, acks=-1, timeout=1000, topic_data=data)
    (partition,) = answer["responses"][0]["partition_responses"]
    wrong = next(index for index, delta in enumerate(deltas) if index != delta)
    assert partition["error_code"] == "invalid_record"
    assert partition["record_errors"][0]["batch_index"] == wrong
    talk.close()


@pytest.mark.parametrize("codec", [batches.GZIP, batches.SNAPPY, batches.LZ4, batches.ZSTD])
@pytest.mark.ottla
def test_a_decompression_bomb_is_small(broker: Process, undisturbed: Undisturbed, unique: str, codec: int) -> None:
    """A few hundred kilobytes that unpack to 256 MiB: refused, with no more in memory than may be unpacked."""
    talk = Talk(broker, unique)
    talk.create()
    talk.close()
    size = 256 << 20
    inside = b"\0" + batches.varint(0) + batches.varint(0) + batches.varint(-1) + batches.varint(size)
    plain = batches.varint(len(inside) + size + 1) + inside + b"\0" * size + batches.varint(0)
    packed = batches.COMPRESS[codec](plain)
    del plain
    bomb = Batch(attributes=codec, body=packed).encode()
    data = [{"name": unique, "partition_data": [{"index": 0, "records": bomb}]}]
    before = forget_peak(broker)
    with undisturbed(logged=False), connect(broker) as offender:
        answer = offender.ask("produce", 9, acks=-1, timeout=10_000, topic_data=data)
    error = answer["responses"][0]["partition_responses"][0]["error_code"]
    assert error in ("message_too_large", "invalid_record", "corrupt_message"), error
    assert peak_bytes(broker) - before < 64 << 20, "the limit of these tests is 32 MiB"


def test_one_bad_request_does_not_take_back_good_ones(broker: Process, undisturbed: Undisturbed, unique: str) -> None:
    """Good requests in front of garbage on one connection are answered, in order, before it closes; what they wrote
    stays.
    """
    talk = Talk(broker, unique)
    talk.create()
    data = [{"name": unique, "partition_data": [{"index": 0, "records": Batch().encode()}]}]
    with undisturbed(), connect(broker) as offender:
        first = offender.submit("produce", 9, acks=-1, timeout=1000, topic_data=data)
        second = offender.submit("produce", 9, acks=-1, timeout=1000, topic_data=data)
        offender.send(framed(b"\xff" * 20))
        for expected in (first, second):
            with contextlib.suppress(Closed):  # Kafka may close before it has answered
                assert struct.unpack(">i", offender.receive()[:4])[0] == expected
        assert offender.closed_by_peer()
    partitions = [{"partition_index": 0, "timestamp": -1}]
    found = talk.quietly("list_offsets", 5, topics=[{"name": unique, "partitions": partitions}], replica_id=-1)
    talk.close()
    assert found["topics"][0]["partitions"][0]["offset"] in ((2,) if broker.name == "ottla" else (0, 1, 2))


def test_many_connections_that_say_nothing(broker: Process, undisturbed: Undisturbed) -> None:
    """Two hundred connections that send half a length, all at once: nobody waits for them."""
    with undisturbed(logged=False), contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(broker)).send(b"\0\0")
