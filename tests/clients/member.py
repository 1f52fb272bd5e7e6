"""A group member as a process of its own, to be killed.

    python -m tests.clients.member LIBRARY BOOTSTRAP TOPIC SESSION_MS GROUP [OPTIONS]

It reads from the beginning and tells as lines of JSON what it owns, what it has to give up, and each record
(programs.Member). OPTIONS are JSON: `strategy` and `instance` as the drivers take them; with `commit` it commits what
it has read before it says so. It leaves the group on SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import Any

from tests.clients.drivers import DRIVERS


def tell(event: str, **what: Any) -> None:
    print(json.dumps({"event": event, **what}), flush=True)


def main(library: str, bootstrap: str, topic: str, session_ms: str, group: str, options: str = "{}") -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    more: dict[str, Any] = json.loads(options)
    commits = more.pop("commit", False)
    member = DRIVERS[library](bootstrap).member(
        topic,
        group,
        client_id="process",
        session_timeout_ms=int(session_ms),
        on_revoked=lambda lost: tell("revoked", partitions=sorted(lost)),
        **more,
    )
    owned: frozenset[int] | None = None
    while not stopped.is_set():
        records = member.poll()
        if records and commits:
            member.commit(topic, {record.partition: record.offset + 1 for record in records})
        if owned != member.assignment():
            owned = member.assignment()
            tell("owns", partitions=sorted(owned), group=group)
        for record in records:
            value = (record.value or b"").decode()
            tell("record", partition=record.partition, offset=record.offset, value=value)
    member.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
