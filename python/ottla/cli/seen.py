"""Waiting until a broker shows what the cluster has decided.

A broker of a KRaft cluster answers when the controller has decided, and shows it a moment later, when the metadata has
reached it. The next command of a script should find what this one has done, so a command that changes something looks
for it before it ends: for a while, since what was decided stands either way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ottla.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ottla.admin import Admin, ConfigChange, Resource

TIMEOUT_S = 3.0
PAUSE_S = 0.02


def wait_for_partitions(client: Admin, partitions: Mapping[str, int]) -> None:
    """Wait until the topics have at least so many partitions, or 0: are gone."""

    def seen() -> bool:
        found = client.describe_topics(partitions)
        counts = {name: 0 if isinstance(each, RequestError) else len(each.partitions) for name, each in found.items()}
        return all(counts[name] >= count if count else not counts[name] for name, count in partitions.items())

    _wait(seen)


def wait_for_configs(client: Admin, resource: Resource, changes: Sequence[ConfigChange]) -> None:
    """Wait until the new values are described; those of lists and secrets are not compared."""
    from ottla.admin import ConfigOperation

    wanted = {each.name: each.value for each in changes if each.operation == ConfigOperation.SET}

    def seen() -> bool:
        entries = client.describe_configs([resource], names=wanted)[resource]
        return isinstance(entries, RequestError) or all(
            entry.sensitive or entry.value == wanted[entry.name] for entry in entries
        )

    if wanted:
        _wait(seen)


def _wait(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not seen() and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
