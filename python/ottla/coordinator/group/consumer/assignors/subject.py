"""What an assignor knows of a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from ottla.coordinator.group.consumer.member import Target


class Subject(Struct, frozen=True):
    """One member. Made for each with every target."""

    member_id: str
    instance_id: str | None
    # Ids of the topics it subscribes to, each once. Members of one subscription share the tuple.
    topics: tuple[bytes, ...]
    # What it shall have so far.
    target: Target
