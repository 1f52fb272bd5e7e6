"""A consumer that loses nothing: read some records, make their effect durable, and only then commit.

    Reader(bootstrap, "orders", "inventory", effect).run()      until SIGTERM

`effect` gets a list of records and returns when what they cause is on disk. A process that dies between the effect and
the commit leaves records whose effect is there and whose offsets are not committed: whoever gets the partition next
reads them again. That is what "at least once" means, and why an effect has to know what it has seen: by an id in the
record that is stored in the same database transaction as the effect itself.

Offsets are committed every `COMMIT_EVERY` records, before a partition is handed over, and at the end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from confluent_kafka import Consumer, Message, TopicPartition

BATCH_RECORDS = 50
COMMIT_EVERY = 100
IDLE_S = 0.1


class Reader:
    """One member of a group.

    `instance` makes it a static member (KIP-345): started again under the same name it has its partitions at once, and
    nobody else gets them in between. Without, a dead member's partitions go to the others after `session_timeout_ms`.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        group: str,
        effect: Callable[[list[Message]], None],
        *,
        instance: str | None = None,
        session_timeout_ms: int = 45_000,
    ) -> None:
        from confluent_kafka import Consumer

        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": min(3_000, session_timeout_ms // 4),
            "error_cb": print,  # "broker down" and the like: for the log; the client tries again by itself
            "log_level": 2,
        }
        if instance is not None:
            settings["group.instance.id"] = instance
        self.effect = effect
        self.batch: list[Message] = []
        self.uncommitted: dict[tuple[str, int], int] = {}
        self.since_commit = 0
        self.stopping = False
        self.consumer: Consumer = Consumer(settings)
        self.consumer.subscribe([topic], on_revoke=self._on_revoke, on_lost=self._on_lost)

    def run(self) -> None:
        """Until SIGTERM. Leaves the group in order: what was read is committed."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        while not self.stopping:
            message = self.consumer.poll(IDLE_S if not self.batch else 0.0)
            if message is not None:
                if (error := message.error()) is not None:
                    print(error, flush=True)
                    continue
                self.batch.append(message)
            if self.batch and (message is None or len(self.batch) >= BATCH_RECORDS):
                self._apply()
                if self.since_commit >= COMMIT_EVERY:
                    self._commit()
        self._apply()
        self._commit()
        self.consumer.close()

    def _apply(self) -> None:
        if self.batch:
            self.effect(self.batch)
            for message in self.batch:
                self.uncommitted[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
            self.since_commit += len(self.batch)
            self.batch = []

    def _commit(self) -> None:
        """Tries to. A broker that is away or a rebalance may refuse: then a later commit covers these, or none."""
        from confluent_kafka import KafkaException, TopicPartition

        if not self.uncommitted:
            return
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in self.uncommitted.items()]
        try:
            self.consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException:
            return
        self.uncommitted.clear()
        self.since_commit = 0

    def _on_revoke(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """Hands over cleanly: what was read is done and committed before another member starts."""
        self._apply()
        self._commit()
        self.uncommitted.clear()

    def _on_lost(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """The group went on without us: what is done is done, but the offsets are not ours to commit any more."""
        self._apply()
        self.uncommitted.clear()

    def _on_sigterm(self, _signal: int, _frame: object) -> None:
        self.stopping = True


def database(path: Path, schema: str) -> sqlite3.Connection:
    """A SQLite file that several processes may use; a transaction survives the death of the process that made it.

    It is made under another name and takes its own when it is whole: nobody waits for a lock while it is set up.
    """
    if not path.exists():
        new = path.with_suffix(f".{os.getpid()}")
        with contextlib.closing(sqlite3.connect(new)) as made:
            made.execute("PRAGMA journal_mode=WAL")
            made.executescript(schema)
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            os.link(new, path)
        new.unlink()
    connection = sqlite3.connect(path, timeout=30.0)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What the database says now; nothing if nobody has made it yet."""
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as store:
        return store.execute(query).fetchall()


def headers_of(message: Message) -> dict[str, str]:
    """A record's headers as text, the last of each name. They may hold any bytes: tracing, for one, writes its own."""
    headers: Any = message.headers() or []
    return {name: (value or b"").decode(errors="replace") for name, value in headers}
