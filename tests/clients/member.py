"""A group member as a process of its own, to be killed: python -m tests.clients.member LIBRARY BOOTSTRAP TOPIC
SESSION_MS GROUP.

It reads from the beginning, commits nothing, and tells as lines of JSON what it owns and reads (programs.Member).
"""

from __future__ import annotations

import json
import sys

from tests.clients.drivers import DRIVERS


def main(library: str, bootstrap: str, topic: str, session_ms: str, group: str) -> None:
    member = DRIVERS[library](bootstrap).member(topic, group, client_id="process", session_timeout_ms=int(session_ms))
    owned: frozenset[int] = frozenset()
    while True:
        for record in member.poll():
            told = {"partition": record.partition, "offset": record.offset, "value": (record.value or b"").decode()}
            print(json.dumps({"event": "record", **told}), flush=True)
        if owned != member.assignment():
            owned = member.assignment()
            print(json.dumps({"event": "owns", "partitions": sorted(owned), "group": group}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
