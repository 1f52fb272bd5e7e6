"""A partition's files, looked at without a log being opened: Ottla's and Apache Kafka's, while a broker runs too.

`find` gives the partitions of a data directory, or the one that a partition's own directory is; `batches` and `records`
what lies in one, `verify` what is wrong with it. Nothing is changed but by `repair`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, convert

from ottla import _core
from ottla.errors import InvalidInput, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[int], None]

# Batches that are fetched at once.
_BATCHES = 64
_META_PROPERTIES = "meta.properties"
_LOG_STARTS = "log-start-offset-checkpoint"
# Of a log, and of one that a compaction was about to put into its place.
_LOG_NAME = re.compile(r"[0-9]{20}\.log(\.swap)?")
# Carries a cursor that was committed with its record: of the log it lies in.
_CURSOR_HEADER = "ottla.cursor"


class Partition(Struct, frozen=True):
    """Where a partition's files are."""

    topic: str
    index: int
    path: Path
    # None: its directory lies alone.
    data_dir: Path | None

    @property
    def name(self) -> str:
        """As directories are called."""
        return f"{self.topic}-{self.index}"

    @property
    def bytes(self) -> int:
        """Bytes of its segments."""
        return sum(length for _, length in _core.PartitionFiles(str(self.path)).segments())


class Segment(Struct, frozen=True):
    """What one log file holds."""

    base_offset: int
    # Behind its last batch.
    next_offset: int
    bytes: int
    batches: int
    control_batches: int
    records: int
    first_offset: int | None
    # Milliseconds since 1970; None when no record has a time.
    min_timestamp: int | None
    max_timestamp: int | None
    # Batches by compression.
    compression: Mapping[str, int]
    unpacked_bytes: int
    key_bytes: int
    value_bytes: int
    null_keys: int
    null_values: int


class Finding(Struct, frozen=True):
    """Something that is not as it should be."""

    # One word for programs: torn-tail, damaged-batch, wrong-records, offset-index, time-index, transaction-index,
    # leader-epochs, producer-snapshot, topic-id, compaction, leftover.
    kind: str
    path: str
    position: int | None
    what: str


class Report(Struct, frozen=True):
    """What a partition holds, and what is wrong with it."""

    segments: Sequence[Segment]
    findings: Sequence[Finding]
    # Behind the last whole batch of a log that is being written: no damage.
    on_its_way_bytes: int


class FileRecord(NamedTuple):
    """A record as it lies in a batch."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Batch(Struct, frozen=True):
    """A batch by its header, or a stretch of a file that is none: then `damage` says why."""

    position: int
    bytes: int
    next_offset: int
    damage: str | None = None
    base_offset: int = -1
    last_offset: int = -1
    count: int = 0
    compression: str = "none"
    base_timestamp: int = -1
    max_timestamp: int = -1
    log_append_time: bool = False
    transactional: bool = False
    control: bool = False
    # How a transaction ended, "commit" or "abort", if the batch says that.
    marker: str | None = None
    leader_epoch: int = -1
    producer_id: int = -1
    producer_epoch: int = -1
    base_sequence: int = -1
    crc: int = 0
    records: Sequence[FileRecord] = ()


def find(path: str | os.PathLike[str], topic: str | None = None, index: int | None = None) -> list[Partition]:
    """Give the partitions in a data directory, or the one that `path` is the directory of; those asked for.

    Raises `InvalidInput` where there is none, `NewerFormat`.
    """
    place = Path(path)
    if not place.is_dir():
        what = "is no directory" if place.exists() else "does not exist"
        raise InvalidInput(f"{place} {what}: name a data directory, or one partition's in it")
    own = _partition(place)
    if own is not None and _has_segments(place):
        found = [own]
    else:
        found = [each for child in sorted(place.iterdir()) if child.is_dir() and (each := _partition(child))]
    for data_dir in {each.data_dir for each in found if each.data_dir}:
        _core.check_format(str(data_dir))
    if not found:
        raise InvalidInput(f"{place} holds no partition: name a data directory, or one partition's in it")
    wanted = [each for each in found if topic in (None, each.topic) and index in (None, each.index)]
    if not wanted:
        raise InvalidInput(f"{place} has no such partition: there are {', '.join(each.name for each in found)}")
    return wanted


def _partition(place: Path) -> Partition | None:
    """What the directory's name says; that of a deleted partition says nothing."""
    topic, dash, digits = place.resolve().name.rpartition("-")
    if not (dash and topic and digits.isascii() and digits.isdigit()):
        return None
    data_dir = place.resolve().parent
    return Partition(topic, int(digits), place, data_dir if (data_dir / _META_PROPERTIES).exists() else None)


def _has_segments(place: Path) -> bool:
    return any(_LOG_NAME.fullmatch(path.name) for path in place.iterdir())


def is_live(partition: Partition) -> bool:
    """Whether somebody, a broker or a log, has the data directory open."""
    return partition.data_dir is not None and _core.is_locked(str(partition.data_dir))


def verify(partition: Partition, progress: Progress | None = None) -> Report:
    """Read everything, and compare what can be compared."""
    return convert(_core.PartitionFiles(str(partition.path)).verify(is_live(partition), progress), Report)


@contextmanager
def locked(partitions: Sequence[Partition]) -> Iterator[None]:
    """Keep every owner out of the partitions' data directories. Raises `DirectoryInUse`."""
    locks = [
        _core.DirectoryLock(str(place)) for place in sorted({each.data_dir for each in partitions if each.data_dir})
    ]
    try:
        yield
    finally:
        locks.clear()


def repair(partition: Partition, *, wanted: bool, progress: Progress | None = None) -> list[str]:
    """Say what can be mended, and do it if that is `wanted`. To be called with the partition `locked`."""
    return _core.PartitionFiles(str(partition.path)).repair(wanted, progress)


def batches(
    partition: Partition, start: int = 0, *, records: bool = False, progress: Progress | None = None
) -> Iterator[Batch]:
    """Give batches from the one that holds `start` on, over damage, with their records if asked for.

    Raises `Overtaken` where the owner of the log takes away, or cuts off, what comes next.
    """
    found = _core.PartitionFiles(str(partition.path)).batches(start, is_live(partition))
    while True:
        told, passed_bytes = found.next(_BATCHES, records)
        if progress is not None:
            progress(passed_bytes)
        if not told:
            return
        yield from convert(told, list[Batch])


def log_start(partition: Partition) -> int:
    """Give the first offset that may be read, as far as the data directory says: what lies below was deleted."""
    if partition.data_dir is None:
        return 0
    try:
        text = (partition.data_dir / _LOG_STARTS).read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return 0
    # Version, count, then a line for each partition. One that is damaged is not believed, as at a start.
    for line in text.splitlines()[2:]:
        words = line.split(" ")
        if words[:2] == [partition.topic, str(partition.index)] and len(words) == 3 and words[2].isdecimal():
            return int(words[2])
    return 0


class _Transactions:
    """Which batches belong to transactions that were aborted, or are still open."""

    def __init__(self, partition: Partition) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = {}
        # Behind what was looked through: nothing is known of what is written there meanwhile.
        self.end = 0
        begun: dict[int, int] = {}
        for batch in batches(partition):
            self.end = max(self.end, batch.next_offset)
            if batch.damage is not None or not batch.transactional:
                continue
            if not batch.control:
                begun.setdefault(batch.producer_id, batch.base_offset)
                continue
            first = begun.pop(batch.producer_id, None)
            if first is not None and batch.marker == "abort":
                self._spans.setdefault(batch.producer_id, []).append((first, batch.base_offset))
        for producer, first in begun.items():
            self._spans.setdefault(producer, []).append((first, 2**63 - 1))

    def leave_out(self, batch: Batch) -> bool:
        """Whether a consumer that reads what is committed does not get it."""
        spans = self._spans.get(batch.producer_id, ()) if batch.transactional else ()
        return any(first <= batch.base_offset < end for first, end in spans)


def records(
    partition: Partition,
    start: int = 0,
    stop: int | None = None,
    *,
    uncommitted: bool = False,
    progress: Progress | None = None,
) -> Iterator[FileRecord]:
    """Give records as a log's reader gets them: none of control batches, nor of transactions that were not committed.

    Raises `StorageError` at damage: what is to be taken along whole must not be missing something.
    """
    start = max(start, log_start(partition))
    transactions = None if uncommitted else _Transactions(partition)
    if transactions is not None:
        stop = transactions.end if stop is None else min(stop, transactions.end)
    torn: Batch | None = None
    for batch in batches(partition, start, records=True, progress=progress):
        if torn is not None:
            raise _damaged(partition, torn)
        if batch.damage is not None:
            torn = batch
            continue
        if stop is not None and batch.base_offset >= stop:
            return
        if batch.control or (transactions is not None and transactions.leave_out(batch)):
            continue
        for record in batch.records:
            if record.offset >= start and (stop is None or record.offset < stop):
                yield record._replace(headers=[each for each in record.headers if each[0] != _CURSOR_HEADER])
    # What is behind the last batch of a log that is being written is on its way.
    if torn is not None and not is_live(partition):
        raise _damaged(partition, torn)


def _damaged(partition: Partition, batch: Batch) -> StorageError:
    return StorageError(
        f"{partition.path} is damaged at byte {batch.position} of a segment, before offset {batch.next_offset}: "
        f"{batch.damage}; `ottla log verify` and `ottla log repair` say more"
    )
