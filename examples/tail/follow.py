"""Follows a log as `tail -f` follows a file: the last records, then those that come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ottla

if TYPE_CHECKING:
    from collections.abc import Iterator


def tail(log: ottla.Log, last: int, *, timeout_ms: int | None = None) -> Iterator[ottla.Record | str]:
    """Records, and a sentence where some cannot be shown any more. Without a time-out it waits for ever."""
    start = max(log.start_offset, log.end_offset - last)
    while True:
        try:
            yield from log.follow(start, timeout_ms=timeout_ms)
        except ottla.OffsetOutOfRange as error:
            # Retention, or a deletion, was faster than we. Behind the end: the owner has truncated what we had seen.
            start = error.start if error.requested < error.start else log.end_offset
            yield f"{error}; going on at {start}"
        except ottla.Overtaken as error:
            start = log.end_offset
            yield f"{error}; going on at {start}"
        else:
            return


def line(record: ottla.Record) -> str:
    """As a terminal shows it: what is no text, as Python writes it."""
    shown = (text(part) for part in (record.key, record.value))
    return f"{record.offset}\t{record.timestamp}\t" + "\t".join(shown)


def text(part: bytes | None) -> str:
    if part is None:
        return "-"
    try:
        decoded = part.decode()
    except UnicodeDecodeError:
        return repr(part)
    return decoded if decoded.isprintable() else repr(decoded)
