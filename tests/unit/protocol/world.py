"""The control plane without the native half: a fake bridge, a virtual clock, a controller over a log in memory."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from msgspec import Struct

from ottla.clock import DeadlineQueue, SeededRandom, VirtualClock
from ottla.config import Endpoint, Given, load
from ottla.controller.controller import Controller
from ottla.controller.create_topics import TopicDefaults
from ottla.controller.internal_topics import own_topics
from ottla.controller.producer_ids import ProducerIds
from ottla.controller.registration import register
from ottla.coordinator.group.consumer.topics import Patterns
from ottla.coordinator.transaction.coordinator import TransactionCoordinator
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.protocol.background import Background
from ottla.protocol.commits import Commits
from ottla.protocol.dispatch import Dispatcher
from ottla.protocol.registry import BY_KEY, Api
from ottla.protocol.services import Services
from ottla.protocol.topic_creation import AutoCreation, InternalTopics
from ottla.testing import MemoryJournal, MemoryMarkers, MemoryMetadataJournal
from tests.coordinator.world import FakeCodec
from tests.unit.controller.world import NamedCodec


class FakeBridge:
    """Items wait until they are drained; what is answered is kept."""

    def __init__(self) -> None:
        self.items: list[tuple[Any, ...]] = []
        self.calls: list[list[tuple[int, Struct]]] = []
        self.refused: list[int] = []
        self.resumed: dict[int, list[tuple[str, int]]] = {}
        self.verified: dict[int, int] = {}
        self.fail_with: BaseException | None = None

    @property
    def answers(self) -> dict[int, Any]:
        return {token: response for call in self.calls for token, response in call}

    def drain(self, most: int) -> list[tuple[Any, ...]]:
        taken, self.items = self.items[:most], self.items[most:]
        return taken

    def answer(self, answers: list[tuple[int, Struct]]) -> None:
        self.calls.append(answers)
        if self.fail_with is not None:
            raise self.fail_with

    def refuse(self, token: int) -> None:
        self.refused.append(token)

    def resume(self, token: int, results: Sequence[tuple[str, int]]) -> None:
        self.resumed[token] = list(results)

    def resume_verify(self, token: int, error_code: int) -> None:
        self.verified[token] = error_code


class World:
    """A registered lone broker; `ask` brings a request up, `turn` runs the control plane."""

    def __init__(self, *apis: Api, drain_max: int = 256, **settings: str) -> None:
        self.bridge = FakeBridge()
        self.clock = VirtualClock()
        self.deadlines = DeadlineQueue()
        self.commits = Commits()
        self.journal = MemoryMetadataJournal()
        self.flushes = 0
        self.turns_requested = 0
        codec: Any = NamedCodec()
        record_codec: Any = FakeCodec()
        config = load(Given(name.replace("_", "."), text, "test") for name, text in settings.items())
        random = SeededRandom(1)
        controller = Controller(
            self.journal, codec, self.clock, self.deadlines, snapshot_bytes=1 << 30, on_change=lambda *_: None
        )
        defaults = TopicDefaults(
            config["num.partitions"], config["default.replication.factor"], config.topic_defaults, own_topics(config, 1)
        )
        self.markers = MemoryMarkers()
        self.transactions = TransactionCoordinator(
            journals=lambda _index: MemoryJournal(),
            partition_count=config.integer("transaction.state.log.num.partitions"),
            codec=record_codec,
            scheduler=self.deadlines,
            clock=self.clock,
            markers=self.markers,
            producer_ids=ProducerIds(controller, config.node_id).take,
            exists=controller.image.has_partition,
            coordinator_epoch=lambda _index: 0,
            server_version=lambda: 2,
            settings=TransactionSettings.from_config(config),
        )
        internal = InternalTopics(controller, config, defaults, random)
        no_groups: Any = SimpleNamespace(partition_for=lambda _group_id: 3)
        no_storage: Any = None
        self.services = Services(
            node_id=config.node_id,
            cluster_id="cluster",
            config=config,
            clock=self.clock,
            scheduler=self.deadlines,
            random=random,
            controller=controller,
            topic_defaults=defaults,
            auto_creation=AutoCreation(
                controller, internal, defaults, random, enabled=config["auto.create.topics.enable"]
            ),
            internal_topics=internal,
            groups=no_groups,
            markers=self.markers,
            transactions=self.transactions,
            patterns=Patterns(
                lambda pattern: "an open bracket" if "(" in pattern else None,
                lambda patterns, names: [[name for name in names if name == pattern] for pattern in patterns],
            ),
            storage=no_storage,
            background=Background("background", self.request_turn),
        )
        self.dispatcher = Dispatcher(
            self.bridge,
            self.services,
            self.clock,
            self.deadlines,
            self.commits,
            flush=self.flush,
            request_turn=self.request_turn,
            apis={**BY_KEY, **{api.key: api for api in apis}},
            drain_max=drain_max,
        )
        controller.change(
            lambda image: register(
                image,
                broker_id=config.node_id,
                end_offset=0,
                endpoints=[Endpoint("PLAINTEXT", "here", 9092), Endpoint("OTHER", "there", 9093)],
                rack="r1",
                random=random,
                clean_shutdown=True,
            ),
            lambda _: None,
        )

    def flush(self) -> None:
        self.flushes += 1
        self.transactions.flush_turn()

    def request_turn(self) -> None:
        self.turns_requested += 1

    def ask(self, token: int, key: int, version: int, body: Struct, *, listener: str = "PLAINTEXT") -> None:
        received = self.clock.monotonic_ms()
        self.bridge.items.append(
            ("request", token, key, version, token, "client", "127.0.0.1", 1, listener, received, body)
        )

    def turn(self) -> None:
        self.dispatcher.turn()

    def call(self, key: int, version: int, body: Struct, *, listener: str = "PLAINTEXT") -> Any:
        """Ask and give the answer, which must come in the same turn."""
        token = 1_000_000 + len(self.bridge.calls)
        self.ask(token, key, version, body, listener=listener)
        self.turn()
        return self.bridge.answers[token]
