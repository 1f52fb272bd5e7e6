"""A log whose timestamps are the time of the events can be read as of any time: `Log.offset_at` says how far.

Records come as columns: JSON values become typed columns on the way (`json=`), and polars computes on these.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from examples.flights.table import flights_file

if TYPE_CHECKING:
    from datetime import datetime

    import ottla

# What is looked at; the other fields of a flight stay in the log.
COLUMNS = pa.schema(
    [
        ("carrier", pa.string()),
        ("flight", pa.int32()),
        ("tailnum", pa.string()),
        ("origin", pa.string()),
        ("dest", pa.string()),
        ("dep_delay", pa.int32()),
        ("distance", pa.int32()),
    ]
)


def table() -> pl.DataFrame:
    """Every flight that left New York in 2013, by the hour it was scheduled for."""
    with zipfile.ZipFile(flights_file()) as archive:
        frame = pl.read_csv(archive.read(archive.namelist()[0]), null_values="NA", infer_schema_length=None)
    return frame.with_columns(pl.col("time_hour").str.to_datetime(time_unit="ms", time_zone="UTC")).sort(
        "time_hour", maintain_order=True
    )


def record(log: ottla.Log, flights: pl.DataFrame) -> None:
    """Each flight as JSON under its tail number, at its time."""
    rows = flights.select(
        key="tailnum",
        value=pl.struct(pl.exclude("time_hour")).struct.json_encode(),
        timestamp=pl.col("time_hour"),
    )
    log.append_arrow(rows.to_arrow())


def known_at(log: ottla.Log, moment: datetime) -> pl.DataFrame:
    """What was in the log then, as columns."""
    stop = log.offset_at(round(moment.timestamp() * 1000))
    frame: Any = pl.from_arrow(log.to_arrow(0, stop, json=COLUMNS).read_all())
    return frame.select("offset", "timestamp", "value").unnest("value")  # type: ignore[no-any-return]


def board(flights: pl.DataFrame) -> pl.DataFrame:
    """Flights of each carrier, how many were cancelled, and the mean delay of the others."""
    return (
        flights.group_by("carrier")
        .agg(
            flights=pl.len(),
            cancelled=pl.col("dep_delay").is_null().sum(),
            mean_delay=pl.col("dep_delay").mean(),
        )
        .sort("flights", "carrier", descending=[True, False])
    )


def whereabouts(flights: pl.DataFrame) -> pl.DataFrame:
    """Where each aircraft was last bound for."""
    seen = flights.filter(pl.col("tailnum").is_not_null(), pl.col("dep_delay").is_not_null())
    return seen.group_by("tailnum", maintain_order=True).agg(pl.col("dest").last()).sort("tailnum")
