"""Which broker is asked: any, the controller, a leader, a group's coordinator; and asking again when that has moved.

There is one socket per broker. Where clients were told to start (`bootstrap`) is asked first; a cluster of one broker
is asked over that socket alone, since there is nobody else. Nothing that may move is remembered but the controller,
and that is looked up again when a broker says NOT_CONTROLLER.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from ottla.admin import apis
from ottla.admin.connection import ClientCodec, Connection, Deadline, error_of
from ottla.admin.results import Broker, Cluster
from ottla.errors import ErrorCode, RequestError, Unreachable
from ottla.messages.find_coordinator import FindCoordinatorRequest
from ottla.messages.metadata import MetadataRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from msgspec import Struct

    from ottla.admin.apis import Api

K = TypeVar("K")
V = TypeVar("V")

# Errors that pass by themselves, by what has to be looked up again meanwhile.
_CONTROLLER_MOVES = frozenset({ErrorCode.NOT_CONTROLLER, ErrorCode.THROTTLING_QUOTA_EXCEEDED})
COORDINATOR_MOVES = frozenset(
    {ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_COORDINATOR}
)
_LEADER_MOVES = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.REPLICA_NOT_AVAILABLE,
    }
)
_PAUSE_S_FIRST = 0.05
_PAUSE_S_MAX = 1.0


class Routing:
    """The sockets of one client, and what they lead to."""

    def __init__(
        self,
        bootstrap: Sequence[tuple[str, int]],
        *,
        codec: ClientCodec,
        client_id: str,
        connect_timeout_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.codec = codec
        self._bootstrap = tuple(bootstrap)
        self._client_id = client_id
        self._connect_timeout_s = connect_timeout_s
        self._sleep = sleep
        self._connections: dict[tuple[str, int], Connection] = {}
        self._cluster: Cluster | None = None

    def close(self) -> None:
        """Close every socket."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    # Connections.

    def any(self, deadline: Deadline) -> Connection:
        """Give a connection to whichever broker answers: one that is open, else the first of those given."""
        for connection in self._connections.values():
            if not connection.closed:
                return connection
        known = [(broker.host, broker.port) for broker in (self._cluster.brokers if self._cluster else ())]
        refused: list[Unreachable] = []
        for host, port in dict.fromkeys([*self._bootstrap, *known]):
            try:
                return self._connect(host, port, deadline)
            except Unreachable as error:
                refused.append(error)
        if len(refused) == 1:
            raise refused[0]
        raise Unreachable("no broker can be reached: " + "; ".join(str(error) for error in refused)) from refused[-1]

    def broker(self, broker_id: int, deadline: Deadline) -> Connection:
        """Give a connection to this broker."""
        cluster = self.cluster(deadline)
        broker = cluster.broker(broker_id)
        if broker is None:
            up = ", ".join(str(each.broker_id) for each in cluster.brokers)
            raise RequestError(ErrorCode.BROKER_NOT_AVAILABLE, f"there is no broker {broker_id}; those up are: {up}")
        return self._to(broker, deadline)

    def controller(self, deadline: Deadline) -> Connection:
        """Give a connection to the controller, or to the broker that passes requests on to it."""
        controller = self.cluster(deadline).broker(self.cluster(deadline).controller_id)
        return self.any(deadline) if controller is None else self._to(controller, deadline)

    def cluster(self, deadline: Deadline, *, refresh: bool = False) -> Cluster:
        """Give the brokers and the controller as they were last seen."""
        if self._cluster is None or refresh:
            answer, _ = self.ask_any(
                apis.METADATA, MetadataRequest(topics=[], allow_auto_topic_creation=False), deadline
            )
            self.saw(answer)
        assert self._cluster is not None
        return self._cluster

    def saw(self, metadata: Any) -> None:
        """Take the brokers and the controller from an answer to Metadata."""
        self._cluster = Cluster(
            metadata.cluster_id,
            metadata.controller_id,
            tuple(
                sorted(
                    (Broker(each.node_id, each.host, each.port, each.rack) for each in metadata.brokers),
                    key=lambda broker: broker.broker_id,
                )
            ),
        )

    def ask_any(self, api: Api, request: Struct, deadline: Deadline, *, at_least: int = 0) -> tuple[Any, int]:
        """Ask whichever broker answers."""
        return self.ask(lambda: self.any(deadline), api, request, deadline, at_least=at_least)

    def ask(
        self,
        connect: Callable[[], Connection],
        api: Api,
        request: Struct,
        deadline: Deadline,
        *,
        at_least: int = 0,
    ) -> tuple[Any, int]:
        """Ask over the connection `connect` gives; once more if a used one turns out to be closed (it was idle)."""
        connection = connect()
        was_used = connection.used
        try:
            return connection.ask(api, request, deadline, at_least=at_least)
        except Unreachable:
            if not (was_used and connection.closed and deadline.left_s > 0):
                raise
            return connect().ask(api, request, deadline, at_least=at_least)

    def _to(self, broker: Broker, deadline: Deadline) -> Connection:
        if self._cluster is not None and len(self._cluster.brokers) == 1:
            return self.any(deadline)
        found = self._connections.get((broker.host, broker.port))
        if found is not None and not found.closed:
            return found
        try:
            return self._connect(broker.host, broker.port, deadline)
        except Unreachable as error:
            raise Unreachable(
                f"broker {broker.broker_id} advertises {broker.address}, which cannot be used from here: {error}"
            ) from error

    def _connect(self, host: str, port: int, deadline: Deadline) -> Connection:
        connection = Connection(
            host,
            port,
            codec=self.codec,
            client_id=self._client_id,
            deadline=deadline.at_most(self._connect_timeout_s),
        )
        self._connections[host, port] = connection
        return connection

    # Asking for many items, and again for those whose place has moved.

    def settle(
        self,
        items: Iterable[K],
        deadline: Deadline,
        ask: Callable[[list[K]], Mapping[K, V | RequestError]],
        passing: frozenset[ErrorCode],
    ) -> dict[K, V | RequestError]:
        """Ask for all items, then again for those whose error passes, until the deadline; keeps their order."""
        order = list(dict.fromkeys(items))
        outcomes: dict[K, V | RequestError] = {}
        waiting = order
        pause_s = _PAUSE_S_FIRST
        while waiting:
            answered = ask(waiting)
            outcomes.update(in_order(waiting, answered))
            waiting = [item for item in waiting if _code(outcomes[item]) in passing]
            if not waiting or deadline.left_s <= pause_s:
                break
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)
            self.cluster(deadline, refresh=True)
        return {item: outcomes[item] for item in order}

    def by_controller(
        self, items: Iterable[K], deadline: Deadline, ask: Callable[[list[K]], Mapping[K, V | RequestError]]
    ) -> dict[K, V | RequestError]:
        """Settle what the controller decides."""
        return self.settle(items, deadline, ask, _CONTROLLER_MOVES)

    def by_coordinator(
        self,
        groups: Iterable[str],
        deadline: Deadline,
        ask: Callable[[Broker, list[str]], Mapping[str, V | RequestError]],
        *,
        kind: int = 0,
        also_passing: frozenset[ErrorCode] = frozenset(),
    ) -> dict[str, V | RequestError]:
        """Settle what the coordinator of each group answers: `ask` is called once per coordinator.

        `kind` 1: of each transactional id.
        """

        def attempt(waiting: list[str]) -> dict[str, V | RequestError]:
            outcomes: dict[str, V | RequestError] = {}
            of_broker: dict[Broker, list[str]] = {}
            for group, found in self.coordinators(waiting, deadline, kind).items():
                if isinstance(found, RequestError):
                    outcomes[group] = found
                else:
                    of_broker.setdefault(found, []).append(group)
            for broker, those in of_broker.items():
                outcomes.update(ask(broker, those))
            return outcomes

        return self.settle(groups, deadline, attempt, COORDINATOR_MOVES | also_passing)

    def by_leader(
        self,
        items: Iterable[K],
        deadline: Deadline,
        leaders: Callable[[list[K]], Mapping[K, int | RequestError]],
        ask: Callable[[int, list[K]], Mapping[K, V | RequestError]],
    ) -> dict[K, V | RequestError]:
        """Settle what the leader of each partition answers: `ask` is called once per leader."""

        def attempt(waiting: list[K]) -> dict[K, V | RequestError]:
            outcomes: dict[K, V | RequestError] = {}
            of_leader: dict[int, list[K]] = {}
            for item, leader in leaders(waiting).items():
                if isinstance(leader, RequestError):
                    outcomes[item] = leader
                else:
                    of_leader.setdefault(leader, []).append(item)
            for leader, those in of_leader.items():
                outcomes.update(ask(leader, those))
            return outcomes

        return self.settle(items, deadline, attempt, _LEADER_MOVES)

    def coordinators(
        self, groups: Sequence[str], deadline: Deadline, kind: int = 0
    ) -> dict[str, Broker | RequestError]:
        """Find the coordinator of each group: in one request from version 4 on (KIP-699), one by one before."""
        first = self.any(deadline)
        found: dict[str, Broker | RequestError] = {}
        if first.version(apis.FIND_COORDINATOR, 4) is not None:
            request = FindCoordinatorRequest(key_type=kind, coordinator_keys=list(groups))
            answer, _ = self.ask_any(apis.FIND_COORDINATOR, request, deadline)
            rows = [(row.key, row) for row in answer.coordinators]
        else:
            rows = []
            for group in groups:
                request = FindCoordinatorRequest(key=group, key_type=kind)
                answer, _ = self.ask_any(apis.FIND_COORDINATOR, request, deadline)
                rows.append((group, answer))
        for group, row in rows:
            if row.error_code:
                found[group] = error_of(row.error_code, row.error_message)
            else:
                found[group] = Broker(row.node_id, row.host, row.port)
        return found

    def at(self, broker: Broker, deadline: Deadline) -> Callable[[], Connection]:
        """Give what connects to a broker whose address was just told."""
        return lambda: self._to(broker, deadline)

    def by_id(self, broker_id: int, deadline: Deadline) -> Callable[[], Connection]:
        """Give what connects to the broker of this id."""
        return lambda: self.broker(broker_id, deadline)


def _code(outcome: object) -> ErrorCode | None:
    return outcome.code if isinstance(outcome, RequestError) else None


def in_order(items: Iterable[K], answered: Mapping[K, V | RequestError]) -> dict[K, V | RequestError]:
    """Give the outcomes in the order of the items; one that the broker left out is an error."""
    return {
        item: answered[item]
        if item in answered
        else RequestError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the broker's answer does not mention {item}")
        for item in items
    }
