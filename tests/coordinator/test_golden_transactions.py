"""The scripts say what the transaction coordinator answers, writes and sends; see `golden_transactions`.

And they leave out nothing: every step of the table of states, every request and every deadline in every state. What is
missing is named, so that whoever adds a state or a request learns what to write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ottla import _core
from ottla.coordinator.transaction.completion import Completions
from ottla.coordinator.transaction.machine import TransactionMachine
from ottla.coordinator.transaction.state import IDLE, TRANSITIONS, TransactionState
from ottla.coordinator.transaction.transaction import Transaction
from ottla.coordinator.transaction.waiting import Waiting
from tests.coordinator.golden_transactions import TransactionPlayer, scripts

UNKNOWN = "unknown"
PREPARED = frozenset({TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT})
# No record has ever said one of these; DEAD is a tombstone.
NEVER_STORED = frozenset({TransactionState.DEAD, TransactionState.PREPARE_EPOCH_FENCE})
STORED = frozenset(TransactionState) - NEVER_STORED
REQUESTS = (
    *("init", "init -goes-on", "add", "verify", "write", "write -v1"),
    *("end commit", "end abort", "end commit -v1", "end abort -v1"),
    *("describe", "list", "restart", "unload"),
)
# In which states each deadline may find an id with something to do.
DEADLINES = {
    "_is_timed_out": frozenset({TransactionState.ONGOING}),
    "_expire": IDLE,
    "_retry": PREPARED,
    "_waited": PREPARED,
}


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    """Playing the script gives what it says."""
    expected = path.read_text()
    assert TransactionPlayer().play(expected) == expected


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.stem)
def test_script_with_the_records_of_a_broker(path: Path) -> None:
    """The same with Kafka's bytes, whose versions do not all carry everything: nothing that counts is left out."""
    expected = path.read_text()
    assert TransactionPlayer(_core.Codec()).play(expected) == expected


def test_there_are_scripts() -> None:
    """An empty folder would pass everything."""
    assert len(scripts()) >= 10


class Seen:
    """What the scripts have shown so far."""

    def __init__(self) -> None:
        self.steps: set[tuple[TransactionState, TransactionState]] = set()
        self.requests: set[tuple[str, TransactionState | str]] = set()
        self.deadlines: set[tuple[str, TransactionState]] = set()


class WatchingPlayer(TransactionPlayer):
    """A player that notes in which state a command finds its transactional id."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def run(self, words: list[str], *, end_turn: bool) -> None:
        verb, *rest = words
        if verb != "set":
            ids = {word.removeprefix("-id=") for word in rest if word.startswith("-id=")} or {"x"}
            state: TransactionState | str = UNKNOWN
            machines, _ = self.world.coordinator._runtime.machines()
            for machine in machines:
                for transactional_id in ids:
                    current = machine.transactions.get(transactional_id)
                    state = UNKNOWN if current is None else current.state
            flags = ["-goes-on"] if any(word == "-goes-on" or "producer=" in word for word in rest) else []
            flags = flags if verb == "init" else [word for word in rest if word in ("commit", "abort", "-v1")]
            self.seen.requests.add((" ".join([verb, *flags]), state))
        super().run(words, end_turn=end_turn)


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Everything the scripts show, taken together."""
    found = Seen()
    with pytest.MonkeyPatch.context() as patch:
        step, timed_out, expire = Transaction._step, TransactionMachine._is_timed_out, TransactionMachine._expire
        retry, waited = Completions._retry, Waiting._expire

        def watched_step(self: Transaction, state: TransactionState, **changes: Any) -> Transaction:
            found.steps.add((self.state, state))
            return step(self, state, **changes)

        def watched_time_out(self: TransactionMachine, transaction: Transaction) -> bool:
            if timed_out(self, transaction):
                found.deadlines.add(("_is_timed_out", transaction.state))
                return True
            return False

        def watched_expire(self: TransactionMachine) -> Any:
            result = expire(self)
            for record in result.records:
                key: Any = record.key
                now = self.transactions.get(key.transactional_id)
                assert now is not None
                found.deadlines.add(("_expire", now.state))
                found.steps.add((now.state, TransactionState.DEAD))
            return result

        def watched_retry(self: Completions, transactional_id: str, completion: Any) -> Any:
            found.deadlines.add(("_retry", completion.transaction.state))
            return retry(self, transactional_id, completion)

        def watched_wait(self: Waiting, transactional_id: str, number: int) -> Any:
            machine = players[-1].world.machine
            current = machine.transactions.get(transactional_id)
            assert current is not None
            found.deadlines.add(("_waited", current.state))
            return waited(self, transactional_id, number)

        patch.setattr(Transaction, "_step", watched_step)
        patch.setattr(TransactionMachine, "_is_timed_out", watched_time_out)
        patch.setattr(TransactionMachine, "_expire", watched_expire)
        patch.setattr(Completions, "_retry", watched_retry)
        patch.setattr(Waiting, "_expire", watched_wait)
        players: list[WatchingPlayer] = []
        for path in scripts():
            players.append(WatchingPlayer(found))
            players[-1].play(path.read_text())
    return found


def test_every_step_of_the_table_is_taken(seen: Seen) -> None:
    """No step is in the table that no script shows, and none is taken that is not there."""
    table = {(before, after) for after, allowed in TRANSITIONS.items() for before in allowed}
    fence = TransactionState.PREPARE_EPOCH_FENCE
    assert seen.steps == {(before, after) for before, after in table if fence not in (before, after)}


def test_every_request_is_shown_in_every_state(seen: Seen) -> None:
    """Every kind of request, of both generations, meets every state an id can be in, and one that is unknown."""
    wanted = {(request, state) for request in REQUESTS for state in (*STORED, UNKNOWN)}
    assert wanted <= seen.requests, sorted((each, str(state)) for each, state in wanted - seen.requests)


def test_every_deadline_is_shown_in_every_state(seen: Seen) -> None:
    """Where it has something to do."""
    wanted = {(deadline, state) for deadline, states in DEADLINES.items() for state in states}
    assert wanted == seen.deadlines
