"""A control plane kept busy: `python -m benches.control_load HOST PORT`, until its standard input ends.

Commits of offsets from many connections, several under way on each; Metadata of all topics from one, one after the
other; and one that makes a hundred topics and deletes them again, over and over, which are the slow turns: each of
these requests changes what everybody is told. It says when everything has been answered once, and in the end how many
of each there were.
"""

from __future__ import annotations

import json
import os
import selectors
import sys
import time
from collections.abc import Iterator
from itertools import count, cycle
from types import SimpleNamespace

from msgspec import Struct

from benches.link import Form, Link, create_topic, frame, response, wait_for_groups
from ottla.messages import (
    CreateTopicsRequest,
    CreateTopicsRequestCreatableTopic,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsRequestDeleteTopicState,
    DeleteTopicsResponse,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)

METADATA, OFFSET_COMMIT, CREATE_TOPICS, DELETE_TOPICS = 3, 8, 19, 20
NAMES = {
    METADATA: "Metadata",
    OFFSET_COMMIT: "OffsetCommit",
    CREATE_TOPICS: "CreateTopics",
    DELETE_TOPICS: "DeleteTopics",
}
COMMITTERS, DEPTH = 10, 8
TOPICS = 100
WAIT_S = 30


class Client:
    """One connection with a number of requests under way; the next goes out with each answer."""

    def __init__(self, link: Link, requests: Iterator[tuple[int, bytes]], depth: int) -> None:
        self.socket = link.socket
        self._requests = requests
        self._received = bytearray()
        self._asked: list[int] = []
        for _ in range(depth):
            self._ask()

    def _ask(self) -> None:
        key, data = next(self._requests)
        self._asked.append(key)
        self.socket.sendall(data)

    def take(self) -> list[int]:
        """The keys of what was answered."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the broker closed a connection")
        self._received += data
        answered = []
        while len(self._received) >= 4:
            size = 4 + int.from_bytes(self._received[:4], "big")
            if len(self._received) < size:
                break
            key = self._asked.pop(0)
            if key != METADATA:  # of many topics: to decode it would be the most of the work here
                check(response(key, bytes(self._received[4:size])))
            del self._received[:size]
            answered.append(key)
            self._ask()
        return answered


def check(answer: Struct) -> None:
    """What says no is no load."""
    codes = []
    if isinstance(answer, OffsetCommitResponse):
        codes = [partition.error_code for topic in answer.topics for partition in topic.partitions]
    elif isinstance(answer, CreateTopicsResponse):
        codes = [topic.error_code for topic in answer.topics]
    elif isinstance(answer, DeleteTopicsResponse):
        codes = [each.error_code for each in answer.responses]
    if wrong := [code for code in codes if code]:
        raise RuntimeError(f"{type(answer).__name__} says {wrong[0]}, {len(wrong)} times of {len(codes)}")


def commits(group: str, topic_name: str) -> Iterator[tuple[int, bytes]]:
    def commit(offset: int) -> Struct:
        partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        topic = OffsetCommitRequestTopic(name=topic_name, partitions=[partition])
        return OffsetCommitRequest(group_id=group, generation_id_or_member_epoch=-1, topics=[topic])

    form = Form(OFFSET_COMMIT, commit)
    return ((OFFSET_COMMIT, form.filled(offset % (1 << 31))) for offset in count())


def metadata() -> Iterator[tuple[int, bytes]]:
    return cycle([(METADATA, frame(METADATA, MetadataRequest(topics=None)))])


def topics_made_and_deleted() -> Iterator[tuple[int, bytes]]:
    names = [f"passing-{os.getpid()}-{number}" for number in range(TOPICS)]
    asked = [CreateTopicsRequestCreatableTopic(name=name, num_partitions=1, replication_factor=1) for name in names]
    states = [DeleteTopicsRequestDeleteTopicState(name=name) for name in names]
    timeout_ms = WAIT_S * 1000
    made = frame(CREATE_TOPICS, CreateTopicsRequest(topics=asked, timeout_ms=timeout_ms))
    deleted = frame(DELETE_TOPICS, DeleteTopicsRequest(topics=states, timeout_ms=timeout_ms))
    return cycle([(CREATE_TOPICS, made), (DELETE_TOPICS, deleted)])


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    process = SimpleNamespace(name="the broker", host=host, port=port)
    groups = [f"committer-{number}" for number in range(COMMITTERS)]
    topic = f"committed-{os.getpid()}"
    create_topic(process, topic, 1)  # type: ignore[arg-type]  # of a process only these are asked
    for group in groups:
        wait_for_groups(process, group)  # type: ignore[arg-type]
    made = [(commits(group, topic), DEPTH) for group in groups]
    made += [(metadata(), 1), (topics_made_and_deleted(), 1)]
    selector = selectors.DefaultSelector()
    for requests, depth in made:
        client = Client(Link(process), requests, depth)  # type: ignore[arg-type]
        selector.register(client.socket, selectors.EVENT_READ, client)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    answered = dict.fromkeys(NAMES, 0)
    begun_s = time.perf_counter()
    has_begun = False
    while True:
        ready = selector.select(WAIT_S)
        if not ready:
            raise RuntimeError(f"the broker answered nothing for {WAIT_S} s")
        for chosen, _ in ready:
            if chosen.data is None:
                took_s = time.perf_counter() - begun_s
                told = {NAMES[key]: each / took_s for key, each in answered.items()}
                print(json.dumps({"per_s": told, "own_cpu_s": time.process_time(), "seconds": took_s}), flush=True)
                return
            for key in chosen.data.take():
                answered[key] += 1
        if not has_begun and all(answered.values()):
            has_begun = True
            print("{}", flush=True)


if __name__ == "__main__":
    main()
