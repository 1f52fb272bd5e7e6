"""The table of answers, played by the coordinator alone (see `transaction_table`)."""

from __future__ import annotations

from ottla.errors import ErrorCode
from tests.coordinator.transaction_table import TABLE, TIMEOUT_MS, Outcome, play, rows
from tests.coordinator.transaction_world import TransactionWorld

PARTITION = ("t", 0)


class CoordinatorDriver:
    """Our coordinator, without a socket."""

    def __init__(self) -> None:
        self.world = TransactionWorld(markers_at_once=False)
        self.held: set[int] = set()

    def init(self, name: str, producer: tuple[int, int]) -> Outcome:
        box = self.world.init(name, producer=producer, timeout_ms=TIMEOUT_MS)
        return Outcome(box.code.name.lower(), (box.response.producer_id, box.response.producer_epoch))

    def add(self, name: str, producer: tuple[int, int], version: str) -> Outcome:
        box = self.world.add(producer, PARTITION, transactional_id=name, client_version=2 if version == "v2" else 0)
        return Outcome(box.code.name.lower())

    def verify(self, name: str, producer: tuple[int, int]) -> Outcome:
        found = self.world.verify(producer, PARTITION, transactional_id=name).by_partition
        return Outcome(found[PARTITION].name.lower())

    def end(self, name: str, producer: tuple[int, int], version: str, *, commits: bool) -> Outcome:
        client_version = 2 if version == "v2" else 0
        box = self.world.end(producer, commits=commits, client_version=client_version, transactional_id=name)
        told = (box.response.producer_id, box.response.producer_epoch)
        return Outcome(box.code.name.lower(), told if version == "v2" else None)

    def hold_markers(self, _name: str, producer: tuple[int, int]) -> None:
        self.held.add(producer[0])

    def state(self, name: str) -> tuple[str, int, int] | None:
        waiting = self.world.markers.waiting
        if waiting and self.world.markers.written[-1].producer_id not in self.held:
            self.world.settle()
        elif waiting:
            self.world.markers.lose()
        found = self.world.described(name)[0]
        if found.error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND:
            return None
        return found.transaction_state, found.producer_id, found.producer_epoch


def test_the_coordinator_answers_as_the_table_says() -> None:
    """Each state, each request, each producer."""
    played = play(CoordinatorDriver(), "x")
    assert played.count("\n") == len(list(rows()))
    assert played == TABLE.read_text()
