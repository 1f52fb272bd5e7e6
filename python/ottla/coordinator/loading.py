"""How shards come to be: their journals are read elsewhere, and what they say is applied here, a piece per turn.

Reading five million records takes seconds; the journal does that on a thread of its own, keeps of each key the last
record, and hands over what is left. Here it is decoded and applied: `load_bytes_max` in a turn of the loop, of one
shard after the other, so that whoever has a shard already does not wait, and each shard serves when its own turn is
over. Until then it says COORDINATOR_LOAD_IN_PROGRESS. An empty journal needs no reading: the shards of a topic that has
just been made are there at once.

    begin --empty--> loaded
      |--> read by the journal --> queue --> a piece per turn --> loaded
      +--> cannot be opened, read or applied: refused, the shard says NOT_COORDINATOR

There is no second recovery path: what is applied is records, by the `apply` of a running shard.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol

from ottla.coordinator.batch import LEAVING
from ottla.coordinator.shard import M
from ottla.errors import ErrorCode, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ottla.coordinator.shard import Shard
    from ottla.types import Clock, Journal, Scheduler
    from ottla.types import Loading as Load

log = logging.getLogger(__name__)


class Host(Protocol[M]):
    """What this needs of the runtime it belongs to."""

    @property
    def topic_kind(self) -> str:
        """Whose shards they are."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def scheduler(self) -> Scheduler:
        """Deadlines."""
        ...

    def is_wanted(self, shard: Shard[M]) -> bool:
        """Whether the shard is still to be loaded."""
        ...

    def take_in(self, shard: Shard[M], load: Load) -> None:
        """Apply a piece."""
        ...

    def loaded(self, shard: Shard[M], end_offset: int) -> None:
        """Everything before this offset is applied."""
        ...

    def abandon(self, shard: Shard[M], code: ErrorCode) -> None:
        """It will not be."""
        ...


class ShardLoader(Generic[M]):
    """Loads the shards of a runtime; see the module's doc."""

    def __init__(self, host: Host[M], journals: Callable[[int], Journal]) -> None:
        self._host = host
        self._journals = journals
        # Read, and not applied yet; the first one is being applied.
        self._waiting: deque[tuple[Shard[M], Load]] = deque()
        self._is_scheduled = False

    def begin(self, shard: Shard[M]) -> None:
        """Look at the shard's journal, and have it read."""
        try:
            journal = shard.journal = self._journals(shard.partition)
            end_offset = journal.high_watermark
            if end_offset > journal.log_start_offset:
                journal.load(lambda load: self._read(shard, load))
                return
        except LEAVING:
            raise
        except BaseException as error:  # noqa: BLE001 - logged with it; a Rust panic is no Exception
            self._refuse(shard, error)
            return
        self._host.loaded(shard, end_offset)

    def _read(self, shard: Shard[M], load: Load) -> None:
        self._waiting.append((shard, load))
        # The first piece at once, if nobody waits for theirs: most journals have no more.
        if not self._is_scheduled:
            self._turn()

    def _turn(self) -> None:
        self._is_scheduled = False
        shard, load = self._waiting[0]
        if not self._host.is_wanted(shard) or self._apply(shard, load):
            self._waiting.popleft()
        if self._waiting:
            self._is_scheduled = True
            self._host.scheduler.at(self._host.clock.monotonic_ms(), self._turn)

    def _apply(self, shard: Shard[M], load: Load) -> bool:
        """True if that was the last piece."""
        try:
            self._host.take_in(shard, load)
            if not load.is_over:
                return False
            end_offset = load.end_offset
            shard.skipped += load.without_key
        except LEAVING:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self._refuse(shard, error)
        else:
            self._host.loaded(shard, end_offset)
        return True

    def _refuse(self, shard: Shard[M], error: BaseException) -> None:
        """The disk, or a record that cannot be what a coordinator wrote: better no answer than a wrong one."""
        log.error(
            "%s coordinator %d cannot be loaded, what it coordinates is not available until the broker has started "
            "again: %s",
            *(self._host.topic_kind, shard.partition, error),
            # The disk's own words say everything; any other error is ours.
            exc_info=None if isinstance(error, StorageError) else error,
        )
        self._host.abandon(shard, ErrorCode.NOT_COORDINATOR)
