"""Entries in a chain: `python -m examples.audit.trail DIRECTORY [NOTES]` verifies one.

Each record has in its header `chain` the SHA-256 of the digest before it and of its own key and value. Whoever changes,
removes or puts in an entry has to make every digest behind it anew. That is why the last digest is noted elsewhere from
time to time, where the same hands do not reach: on paper, in a mail, with a notary.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import ottla

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHAIN = "chain"
BEGIN = bytes(32)
# What was noted: an offset, and the digest there.
Note = tuple[int, str]


def link(before: bytes, key: bytes, value: bytes) -> bytes:
    """The digest of an entry. Lengths go in too: no byte may move from key to value unseen."""
    return hashlib.sha256(before + len(key).to_bytes(4, "big") + key + value).digest()


def link_of(record: ottla.Record) -> bytes:
    return dict(record.headers).get(CHAIN) or b""


class Trail:
    """Appends entries, from any number of threads. One that was returned for is on the disk."""

    def __init__(self, log: ottla.Log) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._last = BEGIN
        if log.end_offset > log.start_offset:
            self._last = link_of(next(log.read(log.end_offset - 1)))

    def record(self, who: str, what: str, **details: object) -> int:
        key, value = who.encode(), json.dumps({"what": what, **details}, sort_keys=True).encode()
        with self._lock:
            self._last = link(self._last, key, value)
            offset = self._log.append(value, key=key, headers={CHAIN: self._last}, wait=False)
        # In order under the lock; to the disk without it, so that threads share a sync.
        self._log.sync()
        return offset

    def note(self) -> Note:
        """What is to be kept elsewhere."""
        with self._lock:
            return self._log.end_offset - 1, self._last.hex()


def verify(log: ottla.Log, notes: Sequence[Note] = ()) -> Iterator[str]:
    """What is wrong; nothing is a trail as it was written. Raises `ottla.StorageError` if the disk changed a byte."""
    noted = dict(notes)
    last = BEGIN
    for record in log.read():
        last = link(last, record.key or b"", record.value or b"")
        if link_of(record) != last:
            yield f"the chain breaks at offset {record.offset}: it, or one before it, is not what was written"
            return
        if (known := noted.pop(record.offset, None)) is not None and known != last.hex():
            yield f"offset {record.offset} is not what was noted: the chain was made anew"
            return
    if noted:
        yield f"offset {max(noted)} was noted, and the trail ends at {log.end_offset}: its end is gone"


def read_notes(path: Path) -> list[Note]:
    return [(offset, digest) for offset, digest in map(json.loads, path.read_text().splitlines())]


def main() -> int:
    if not 2 <= len(sys.argv) <= 3:
        raise SystemExit("python -m examples.audit.trail DIRECTORY [NOTES]")
    notes = read_notes(Path(sys.argv[2])) if len(sys.argv) == 3 else []
    with ottla.Log(sys.argv[1], read_only=True) as log:
        wrong = list(verify(log, notes))
        print(*wrong or [f"{log.end_offset - log.start_offset} entries, nothing wrong"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
