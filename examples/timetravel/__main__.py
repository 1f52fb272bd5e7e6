"""The run: `python -m examples.timetravel [--at 2013-07-04T12:00]`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

import polars as pl

import ottla
from examples.scene import Scene, play, verdict
from examples.timetravel.travel import board, known_at, record, table, whereabouts

MOMENTS = ("2013-01-01T12:00", "2013-02-09T00:00", "2013-07-04T12:00", "2014-01-02T00:00")


def moment(word: str) -> datetime:
    return datetime.fromisoformat(word).replace(tzinfo=UTC)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.timetravel", description="Any moment of 2013, with polars."
    )
    parser.add_argument("--at", type=moment, action="append", metavar="TIME", help="UTC; may be given several times")
    chosen = parser.parse_args()
    with Scene("timetravel") as scene, ottla.Log(scene.folder / "flights", compression="zstd") as log:
        flights = table()
        record(log, flights)
        print(f"{log.end_offset:,} flights in {log.status().bytes >> 20} MiB")
        wrong = []
        for at in chosen.at or map(moment, MOMENTS):
            then = known_at(log, at)
            print(f"\n{at:%Y-%m-%d %H:%M} UTC: {then.height:,} flights known, {whereabouts(then).height:,} aircraft")
            with pl.Config(tbl_rows=5, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
                print(board(then))
            wrong += compare(then, flights.filter(pl.col("time_hour") < at), at)
        return verdict(wrong)


def compare(then: pl.DataFrame, table_then: pl.DataFrame, at: datetime) -> list[str]:
    """The log beside the table it was made from."""
    wrong = []
    if not board(then).equals(board(table_then)):
        wrong.append(f"at {at} the board differs from the table's")
    if not whereabouts(then).equals(whereabouts(table_then)):
        wrong.append(f"at {at} aircraft are elsewhere than in the table")
    return wrong


if __name__ == "__main__":
    sys.exit(play(main))
