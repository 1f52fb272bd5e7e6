"""What a record that failed carries with it, in headers: its value stays what it was, byte for byte.

origin     topic, partition and offset it was first read from: what it is, however often it is copied
attempt    the number of the attempt it waits for (absent in the first topic: 1)
due-ms     not before
failures   every failed attempt: number, time, error; as JSON
reason     why it was given up (dead letters only)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from examples.at_least_once import headers_of

if TYPE_CHECKING:
    from confluent_kafka import Message

ATTEMPTS_MAX = 4
# Topics that only workers write to.
_COPIES = re.compile(r".*\.(retry-\d+|dead)")


def delay_ms(attempt: int, first_delay_ms: int) -> int:
    """How long after a failed attempt the next one is due: the first delay, then twice as long each time."""
    return first_delay_ms << (attempt - 1)


def retry_topic(topic: str, attempt: int) -> str:
    """One topic for each delay. In each, records are due in the order they were written: the first one that is not due
    means that none behind it is, so a reader waits for the first and never skips.
    """
    return f"{topic}.retry-{attempt - 1}"


def dead_topic(topic: str) -> str:
    return f"{topic}.dead"


@dataclass(frozen=True)
class Trail:
    """The headers, read."""

    origin: str
    attempt: int = 1
    due_ms: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""

    @classmethod
    def of(cls, message: Message) -> Trail:
        """In the first topic headers are other people's, whatever their names: only copies carry ours."""
        here = f"{message.topic()}-{message.partition()}@{message.offset()}"
        if not _COPIES.fullmatch(message.topic() or ""):
            return cls(here)
        found = headers_of(message)
        return cls(
            found.get("origin", here),
            int(found.get("attempt", "1")),
            int(found.get("due-ms", "0")),
            json.loads(found.get("failures", "[]")),
            found.get("reason", ""),
        )

    def failed(self, error: Exception, at_ms: int) -> list[dict[str, Any]]:
        return [*self.failures, {"attempt": self.attempt, "at_ms": at_ms, "error": str(error)}]

    def again(self, error: Exception, at_ms: int, first_delay_ms: int) -> Trail:
        due_ms = at_ms + delay_ms(self.attempt, first_delay_ms)
        return Trail(self.origin, self.attempt + 1, due_ms, self.failed(error, at_ms))

    def dead(self, error: Exception, at_ms: int, reason: str) -> Trail:
        return Trail(self.origin, self.attempt, 0, self.failed(error, at_ms), reason)

    def as_headers(self) -> list[tuple[str, bytes]]:
        words = {"origin": self.origin, "attempt": str(self.attempt), "failures": json.dumps(self.failures)}
        words |= {"due-ms": str(self.due_ms)} if self.due_ms else {}
        words |= {"reason": self.reason} if self.reason else {}
        return [(name, word.encode()) for name, word in words.items()]
