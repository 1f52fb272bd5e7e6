"""What AlterConfigs and IncrementalAlterConfigs share: the checks before a change, and one answer per resource.

Kafka's `ConfigAdminManager.preprocess` does the same checks in this order: a resource named twice, a setting named
twice, nulls, then the kind of resource. Whatever passes is decided on by the controller, each resource on its own.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from ottla.config.topic_config import without_effect
from ottla.controller.alter_configs import Alteration, Altered, Operation, alter_configs
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.protocol.services import Services

log = logging.getLogger(__name__)

TOPIC = 2
BROKER = 4
GROUP = 32
# What Kafka can alter and this broker cannot yet.
_NOT_YET = {
    8: "Log levels of a broker cannot be changed while it runs: start it with --log-level.",
    16: "Client metrics are not collected: there is nothing to configure.",
}

# A kind of resource and its name.
Resource = tuple[int, str]
Outcome = tuple[ErrorCode, str | None]


class Alterations:
    """Collects what a request asks for; `run` answers every resource in the request's order."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = resources
        self._counts = Counter(resources)
        self._outcomes: dict[int, Outcome] = {}
        self._wanted: dict[int, Alteration] = {}

    def check(self, place: int, names: Sequence[str], null_names: Sequence[str]) -> bool:
        """Whether the resource at this place of the request may be altered; else its refusal is kept."""
        kind, _ = resource = self._resources[place]
        if self._counts[resource] > 1:
            return self._refuse(place, "Each resource must appear at most once.")
        if len(set(names)) < len(names):
            return self._refuse(place, "Error due to duplicate config keys")
        if null_names:
            return self._refuse(place, f"Null value not supported for : {', '.join(null_names)}")
        if kind not in {TOPIC, BROKER, GROUP}:
            return self._refuse(place, _NOT_YET.get(kind, f"Unknown resource type {kind}"))
        return True

    def alter(
        self,
        place: int,
        operations: Sequence[tuple[str, Operation, str | None]],
        *,
        replaces_all: bool = False,
    ) -> None:
        """Ask for these changes of the resource at this place."""
        kind, name = self._resources[place]
        self._wanted[place] = Alteration(name, tuple(operations), kind, replaces_all)

    def refuse(self, place: int, code: ErrorCode, words: str) -> None:
        """Keep a refusal for the resource at this place."""
        self._outcomes[place] = (code, words)

    def run(self, services: Services, *, validate_only: bool, done: Callable[[list[Outcome]], None]) -> None:
        """Make the changes that passed; `done` gets an outcome for every resource."""
        if not self._wanted:
            done(self._in_order())
            return

        def decided(results: list[Altered] | RequestError) -> None:
            if isinstance(results, RequestError):
                self._outcomes.update(dict.fromkeys(self._wanted, (results.code, results.message)))
            else:
                found = ((result.code, result.message) for result in results)
                self._outcomes.update(zip(self._wanted, found, strict=True))
                if not validate_only:
                    self._warn()
            done(self._in_order())

        decide = partial(
            alter_configs,
            alterations=list(self._wanted.values()),
            config=services.config,
            validate_only=validate_only,
        )
        services.controller.change(decide, decided)

    def _warn(self) -> None:
        """Say in the log which of the settings that were set change nothing in this version."""
        for place, alteration in self._wanted.items():
            if self._outcomes[place][0] is ErrorCode.NONE and alteration.kind == TOPIC:
                given = {name: text for name, how, text in alteration.operations if how != Operation.DELETE and text}
                for sentence in without_effect(given):
                    log.warning("topic %s: %s", alteration.name, sentence)

    def _refuse(self, place: int, words: str) -> bool:
        self.refuse(place, ErrorCode.INVALID_REQUEST, words)
        return False

    def _in_order(self) -> list[Outcome]:
        return [self._outcomes[place] for place in range(len(self._resources))]
