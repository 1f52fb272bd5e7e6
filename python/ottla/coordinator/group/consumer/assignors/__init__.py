"""Assignors: who of a group shall have which partitions. Pure functions, each in a file of its own.

`uniform` spreads all partitions evenly and moves as few as it can; `range` gives neighbours of each topic to the same
member, so that topics of equal size go together. Cost of both: partitions + members (times its logarithm where members
are sorted).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ottla.coordinator.group.consumer.assignors.in_ranges import assign_ranges
from ottla.coordinator.group.consumer.assignors.uniform import assign_uniformly

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.coordinator.group.consumer.assignors.subject import Subject
    from ottla.coordinator.group.consumer.member import Target


class Assignor(Protocol):
    """Decides."""

    def __call__(
        self, subjects: Sequence[Subject], partition_counts: Mapping[bytes, int], *, alike: bool
    ) -> dict[str, Target]:
        """Everybody's target. `alike`: all subscribe to the same topics. The order of the members matters."""
        ...


UNIFORM: Final = "uniform"
RANGE: Final = "range"

ASSIGNORS: Final[dict[str, Assignor]] = {UNIFORM: assign_uniformly, RANGE: assign_ranges}
