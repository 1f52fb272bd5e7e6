"""Log lines of a stretch of time, straight from the topic.

    python -m examples.logs.search HOST:PORT TOPIC --since 1767254400000 --until 1767254460000 --level ERROR

A topic is no database, but it has an index by time: `offsets_for_times` gives for each partition the first offset whose
record is not older than asked for. Nothing in front of it can match, so nothing in front of it is read. (Behind it,
records of several hosts are mixed and a shipper may have been late: what is too new is skipped, not taken for the end.)
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 30.0


@dataclass
class Found:
    """Matching entries in the order of time, each once, and how much had to be read for them."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0
    records: int = 0


def search(
    bootstrap: str,
    topic: str,
    since_ms: int,
    until_ms: int,
    host: str | None = None,
    level: str | None = None,
) -> Found:
    """Entries with since_ms <= time < until_ms."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            raise SystemExit(f"there is no topic {topic}")
        ends = consumer.end_offsets(partitions)
        starts = consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        # None: everything in that partition is older.
        left = {one: ends[one] for one in partitions if starts[one] is not None and starts[one].offset < ends[one]}
        consumer.assign(list(left))
        for one in left:
            consumer.seek(one, starts[one].offset)
        found, seen = Found(records=sum(ends.values())), set()
        deadline = time.monotonic() + TIMEOUT_S
        while left:
            for one, records in consumer.poll(timeout_ms=500).items():
                for record in records:
                    if one not in left or record.offset >= left[one]:
                        continue
                    found.read += 1
                    headers, line = dict(record.headers), (record.key, dict(record.headers)["position"])
                    fits = since_ms <= record.timestamp < until_ms
                    fits &= host is None or record.key == host.encode()
                    fits &= level is None or headers["level"] == level.encode()
                    if fits and line not in seen:
                        seen.add(line)
                        found.entries.append({"host": record.key.decode(), **json.loads(record.value)})
                if one in left and consumer.position(one) >= left[one]:
                    del left[one]
            if time.monotonic() > deadline:
                raise SystemExit(f"{topic} could not be read to its end in {TIMEOUT_S:.0f} s")
        found.entries.sort(key=lambda entry: (entry["time_ms"], entry["host"]))
        return found
    finally:
        consumer.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.logs.search", description="Log lines by time.")
    parser.add_argument("bootstrap", metavar="HOST:PORT")
    parser.add_argument("topic")
    parser.add_argument("--since", type=int, default=0, metavar="MS", help="milliseconds since 1970")
    parser.add_argument("--until", type=int, default=2**62, metavar="MS")
    parser.add_argument("--host")
    parser.add_argument("--level", choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
    chosen = parser.parse_args()
    found = search(chosen.bootstrap, chosen.topic, chosen.since, chosen.until, chosen.host, chosen.level)
    for entry in found.entries:
        print(json.dumps(entry))
    print(f"{len(found.entries)} entries; {found.read} of {found.records} records read", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
