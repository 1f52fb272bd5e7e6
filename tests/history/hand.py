"""Histories written by hand: a few calls for what a program would have told, a microsecond apart."""

from __future__ import annotations

import copy
from typing import Any, Self

from tests.history import events
from tests.history.checker import check
from tests.history.events import AnyEvent, Isolation, Spot
from tests.history.findings import Kind, Verdict

TOPIC = "t"
GROUP = "g"


class Hand:
    """A history that grows; `fork` goes on with a copy of it, so that two ends share a beginning."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def fork(self) -> Self:
        return copy.deepcopy(self)

    def tell(self, kind: type[AnyEvent], process: str, **fields: Any) -> Self:
        self.events.append(kind(at=len(self.events), process=process, **fields))
        return self

    def send(
        self, process: str, value: str, partition: int = 0, txn: str | None = None, cause: Spot | None = None
    ) -> Self:
        """The attempt alone."""
        more: dict[str, Any] = {} if cause is None else {"cause": cause}
        return self.tell(
            events.Send, process, topic=TOPIC, partition=partition, value=value, txn=txn and f"{process}/{txn}", **more
        )

    def sent(self, process: str, value: str, offset: int, partition: int = 0) -> Self:
        return self.tell(events.Sent, process, topic=TOPIC, partition=partition, offset=offset, value=value)

    def write(
        self,
        process: str,
        value: str,
        offset: int,
        partition: int = 0,
        txn: str | None = None,
        cause: Spot | None = None,
    ) -> Self:
        """The attempt and its acknowledgement."""
        return self.send(process, value, partition, txn, cause).sent(process, value, offset, partition)

    def failed(self, process: str, value: str, *, definite: bool) -> Self:
        return self.tell(events.Failed, process, topic=TOPIC, value=value, error="by hand", definite=definite)

    def begin(self, process: str, txn: str = "1") -> Self:
        return self.tell(events.Begin, process, txn=f"{process}/{txn}")

    def commit(self, process: str, txn: str = "1") -> Self:
        """The attempt alone."""
        return self.tell(events.Commit, process, txn=f"{process}/{txn}")

    def committed(self, process: str, txn: str = "1") -> Self:
        """The attempt and its outcome."""
        return self.commit(process, txn).tell(events.Committed, process, txn=f"{process}/{txn}")

    def aborted(self, process: str, txn: str = "1") -> Self:
        name = f"{process}/{txn}"
        return self.tell(events.Abort, process, txn=name).tell(events.Aborted, process, txn=name)

    def poll(
        self,
        process: str,
        *records: tuple[int, str],
        partition: int = 0,
        isolation: Isolation = "committed",
        group: str | None = None,
        txn: str | None = None,
    ) -> Self:
        """Records as (offset, value)."""
        found = [(TOPIC, partition, offset, value) for offset, value in records]
        return self.tell(events.Poll, process, isolation=isolation, records=found, group=group, txn=txn)

    def complete(self, process: str, end: int, *records: tuple[int, str], partition: int = 0, first: int = 0) -> Self:
        """A poll of everything there is."""
        return self.poll(process, *records, partition=partition).tell(
            events.Complete, process, topic=TOPIC, partition=partition, first=first, end=end
        )

    def assigned(self, process: str, *partitions: int, generation: int = -1) -> Self:
        return self.tell(
            events.Assigned,
            process,
            group=GROUP,
            partitions=[(TOPIC, each) for each in partitions],
            generation=generation,
        )

    def revoked(self, process: str, *partitions: int, closing: bool = False) -> Self:
        return self.tell(
            events.Revoked, process, group=GROUP, partitions=[(TOPIC, each) for each in partitions], closing=closing
        )

    def lost(self, process: str, *partitions: int) -> Self:
        return self.tell(events.Lost, process, group=GROUP, partitions=[(TOPIC, each) for each in partitions])

    def ask_to_commit(self, process: str, offset: int, partition: int = 0, txn: str | None = None) -> Self:
        offsets = [(TOPIC, partition, offset)]
        return self.tell(events.CommitOffsets, process, group=GROUP, offsets=offsets, txn=txn and f"{process}/{txn}")

    def commit_offset(self, process: str, offset: int, partition: int = 0) -> Self:
        """The attempt and its acknowledgement."""
        self.ask_to_commit(process, offset, partition)
        return self.tell(events.OffsetsCommitted, process, group=GROUP, offsets=[(TOPIC, partition, offset)])

    def verdict(self, **options: Any) -> Verdict:
        return check(self.events, **options)

    def shows(self, *kinds: Kind, **options: Any) -> None:
        """Exactly these are found, and each finding names events that are there."""
        verdict = self.verdict(**options)
        assert verdict.kinds == set(kinds), verdict.report()
        assert all(each.lines for each in verdict.findings), verdict.report()
