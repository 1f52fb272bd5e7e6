"""Rider locations by region: the partitioner, two groups, and a member that is killed."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from examples.riders.regions import PARTITIONS, RegionPartitioner, key_of
from examples.riders.world import REGIONS, Update, region_of, updates

if TYPE_CHECKING:
    from tests.examples.conftest import Plays

RIDERS, STEPS = 60, 100


@pytest.mark.ottla
@pytest.mark.plays("riders", "plain")
def test_both_groups_read_every_update(plays: Plays) -> None:
    """Trails, and the two members of dispatch between them, have read each update of each region once."""
    run = plays("riders", "plain")
    sent = Counter(update.region for update in updates(RIDERS, STEPS, seed=17))
    assert run.outcome["read_again"] == {"dispatch": 0, "trails": 0}
    for region in REGIONS:
        read = run.outcome["read"][region]
        assert read["trails-1"] == sent[region]
        assert read.get("dispatch-1", 0) + read.get("dispatch-2", 0) == sent[region]
    assert "6,000 updates of 60 riders are acknowledged" in run.output


@pytest.mark.plays("riders", "kill")
def test_another_member_takes_over(plays: Plays) -> None:
    """Dispatch loses a member half-way and no update; what was read twice is counted, and trails notices nothing."""
    run = plays("riders", "kill")
    assert "dispatch-1 (pid" in run.output
    again = run.outcome["read_again"]
    assert again["trails"] == 0
    read: Counter[str] = Counter()
    for counts in run.outcome["read"].values():
        read.update(counts)
    assert read["trails-1"] == RIDERS * STEPS
    assert read["dispatch-1"] + read["dispatch-2"] == RIDERS * STEPS + again["dispatch"]
    # It had partitions when it died, and cannot have read the second half.
    assert 0 < read["dispatch-1"] <= RIDERS * STEPS // 2
    # Their timestamps are older than what a broker keeps by itself.
    assert run.config("rider-locations")["retention.ms"] == "-1"

    sent = list(updates(RIDERS, STEPS, seed=17))
    inside = [(m.partition(), json.loads(m.value())) for m in run.records("rider-locations")]
    assert sorted(u["rider"] + str(u["seq"]) for _p, u in inside) == sorted(u.rider + str(u.seq) for u in sent)
    last: dict[tuple[int, str], int] = {}
    for partition, update in inside:
        assert partition in PARTITIONS[update["region"]]
        assert last.get((partition, update["rider"]), -1) < update["seq"]
        last[partition, update["rider"]] = update["seq"]


def test_a_region_has_its_partitions() -> None:
    """Each partition has one region, and the riders in the centre are spread over all three of its own."""
    partitioner = RegionPartitioner()
    homes: dict[int, set[str]] = {}
    for region in REGIONS:
        for number in range(50):
            key = key_of(Update(f"rider-{number:02}", 0, 0, region, 0, 0))
            homes.setdefault(partitioner.partition("t", key, key, b"", b"", None), set()).add(region)
    assert homes == {number: {region} for region, numbers in PARTITIONS.items() for number in numbers}


@pytest.mark.parametrize(
    "x_m, y_m, region",
    [(5000, 5000, "centre"), (5000, 9000, "north"), (9000, 5000, "east"), (5000, 0, "south"), (0, 5000, "west")],
)
def test_regions_lie_where_they_should(x_m: int, y_m: int, region: str) -> None:
    """The map has the centre in the middle and north on top."""
    assert region_of(x_m, y_m) == region
