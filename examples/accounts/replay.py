"""Balances from nothing but the log.

    python -m examples.accounts.replay HOST:PORT TOPIC

Reads every partition from offset 0 to where it ends now and folds. No group, no commits, nothing is left behind; it may
be done by anybody, at any time, as often as one likes.
"""

from __future__ import annotations

import argparse
import sys
import time

from examples.accounts.events import Account, Event, fold

TIMEOUT_S = 30.0


def replay(bootstrap: str, topic: str) -> tuple[dict[str, Account], int, int]:
    """The accounts, how many events there are, and how many of them were applied."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            raise SystemExit(f"there is no topic {topic}")
        for partition, first in consumer.beginning_offsets(partitions).items():
            if first:
                raise SystemExit(
                    f"{topic}-{partition.partition} begins at {first}: what came before is gone, and with it "
                    "the balances; a log of events is kept for ever (retention.ms=-1, retention.bytes=-1)"
                )
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        accounts: dict[str, Account] = {}
        read = kept = 0
        deadline = time.monotonic() + TIMEOUT_S
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for partition, records in consumer.poll(timeout_ms=500).items():
                for record in records:
                    if record.offset < ends[partition]:
                        read += 1
                        kept += fold(accounts, Event.parse(record.value))
            if time.monotonic() > deadline:
                raise SystemExit(f"{topic} could not be read to its end in {TIMEOUT_S:.0f} s")
        return accounts, read, kept
    finally:
        consumer.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.accounts.replay", description="Balances from offset 0.")
    parser.add_argument("bootstrap", metavar="HOST:PORT")
    parser.add_argument("topic")
    chosen = parser.parse_args()
    accounts, read, kept = replay(chosen.bootstrap, chosen.topic)
    for name, account in sorted(accounts.items()):
        print(f"{name} {account.cents / 100:.2f}")
    print(f"{len(accounts)} accounts from {read} events; {read - kept} came too late or twice", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
