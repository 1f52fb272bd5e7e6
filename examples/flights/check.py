"""The verdict: is every flight there, once, in order, and does pandas say the same?

Each check returns sentences about what is wrong; none is the answer that is hoped for.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.flights import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.flights.ledger import Ledger
    from examples.flights.table import Flight


@dataclass(frozen=True)
class Row:
    """One carrier, as read from the topic and as pandas has it."""

    carrier: str
    name: str
    flights: int
    mean_delay: float
    pandas_flights: int
    pandas_mean_delay: float

    @property
    def equal(self) -> bool:
        """Equal to the last bit: no tolerance."""
        neither_arrived = math.isnan(self.mean_delay) and math.isnan(self.pandas_mean_delay)
        same_mean = self.mean_delay == self.pandas_mean_delay or neither_arrived
        return self.flights == self.pandas_flights and same_mean


def compare(ledger: Ledger, sample: int | None) -> list[Row]:
    """Counts and means by carrier beside those of pandas over the same table, the worst delay first.

    Exact on both sides: delays are whole minutes and their sums far below 2**53, so a float holds each sum without
    rounding and the one division rounds once. Flights that never arrived count as flights; neither mean includes them.
    """
    import pandas

    frame = pandas.read_csv(table.flights_file(), keep_default_na=False, na_values={"arr_delay": ["", "NA"]})
    if sample is not None:
        frame = frame.iloc[table.drawn(len(frame), sample, table.SEED)]
    grouped = frame.groupby("carrier")["arr_delay"]
    sizes, means = grouped.size(), grouped.mean()
    names = table.airlines()
    rows = []
    for carrier in sorted({*sizes.index, *ledger.carriers}):
        mine = ledger.carriers.get(carrier)
        rows.append(
            Row(
                carrier,
                names.get(carrier, carrier),
                mine.flights if mine else 0,
                mine.mean_delay if mine else float("nan"),
                int(sizes.get(carrier, 0)),
                float(means.get(carrier, float("nan"))),
            )
        )
    return sorted(rows, key=lambda row: row.pandas_mean_delay, reverse=True)


def everything(ledger: Ledger, flights: list[Flight], acked: int, rows: list[Row]) -> list[str]:
    """All that is wrong, in sentences."""
    return [
        *lost_or_invented(ledger, flights, acked),
        *written_twice(ledger),
        *out_of_order(ledger, flights),
        *read_again_without_licence(ledger),
        *(
            f"{row.carrier}: {row.flights} flights, mean {row.mean_delay!r}; pandas {row}"
            for row in rows
            if not row.equal
        ),
    ]


def lost_or_invented(ledger: Ledger, flights: list[Flight], acked: int) -> Iterator[str]:
    """What was acknowledged is what is in the table, and what was read."""
    wanted = {table.identity(flight) for flight in flights}
    if acked != len(flights):
        yield f"{acked:,} flights acknowledged of {len(flights):,}"
    if missing := wanted - ledger.places.keys():
        yield f"{len(missing):,} flights lost, for example {min(missing)}"
    if strange := ledger.places.keys() - wanted:
        yield f"{len(strange):,} flights that were never sent, for example {min(strange)}"


def written_twice(ledger: Ledger) -> Iterator[str]:
    """The idempotent producer writes each flight to one place, also when it had to ask twice."""
    for flight, first, second in ledger.written_twice[:10]:
        yield f"{flight} was written twice, at {first} and at {second}"
    if len(set(ledger.places.values())) != len(ledger.places):
        yield "two flights were read at the same place"


def out_of_order(ledger: Ledger, flights: list[Flight]) -> Iterator[str]:
    """A partition keeps the order of sending, also across the restart, and each reader reads without gaps."""
    last: defaultdict[int, int] = defaultdict(lambda: -1)
    for flight in flights:
        if (place := ledger.places.get(table.identity(flight))) is not None:
            partition, offset = place
            if offset <= last[partition]:
                yield f"{table.identity(flight)} is at {place}, but {last[partition]} was sent earlier"
                return
            last[partition] = offset
    yield from ledger.gaps[:10]


def read_again_without_licence(ledger: Ledger) -> Iterator[str]:
    """At least once allows reading again what no acknowledged commit covers, and nothing else.

    A reader that was assigned a partition after a commit was acknowledged must start at that commit or behind it: also
    when the broker was killed in between.
    """
    for assigned, reader, partition, offset in ledger.starts:
        before = [committed for time, committed in ledger.commits.get(partition, []) if time < assigned]
        start = before[-1] if before else 0
        if offset < start:
            yield f"{reader} began partition {partition} at {offset}, though a commit of {start} had been acknowledged"
