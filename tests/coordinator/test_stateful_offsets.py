"""Offsets in transactions and outside of them, in any order, with lost commits, failing disks, zombies and restarts.

The model is the log itself, replayed record by record by the rules of Apache Kafka's OffsetMetadataManager: whatever
the coordinator did, loaded or running, it must know exactly what its log says. And what it writes there must be right:

- no transaction begins that its coordinator was not asked for
- what was answered with NONE, a commit or a marker, is in the log after any crash
- what has an open transaction neither expires nor lets its group go; what is deleted is gone, open or not
- a stable fetch shows what is committed, and says of everything open that it is
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ottla.coordinator.group.settings import GroupSettings
from ottla.errors import ErrorCode, StorageError
from ottla.messages import OffsetCommitKey, OffsetCommitValue
from tests.coordinator.producers import Producers
from tests.coordinator.world import Box, World

GROUPS = ("g", "h")
PARTITIONS = (("t", 0), ("t", 1), ("u", 0))
Of = tuple[str, str, int]
RETENTION_MS = 60_000

some_producer = st.sampled_from([7, 8, 9])
# It speaks the older protocol, in which the coordinator of the transaction is asked and nothing is added.
OLD_PRODUCER = 5
some_group = st.sampled_from(GROUPS)
some_partitions = st.lists(st.sampled_from(PARTITIONS), min_size=1, max_size=2, unique=True)
some_offset = st.integers(0, 99)


@dataclass
class Known:
    """What a log says: record offset and committed offset of each, and what waits for the end of a transaction."""

    committed: dict[Of, tuple[int, int]] = field(default_factory=dict)
    pending: dict[int, dict[Of, tuple[int, int]]] = field(default_factory=dict)

    def record(self, at: int, producer_id: int | None, of: Of, offset: int | None) -> None:
        """One record."""
        if offset is None:
            self.committed.pop(of, None)
            for waiting in self.pending.values():
                waiting.pop(of, None)
        elif producer_id is None:
            self.committed[of] = (at, offset)
        else:
            self.pending.setdefault(producer_id, {})[of] = (at, offset)

    def end(self, producer_id: int, *, commits: bool) -> None:
        """A marker."""
        for of, (at, offset) in self.pending.pop(producer_id, {}).items():
            if commits and (of not in self.committed or self.committed[of][0] < at):
                self.committed[of] = (at, offset)

    @property
    def unstable(self) -> set[Of]:
        """What has something waiting."""
        return {of for waiting in self.pending.values() for of in waiting}


def known(world: World, end_offset: int) -> Known:
    """The log before an offset, replayed."""
    journal = world.journal()
    found = Known()
    by_offset = {record[0]: record for record in journal.records}
    for at in range(end_offset):
        if (marker := journal.markers.get(at)) is not None:
            found.end(marker.producer_id, commits=marker.committed)
            continue
        _, _, key, value = by_offset[at]
        assert key is not None
        decoded, said = world.codec.decode_coordinator_record("group", key, value)
        if isinstance(decoded, OffsetCommitKey):
            assert said is None or isinstance(said, OffsetCommitValue)
            producer_id = journal.producers.get(at, (None,))[0]
            of = (decoded.group, decoded.topic, decoded.partition)
            found.record(at, producer_id, of, None if said is None else said.offset)
    return found


class OffsetsInTransactions(RuleBasedStateMachine):
    """See the module's doc."""

    @initialize(at_once=st.booleans())
    def begin(self, at_once: bool) -> None:
        times = GroupSettings(offsets_retention_ms=RETENTION_MS, offsets_retention_check_interval_ms=20_000)
        self.world = World(times, commit_at_once=at_once)
        self.producers = Producers(self.world)
        self.epochs = dict.fromkeys((OLD_PRODUCER, 7, 8, 9), 0)
        # Answered with NONE: the offset was in the log, and committed.
        self.promised: list[tuple[Box, int, Of, int]] = []
        # How markers went, and of whom.
        self.told: list[tuple[list[ErrorCode], int]] = []
        # Of topics that were deleted when nothing could be written.
        self.to_delete: set[Of] = set()
        # Stable fetches, and what they must show.
        self.fetches: list[tuple[Box, dict[tuple[str, int], int | ErrorCode]]] = []

    @property
    def end_offset(self) -> int:
        return self.world.journal().log_end_offset

    def epoch_in_the_log(self, producer: int) -> int:
        journal = self.world.journal()
        epochs = [epoch for producer_id, epoch in journal.producers.values() if producer_id == producer]
        epochs += [marker.producer_epoch for marker in journal.markers.values() if marker.producer_id == producer]
        return max(epochs, default=-1)

    @rule(group=some_group, partitions=some_partitions, offset=some_offset)
    def commits(self, group: str, partitions: list[tuple[str, int]], offset: int) -> None:
        box = self.world.commit(dict.fromkeys(partitions, offset), group=group)
        self.promised += [(box, -1, (group, *partition), offset) for partition in partitions]

    @rule(producer=some_producer, group=some_group, partitions=some_partitions, offset=some_offset, old=st.booleans())
    def commits_in_transaction(
        self, producer: int, group: str, partitions: list[tuple[str, int]], offset: int, old: bool
    ) -> None:
        epoch = self.epochs[producer]
        is_zombie = old and epoch > 0 and self.epoch_in_the_log(producer) == epoch
        box = self.producers.commit(
            producer, dict.fromkeys(partitions, offset), group=group, epoch=epoch - 1 if is_zombie else epoch
        )
        if is_zombie and box.answered:
            codes = {each.error_code for topic in box.response.topics for each in topic.partitions}
            assert ErrorCode.NONE not in codes
        else:
            self.promised += [(box, producer, (group, *partition), offset) for partition in partitions]

    @rule(producer=some_producer, group=some_group, partitions=some_partitions, offset=some_offset)
    def is_overtaken(self, producer: int, group: str, partitions: list[tuple[str, int]], offset: int) -> None:
        """A commit outside of the transaction stands behind the one in it."""
        self.commits_in_transaction(producer, group, partitions, offset, old=False)
        self.commits(group, partitions, offset + 1)

    @rule(producer=some_producer, committed=st.booleans(), bumps=st.booleans(), twice=st.booleans())
    def ends(self, producer: int, committed: bool, bumps: bool, twice: bool) -> None:
        if bumps:
            self.epochs[producer] += 1
        version = 2 if bumps else 0
        for _ in range(1 + twice):
            told = self.producers.end(producer, committed=committed, epoch=self.epochs[producer], version=version)
            self.told.append((told, producer))

    @rule(producer=some_producer, group=some_group, partitions=some_partitions, offset=some_offset)
    def commits_in_the_turn_of_a_marker(
        self, producer: int, group: str, partitions: list[tuple[str, int]], offset: int
    ) -> None:
        """What was decided before it stands before it in the log, and the shard knows where."""
        machines, _ = self.world.coordinator._runtime.machines()
        is_full = self.world.journal().fail_with is not None
        self.world.commit(dict.fromkeys(partitions, offset), group=group, end_turn=False)
        self.told.append((self.producers.end(producer, epoch=self.epochs[producer]), producer))
        if not is_full:
            assert self.world.coordinator._runtime.machines()[0] == machines, "it had to be loaded again"

    @rule(producer=some_producer)
    def a_late_marker_comes(self, producer: int) -> None:
        """Of a transaction long ended: it must not end the one that is open."""
        if self.epochs[producer]:
            before = known(self.world, self.end_offset).pending.get(producer)
            told = self.producers.end(producer, epoch=self.epochs[producer] - 1, committed=False)
            assert ErrorCode.NONE not in told or not before

    @rule(partitions=some_partitions, committed=st.booleans())
    def the_answer_of_the_coordinator_is_late(self, partitions: list[tuple[str, int]], committed: bool) -> None:
        """The transaction has ended before it comes; a marker of the same epoch has been written."""
        producer = OLD_PRODUCER
        gate = self.producers.gate
        gate.answer_at_once = False
        epoch = self.epochs[producer]
        box = self.producers.commit(producer, dict.fromkeys(partitions, 1), epoch=epoch, version=3)
        ended = self.producers.end(producer, committed=committed, epoch=epoch)
        gate.answer_at_once = True
        was_asked = not box.answered and bool(gate._waiting)
        before = self.end_offset
        gate.settle()
        if was_asked and ended == [ErrorCode.NONE]:
            appended = [whose for at, (whose, _) in self.world.journal().producers.items() if at >= before]
            assert producer not in appended, "it opened a transaction that nobody will end"

    @rule(group=some_group, everything=st.booleans())
    def fetches_what_is_stable(self, group: str, everything: bool) -> None:
        """It is answered when what it has seen is committed."""
        says = known(self.world, self.end_offset)
        expected: dict[tuple[str, int], int | ErrorCode] = {}
        for partition in PARTITIONS:
            of = (group, *partition)
            if of in says.committed or not everything:
                expected[partition] = says.committed.get(of, (-1, -1))[1]
                if of in says.unstable:
                    expected[partition] = ErrorCode.UNSTABLE_OFFSET_COMMIT
        box = self.world.fetch(None if everything else list(PARTITIONS), group=group, require_stable=True)
        self.fetches.append((box, expected))

    @rule(group=some_group, partitions=some_partitions)
    def deletes_offsets(self, group: str, partitions: list[tuple[str, int]]) -> None:
        box = self.world.delete_offsets(partitions, group=group)
        if box.answered and box.code is ErrorCode.NONE:
            self.nothing_is_left({(group, *partition) for partition in partitions})

    @rule(group=some_group, producer=st.sampled_from([None, 7, 8]))
    def deletes_the_group(self, group: str, producer: int | None) -> None:
        """It may have one offset that counts, and one that does not yet."""
        if producer is not None:
            self.commits(group, [PARTITIONS[0]], 1)
            self.commits_in_transaction(producer, group, [PARTITIONS[1]], 2, old=False)
        box = self.world.delete_groups(group)
        if box.answered and box.response.results[0].error_code == ErrorCode.NONE:
            self.nothing_is_left({(group, *partition) for partition in PARTITIONS})

    @rule(topic=st.sampled_from(["t", "u"]))
    def deletes_a_topic(self, topic: str) -> None:
        is_full = self.world.journal().fail_with is not None
        is_there = bool(self.world.coordinator._runtime.machines()[0])
        self.world.coordinator.on_topics_deleted({topic: bytes(16)})
        self.world.turn()
        deleted = {(group, *each) for group in GROUPS for each in PARTITIONS if each[0] == topic}
        if is_there and not is_full:
            self.nothing_is_left(deleted)
        else:
            # It is tried again.
            self.to_delete |= deleted

    def nothing_is_left(self, deleted: set[Of]) -> None:
        says = known(self.world, self.end_offset)
        assert not deleted & (says.committed.keys() | says.unstable)

    @rule(share=st.integers(1, 3))
    def the_disk_commits(self, share: int) -> None:
        """Some of the batches that wait for it."""
        journal = self.world.journal()
        ends = [at for at, _ in journal.appends if journal.high_watermark < at < journal.log_end_offset]
        ends.append(journal.log_end_offset)
        journal.commit(ends[-1 - len(ends) * (share - 1) // 3])
        self.world.turn()

    @rule()
    def the_disk_is_full(self) -> None:
        self.world.journal().fail_with = StorageError("no space")

    @rule(power_cut=st.booleans())
    def restarts(self, power_cut: bool) -> None:
        journal = self.world.journal()
        journal.fail_with = None
        if power_cut:
            journal.crash()
        else:
            journal.commit()
        self.keep_promises()
        self.promised = []
        self.world.start()

    @rule(elapsed_ms=st.sampled_from([1, 30_000, RETENTION_MS + 20_000]))
    def time_passes(self, elapsed_ms: int) -> None:
        machines, _ = self.world.coordinator._runtime.machines()
        before = known(self.world, self.end_offset)
        there = set(machines[0].groups) if machines else set()
        self.world.wait(elapsed_ms)
        machines, _ = self.world.coordinator._runtime.machines()
        after = known(self.world, self.end_offset)
        assert after.unstable | self.to_delete == before.unstable | self.to_delete
        kept = {of for of in before.committed if of in before.unstable}
        assert kept <= after.committed.keys() | self.to_delete
        if machines:
            assert there & {of[0] for of in before.unstable - self.to_delete} <= set(machines[0].groups)

    def keep_promises(self) -> None:
        """Whatever was answered is in the log for good."""
        journal = self.world.journal()
        held = set()
        for at, _, key, value in journal.records:
            decoded, said = self.world.codec.decode_coordinator_record("group", key or b"", value)
            if at < journal.high_watermark and isinstance(decoded, OffsetCommitKey) and said is not None:
                producer_id = journal.producers.get(at, (-1,))[0]
                held.add((producer_id, (decoded.group, decoded.topic, decoded.partition), said.offset))
        for box, producer_id, of, offset in self.promised:
            if not box.answered:
                continue
            codes = {
                (topic.name, each.partition_index): each.error_code
                for topic in box.response.topics
                for each in topic.partitions
            }
            if codes[of[1:]] == ErrorCode.NONE:
                assert (producer_id, of, offset) in held, f"{of} = {offset} of {producer_id} is lost"
        for producer in self.epochs:
            ended = [each for at, each in journal.markers.items() if at < journal.high_watermark]
            ended = [each for each in ended if each.producer_id == producer]
            assert sum(told == [ErrorCode.NONE] for told, whose in self.told if whose == producer) <= len(ended)

    @invariant()
    def epochs_in_the_log_grow(self) -> None:
        if not hasattr(self, "world"):
            return
        journal = self.world.journal()
        latest: dict[int, int] = {}
        entries = dict(journal.producers)
        entries |= {at: (marker.producer_id, marker.producer_epoch) for at, marker in journal.markers.items()}
        for at in sorted(entries):
            producer_id, epoch = entries[at]
            assert epoch >= latest.get(producer_id, 0)
            latest[producer_id] = epoch

    @invariant()
    def no_transaction_begins_unasked(self) -> None:
        if not hasattr(self, "world"):
            return
        journal = self.world.journal()
        begun = dict.fromkeys(self.epochs, 0)
        is_open: set[int] = set()
        for at in sorted(journal.producers | journal.markers):
            if at in journal.markers:
                is_open.discard(journal.markers[at].producer_id)
            elif (producer := journal.producers[at][0]) not in is_open:
                is_open.add(producer)
                begun[producer] += 1
        for producer, count in begun.items():
            assert count <= sum(each.producer_id == producer for each in self.producers.gate.questions)

    @invariant()
    def stable_fetches_are_answered_right(self) -> None:
        if not hasattr(self, "world"):
            return
        for box, expected in [each for each in self.fetches if each[0].answered]:
            if box.response.error_code == ErrorCode.NONE:
                assert expected == {
                    (topic.name, each.partition_index): ErrorCode(each.error_code)
                    if each.error_code
                    else each.committed_offset
                    for topic in box.response.topics
                    for each in topic.partitions
                }
            self.fetches.remove((box, expected))

    @invariant()
    def it_knows_what_the_log_says(self) -> None:
        if not hasattr(self, "world"):
            return
        machines, _ = self.world.coordinator._runtime.machines()
        if not machines:
            # A failed append: it comes back from the log.
            return
        says = known(self.world, self.end_offset)
        is_committed = known(self.world, self.world.journal().high_watermark)
        offsets = machines[0].offsets
        for group in GROUPS:
            assert {(group, *of): (each.record_offset, each.offset) for of, each in offsets.of_group(group)} == {
                of: each for of, each in says.committed.items() if of[0] == group
            }
            assert {(group, *of) for of in offsets._pending.of_group(group)} == {
                of for of in says.unstable if of[0] == group
            }
            assert {
                (group, *of): offset for of, offset in self.world.fetched(list(PARTITIONS), group=group).items()
            } == {of: offset for of, (_, offset) in is_committed.committed.items() if of[0] == group}
        pending: dict[int, dict[Of, tuple[int, int]]] = {}
        for producer_id, waiting in offsets._pending._by_producer.items():
            for (group, partition), each in waiting.items():
                pending.setdefault(producer_id, {})[(group, *partition)] = (each.record_offset, each.offset)
        assert pending == {producer_id: waiting for producer_id, waiting in says.pending.items() if waiting}

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.keep_promises()
            if self.world.journal().commit_at_once or not self.world.journal()._waiting:
                assert not self.world.coordinator.status.shards[0].uncommitted_batches


OffsetsInTransactions.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestOffsetsInTransactions = OffsetsInTransactions.TestCase
