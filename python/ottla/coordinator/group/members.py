"""A member of a classic group."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Struct

    from ottla.messages import JoinGroupRequestProtocol
    from ottla.types import Answer


class Reply:
    """The answer of one request that may have to wait; the first thing sent is what the client gets.

    A parked request can be ended by several things that do not know each other (its group goes on, its member is
    fenced, the append of its group fails), so only the first counts. What a held reply is told, it keeps until it is
    released.
    """

    __slots__ = ("_answer", "_held", "_kept", "sent")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._held = False
        self._kept: Struct | None = None
        self.sent = False

    def __call__(self, response: Struct) -> None:
        if self.sent:
            return
        if self._held:
            self._kept = self._kept or response
            return
        self.sent = True
        self._answer(response)

    def hold(self) -> None:
        """Send nothing until `release`."""
        self._held = True

    def release(self, *, drop: bool = False) -> None:
        """Send what has been kept, or drop it."""
        self._held = False
        kept, self._kept = self._kept, None
        if kept is not None and not drop:
            self(kept)


class Member:
    """One member: what it told in JoinGroup, what it is assigned, and what it waits for."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "instance_id",
        "is_new",
        "join_reply",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
        "sync_reply",
    )

    def __init__(
        self,
        member_id: str,
        *,
        instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: Sequence[tuple[str, bytes]],
        assignment: bytes = b"",
    ) -> None:
        self.member_id = member_id
        # `group.instance.id` of a static member (KIP-345).
        self.instance_id = instance_id
        self.client_id = client_id
        # As Kafka shows it: with a leading slash.
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        # Name and metadata of each protocol, the preferred one first.
        self.protocols = list(protocols)
        self.assignment = assignment
        # Has never got an answer to a JoinGroup: it does not know its id and sends no heartbeats.
        self.is_new = False
        # Parked requests. A JoinGroup is parked and answered through its group, which counts them.
        self.join_reply: Reply | None = None
        self.sync_reply: Reply | None = None

    @property
    def is_static(self) -> bool:
        """Keeps its place in the group over restarts."""
        return self.instance_id is not None

    @property
    def awaits_join(self) -> bool:
        """Its JoinGroup is parked."""
        return self.join_reply is not None

    @property
    def awaits_sync(self) -> bool:
        """Its SyncGroup is parked."""
        return self.sync_reply is not None

    @property
    def is_excused(self) -> bool:
        """Cannot be expected to send a heartbeat: we owe it an answer. New members are not, lest they wait for ever."""
        return not self.is_new and (self.awaits_join or self.awaits_sync)

    def knows(self, protocol: str) -> bool:
        """It can speak the protocol."""
        return any(name == protocol for name, _ in self.protocols)

    def metadata(self, protocol: str) -> bytes:
        """What the member said for this protocol."""
        for name, metadata in self.protocols:
            if name == protocol:
                return metadata
        raise AssertionError(f"member {self.member_id} does not know the protocol {protocol}")

    def vote(self, candidates: frozenset[str]) -> str:
        """The protocol it likes best among those all members know."""
        for name, _ in self.protocols:
            if name in candidates:
                return name
        raise AssertionError(f"member {self.member_id} knows none of the protocols {sorted(candidates)}")

    def matches(self, protocols: Sequence[tuple[str, bytes]]) -> bool:
        """It says the same as before: same protocols, same order, same metadata."""
        return self.protocols == list(protocols)


def protocol_list(protocols: Sequence[JoinGroupRequestProtocol]) -> list[tuple[str, bytes]]:
    """The protocols of a JoinGroup, the preferred one first; of two with one name the first counts."""
    found: dict[str, bytes] = {}
    for protocol in protocols:
        found.setdefault(protocol.name, protocol.metadata)
    return list(found.items())
