"""The run: `python -m examples.riders [--kill dispatch-1] [--bootstrap HOST:PORT] [--out DIR]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from examples.at_least_once import rows
from examples.riders import picture
from examples.riders.regions import PARTITION_COUNT, PARTITIONS, REGION_OF_PARTITION, RegionPartitioner, key_of
from examples.riders.world import REGIONS, Update, updates
from examples.stage import Stage, parser, positive, run

if TYPE_CHECKING:
    from kafka import KafkaProducer

TOPIC = "rider-locations"
MEMBERS = {"dispatch": ("dispatch-1", "dispatch-2"), "trails": ("trails-1",)}
HOW_OFTEN = "SELECT count(*), count(DISTINCT partition * 1000000 + offset) FROM readings"


def arguments() -> argparse.Namespace:
    made = parser("riders", "Rider locations by region, read by two groups.", victims=MEMBERS["dispatch"])
    made.add_argument("--riders", type=positive, default=60)
    made.add_argument("--steps", type=positive, default=100, help="updates of each rider")
    made.add_argument("--seed", type=int, default=17)
    made.add_argument("--session-timeout-ms", type=positive, default=6_000, help="a dead reader is missed after that")
    made.add_argument("--out", type=Path, default=Path("target/riders"), help="where the picture goes")
    return made.parse_args()


def send(producer: KafkaProducer, topic: str, some: list[Update]) -> None:
    """Sends updates, and returns when each has been acknowledged."""
    reports = [
        producer.send(topic, json.dumps(u.as_json()).encode(), key=key_of(u), timestamp_ms=u.time_ms) for u in some
    ]
    producer.flush(30)
    for report in reports:
        report.get(30)  # raises what went wrong


def play() -> int:
    chosen = arguments()
    walks = list(updates(chosen.riders, chosen.steps, chosen.seed))
    half = len(walks) // 2
    with Stage("riders", chosen) as stage:
        from kafka import KafkaProducer

        databases = {group: stage.folder / f"{group}.sqlite" for group in MEMBERS}

        def read_by(group: str, count: int) -> bool:
            return rows(databases[group], HOW_OFTEN)[:1] != [] and rows(databases[group], HOW_OFTEN)[0][1] == count

        # The riders' day is long ago: a topic with a broker's own retention would lose it at the next look.
        stage.create({TOPIC: PARTITION_COUNT}, keep=True)
        for group, members in MEMBERS.items():
            for member in members:
                where = stage.name(TOPIC), stage.name(group), databases[group], member, chosen.session_timeout_ms
                stage.start(member, "examples.riders.reader", *where, group)
        stage.wait_for_members("dispatch", len(MEMBERS["dispatch"]))
        producer = KafkaProducer(
            bootstrap_servers=stage.bootstrap, partitioner=RegionPartitioner(), acks="all", linger_ms=5
        )
        try:
            send(producer, stage.name(TOPIC), walks[:half])
            stage.wait("both groups have read the first half", lambda: all(read_by(group, half) for group in MEMBERS))
            if chosen.kill:
                stage.kill(chosen.kill)
            send(producer, stage.name(TOPIC), walks[half:])
        finally:
            producer.close()
        stage.says(f"{len(walks):,} updates of {chosen.riders} riders are acknowledged")
        stage.wait("both groups have read it all", lambda: all(read_by(group, len(walks)) for group in MEMBERS))
        stage.stop()
        outcome = tell(stage, databases)
        wrong = compare(stage, databases, walks)
        if not wrong:
            stage.says("Each update is in a partition of its region, and both groups have what was sent, exactly.")
        chosen.out.mkdir(parents=True, exist_ok=True)
        trails = rows(databases["trails"], "SELECT rider, seq, region, x_m, y_m FROM trails ORDER BY rider, seq")
        positions = rows(databases["dispatch"], "SELECT rider, region, x_m, y_m FROM positions ORDER BY rider")
        picture.draw(trails, positions, chosen.out / "riders.png")
        stage.says(f"picture: {chosen.out / 'riders.png'}")
        return stage.verdict(outcome, wrong)


def tell(stage: Stage, databases: dict[str, Path]) -> dict[str, Any]:
    """The table, and the figures behind it."""
    seen: dict[str, list[tuple[Any, ...]]] = {
        group: rows(path, "SELECT partition, member, count(*) FROM readings GROUP BY partition, member")
        for group, path in databases.items()
    }
    now: dict[Any, Any] = dict(rows(databases["dispatch"], "SELECT region, count(*) FROM positions GROUP BY region"))
    grid = Table("region", "partitions", "riders", *MEMBERS["dispatch"], *MEMBERS["trails"], box=SIMPLE)
    for column in grid.columns[2:]:
        column.justify = "right"
    by_region: dict[str, Counter[str]] = {region: Counter() for region in REGIONS}
    for found in seen.values():
        for partition, member, count in found:
            by_region[REGION_OF_PARTITION[partition]][member] += count
    for region in REGIONS:
        numbers = ", ".join(map(str, PARTITIONS[region]))
        counts = by_region[region]
        cells = [f"{counts[member]:,}" for members in MEMBERS.values() for member in members]
        grid.add_row(region, numbers, str(now.get(region, 0)), *cells)
    stage.console.print(grid)
    again = {group: int(total) - int(places) for group, path in databases.items() for total, places in
             rows(path, HOW_OFTEN)}  # fmt: skip
    for group, count in again.items():
        if count:
            stage.says(f"{group} read {count:,} updates a second time, which changed nothing.")
    return {"read_again": again, "read": {region: dict(counts) for region, counts in by_region.items()}}


def compare(stage: Stage, databases: dict[str, Path], walks: list[Update]) -> list[str]:
    """What the groups keep beside what was sent, and each record beside the partition it should be in."""
    wrong = []
    sent = sorted((u.rider, u.seq, u.region, u.x_m, u.y_m) for u in walks)
    if rows(databases["trails"], "SELECT rider, seq, region, x_m, y_m FROM trails ORDER BY rider, seq") != sent:
        wrong.append("the trails are not what was sent")
    last = {u.rider: u for u in walks}
    wanted = sorted((u.rider, u.seq, u.region, u.x_m, u.y_m) for u in last.values())
    if rows(databases["dispatch"], "SELECT rider, seq, region, x_m, y_m FROM positions ORDER BY rider") != wanted:
        wrong.append("dispatch does not have everybody's last position")
    order: dict[tuple[int, str], int] = {}
    for message in stage.records(TOPIC):
        update, partition = json.loads(message.value() or b""), message.partition() or 0
        if partition not in PARTITIONS[update["region"]]:
            wrong.append(f"{update['rider']} {update['seq']} of {update['region']} is in partition {partition}")
        if order.get((partition, update["rider"]), -1) >= update["seq"]:
            wrong.append(f"{update['rider']} {update['seq']} comes too late in partition {partition}")
        order[partition, update["rider"]] = update["seq"]
    return wrong[:10]


if __name__ == "__main__":
    sys.exit(run(play))
