"""What happens to orders: placed, then paid and shipped, or cancelled. The same seed gives the same shop."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Price in cents and what lies on the shelf in the beginning.
PRODUCTS = {"espresso": (220, 9_000), "cornetto": (180, 6_000), "panino": (650, 4_000), "spremuta": (490, 3_000)}
STORIES = (("placed", "paid", "shipped"), ("placed", "cancelled"), ("placed", "paid", "cancelled"))
START_MS = 1_767_254_400_000


@dataclass(frozen=True)
class Event:
    """One record. `id` is the event's own name: an event that is sent or read twice still is one event."""

    id: str
    kind: str  # placed, paid, shipped, cancelled
    order: str
    customer: str
    time_ms: int
    lines: dict[str, int] = field(default_factory=dict)  # product -> pieces, in every event of the order

    @property
    def cents(self) -> int:
        return sum(PRODUCTS[product][0] * pieces for product, pieces in self.lines.items())

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"cents": self.cents}


def events(orders: int, seed: int) -> Iterator[Event]:
    """Events of many orders, mixed as they happen; those of one order in their order."""
    chance = random.Random(seed)
    under_way: list[list[Event]] = []
    time_ms, number = START_MS, 0
    while number < orders or under_way:
        if number < orders and (len(under_way) < 30 or chance.random() < 0.3):
            under_way.append(story(chance, f"order-{number:05}"))
            number += 1
        chosen = chance.randrange(len(under_way))
        time_ms += chance.randrange(20, 400)
        event = under_way[chosen].pop(0)
        yield Event(event.id, event.kind, event.order, event.customer, time_ms, event.lines)
        if not under_way[chosen]:
            under_way.pop(chosen)


def story(chance: random.Random, order: str) -> list[Event]:
    kinds = chance.choices(STORIES, (8, 1, 1))[0]
    lines = {product: chance.randint(1, 3) for product in sorted(chance.sample(sorted(PRODUCTS), chance.randint(1, 3)))}
    customer = f"customer-{chance.randrange(200):03}"
    return [Event(f"{order}-{kind}", kind, order, customer, 0, lines) for kind in kinds]
