"""The scenario in the order it is played, and the files its lines name."""

from __future__ import annotations

from pathlib import Path

from tests.tools.scenario import CONFIGS, OFFSETS, PRODUCE, RECORDS, STORAGE, TOPICS
from tests.tools.scenario_of_groups import GROUPS

SECTIONS = {
    "topics": TOPICS,
    "console": PRODUCE,
    "records": RECORDS,
    "groups": GROUPS,
    "configs": CONFIGS,
    "offsets": OFFSETS,
    "storage": STORAGE,
}


def prepare(folder: Path) -> None:
    """Write the files that the lines name."""
    (folder / "plan.csv").write_text("events,0,1\nevents,1,0\n")
    (folder / "plans.csv").write_text("g,events,0,1\nh,events,1,0\n")
    (folder / "add.properties").write_text("retention.ms=7000\n")
    (folder / "delete.json").write_text(
        '{"partitions": [{"topic": "numbers", "partition": 0, "offset": 1}], "version": 1}'
    )
    one = '{"topic": "numbers", "partition": 0, "offset": 1}'
    (folder / "twice.json").write_text(f'{{"partitions": [{one}, {one}]}}')
    (folder / "nonsense").write_text("nonsense")
    (folder / "version.json").write_text('{"version": 2, "partitions": []}')
    (folder / "empty.json").write_text("{}")
    for name, node_id, quorum in (
        ("voters", "1", "controller.quorum.voters=1@localhost:9093"),
        ("dynamic", "1", "controller.quorum.bootstrap.servers=localhost:9093"),
        ("number", "x", "controller.quorum.voters=1@localhost:9093"),
        ("absent", "1", "controller.quorum.voters=1@localhost:9093"),
    ):
        (folder / f"{name}.properties").write_text(
            f"process.roles=broker,controller\nnode.id={node_id}\ncontroller.listener.names=CONTROLLER\n"
            f"listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nlog.dirs={folder}/{name}\n{quorum}\n"
        )
