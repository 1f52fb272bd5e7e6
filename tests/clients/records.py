"""What every client library sends and receives, in plain values, and what a consumer of each can do."""

from __future__ import annotations

from typing import NamedTuple, Protocol

WAIT_S = 30.0


class Rec(NamedTuple):
    """A record to send, or as received (then with partition and offset)."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int | None = None
    partition: int = 0
    offset: int = -1


class Consumer(Protocol):
    """One consumer, in a group or with partitions of its own."""

    def poll(self) -> list[Rec]: ...
    def commit(self, topic: str, offsets: dict[int, int]) -> None: ...
    def committed(self, topic: str, partition: int) -> int | None: ...
    def assignment(self) -> frozenset[int]: ...
    def close(self) -> None: ...
