"""The same conversation with Ottla and with Apache Kafka, compared answer by answer.

A case is a function that talks to one broker through a `Talk`, which keeps every answer under a label. It runs against
both brokers; the two transcripts must then be equal after `settle` has replaced what cannot be equal:

- ids that a broker invents (topic ids, member ids, fetch sessions, producer ids) become `#1`, `#2` in order of first
  appearance, so
  that the same id in two places is still the same;
- addresses, the cluster id and clock readings become a word;
- lists that Kafka builds from hash maps are sorted;
- prose (`error_message`, documentation) is ours, and so is whether an error comes with some.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.processes import Process
from tests.wire import batches
from tests.wire.batches import Batch
from tests.wire.client import Closed, Connection, Plain, decode_response, framed

CLOSED = "closed"
WAIT_S = 20
INVENTED = {"topic_id", "member_id", "leader", "members_leader", "session_id", "producer_id", "directory_id"}
ADDRESSES = {"host", "port", "cluster_id", "log_dir", "total_bytes", "usable_bytes"}
CLOCKS = {"log_append_time", "log_append_time_ms"}
PROSE = {"error_message", "documentation", "batch_index_error_message", "message"}
# Kafka answers these in the order of a hash map.
UNORDERED = {
    "groups": "group_id",
    "members": "member_id",
    "partition_errors": "partition_index",
    "partition_responses": "index",
    "results": "group_id",
}
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Talk:
    """One conversation with one broker."""

    broker: Process
    name: str
    client_id: str = "wire"
    transcript: list[tuple[str, Any]] = field(default_factory=list)
    _connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.broker.host, self.broker.port, self.client_id)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None

    def quietly(self, api: str, version: int, **fields: Any) -> Plain:
        """Asks without keeping the answer: for preparations."""
        return self.connection.ask(api, version, **fields)

    def ask(self, label: str, api: str, version: int, **fields: Any) -> Any:
        """Asks and keeps the answer; a closed connection is an answer too, and the next question opens a new one."""
        try:
            answer: Any = self.connection.ask(api, version, **fields)
        except Closed:
            self.close()
            answer = CLOSED
        self.note(label, answer)
        return answer

    def ask_raw(self, label: str, message: bytes, api: str, version: int) -> Any:
        """Sends a message as it is (the length is put in front) and reads the answer as one of that API and version."""
        try:
            self.connection.send(framed(message))
            answer: Any = decode_response(api, version, self.connection.receive())[1]
        except Closed:
            self.close()
            answer = CLOSED
        self.note(label, answer)
        return answer

    def note(self, label: str, answer: Any) -> None:
        self.transcript.append((label, answer))

    def topic(self, suffix: str = "") -> str:
        """A topic name of this case, the same with both brokers."""
        return f"{self.name}{suffix}"

    def create(self, suffix: str = "", partitions: int = 1, configs: dict[str, str] | None = None) -> str:
        """Creates a topic and waits until its metadata has a leader for each partition; returns its id as text."""
        name = self.topic(suffix)
        entries = [{"name": key, "value": value} for key, value in (configs or {}).items()]
        topic = {
            "name": name,
            "num_partitions": partitions,
            "replication_factor": 1,
            "assignments": (),
            "configs": entries,
        }
        answer = self.quietly("create_topics", 7, topics=[topic], timeout=10_000)
        assert answer["topics"][0]["error_code"] == "none", answer
        found = self.wait_for_metadata(name, lambda topic: ready(topic, partitions))
        self.wait_for_leaders(name, partitions)
        return str(found["topic_id"])

    def wait_for_leaders(self, name: str, partitions: int) -> None:
        """In Kafka a partition is in the metadata a moment before its log is there to be used."""
        asked = [{"partition_index": index, "timestamp": -1} for index in range(partitions)]
        deadline = time.monotonic() + WAIT_S
        while True:
            topics = [{"name": name, "partitions": asked}]
            answer = self.quietly("list_offsets", 5, topics=topics, replica_id=-1, isolation_level=0)
            if all(each["error_code"] == "none" for each in answer["topics"][0]["partitions"]):
                return
            assert time.monotonic() < deadline, answer

    def wait_for_metadata(self, name: str, condition: Callable[[Plain], bool]) -> Plain:
        """Metadata follows a change a moment later in Kafka; asks until it has."""
        deadline = time.monotonic() + WAIT_S
        while True:
            answer = self.quietly("metadata", 12, topics=[{"name": name}], allow_auto_topic_creation=False)
            found: Plain = answer["topics"][0]
            if condition(found):
                return found
            assert time.monotonic() < deadline, f"{name}: metadata stays {found}"

    def wait_for_config(self, kind: int, name: str, key: str, value: str) -> None:
        """Settings follow a change a moment later in Kafka; asks until they have."""
        deadline = time.monotonic() + WAIT_S
        while True:
            resource = {"resource_type": kind, "resource_name": name, "configuration_keys": [key]}
            answer = self.quietly("describe_configs", 4, resources=[resource])
            if answer["results"][0]["configs"][0]["value"] == value:
                return
            assert time.monotonic() < deadline, answer

    def produce(self, topic: str, batch: Batch | bytes, partition: int = 0) -> None:
        """Appends one batch and expects it to be taken."""
        data = batch if isinstance(batch, bytes) else batch.encode()
        partitions = [{"index": partition, "records": data}]
        answer = self.quietly(
            "produce", 12, acks=-1, timeout=10_000, topic_data=[{"name": topic, "partition_data": partitions}]
        )
        assert answer["responses"][0]["partition_responses"][0]["error_code"] == "none", answer

    def wait_for_producer_ids(self) -> None:
        """Kafka's broker asks its controller for a block of ids when the first is wanted, and has none until then."""
        deadline = time.monotonic() + WAIT_S
        while self.quietly("init_producer_id", 4, transactional_id=None)["error_code"] != "none":
            assert time.monotonic() < deadline

    def coordinate(self, group: str) -> None:
        """Waits until the group's coordinator answers: the first question makes the internal topic."""
        deadline = time.monotonic() + WAIT_S
        while True:
            answer = self.quietly("find_coordinator", 4, key_type=0, coordinator_keys=[group])
            if answer["coordinators"][0]["error_code"] == "none":
                answer = self.quietly("offset_fetch", 7, group_id=group, topics=None)
                if answer["error_code"] == "none":
                    return
            assert time.monotonic() < deadline, answer

    def coordinate_transactions(self, transactional_id: str) -> None:
        """Waits until the coordinator of a transactional id answers, and hands out producer ids."""
        deadline = time.monotonic() + WAIT_S
        while True:
            answer = self.quietly("find_coordinator", 4, key_type=1, coordinator_keys=[transactional_id])
            if answer["coordinators"][0]["error_code"] == "none":
                fields = {"transactional_id": f"{transactional_id}-first", "transaction_timeout": 1000}
                answer = self.quietly("init_producer_id", 4, producer_id=-1, producer_epoch=-1, **fields)
                if answer["error_code"] == "none":
                    return
            assert time.monotonic() < deadline, answer


def ready(topic: Plain, partitions: int) -> bool:
    return len(topic["partitions"]) == partitions and all(each["leader_id"] >= 0 for each in topic["partitions"])


def gone(topic: Plain) -> bool:
    return bool(topic["error_code"] == "unknown_topic_or_partition")


Case = Callable[[Talk, int], None]
CASES: dict[str, tuple[Case, int]] = {}


def case(versions: Iterable[int]) -> Callable[[Case], Case]:
    """Registers a conversation for each of the versions."""

    def register(function: Case) -> Case:
        for version in versions:
            CASES[f"{function.__name__}-v{version}"] = (function, version)
        return function

    return register


LIMITED_CASES: dict[str, tuple[Case, int]] = {}


def limited_case(versions: Iterable[int]) -> Callable[[Case], Case]:
    """Registers a conversation with brokers that have `LIMITS` beside the settings of all tests."""

    def register(function: Case) -> Case:
        for version in versions:
            LIMITED_CASES[f"{function.__name__}-v{version}"] = (function, version)
        return function

    return register


# What makes a time or a bound of groups short enough to be met.
LIMITS = {
    "group.initial.rebalance.delay.ms": "1500",
    "group.max.size": "2",
    "group.consumer.max.size": "2",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "1500",
    "group.min.session.timeout.ms": "1000",
    "group.max.session.timeout.ms": "30000",
    "offsets.retention.check.interval.ms": "200",
}


def settle(transcript: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The transcript with what brokers invent, advertise or word on their own replaced."""
    seen: dict[Any, str] = {}

    def symbol(value: Any) -> Any:
        if value in (None, "", -1):
            return value
        return seen.setdefault(value, f"#{len(seen) + 1}")

    def walk(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: walk(each, key) for key, each in value.items()}
        if isinstance(value, list | tuple):
            key = UNORDERED.get(name, "")
            if value and isinstance(value[0], dict) and key in value[0]:
                value = sorted(value, key=lambda each: str(each[key]))
            return [walk(each, name) for each in value]
        if name in INVENTED and (name, value) != ("session_id", 0):  # 0 is no session
            return symbol(value)
        if name in ADDRESSES and value not in (None, "", -1):
            return name
        if name in CLOCKS and value is not None:
            return "a time"
        if name in PROSE:
            return "prose"
        if name == "records" and (value is None or isinstance(value, bytes)):
            return batches.summaries(value)
        if isinstance(value, str) and UUID_TEXT.search(value):
            return UUID_TEXT.sub(lambda match: symbol(match[0]), value)
        return value

    return [(label, walk(answer)) for label, answer in transcript]


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two answers differ, one line each."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in {**ours, **theirs}:
            found += differences(ours.get(key, "absent"), theirs.get(key, "absent"), f"{path}.{key}")
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            line
            for index, pair in enumerate(zip(ours, theirs, strict=True))
            for line in differences(*pair, f"{path}[{index}]")
        ]
    return [] if ours == theirs else [f"{path}: ottla {ours!r}, kafka {theirs!r}"]


Transcript = list[tuple[str, Any]]


def converse_with_both(
    name: str, ours: Process, theirs: Process, topics: str | None = None
) -> tuple[Transcript, Transcript]:
    """Both conversations at once, since some wait for time to pass."""
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(converse, name, broker, topics) for broker in (ours, theirs))
        return first.result(), second.result()


def converse(name: str, broker: Process, topics: str | None = None) -> Transcript:
    """The settled transcript of one conversation. `topics`: their names, where a broker hears it twice."""
    function, version = {**CASES, **LIMITED_CASES}[name]
    talk = Talk(broker, topics or name)
    try:
        function(talk, version)
    finally:
        talk.close()
    return settle(talk.transcript)
