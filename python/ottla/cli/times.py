"""Moments as people write them: a date, a date with time, milliseconds since 1970, or how long ago."""

from __future__ import annotations

import datetime
import re
import time
from typing import Any

import click

MOMENTS = (
    "2026-11-21T10:00:00Z (without a zone: local time), 2026-11-21, milliseconds since 1970, or 90s, 15m, 2h, 7d ago"
)
_AGO = re.compile(r"-?(?P<count>\d{1,9}(?:\.\d{1,3})?)(?P<unit>ms|s|m|h|d|w)(?: ago)?")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_MS = re.compile(r"\d{10,15}")


def parse_moment(text: str, now_ms: int) -> int:
    """Give milliseconds since 1970; raises ValueError with a sentence."""
    text = text.strip()
    if text == "now":
        return now_ms
    if ago := _AGO.fullmatch(text):
        return now_ms - round(float(ago["count"]) * _UNIT_MS[ago["unit"]])
    if _MS.fullmatch(text):
        return int(text)
    try:
        return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"'{text}' is no moment: write {MOMENTS}.") from None


def moment(value: Any) -> int:
    """Read an option: milliseconds since 1970."""
    if isinstance(value, int):
        return value
    try:
        found = parse_moment(value, int(time.time() * 1000))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if found < 0:
        raise click.BadParameter(f"'{value}' lies before 1970: write {MOMENTS}.")
    return found


def utc(timestamp_ms: int) -> str:
    """Give a timestamp as text: UTC, to the millisecond."""
    try:
        at = datetime.datetime.fromtimestamp(timestamp_ms // 1000, tz=datetime.UTC)
    except (ValueError, OverflowError, OSError):
        # Producers write what they like: microseconds, for one. No calendar goes that far.
        return f"{timestamp_ms}ms"
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{timestamp_ms % 1000:03d}Z"
