"""What has a bar of its own and needs no second broker: a large assignment, and a coordinator that loads a long log.

The first as in `benches.consumer_groups`: the target of 5,000 partitions for 500 members, and the next one with a
member more, whose subscriptions are alike or differ; the second as in `benches.loading`: five million commits over
50,000 keys, in one partition of `__consumer_offsets` and spread over fifty, their files in the page cache.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benches import consumer_groups, loading
from ottla.coordinator.group.consumer.assignors import ASSIGNORS

ROUNDS = 3
COMMITS, KEYS = 5_000_000, 50_000


def assignments() -> list[dict[str, Any]]:
    """Milliseconds of processor time of each assignor."""
    found = []
    for name, alike in itertools.product(ASSIGNORS, (True, False)):
        took_ms = [consumer_groups.assignment(name, alike=alike) for _ in range(ROUNDS)]
        rounds = [{"first_ms": first, "one_more_ms": one_more} for first, one_more in took_ms]
        found.append({"assignor": name, "alike": alike, "rounds": rounds})
    return found


def loads(folder: Path) -> list[dict[str, Any]]:
    """Seconds until the last shard serves."""
    found = []
    for partitions in (1, 50):
        data = folder / f"loading-{partitions}"
        data.mkdir(parents=True)
        try:
            loading.write(data, partitions, COMMITS, KEYS)
            rounds = [asdict(loading.load(data, partitions)) for _ in range(ROUNDS)]
        finally:
            shutil.rmtree(data)
        found.append({"partitions": partitions, "rounds": rounds})
    return found


def run(folder: Path) -> dict[str, Any]:
    """Both."""
    return {
        "workload": "coordinators",
        "partitions": consumer_groups.TOPICS * consumer_groups.PARTITIONS_EACH,
        "members": consumer_groups.MEMBERS,
        "commits": COMMITS,
        "keys": KEYS,
        "assignments": assignments(),
        "loads": loads(folder),
    }
