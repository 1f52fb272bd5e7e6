"""What the journals of all children say together, kept while they grow.

A flight is counted once, however often it was read: its identity (hour, carrier, number) is in the record. Where it was
read (partition and offset) tells the two kinds of duplicates apart. The same place read twice is what at least once
means: the reader that had it first died, or lost its partition, before its commit was acknowledged. The same flight in
two places would have been written twice, and the idempotent producer must not allow that.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from examples.flights.table import Identity

Place = tuple[int, int]  # partition, offset


@dataclass
class Carrier:
    """What pandas computes as well: all flights, and the delay of those that arrived. Integers, nothing is rounded."""

    flights: int = 0
    arrived: int = 0
    delay_minutes: int = 0

    def add(self, arr_delay: int | None) -> None:
        self.flights += 1
        if arr_delay is not None:
            self.arrived += 1
            self.delay_minutes += arr_delay

    @property
    def mean_delay(self) -> float:
        return self.delay_minutes / self.arrived if self.arrived else math.nan


@dataclass
class Ledger:
    """Fold of the journals."""

    # The first place each flight was read at, and the flights that were found at a second one.
    places: dict[Identity, Place] = field(default_factory=dict)
    written_twice: list[tuple[Identity, Place, Place]] = field(default_factory=list)
    carriers: dict[str, Carrier] = field(default_factory=dict)
    # How often a place was read beyond the first time, by the reader that came later.
    again: Counter[str] = field(default_factory=Counter)
    # Flights each reader was the first to read.
    first_by: Counter[str] = field(default_factory=Counter)
    # For the verdict on duplicates: acknowledged commits and starts of reading, per partition, in the order of time.
    commits: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    starts: list[tuple[float, str, int, int]] = field(default_factory=list)  # time assigned, reader, partition, offset
    gaps: list[str] = field(default_factory=list)
    _assigned: dict[tuple[str, int], float] = field(default_factory=dict)
    _next: dict[tuple[str, int], int] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Distinct flights."""
        return len(self.places)

    @property
    def reread(self) -> int:
        return self.again.total()

    def add(self, reader: str, entry: dict[str, Any]) -> None:
        """One line of a reader's journal."""
        if "assigned" in entry:
            for partition in entry["assigned"]:
                self._assigned[reader, partition] = entry["time"]
                self._next.pop((reader, partition), None)
        elif "committed" in entry:
            for partition, offset in entry["committed"].items():
                self.commits.setdefault(int(partition), []).append((entry["time"], offset))
        else:
            self._add_flights(reader, entry["partition"], entry["offsets"], entry["flights"])

    def _add_flights(self, reader: str, partition: int, offsets: list[int], flights: list[list[Any]]) -> None:
        here = reader, partition
        if here not in self._next:
            self.starts.append((self._assigned[here], reader, partition, offsets[0]))
            self._next[here] = offsets[0]
        for offset, (hour, carrier, number, arr_delay) in zip(offsets, flights, strict=True):
            if offset != self._next[here]:
                self.gaps.append(f"{reader} read {partition}-{offset} where {self._next[here]} was next")
            self._next[here] = offset + 1
            flight, place = (hour, carrier, number), (partition, offset)
            known = self.places.get(flight)
            if known is None:
                self.places[flight] = place
                self.first_by[reader] += 1
                self.carriers.setdefault(carrier, Carrier()).add(arr_delay)
            elif known == place:
                self.again[reader] += 1
            else:
                self.written_twice.append((flight, known, place))
