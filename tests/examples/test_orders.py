"""Order events fanned out to three services, and one of them killed."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from examples.orders.events import PRODUCTS, events

if TYPE_CHECKING:
    from tests.examples.conftest import Plays

SERVICES = ("inventory", "notification", "analytics")


@pytest.mark.ottla
@pytest.mark.plays("orders", "plain")
def test_each_service_makes_its_own_of_every_event(plays: Plays) -> None:
    """Shelves, mails and revenue are those of a plain sum over the events, though some are sent twice."""
    run = plays("orders", "plain")
    happened = list(events(1_000, seed=7))
    assert run.outcome["events"] == len(happened)
    sent_twice = run.outcome["records"] - len(happened)
    assert sent_twice == len(happened) // 40 > 0
    assert run.outcome["repeats"] == dict.fromkeys(SERVICES, sent_twice)
    assert run.outcome["mails"] == Counter(event.kind for event in happened)
    shipped = [event for event in happened if event.kind == "shipped"]
    assert sum(cents for _pieces, cents in run.outcome["revenue"].values()) == sum(event.cents for event in shipped)


@pytest.mark.plays("orders", "kill")
def test_a_killed_service_does_nothing_twice(plays: Plays) -> None:
    """Inventory dies with work done and not committed; it meets exactly that again, and the shelves are right."""
    run = plays("orders", "kill")
    again = run.outcome["read_again"]
    assert again["notification"] == again["analytics"] == 0
    assert again["inventory"] > 0
    sent_twice = run.outcome["records"] - run.outcome["events"]
    assert run.outcome["repeats"] == {name: sent_twice + again[name] for name in SERVICES}

    stock = {product: pieces for product, (_price, pieces) in PRODUCTS.items()}
    seen: dict[str, list[str]] = {}
    for message in run.records("orders"):
        event = json.loads(message.value())
        kinds = seen.setdefault(event["order"], [])
        assert message.key().decode() == event["customer"]
        if event["kind"] in kinds:
            continue
        kinds.append(event["kind"])
        for product, pieces in event["lines"].items():
            stock[product] += {"placed": -pieces, "cancelled": pieces}.get(event["kind"], 0)
    assert run.outcome["stock"] == stock
    # In the log, too, each order's story is in order.
    stories = (["placed", "paid", "shipped"], ["placed", "cancelled"], ["placed", "paid", "cancelled"])
    assert all(kinds in stories for kinds in seen.values())
    assert len(seen) == 1_000
