"""Many producers into one topic, with two client libraries, and one producer killed."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from examples.meters.__main__ import METERS, ROUNDS
from examples.meters.meter import MARK_EVERY, measured

if TYPE_CHECKING:
    from tests.examples.conftest import Plays


@pytest.mark.ottla
@pytest.mark.plays("meters", "plain")
def test_every_reading_counts_once(plays: Plays) -> None:
    """Eight producers of two kinds write side by side; nothing is missing and nothing is there twice."""
    run = plays("meters", "plain")
    assert run.outcome["records"] == run.outcome["readings"] == len(METERS) * sum(ROUNDS)
    assert run.outcome["repeats"] == dict.fromkeys(METERS, 0)
    assert run.output.count("kafka-python") == run.output.count("confluent-kafka") == len(METERS) // 2


@pytest.mark.plays("meters", "kill")
def test_a_killed_producer_repeats_what_it_had_not_noted(plays: Plays) -> None:
    """Thirty readings are in the log twice, in order both times, with the same content, and all others once."""
    run = plays("meters", "kill")
    beyond = ROUNDS[0] % MARK_EVERY
    assert beyond == 30
    assert run.outcome["repeats"] == dict.fromkeys(METERS, 0) | {"meter-3": beyond}
    numbers, homes = defaultdict(list), defaultdict(set)
    for message in run.records("meter-readings"):
        reading = json.loads(message.value())
        assert message.key().decode() == reading["meter"]
        assert reading["watt_hours"] == measured(reading["meter"], reading["number"])
        numbers[reading["meter"]].append(reading["number"])
        homes[reading["meter"]].add(message.partition())
    taken = list(range(1, sum(ROUNDS) + 1))
    for name in METERS:
        again = taken[ROUNDS[0] - beyond : ROUNDS[0]] if name == "meter-3" else []
        assert numbers[name] == taken[: ROUNDS[0]] + again + taken[ROUNDS[0] :]
        assert len(homes[name]) == 1
