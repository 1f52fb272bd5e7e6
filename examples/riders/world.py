"""A city of ten by ten kilometres and riders who cross it. The same seed gives the same walks."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_M = 10_000
CENTRE_M = 2_000  # half the side of the square in the middle
STEP_S = 5
START_MS = 1_767_254_400_000
REGIONS = ("centre", "north", "east", "south", "west")


@dataclass(frozen=True)
class Update:
    """One message of a rider's phone. `seq` counts this rider's updates: it tells new from old wherever they meet."""

    rider: str
    seq: int
    time_ms: int
    region: str
    x_m: int
    y_m: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def region_of(x_m: float, y_m: float) -> str:
    """The square in the middle, and around it the four sides, parted by the diagonals."""
    x, y = x_m - SIZE_M / 2, y_m - SIZE_M / 2
    if max(abs(x), abs(y)) < CENTRE_M:
        return "centre"
    if abs(y) >= abs(x):
        return "north" if y > 0 else "south"
    return "east" if x > 0 else "west"


def updates(riders: int, steps: int, seed: int) -> Iterator[Update]:
    """All updates in the order of time: each rider heads for a place, more often than not one in the centre."""
    chance = random.Random(seed)

    def place(spread_m: int) -> tuple[float, float]:
        middle = SIZE_M / 2
        return tuple(min(SIZE_M, max(0, chance.gauss(middle, spread_m))) for _axis in "xy")  # type: ignore[return-value]

    at = [place(2_600) for _rider in range(riders)]
    to = [place(1_800) for _rider in range(riders)]
    speed_m = [chance.uniform(5, 9) * STEP_S for _rider in range(riders)]
    for step in range(steps):
        for rider in range(riders):
            (x, y), (goal_x, goal_y) = at[rider], to[rider]
            away = math.hypot(goal_x - x, goal_y - y)
            if away <= speed_m[rider]:
                at[rider], to[rider] = to[rider], place(chance.choice((1_200, 3_000)))
            else:
                share = speed_m[rider] / away
                wobble = chance.uniform(-0.3, 0.3) * speed_m[rider]
                x += (goal_x - x) * share - (goal_y - y) / away * wobble
                y += (goal_y - y) * share + (goal_x - x) / away * wobble
                at[rider] = min(SIZE_M, max(0.0, x)), min(SIZE_M, max(0.0, y))
            x_m, y_m = (round(value) for value in at[rider])
            time_ms = START_MS + step * STEP_S * 1_000 + rider
            yield Update(f"rider-{rider:02}", step, time_ms, region_of(x_m, y_m), x_m, y_m)
