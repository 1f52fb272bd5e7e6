"""Transactions of a broker whose system calls fail: whatever is refused, readers of committed records get on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEST_SETTINGS
from tests.wire.batches import TRANSACTIONAL, Batch, Record
from tests.wire.cases.committed_reads import end_of
from tests.wire.cases.transactions import Producer, addition, begin, ending, here, initiation
from tests.wire.client import Plain
from tests.wire.differential import Talk
from tests.wire.test_failing_disk import LOG, STORAGE_ERROR, Traced, pytestmark

__all__ = ["pytestmark"]

WAIT_S = 60
COORDINATOR_OFFLINE = "partition __transaction_state-0 is offline"
PATIENCE_MS = 1_000
SETTINGS = {
    **TEST_SETTINGS,
    "transaction.state.log.num.partitions": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Traced]:
    process = Traced(tmp_path / "broker", SETTINGS)
    yield process
    process.kill()
    assert not process.faults(), process.output_path


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what


def send(talk: Talk, name: str, own: Producer, sequence: int) -> str:
    """One batch of a client before KIP-890; its error, or that of the partition's addition to the transaction."""
    added = talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk)))
    (topic,) = added["results_by_topic_v3_and_below"]
    code = str(topic["results_by_partition"][0]["partition_error_code"])
    if code != "none":
        return code
    batch = Batch(
        # Of now, as markers are: another time would begin another segment.
        [Record(b"%d" % sequence, timestamp=int(time.time() * 1000))],
        attributes=TRANSACTIONAL,
        producer_id=own[0],
        producer_epoch=own[1],
        base_sequence=sequence,
    )
    data = [{"name": talk.topic(), "partition_data": [{"index": 0, "records": batch.encode()}]}]
    fields: Plain = {"transactional_id": name, "acks": -1, "timeout": 10_000, "topic_data": data}
    answer = talk.quietly("produce", 11, **fields)
    return str(answer["responses"][0]["partition_responses"][0]["error_code"])


def ended(talk: Talk, name: str, own: Producer, *, committed: bool) -> str:
    return str(talk.quietly("end_txn", 3, **ending(name, own, committed=committed))["error_code"])


def state(talk: Talk, name: str) -> str:
    answer = talk.quietly("describe_transactions", 0, transactional_ids=(name,))
    return str(answer["transaction_states"][0]["transaction_state"])


def committed(talk: Talk) -> list[bytes]:
    """What a consumer of committed records is given; it has to come to the end of the log."""
    until(lambda: end_of(talk, 1)["offset"] == end_of(talk, 0)["offset"], "readers of committed records wait")
    places = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]
    fields: dict[str, Any] = {"max_wait": 0, "min_bytes": 0, "max_bytes": 1 << 20, "replica_id": -1}
    topics = [{"topic": talk.topic(), "partitions": places}]
    answer = talk.quietly("fetch", 11, topics=topics, isolation_level=1, session_epoch=-1, rack_id="", **fields)
    found = answer["responses"][0]["partitions"][0]
    aborted = {each["producer_id"]: each["first_offset"] for each in found["aborted_transactions"] or []}
    assert len(aborted) == len(found["aborted_transactions"] or []), "one producer, one aborted transaction"
    return _values(found["records"], aborted)


def _values(records: bytes, aborted: dict[int, int]) -> list[bytes]:
    values = []
    while records:
        size = 12 + int.from_bytes(records[8:12], "big")
        offset = int.from_bytes(records[:8], "big")
        producer_id = int.from_bytes(records[43:51], "big", signed=True)
        is_control = records[22] & 0x20
        if is_control:
            aborted.pop(producer_id, None)
        elif offset < aborted.get(producer_id, 1 << 62):
            # One record of a few bytes, its value before the count of headers.
            body = records[61:size]
            length = body[5] >> 1
            values.append(body[6 : 6 + length])
        records = records[size:]
    return values


def test_markers_on_a_full_disk(broker: Traced, unique: str) -> None:
    """They are tried again until there is room."""
    broker.faults_injected = [(f"{unique}-0/{LOG}", "pwritev,pwrite64", "ENOSPC", "1..3")]
    broker.start()
    talk = Talk(broker, unique)
    talk.create()
    name, own = begin(talk)
    for sequence, commits in enumerate((False, True)):
        while (code := send(talk, name, own, sequence)) != "none":
            assert code == STORAGE_ERROR
        assert ended(talk, name, own, committed=commits) == "none"
        until(lambda: not state(talk, name).startswith("Prepare"), "the transaction does not end")
    assert "is tried again until it is there (KAFKA_STORAGE_ERROR)" in broker.output()
    assert committed(talk) == [b"1"]
    talk.close()
    broker.kill()
    broker.faults_injected = []
    broker.start()
    talk = Talk(broker, unique)
    assert committed(talk) == [b"1"]
    talk.close()


def test_a_partition_that_fails_with_a_transaction_open(broker: Traced, unique: str) -> None:
    """The end is decided, the markers wait; the next start has them written, behind what the disk had."""
    broker.faults_injected = [(f"{unique}-0/{LOG}", "fdatasync", "EIO", "2+")]
    broker.start()
    talk = Talk(broker, unique)
    talk.create()
    name, own = begin(talk)
    expected: list[bytes] = []
    for sequence in range(100):
        code = send(talk, name, own, sequence)
        assert code in {"none", STORAGE_ERROR}
        assert ended(talk, name, own, committed=code == "none") == "none"
        if code == "none":
            expected.append(b"%d" % sequence)
        until(
            lambda: not state(talk, name).startswith("Prepare") or "is offline" in broker.output(),
            "neither markers nor an error",
        )
        if "is offline" in broker.output():
            break
    else:
        pytest.fail("nothing failed")
    assert state(talk, name).startswith("Prepare")
    talk.close()
    broker.kill()
    broker.faults_injected = []
    broker.start()
    talk = Talk(broker, unique)
    until(lambda: state(talk, name).startswith("Complete"), "the transaction does not end")
    assert committed(talk) == expected
    talk.close()


def test_a_coordinator_whose_disk_fails(broker: Traced, unique: str) -> None:
    """Who waits is told, and nothing is decided any more. After the next start what was decided is completed, and what
    was not runs out of time; what was acknowledged as committed is there.
    """
    broker.faults_injected = [(f"__transaction_state-0/{LOG}", "fdatasync", "EIO", "12+")]
    broker.start()
    talk = Talk(broker, unique)
    talk.create()
    name, own = begin(talk, timeout=PATIENCE_MS)
    acknowledged: list[bytes] = []
    sent: list[bytes] = []

    def go_on() -> str:
        for sequence in range(100):
            code = send(talk, name, own, sequence)
            if code == "none":
                sent.append(b"%d" % sequence)
                code = ended(talk, name, own, committed=True)
            if code != "none":
                return code
            acknowledged.append(b"%d" % sequence)
            until(lambda: state(talk, name) == "CompleteCommit" or COORDINATOR_OFFLINE in broker.output(), "no end")
        pytest.fail("nothing failed")

    assert go_on() == "not_coordinator"
    assert ended(talk, name, own, committed=True) == "not_coordinator"
    talk.close()
    broker.kill()
    assert broker.injected() > 0
    broker.faults_injected = []
    broker.start()
    talk = Talk(broker, unique)
    found = committed(talk)
    assert found in (acknowledged, sent)
    answer = talk.quietly("init_producer_id", 5, **initiation(name))
    while answer["error_code"] == "concurrent_transactions":
        answer = talk.quietly("init_producer_id", 5, **initiation(name))
    assert answer["error_code"] == "none"
    talk.close()
