"""What InitProducerId, the addition of partitions and EndTxn are answered in each state: one table, kept as a text.

`tests/coordinator/tables/transactions.txt` has one line for each state, request and producer. The coordinator plays it
in `test_transaction_table`, Apache Kafka and Ottla over the wire in `tests/wire/test_transaction_table`, each through a
`Driver`. `python -m tests.coordinator.transaction_table` writes it anew, from our coordinator; Kafka then says whether
that is right.

Producer ids appear as `own` and `next` (the one a driver sees for the first time), epochs by their distance from the
producer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

TABLE = Path(__file__).parent / "tables" / "transactions.txt"
TIMEOUT_MS = 60_000

# How a state comes about: by whose EndTxn, and its result. An epoch is 1 before that, so that there is an older one.
STATES = (
    "unknown",
    "Empty",
    "Ongoing",
    *("PrepareCommit of v1", "PrepareCommit of v2", "PrepareAbort of v1", "PrepareAbort of v2"),
    *("CompleteCommit of v1", "CompleteCommit of v2", "CompleteAbort of v1", "CompleteAbort of v2"),
)
REQUESTS = (
    *("EndTxn v1 commit", "EndTxn v1 abort", "EndTxn v2 commit", "EndTxn v2 abort"),
    *("add v1", "add v2", "verify", "InitProducerId to start", "InitProducerId to go on"),
)
# Who asks: a distance from the producer's epoch, or somebody else's producer id.
PRODUCERS = {"same epoch": 0, "older epoch": -1, "newer epoch": 1, "other producer id": None}


class Outcome(NamedTuple):
    """An answer: its code, and what it says of the producer."""

    code: str
    producer: tuple[int, int] | None = None


class Driver(Protocol):
    """One broker or coordinator, as this table plays it."""

    def init(self, name: str, producer: tuple[int, int]) -> Outcome: ...
    def add(self, name: str, producer: tuple[int, int], version: str) -> Outcome: ...
    def verify(self, name: str, producer: tuple[int, int]) -> Outcome: ...
    def end(self, name: str, producer: tuple[int, int], version: str, *, commits: bool) -> Outcome: ...

    def hold_markers(self, name: str, producer: tuple[int, int]) -> None:
        """See to it that the next end of this transaction does not complete."""
        ...

    def state(self, name: str) -> tuple[str, int, int] | None:
        """State, producer id and epoch, when nothing is on its way any more that is not held."""
        ...


def rows(states: tuple[str, ...] = STATES) -> Iterator[tuple[str, str, str]]:
    """Every line's subject."""
    for state in states:
        for request in REQUESTS:
            for producer in PRODUCERS:
                if request != "InitProducerId to start" or producer == "same epoch":
                    yield state, request, producer


def play(driver: Driver, prefix: str, states: tuple[str, ...] = STATES) -> str:
    """The table as this driver answers it."""
    names = (f"{prefix}-{number}" for number in count())
    lines = [_line(driver, next(names), *row) for row in rows(states)]
    return "".join(lines)


def _line(driver: Driver, name: str, state: str, request: str, whose: str) -> str:
    own = _prepare(driver, name, state)
    distance = PRODUCERS[whose]
    producer = (own[0] + 1_000_000, own[1]) if distance is None else (own[0], own[1] + distance)
    outcome = _ask(driver, name, request, producer)
    said = outcome.code if outcome.producer is None else f"{outcome.code} {_relative(outcome.producer, own)}"
    after = driver.state(name)
    left = "unknown" if after is None else f"{after[0]} {_relative(after[1:], own)}"
    asked = request if request == "InitProducerId to start" else f"{request}, {whose}"
    return f"{state:21} {asked:43} {said:33} -> {left}\n"


def _prepare(driver: Driver, name: str, state: str) -> tuple[int, int]:
    """Bring a transactional id into a state; gives its producer id and epoch there."""
    if state == "unknown":
        # A producer id that nobody has been given.
        return 1 << 40, 5
    driver.init(name, (-1, -1))
    producer = driver.init(name, (-1, -1)).producer
    assert producer is not None
    if state == "Empty":
        return producer
    assert driver.add(name, producer, "v1").code == "none"
    if state != "Ongoing":
        label, _, version = state.partition(" of ")
        if label.startswith("Prepare"):
            driver.hold_markers(name, producer)
        assert driver.end(name, producer, version, commits=label.endswith("Commit")).code == "none"
    found = driver.state(name)
    assert found is not None
    assert found[0] == state.partition(" ")[0], f"{name} should be {state}: {found}"
    return found[1:]


def _ask(driver: Driver, name: str, request: str, producer: tuple[int, int]) -> Outcome:
    match request.split():
        case ["EndTxn", version, result]:
            return driver.end(name, producer, version, commits=result == "commit")
        case ["add", version]:
            return driver.add(name, producer, version)
        case ["verify"]:
            return driver.verify(name, producer)
        case ["InitProducerId", _, "start"]:
            return driver.init(name, (-1, -1))
    return driver.init(name, producer)


def _relative(producer: Any, own: tuple[int, int]) -> str:
    producer_id, epoch = producer
    if producer_id == -1:
        return "-"
    if producer_id != own[0]:
        return f"next {epoch}"
    return f"own {epoch - own[1]:+d}" if epoch != own[1] else "own"


def main() -> None:
    """Write the table anew."""
    from tests.coordinator.test_transaction_table import CoordinatorDriver

    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(play(CoordinatorDriver(), "x"))


if __name__ == "__main__":
    main()
