"""How much a run does: everything, or with `--quick` a fifth of it, to see that something works and roughly how.

Set once, by `benches.__main__`, before anything is measured; the results say which it was. Figures of a quick run are
not for the README: Kafka's JVM is cold in it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Effort:
    """The whole, unless somebody is in a hurry."""

    share: float = 1.0
    warm_up_max: int = 6
    rounds: int = 3

    def hurry(self) -> None:
        self.share, self.warm_up_max = 0.2, 2

    def records(self, count: int) -> int:
        return max(1, round(count * self.share))

    def seconds(self, seconds: float) -> float:
        return seconds * self.share


EFFORT = Effort()
