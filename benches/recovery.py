"""Restart after SIGKILL: from launch to the first answer for the last partition, with the same records on both sides.

Kafka's ProducerPerformance fills ten partitions, the broker is killed right after the last acknowledgement and started
again. It is asked ListOffsets for every partition until each was answered, and all records must be there. The page
cache survives a kill, so neither side waits for a disk to read. Each round has a new data directory.

Both brokers check only what lies past their recovery points; how much that is comes from the checkpoint file and the
segments, which are of the same format. Kafka's recovery point moves when a segment is full (or with `flush.messages`,
`flush.ms`): all of an active segment is read again, and what was read is not synced. Ottla syncs in the background from
1 GiB past the recovery points on, and syncs what it reads again before it answers for it; scan and sync are in its
log. Of what Kafka takes the better part is no recovery: the controller holds the node that was killed for alive until
its session ends (`broker.session.timeout.ms`, 9 s), and lets it in again then. How long each says that its logs took is
in the results too.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.link import Link
from benches.meters import empty_page_cache, warm_memory
from benches.peers import make_peers
from benches.produce import GENERATOR_BYTES, RECORD_BYTES, create_topic, send
from benches.rounds import Round, interleaved, summary
from ottla.messages import (
    ListOffsetsRequest,
    ListOffsetsRequestPartition,
    ListOffsetsRequestTopic,
    ListOffsetsResponse,
)
from tests.processes import Process

TOPIC = "recovery"
PARTITIONS = 10
ROUNDS = 3
ASK_EVERY_S = 0.002
ANSWERED_WITHIN_S = 300.0
LATEST = -1
GIB = 1 << 30
# What they say at the level INFO: Ottla a line for each partition, Kafka one for all.
OTTLA_SAYS = re.compile(r"recovered \S+ in (\d+) ms, (\d+) of them for syncs: scanned (\d+) bytes")
KAFKA_SAYS = re.compile(r"Loaded \d+ logs in (\d+) ?ms")
# `num.recovery.threads.per.data.dir` of both.
THREADS = 2


def past_recovery_point(data_dir: Path) -> int:
    """Bytes of the segments that hold anything past the recovery point: what a start must look at."""
    points = {}
    checkpoint = data_dir / "recovery-point-offset-checkpoint"
    # Both write it once a minute: who is killed before has none.
    lines = checkpoint.read_text().splitlines()[2:] if checkpoint.exists() else []
    for line in lines:
        topic, partition, offset = line.split()
        points[f"{topic}-{partition}"] = int(offset)
    total = 0
    for number in range(PARTITIONS):
        name = f"{TOPIC}-{number}"
        segments = sorted((data_dir / name).glob("*.log"))
        # A segment ends where the next begins.
        for segment, behind in itertools.zip_longest(segments, segments[1:]):
            if behind is None or int(behind.stem) > points.get(name, 0):
                total += segment.stat().st_size
    return total


def ask(process: Process, waiting: set[int]) -> dict[int, int]:
    """The log ends of the partitions that answer."""
    link = Link(process)
    try:
        partitions = [
            ListOffsetsRequestPartition(partition_index=partition, timestamp=LATEST) for partition in sorted(waiting)
        ]
        topic = ListOffsetsRequestTopic(name=TOPIC, partitions=partitions)
        answer = link.ask(2, ListOffsetsRequest(replica_id=-1, topics=[topic]))
    finally:
        link.socket.close()
    assert isinstance(answer, ListOffsetsResponse)
    return {each.partition_index: each.offset for each in answer.topics[0].partitions if each.error_code == 0}


def restart(process: Process) -> tuple[float, int]:
    """Seconds from launch until every partition was answered for, and the records they hold."""
    ends: dict[int, int] = {}
    begun = time.perf_counter()
    process.launch()
    while waiting := set(range(PARTITIONS)) - ends.keys():
        with contextlib.suppress(OSError):
            ends |= ask(process, waiting)
            if len(ends) == PARTITIONS:
                break
        if time.perf_counter() - begun > ANSWERED_WITHIN_S:
            raise RuntimeError(f"{process.name} does not answer for {sorted(waiting)}:\n{process.tail()}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"{process.name} ended with {process.wait_ended(ASK_EVERY_S)}:\n{process.tail()}")
    return time.perf_counter() - begun, sum(ends.values())


def logs_took(output: str) -> dict[str, float]:
    """What a broker's log tells of a start: how long its logs took, and what of that was for syncs (Kafka has none)."""
    if loaded := KAFKA_SAYS.findall(output):
        return {"logs_s": int(loaded[-1]) / 1000}
    recovered = [[int(word) for word in line] for line in OTTLA_SAYS.findall(output)]
    if not recovered:
        raise RuntimeError(f"no word of what was recovered:\n{output[-2000:]}")
    took_ms, sync_ms = (sum(line[place] for line in recovered) for place in (0, 1))
    return {"logs_s": took_ms / 1000 / THREADS, "sync_s": sync_ms / 1000 / THREADS}


def one_round(folder: Path, name: str, gib: float) -> Round:
    """A new broker, filled, killed and started again."""
    (peer,) = make_peers(folder, [name])
    process = peer.process
    records = int(gib * GIB) // RECORD_BYTES
    try:
        page_cache = empty_page_cache([folder])
        warm_memory(records * RECORD_BYTES + GENERATOR_BYTES)
        process.start()
        create_topic(process, TOPIC, PARTITIONS)
        send(process, TOPIC, records)
        process.kill()
        scanned = past_recovery_point(process.data_dir)
        told = len(process.output())
        restart_s, found = restart(process)
        if found != records:
            raise RuntimeError(f"{name} has {found} of {records} acknowledged records after SIGKILL")
        said = logs_took(process.output()[told:])
    finally:
        process.kill()
        shutil.rmtree(folder / name)
    return {
        "restart_s": restart_s,
        "past_recovery_point_gib": scanned / GIB,
        "records": records,
        "page_cache": page_cache,
        **said,
    }


def run(folder: Path, names: Sequence[str], gib: float) -> dict[str, Any]:
    """Interleaved rounds; none is for warming up, since a start is cold by nature."""
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    for name in interleaved(names, ROUNDS):
        rounds[name].append(one_round(folder, name, gib))
    figures = ("restart_s", "past_recovery_point_gib", "logs_s")
    return {
        "workload": "recovery",
        "gib": gib,
        "partitions": PARTITIONS,
        "rounds": rounds,
        **{figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in figures},
    }
