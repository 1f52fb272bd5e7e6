"""What every client library sends and receives, in plain values, and what a consumer of each can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

WAIT_S = 30.0
Revoked = Callable[[frozenset[int]], None]
# Settings of a group member that kafka-python and aiokafka name alike.
PYTHON_MEMBER: dict[str, Any] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "heartbeat_interval_ms": 100,
    "fetch_max_wait_ms": 100,
    "retry_backoff_ms": 20,
}


class Rec(NamedTuple):
    """A record to send, or as received (then with partition and offset)."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int | None = None
    partition: int = 0
    offset: int = -1

    def arguments(self) -> dict[str, Any]:
        """What `send` of kafka-python and of aiokafka takes."""
        return {
            "value": self.value,
            "key": self.key,
            "headers": list(self.headers),
            "partition": self.partition,
            "timestamp_ms": self.timestamp,
        }


class Consumer(Protocol):
    """One consumer, in a group or with partitions of its own."""

    def poll(self) -> list[Rec]: ...
    def commit(self, topic: str, offsets: dict[int, int]) -> None: ...
    def committed(self, topic: str, partition: int) -> int | None: ...
    def assignment(self) -> frozenset[int]: ...
    def close(self) -> None: ...


def polled(found: Mapping[Any, Iterable[Any]]) -> list[Rec]:
    """What a poll of kafka-python or of aiokafka gives, by partition."""
    return [
        Rec(each.value, each.key, tuple(each.headers), each.timestamp, each.partition, each.offset)
        for records in found.values()
        for each in records
    ]


def rebalance_listener(base: Any, on_revoked: Revoked | None) -> Any:
    """A listener of kafka-python or of aiokafka, which has the base class."""

    def revoked(_self: Any, partitions: Iterable[Any]) -> None:
        if on_revoked is not None:
            on_revoked(frozenset(each.partition for each in partitions))

    methods = {"on_partitions_revoked": revoked, "on_partitions_assigned": lambda _self, _partitions: None}
    return type("Listener", (base,), methods)()
