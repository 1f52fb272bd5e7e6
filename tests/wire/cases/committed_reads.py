"""Fetch and ListOffsets of committed records, where transactions of two producers lie across each other."""

from __future__ import annotations

import time

from tests.wire.batches import TRANSACTIONAL, Batch, Record, summaries
from tests.wire.cases.consume import Fetcher
from tests.wire.cases.transactions import addition, begin, ending
from tests.wire.client import Plain
from tests.wire.differential import WAIT_S, Talk, case

ADD, END, PRODUCE = 3, 3, 11
ADDING_PRODUCE, ADDING_END = 12, 5
AT_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class Sender:
    """A transactional producer; with `adds` partitions are added by their first batch (KIP-890)."""

    def __init__(self, talk: Talk, suffix: str, *, adds: bool) -> None:
        self.talk, self.adds = talk, adds
        self.name, self.own = begin(talk, suffix)
        self.sequences: dict[int, int] = {}

    def send(self, *values: str, partition: int = 0) -> None:
        """One batch, its records a millisecond apart; asked again while the last transaction is still being ended."""
        talk = self.talk
        if not self.adds:
            topic = {"name": talk.topic(), "partitions": (partition,)}
            self._until_done("add_partitions_to_txn", ADD, **addition(ADD, self.name, self.own, topic))
        sequence = self.sequences.get(partition, 0)
        self.sequences[partition] = sequence + len(values)
        batch = Batch(
            [Record(value.encode(), timestamp=AT_MS + index) for index, value in enumerate(values)],
            attributes=TRANSACTIONAL,
            producer_id=self.own[0],
            producer_epoch=self.own[1],
            base_sequence=sequence,
        )
        data = [{"name": talk.topic(), "partition_data": [{"index": partition, "records": batch.encode()}]}]
        fields = {"transactional_id": self.name, "acks": -1, "timeout": 10_000, "topic_data": data}
        self._until_done("produce", ADDING_PRODUCE if self.adds else PRODUCE, **fields)

    def end(self, *, committed: bool) -> None:
        answer = self._until_done(
            "end_txn", ADDING_END if self.adds else END, **ending(self.name, self.own, committed=committed)
        )
        if self.adds:
            self.own = (answer["producer_id"], answer["producer_epoch"])
            self.sequences.clear()

    def _until_done(self, api: str, version: int, **fields: object) -> Plain:
        deadline = time.monotonic() + WAIT_S
        while "concurrent_transactions" in repr(answer := self.talk.quietly(api, version, **fields)):
            assert time.monotonic() < deadline, answer
        return answer


def end_of(talk: Talk, isolation: int, partition: int = 0, timestamp: int = -1) -> Plain:
    asked = [{"name": talk.topic(), "partitions": [{"partition_index": partition, "timestamp": timestamp}]}]
    answer = talk.quietly("list_offsets", 8, topics=asked, replica_id=-1, isolation_level=isolation)
    found: Plain = answer["topics"][0]["partitions"][0]
    return found


def wait_for_end(talk: Talk, offset: int, isolation: int = 1, partition: int = 0) -> None:
    """Markers come a moment after the answer."""
    deadline = time.monotonic() + WAIT_S
    while (found := end_of(talk, isolation, partition))["offset"] != offset:
        assert time.monotonic() < deadline, found


def look(talk: Talk, by: Fetcher, names: dict[int, str], label: str, *starts: int) -> None:
    """What both kinds of readers get from each of the offsets, and find by time."""
    for isolation in (0, 1):
        for start in starts:
            fields: Plain = {"max_wait": 0, "min_bytes": 0, "max_bytes": 1 << 20, "replica_id": -1, "session_id": 0}
            topics = by.topics(("", 0, start))
            answer = talk.quietly(
                "fetch", by.version, topics=topics, isolation_level=isolation, session_epoch=-1, **fields
            )
            found = answer["responses"][0]["partitions"][0]
            aborted = found.get("aborted_transactions") or []
            for each in aborted:
                each["producer_id"] = names[each["producer_id"]]
            aborted.sort(key=lambda each: (each["first_offset"], each["producer_id"]))
            batches = summaries(found["records"]) or []
            for batch in batches:
                producer = batch["producer"]
                assert isinstance(producer, list)
                producer[0] = names.get(producer[0], "nobody")
                if int(str(batch["attributes"])) & 0x20:
                    # A marker carries the time it was written.
                    batch["base_timestamp"] = batch["max_timestamp"] = "a time"
                    batch["crc_ok"] = True
            talk.note(f"{label}: from {start}, isolation {isolation}", {**found, "records": batches})
        for timestamp in (-1, -2, -3, 0, AT_MS + 1):
            answer = end_of(talk, isolation, timestamp=timestamp)
            if answer["timestamp"] > AT_MS + HOUR_MS:
                answer["timestamp"] = "a marker's"
            talk.note(f"{label}: at {timestamp}, isolation {isolation}", answer)


@case([4, 12, 18])
def fetch_committed(talk: Talk, version: int) -> None:
    """Plain records in between; the later one ends first, with the one and with the other end."""
    by = Fetcher(talk, version)
    by.create()
    one, other = Sender(talk, "-one", adds=False), Sender(talk, "-other", adds=False)
    names = {one.own[0]: "one", other.own[0]: "other"}
    talk.produce(talk.topic(), Batch([Record(b"plain", timestamp=AT_MS)]))
    one.send("a", "b")
    look(talk, by, names, "one is open", 0, 1, 2, 3)
    talk.produce(talk.topic(), Batch([Record(b"plain", timestamp=AT_MS)]))
    other.send("c")
    one.send("d")
    look(talk, by, names, "both are open", 0, 3, 5, 6)
    other.end(committed=True)
    wait_for_end(talk, 7, isolation=0)
    look(talk, by, names, "the later one is committed", 0, 4, 6, 7)
    one.end(committed=False)
    wait_for_end(talk, 8)
    look(talk, by, names, "the earlier one is aborted", *range(9))
    one.send("e")
    one.end(committed=False)
    wait_for_end(talk, 10)
    other.send("f", "g")
    other.end(committed=False)
    wait_for_end(talk, 13)
    one.send("h")
    one.end(committed=True)
    wait_for_end(talk, 15)
    look(talk, by, names, "two more aborted, one committed", 0, 7, 8, 9, 11, 12, 14, 15)


@case([4, 12, 18])
def fetch_committed_of_transactions_2(talk: Talk, version: int) -> None:
    """The marker has the epoch of the next transaction, and every one begins anew."""
    by = Fetcher(talk, version)
    by.create(partitions=2)
    one = Sender(talk, "-one", adds=True)
    names = {one.own[0]: "one"}
    one.send("a", "b")
    one.send("c", partition=1)
    look(talk, by, names, "open", 0, 1, 2)
    for value, committed in (("", True), ("d", False), ("e", True)):
        if value:
            one.send(value)
        one.end(committed=committed)
    wait_for_end(talk, 7)
    wait_for_end(talk, 2, partition=1)
    look(talk, by, names, "ended", *range(8))
