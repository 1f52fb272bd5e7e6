"""Start to the first answered ApiVersions and to the first acknowledged record; memory of a broker that does nothing.

A start is that of a broker which was stopped cleanly: its directory exists, with a topic of one partition. Time runs
from the call that makes the process; the broker is asked every few milliseconds, and once it answers it is sent a
record (acks=all) until that is acknowledged.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from benches.batches import plain_batch
from benches.link import Link, create_topic
from benches.meters import MIB
from benches.peers import Peer
from benches.rounds import Round, interleaved, summary
from ottla.messages import (
    ProduceRequest,
    ProduceRequestPartitionProduceData,
    ProduceRequestTopicProduceData,
    ProduceResponse,
)
from tests.processes import answers

ROUNDS = 5
ASK_EVERY_S = 0.002
ACKNOWLEDGED_WITHIN_S = 60.0
IDLE_S = 5.0
TOPIC = "started"
PRODUCE = 0


def one_start(peer: Peer) -> float:
    """Seconds from launch to the first answer."""
    process = peer.process
    begun = time.perf_counter()
    process.launch()
    while not answers(process.host, process.port, timeout_s=60):
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"{peer.name} ended with {process.wait_ended(ASK_EVERY_S)}:\n{process.tail()}")
    return time.perf_counter() - begun


def acknowledged(peer: Peer) -> None:
    """Returns once a record is acknowledged."""
    records = plain_batch(b"first", round(time.time() * 1000))
    data = ProduceRequestPartitionProduceData(index=0, records=records)
    topic = ProduceRequestTopicProduceData(name=TOPIC, partition_data=[data])
    request = ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic])
    deadline = time.monotonic() + ACKNOWLEDGED_WITHIN_S
    while True:
        with contextlib.suppress(OSError):  # a broker may close connections while it starts
            link = Link(peer.process)
            answer = link.ask(PRODUCE, request)
            link.close()
            assert isinstance(answer, ProduceResponse)
            error = answer.responses[0].partition_responses[0].error_code
            if error == 0:
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{peer.name} acknowledges nothing within {ACKNOWLEDGED_WITHIN_S} s")
        time.sleep(ASK_EVERY_S)


def one_round(peer: Peer) -> Round:
    """A start and a stop."""
    begun = time.perf_counter()
    start_s = one_start(peer)
    acknowledged(peer)
    done_s = time.perf_counter() - begun
    peer.process.stop()
    return {"start_s": start_s, "first_record_s": done_s}


def run(peers: Sequence[Peer]) -> dict[str, Any]:
    """Starts and stops each peer in turn; leaves all of them running."""
    rounds: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for peer in peers:  # the directory is made, pages and byte code are in memory
        one_start(peer)
        create_topic(peer.process, TOPIC, 1)
        acknowledged(peer)
        peer.process.stop()
    for peer in interleaved(peers, ROUNDS):
        rounds[peer.name].append(one_round(peer))
    for peer in peers:
        one_start(peer)
    time.sleep(IDLE_S)
    return {
        "workload": "start",
        "rounds": rounds,
        "start_s": {name: summary(done, "start_s") for name, done in rounds.items()},
        "first_record_s": {name: summary(done, "first_record_s") for name, done in rounds.items()},
        "idle_rss_mib": {peer.name: peer.process.resident_bytes() / MIB for peer in peers},
        "idle_after_s": IDLE_S,
    }
