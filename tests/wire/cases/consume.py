"""Fetch, with and without sessions (KIP-227)."""

from __future__ import annotations

from typing import Any

from tests.wire.batches import ZSTD, Batch, Record
from tests.wire.cases.metadata import UNKNOWN_ID
from tests.wire.client import Plain, decode_response
from tests.wire.differential import CLOSED, Talk, case


class Fetcher:
    """Asks Fetch in one version, by name or (from 13) by id. Long polls are off unless asked for."""

    def __init__(self, talk: Talk, version: int) -> None:
        self.talk, self.version = talk, version
        self.ids: dict[str, str] = {}

    def create(self, suffix: str = "", partitions: int = 1) -> str:
        self.ids[suffix] = self.talk.create(suffix, partitions)
        return self.talk.topic(suffix)

    def topics(self, *places: tuple[str, int, int], epoch: int = -1, size: int = 1 << 20) -> list[Plain]:
        """(suffix, partition, offset) of each partition, grouped by topic."""
        grouped: dict[str, list[Plain]] = {}
        for suffix, partition, offset in places:
            entry = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": size}
            grouped.setdefault(suffix, []).append({**entry, "current_leader_epoch": epoch})
        return [{**self.named(suffix), "partitions": entries} for suffix, entries in grouped.items()]

    def named(self, suffix: str) -> Plain:
        return {"topic": self.talk.topic(suffix), "topic_id": self.ids.get(suffix, UNKNOWN_ID)}

    def ask(self, label: str, topics: list[Plain], *, session: int = 0, session_epoch: int = -1, **more: Any) -> Any:
        fields: Plain = {"max_wait": 0, "min_bytes": 0, "max_bytes": 1 << 24, "replica_id": -1, "isolation_level": 0}
        fields |= {"session_id": session, "session_epoch": session_epoch, "topics": topics}
        return self.talk.ask(label, "fetch", self.version, **{**fields, **more})


@case(range(4, 19))
def fetch(talk: Talk, version: int) -> None:
    """Where one may read, how much comes, and every error."""
    by = Fetcher(talk, version)
    name = by.create("-full", partitions=2)
    by.create("-empty")
    for number in range(4):
        talk.produce(name, Batch([Record(f"{number}-{index}".encode() * 20) for index in range(5)]))
    for offset in (0, 7, 15, 19, 20):
        by.ask(f"from {offset}", by.topics(("-full", 0, offset)))
    by.ask("beyond the end", by.topics(("-full", 0, 21)))
    by.ask("before the start", by.topics(("-full", 0, -1)))
    by.ask("empty", by.topics(("-empty", 0, 0)))
    by.ask("unused partition", by.topics(("-full", 1, 0)))
    by.ask("unknown topic", by.topics(("-none", 0, 0)))
    by.ask("unknown partition", by.topics(("-full", 7, 0)))
    by.ask("committed", by.topics(("-full", 0, 0)), isolation_level=1)
    by.ask("a byte of the partition", by.topics(("-full", 0, 0), size=1))
    by.ask("no byte of the partition", by.topics(("-full", 0, 0), size=0))
    by.ask("negative bytes of the partition", by.topics(("-full", 0, 0), size=-1))
    one = by.ask("a byte in all", by.topics(("-full", 0, 0), ("-empty", 0, 0)), max_bytes=1)
    if one != CLOSED:
        size = len(one["responses"][0]["partitions"][0]["records"])
        by.ask("two batches fit", by.topics(("-full", 0, 0), size=size * 2))
        by.ask("one and a half fit", by.topics(("-full", 0, 0), size=size + size // 2))
    by.ask("nothing asked", [])
    by.ask("several", by.topics(("-full", 0, 18), ("-empty", 0, 0), ("-none", 0, 0), ("-full", 1, 0)))
    if version >= 9:
        by.ask("right leader epoch", by.topics(("-full", 0, 18), epoch=0))
        by.ask("leader epoch of the future", by.topics(("-full", 0, 18), epoch=3))
    if version >= 12:
        for epoch in (0, 3):
            topics = by.topics(("-full", 0, 18), epoch=0)
            topics[0]["partitions"][0]["last_fetched_epoch"] = epoch
            by.ask(f"last fetched epoch {epoch}", topics)
    by.ask("waits until time is over", by.topics(("-empty", 0, 0)), min_bytes=1, max_wait=50)


@case([9, 10, 12])
def fetch_zstd(talk: Talk, version: int) -> None:
    """Readers before version 10 do not know zstd."""
    by = Fetcher(talk, version)
    name = by.create()
    talk.produce(name, Batch([Record(b"z" * 100)], attributes=ZSTD))
    by.ask("zstd", by.topics(("", 0, 0)))


@case(range(7, 19))
def fetch_session(talk: Talk, version: int) -> None:
    """A session: opened, incremental, changed, with forgotten partitions, with wrong epochs and ids, closed."""
    by = Fetcher(talk, version)
    first, second = by.create("-1", partitions=2), by.create("-2")
    talk.produce(first, Batch([Record(b"a")]))
    both = by.topics(("-1", 0, 0), ("-1", 1, 0), ("-2", 0, 0))
    session = by.ask("opened", both, session_epoch=0)["session_id"]
    talk.note("has an id", session > 0)
    by.ask("nothing new is not told", by.topics(("-1", 0, 1)), session=session, session_epoch=1)
    by.ask("still nothing", [], session=session, session_epoch=2)
    talk.produce(second, Batch([Record(b"b")]))
    by.ask("only what has news", [], session=session, session_epoch=3)
    by.ask("told again, not having moved on", [], session=session, session_epoch=4)
    gone = [{**by.named("-2"), "partitions": [0]}]
    by.ask("forgotten", [], session=session, session_epoch=5, forgotten_topics_data=gone)
    talk.produce(second, Batch([Record(b"c")]))
    talk.produce(first, Batch([Record(b"d")]), partition=1)
    by.ask("silent about the forgotten", [], session=session, session_epoch=6)
    by.ask("a new one", by.topics(("-2", 0, 0), ("-1", 1, 1)), session=session, session_epoch=7)
    by.ask("an unknown one", by.topics(("-none", 0, 0)), session=session, session_epoch=8)
    by.ask("a partition that is not there", by.topics(("-1", 9, 0)), session=session, session_epoch=9)
    by.ask("out of range", by.topics(("-1", 0, 99)), session=session, session_epoch=10)
    by.ask("an epoch too far", [], session=session, session_epoch=13)
    by.ask("an old epoch", [], session=session, session_epoch=3)
    by.ask("no such session", [], session=session + 1, session_epoch=1)
    by.ask("no session, but an epoch", both, session=0, session_epoch=5)
    by.ask("reopened under the old id", by.topics(("-1", 0, 0)), session=session, session_epoch=0)
    by.ask("the old one is gone", [], session=session, session_epoch=11)
    other = by.ask("another", by.topics(("-2", 0, 0)), session_epoch=0)["session_id"]
    by.ask("closed by a full fetch", by.topics(("-2", 0, 1)), session=other, session_epoch=-1)
    by.ask("is closed", [], session=other, session_epoch=1)
    by.ask("closing what is not there", by.topics(("-2", 0, 1)), session=other, session_epoch=-1)
    by.ask("a session of nothing", [], session_epoch=0)


@case([12, 13])
def fetch_waits_for_news(talk: Talk, version: int) -> None:
    """A long poll is answered by the produce that comes meanwhile, not by its own time."""
    by = Fetcher(talk, version)
    name = by.create()
    fields: Plain = {"max_wait": 15_000, "min_bytes": 1, "max_bytes": 1 << 20, "replica_id": -1, "isolation_level": 0}
    topics = by.topics(("", 0, 0))
    talk.connection.submit("fetch", version, session_id=0, session_epoch=-1, topics=topics, **fields)
    aside = Talk(talk.broker, talk.name)
    aside.produce(name, Batch([Record(b"news")]))
    aside.close()
    talk.note("woken", decode_response("fetch", version, talk.connection.receive())[1])
