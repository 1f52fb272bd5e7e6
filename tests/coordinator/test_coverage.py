"""The scripts leave out nothing: every step of the table of states, every request and every deadline in every state.

Counted while all scripts are played. What is missing is named, so that whoever adds a state or a request learns what
to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ottla.coordinator.group.classic_group import ClassicGroup
from ottla.coordinator.group.groups import classic_group
from ottla.coordinator.group.rebalance import Rebalancer
from ottla.coordinator.group.state import TRANSITIONS, GroupState, StateMachine
from tests.coordinator.golden import Player, scripts

LIVE = frozenset(GroupState) - {GroupState.DEAD}
ROUNDS = frozenset({GroupState.COMPLETING_REBALANCE, GroupState.STABLE})
NO_GROUP = "no group"
# Of one group, or of whichever there are.
REQUESTS_OF_A_GROUP = (
    *("join", "sync", "heartbeat", "leave", "commit", "fetch"),
    *("describe", "delete-groups", "delete-offsets"),
)
FOR_ALL_GROUPS = ("list", "restart", "unload")
# In which states each deadline of a group may find it with something to do.
DEADLINES = {
    "_session_expired": LIVE,
    "_join_expired": frozenset({GroupState.PREPARING_REBALANCE}),
    "_waited": frozenset({GroupState.PREPARING_REBALANCE}),
    "_sync_expired": ROUNDS,
}


class Seen:
    """What the scripts have shown so far."""

    def __init__(self) -> None:
        self.steps: set[tuple[GroupState, GroupState]] = set()
        self.requests: set[tuple[str, GroupState | str]] = set()
        self.deadlines: set[tuple[str, GroupState]] = set()


class WatchingPlayer(Player):
    """A player that notes in which state a command finds its group."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def run(self, words: list[str], *, end_turn: bool) -> None:
        verb, *rest = words
        if verb != "set":
            machines, _ = self.world.coordinator._runtime.machines()
            groups = {
                group_id: group
                for machine in machines
                for group_id, group in machine.groups.items()
                if isinstance(group, ClassicGroup)
            }
            if verb in FOR_ALL_GROUPS:
                asked = list(groups)
            elif verb in ("describe", "delete-groups"):
                asked = [word for word in rest if "=" not in word]
            else:
                asked = [word.partition("=")[2] for word in rest if word.removeprefix("-").startswith("group=")] or [
                    "g"
                ]
            for group_id in asked:
                group = groups.get(group_id)
                self.seen.requests.add((verb, NO_GROUP if group is None else group.state.current))
        super().run(words, end_turn=end_turn)


def has_something_to_do(deadline: str, group: Any, subject: object) -> bool:
    """Whether the deadline changes the group; `subject` is what it was set for."""
    if deadline == "_session_expired":
        member = group.members.get(subject)
        return subject in group.pending_joins or (member is not None and not member.is_excused)
    if deadline == "_sync_expired":
        return bool(group.pending_syncs) and group.generation == subject
    return True


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """All scripts, played and watched."""
    found = Seen()
    with pytest.MonkeyPatch.context() as patch:
        enter = StateMachine.enter

        def watched_enter(machine: StateMachine, state: GroupState, now_ms: int) -> None:
            found.steps.add((machine.current, state))
            enter(machine, state, now_ms)

        patch.setattr(StateMachine, "enter", watched_enter)

        def watch(name: str) -> None:
            fire = getattr(Rebalancer, name)

            def watched(rebalancer: Rebalancer, group_id: str, *details: Any) -> Any:
                group = classic_group(rebalancer._groups, group_id)
                if group is not None and has_something_to_do(name, group, details[0] if details else None):
                    found.deadlines.add((name, group.state.current))
                return fire(rebalancer, group_id, *details)

            patch.setattr(Rebalancer, name, watched)

        for name in DEADLINES:
            watch(name)
        for path in scripts():
            WatchingPlayer(found).play(path.read_text())
        yield found


def test_every_step_of_the_table_is_in_a_script(seen: Seen) -> None:
    """No transition that no script makes, and no script that makes one the table has not."""
    table = {(source, target) for target, sources in TRANSITIONS.items() for source in sources}
    missing = sorted(f"{source.value} -> {target.value}" for source, target in table - seen.steps)
    assert not missing, f"{len(missing)} transitions are in no script: {missing}"
    assert seen.steps <= table


@pytest.mark.parametrize("request_", REQUESTS_OF_A_GROUP)
def test_every_request_meets_every_state_in_a_script(seen: Seen, request_: str) -> None:
    """Also a group that does not exist."""
    missing = {NO_GROUP, *LIVE} - {state for verb, state in seen.requests if verb == request_}
    assert not missing, f"{request_}: no script sends it in {missing}"


@pytest.mark.parametrize("command", FOR_ALL_GROUPS)
def test_groups_of_every_state_are_listed_loaded_and_unloaded(seen: Seen, command: str) -> None:
    """What is asked of all groups, or happens to them, finds groups of each state."""
    missing = LIVE - {state for verb, state in seen.requests if verb == command}
    assert not missing, f"{command}: in no script while a group is in {missing}"


@pytest.mark.parametrize("deadline", DEADLINES)
def test_every_deadline_fires_in_a_script(seen: Seen, deadline: str) -> None:
    """In each state in which it has something to do, and in no other."""
    states = {state for name, state in seen.deadlines if name == deadline}
    missing = DEADLINES[deadline] - states
    assert not missing, f"{deadline}: fires in no script while the group is in {missing}"
    assert states <= DEADLINES[deadline]
