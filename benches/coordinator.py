"""`python -m benches.coordinator`: what the group coordinator alone costs, without sockets and without a disk.

Microseconds of one OffsetCommit of one partition and of one heartbeat, with the codec's bytes and a journal that
forgets what it is given; turns of `PER_TURN` requests, the lowest and the median of the rounds. Needs no broker.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from ottla._core import Codec
from ottla.clock import DeadlineQueue, SystemClock, SystemRandom
from ottla.coordinator.group.coordinator import GroupCoordinator
from ottla.messages import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    SyncGroupRequest,
)
from ottla.testing import MemoryTopics, memory_cluster
from ottla.types import BatchProducer, Loading, Record, RequestContext, TransactionMarker

PER_TURN = 100
ROUNDS = 15
ROUND_TURNS = 50


class ForgetfulJournal:
    """Takes everything, commits it at the end of the turn, and keeps nothing."""

    def __init__(self) -> None:
        self.log_start_offset = 0
        self.high_watermark = 0
        self.log_end_offset = 0
        self._waiting: list[Callable[[], None]] = []

    def append(self, records: Sequence[Record], _timestamp_ms: int, _producer: BatchProducer | None = None) -> int:
        self.log_end_offset += len(records)
        return self.log_end_offset - 1

    def when_committed(self, _offset: int, callback: Callable[[], None]) -> None:
        self._waiting.append(callback)

    def append_marker(self, _marker: TransactionMarker) -> int:
        raise NotImplementedError

    def start_verification(self, _producer_id: int, _producer_epoch: int, *, bumps_epoch: bool) -> int | None:
        raise NotImplementedError

    def load(self, _callback: Callable[[Loading], None]) -> None:
        raise AssertionError("it is empty")

    def commit(self) -> None:
        self.high_watermark = self.log_end_offset
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()


def context(api_key: int, api_version: int) -> RequestContext:
    return RequestContext(api_key, api_version, 0, "bench", "127.0.0.1", 1, "PLAINTEXT", 0)


class Rig:
    """A coordinator of one partition with one simple consumer and one group of one member."""

    def __init__(self) -> None:
        self.journal = ForgetfulJournal()
        self.answers: list[Struct] = []
        self.deadlines = DeadlineQueue()
        self.coordinator = GroupCoordinator(
            lambda _: self.journal,
            1,
            Codec(),
            self.deadlines,
            SystemClock(),
            SystemRandom(),
            memory_cluster(MemoryTopics()),
        )
        self.coordinator.load(0)
        self.member_id = self._join()
        self._commit_context = context(8, 9)
        self._heartbeat_context = context(12, 4)

    def end_turn(self) -> None:
        self.coordinator.flush_turn()
        self.journal.commit()
        self.answers.clear()

    def _join(self) -> str:
        request = JoinGroupRequest(
            group_id="group",
            session_timeout_ms=1_800_000,
            rebalance_timeout_ms=1,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"")],
        )
        joined: list[Struct] = []
        self.coordinator.join_group(context(11, 3), request, joined.append)
        self.end_turn()
        while not joined:
            for callback in self.deadlines.due(SystemClock().monotonic_ms() + 10_000):
                callback()
            self.end_turn()
        (answer,) = joined
        assert isinstance(answer, JoinGroupResponse)
        sync = SyncGroupRequest(group_id="group", generation_id=1, member_id=answer.member_id)
        self.coordinator.sync_group(context(14, 5), sync, self.answers.append)
        self.end_turn()
        return answer.member_id

    def commit(self, offset: int) -> None:
        partitions = [OffsetCommitRequestPartition(partition_index=offset % 8, committed_offset=offset)]
        request = OffsetCommitRequest(
            group_id="simple", topics=[OffsetCommitRequestTopic(name="flights", partitions=partitions)]
        )
        self.coordinator.commit_offsets(self._commit_context, request, self.answers.append)

    def heartbeat(self, _number: int) -> None:
        request = HeartbeatRequest(group_id="group", generation_id=1, member_id=self.member_id)
        self.coordinator.heartbeat(self._heartbeat_context, request, self.answers.append)

    def turns(self, count: int, ask: Callable[[int], None]) -> None:
        for turn in range(count):
            for number in range(PER_TURN):
                ask(turn * PER_TURN + number)
            self.end_turn()


def main() -> None:
    rig = Rig()
    for name, ask in (("OffsetCommit of one partition", rig.commit), ("heartbeat", rig.heartbeat)):
        took = []
        for _ in range(ROUNDS):
            begun = time.process_time()
            rig.turns(ROUND_TURNS, ask)
            took.append((time.process_time() - begun) / (ROUND_TURNS * PER_TURN) * 1e6)
        print(f"{name}: {min(took):.2f} us at best, {statistics.median(took):.2f} us in the middle")


if __name__ == "__main__":
    main()
