"""The composition root: a whole broker, built from its parts, started and stopped.

    with ottla.Broker() as broker:                        # in this process, in memory, on a free port
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)

Start: settings are checked before anything is touched; the engine opens and locks the data directory; the image is
replayed from the metadata log; the broker registers itself; everything is published to the data plane; coordinators
load their shards; listeners open last, so that no client sees a half-started broker. (A listener with port 0 is opened
before the registration, which has to name its port: nobody can know it yet.)

Stop: no new connections, answers under way drain, the control plane ends, the engine writes its checkpoints and the
mark of a clean shutdown, and lets go of the directory. A broker that is killed instead starts again from its log.

Everything of the control plane runs on one thread (`protocol.loop`); `Broker` itself may be used from any.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from ottla import _core
from ottla.clock import DeadlineQueue, SystemRandom
from ottla.config import Endpoint, Given, load, shortcuts
from ottla.config.listeners import advertised_of
from ottla.config.sources import given_by
from ottla.config.topic_config import effective, unreadable
from ottla.controller.connection_limits import ConnectionLimits
from ottla.controller.controller import Controller
from ottla.controller.create_topics import TopicDefaults
from ottla.controller.group_config import group_config
from ottla.controller.internal_topics import own_topics
from ottla.controller.names import INTERNAL_TOPICS, METADATA_TOPIC
from ottla.controller.producer_ids import ProducerIds
from ottla.controller.registration import SUPPORTED_FEATURES, check_features, register
from ottla.controller.topics_view import ImageTopics
from ottla.coordinator.group.consumer.topics import Cluster, Patterns
from ottla.coordinators import Coordinators
from ottla.errors import ConfigError, NewerFormat, NotReady, RequestError
from ottla.protocol.background import Background
from ottla.protocol.commits import Commits, CommittingJournal, CommittingMetadataLog
from ottla.protocol.dispatch import Dispatcher
from ottla.protocol.loop import ControlLoop
from ottla.protocol.markers import PartitionMarkers
from ottla.protocol.registry import api_table
from ottla.protocol.services import Services
from ottla.protocol.topic_creation import AutoCreation, InternalTopics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from ottla.config import BrokerConfig
    from ottla.controller.controller import ControllerStatus
    from ottla.controller.image import Change, MetadataImage, Topic
    from ottla.coordinator.shard import RuntimeStatus
    from ottla.protocol.dispatch import DispatcherStatus

log = logging.getLogger(__name__)

LISTEN_DEFAULT = "127.0.0.1:0"
STOP_TIMEOUT_MS = 5_000
# What work on the data directories gets beyond that, so that a stop that may not wait at all still ends in order.
_BACKGROUND_TIMEOUT_S = 1
# How long a start waits for its own registration to reach the disk.
_REGISTRATION_TIMEOUT_S = 60

# Settings of the broker that each log keeps.
_FOR_EVERY_LOG = ("ottla.decompressed.bytes.max", "producer.id.expiration.ms")


class BrokerStatus(Struct, frozen=True):
    """What metrics, the console and people are told of a running broker."""

    node_id: int  # `node.id`.
    cluster_id: str  # The cluster this data directory is part of.
    bootstrap_servers: str  # What clients are told to connect to.
    # (listener, host, port) as bound.
    listeners: tuple[tuple[str, str, int], ...]
    # Empty if everything is kept in memory.
    data_dirs: tuple[str, ...]
    clean_start: bool  # Whether the last owner of the data directory had stopped cleanly.
    # Why topics and settings cannot be changed until the broker is started again; None as long as all is well.
    failure: str | None
    controller: ControllerStatus  # Topics and settings.
    dispatcher: DispatcherStatus  # Requests that Python answers.
    groups: RuntimeStatus  # The coordinator of groups.
    transactions: RuntimeStatus  # The coordinator of transactions.
    engine: Mapping[str, Any]  # The data directories and their partitions.
    server: Mapping[str, Any]  # Listeners, connections and what waits in them.


class Broker:
    """A Kafka-protocol broker in this process.

    `data_dir`: where the data lives; None keeps it in memory. `listen` and `advertise`: HOST:PORT, for the one plain
    listener most want; several are set as in Kafka, by `listeners` and `advertised.listeners` in `config`. `config`:
    Kafka's settings by name, or a server.properties file. `cluster_id`: the cluster a new data directory becomes part
    of, a random one if None; a directory that belongs to another is refused. `virtual_clock`: for tests (`turn_clock`).

    `on_failure`, which may be set before `start`, is called once, from a thread of the broker's, with the reason why
    nothing can be changed until it is started again (the disk of the metadata log failed, say). What is there goes on
    being served; Kafka ends the process at that point, and so does `ottla serve`.

    Raises `ConfigError` with everything that is wrong before anything is opened; `start` raises `DirectoryInUse`,
    `NewerFormat`, `StorageError`, or OSError if a listener cannot be opened.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        listen: str | None = None,
        advertise: str | None = None,
        config: Mapping[str, object] | str | os.PathLike[str] | Sequence[Given] | None = None,
        cluster_id: str | None = None,
        virtual_clock: _core.VirtualClock | None = None,
    ) -> None:
        given = given_by(config)
        directory = None if data_dir is None else str(data_dir)
        given += shortcuts(given, data_dir=directory, listen=listen, advertise=advertise, listen_default=LISTEN_DEFAULT)
        self.config = load(given)
        self._cluster_id = cluster_id
        self._virtual_clock = virtual_clock
        # Called once, with the reason, when nothing can be changed any more; see above.
        self.on_failure: Callable[[str], None] = lambda _reason: None
        in_memory = "log.dirs" not in self.config.given and "log.dir" not in self.config.given
        self._data_dirs = None if in_memory else self.config.data_dirs
        self._running: _Running | None = None

    def start(self) -> Self:
        """Start serving; returns once clients can connect."""
        if self._running is not None:
            raise NotReady("this broker is running already")
        for warning in self.config.warnings:
            log.warning("%s", warning)
        self._running = _Running(self.config, self._data_dirs, self._cluster_id, self._virtual_clock, self.on_failure)
        try:
            self._running.start()
        except BaseException:
            self._running = None
            raise
        # A program that ends without stopping its broker leaves a clean directory all the same.
        atexit.register(self.stop)
        return self

    def stop(self, timeout_ms: int = STOP_TIMEOUT_MS) -> None:
        """Stop cleanly; does nothing if the broker is not running."""
        running, self._running = self._running, None
        atexit.unregister(self.stop)
        # A forked child has a copy of this object and none of the threads behind it: the parent's broker goes on.
        if running is not None and running.process_id == os.getpid():
            running.stop(timeout_ms)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """What clients take as bootstrap.servers: the advertised address of the first listener."""
        return self._now().bootstrap_servers

    def status(self) -> BrokerStatus:
        """Figures of the running broker."""
        return self._now().status()

    def turn_clock(self, by_ms: int) -> None:
        """Move the virtual clock this broker was built with; deadlines that are due fire."""
        if self._virtual_clock is None:
            raise NotReady("this broker runs on the real clock")
        self._virtual_clock.turn(by_ms)
        self._now().loop.wake()

    def _now(self) -> _Running:
        if self._running is None:
            raise NotReady("this broker is not running")
        return self._running


class _Running:
    """The parts of a broker between start and stop."""

    def __init__(
        self,
        config: BrokerConfig,
        data_dirs: list[str] | None,
        cluster_id: str | None,
        virtual_clock: _core.VirtualClock | None,
        on_failure: Callable[[str], None],
    ) -> None:
        self.process_id = os.getpid()
        self.config = config
        self.data_dirs = data_dirs
        codec = _core.Codec()
        self.bridge = _core.Bridge(codec)
        # Opens and locks the directory, and recovers what an unclean stop left.
        self.engine = _core.Engine(
            data_dirs,
            bridge=self.bridge,
            node_id=config.node_id,
            cluster_id=cluster_id,
            settings=dict(config.values),
            virtual_clock=virtual_clock,
        )
        try:
            self._build(codec, on_failure)
        except BaseException:
            self.engine.close()
            raise

    def _build(self, codec: _core.Codec, on_failure: Callable[[str], None]) -> None:
        config, engine = self.config, self.engine
        self.loop = ControlLoop(engine, f"ottla-control-{config.node_id}")
        self.background = Background(f"ottla-background-{config.node_id}", self.loop.wake)
        # Patterns of clients take time, and no disk shall wait for them. A group has one piece of work there at most.
        self.matching = self.background.beside(f"ottla-matching-{config.node_id}", waiting_max=100_000)
        self.deadlines = DeadlineQueue()
        self.commits = Commits()
        self.metadata_log = CommittingMetadataLog(engine.metadata_log(), self.commits)
        self.controller = Controller(
            self.metadata_log,
            codec,
            engine,
            self.deadlines,
            snapshot_bytes=config.integer("metadata.log.max.record.bytes.between.snapshots"),
            on_change=self._show,
            on_halt=on_failure,
        )
        self.controller.replay()
        unknown = check_features(self.controller.image)
        if unknown:
            raise NewerFormat(
                f"the cluster uses {', '.join(unknown)}, which this version does not understand; open it with the "
                "version that wrote it"
            )
        random = SystemRandom()
        patterns = Patterns(_core.check_pattern, _core.match_patterns)
        self.coordinators = Coordinators(
            config=config,
            journals=self._journal,
            codec=codec,
            clock=engine,
            scheduler=self.deadlines,
            random=random,
            cluster=Cluster(
                ImageTopics(self.controller),
                patterns,
                _core.xxh3_64,
                lambda group_id: group_config(self.controller.image, group_id),
                self.matching.run,
            ),
            controller=self.controller,
            producer_ids=ProducerIds(self.controller, config.node_id),
            markers=lambda groups: PartitionMarkers(engine, self.commits, groups),
        )
        defaults = TopicDefaults(
            config.integer("num.partitions"),
            config.integer("default.replication.factor"),
            config.topic_defaults,
            own_topics(config, live_brokers=1),
        )
        internal_topics = InternalTopics(self.controller, config, defaults, random)
        self.services = Services(
            node_id=config.node_id,
            cluster_id=engine.cluster_id,
            config=config,
            clock=engine,
            scheduler=self.deadlines,
            random=random,
            controller=self.controller,
            topic_defaults=defaults,
            auto_creation=AutoCreation(
                self.controller, internal_topics, defaults, random, enabled=bool(config["auto.create.topics.enable"])
            ),
            internal_topics=internal_topics,
            groups=self.coordinators.groups,
            markers=self.coordinators.markers,
            transactions=self.coordinators.transactions,
            patterns=patterns,
            elsewhere=self.matching.run,
            storage=engine,
            background=self.background,
        )
        self.dispatcher = Dispatcher(
            self.bridge,
            self.services,
            engine,
            self.deadlines,
            self.commits,
            flush=self.coordinators.flush_turn,
            request_turn=self.loop.request_turn,
        )
        try:
            self.server = _core.Server(
                engine,
                self.bridge,
                listeners=[(listener.name, listener.host, listener.port) for listener in config.listeners],
                api_table=api_table(),
                limits=config.limits,
                connections_of_hosts=config.connections_of_hosts,
            )
        except ValueError as error:
            # A host that has no address.
            raise ConfigError([str(error)]) from error
        self.connection_limits = ConnectionLimits(config, self.server.alter_connection_limits)
        # Whether the image was ever shown to the data plane and the coordinators, and what went wrong then.
        self._shown = False
        self._first_show_failed: BaseException | None = None
        # As bound, once the server has started.
        self.bound: tuple[tuple[str, str, int], ...] = ()
        self.advertised: tuple[Endpoint, ...] = ()

    # Start and stop.

    def start(self) -> None:
        try:
            self.loop.start(
                self._prepare,
                self.bridge.fileno(),
                self.dispatcher.turn,
                lambda: self.dispatcher.next_deadline_ms,
                self.dispatcher.turn,
            )
        except BaseException:
            try:
                self.server.stop(0)
            finally:
                self.engine.close()
            raise
        where = ", ".join(str(Endpoint(*listener)) for listener in self.bound)
        log.info("broker %d of cluster %s serves %s", self.config.node_id, self.engine.cluster_id, where)

    def _prepare(self) -> None:
        """On the control-plane thread, before its first turn."""
        ports_known = all(listener.port for listener in self.config.listeners)
        if not ports_known:
            self.bound = tuple(self.server.start())
        self._register()
        if ports_known:
            self.bound = tuple(self.server.start())

    def _register(self) -> None:
        ports = {name: port for name, _, port in self.bound}
        machine = socket.gethostname()
        told = []
        for listener in self.config.listeners:
            endpoint = advertised_of(listener, list(self.config.advertised), machine)
            told.append(Endpoint(endpoint.name, endpoint.host, endpoint.port or ports[listener.name]))
        self.advertised = tuple(told)
        outcome: list[list[int] | RequestError] = []
        self.controller.change(
            lambda image: register(
                image,
                broker_id=self.config.node_id,
                end_offset=self.metadata_log.log_end_offset,
                endpoints=self.advertised,
                rack=self.config["broker.rack"],
                random=self.services.random,
                clean_shutdown=self.engine.clean_shutdown,
            ),
            outcome.append,
        )
        # The loop does not run yet: wait for the commit here, and let its notice come up. Not by select(), which
        # refuses the descriptors of a program that has more than a thousand open.
        noticed = select.poll()
        noticed.register(self.bridge.fileno(), select.POLLIN)
        until_s = time.monotonic() + _REGISTRATION_TIMEOUT_S
        while not outcome:
            if not noticed.poll(max(0, until_s - time.monotonic()) * 1000):
                raise NotReady(
                    f"the registration of this broker in {METADATA_TOPIC}-0 did not reach the disk of "
                    f"{', '.join(self.data_dirs or ['memory'])} in {_REGISTRATION_TIMEOUT_S} s; see whether that disk "
                    "answers, then start again"
                )
            self.dispatcher.turn()
        if self._first_show_failed is not None:
            raise self._first_show_failed
        if isinstance(outcome[0], RequestError):
            raise NotReady(f"this broker could not register itself: {outcome[0].message}")

    def stop(self, timeout_ms: int) -> None:
        until_s = time.monotonic() + timeout_ms / 1000
        # Whatever goes wrong in one step (a Ctrl-C, for one), the thread ends and the directory is let go of.
        try:
            try:
                # Background work and the loop go on meanwhile: requests wait for them.
                self.server.stop(timeout_ms)
            finally:
                try:
                    # Nobody waits for it any more.
                    self.matching.stop(0)
                    if not self.background.stop(max(until_s - time.monotonic(), _BACKGROUND_TIMEOUT_S)):
                        log.warning("the work on the data directories that was begun is not waited for any longer")
                finally:
                    self.loop.stop()
        finally:
            self.engine.close()
        log.info("broker %d has stopped", self.config.node_id)

    # What exists, shown to the data plane and the coordinators.

    def _show(self, image: MetadataImage, change: Change) -> None:
        try:
            self._publish(image, change)
        except BaseException as error:
            # At a start this is everything there is: who asked for the start is told.
            if not self._shown:
                self._first_show_failed = error
            raise
        finally:
            self._shown = True

    def _publish(self, image: MetadataImage, change: Change) -> None:
        self.engine.publish(
            offset=self.controller.applied_offset,
            controller_id=self.config.node_id,
            brokers=[
                (broker.broker_id, broker.rack, [(point.name, point.host, point.port) for point in broker.end_points])
                for broker in image.brokers.values()
                if not broker.fenced
            ],
            topics=[self._topic(image, topic) for topic in change.topics.values()],
            deleted=list(change.deleted),
            supported_features=[(name, low, high) for name, (low, high) in SUPPORTED_FEATURES.items()],
            finalized_features=list(image.features.items()),
            finalized_epoch=self.controller.applied_offset,
        )
        self.connection_limits.show(image)
        self.coordinators.show(image, change, first=not self._shown)

    def _journal(self, topic: str, index: int) -> CommittingJournal:
        return CommittingJournal(
            self.engine.journal(topic, index), self.commits, lambda: self.coordinators.went_offline(topic, index)
        )

    def _topic(self, image: MetadataImage, topic: Topic) -> _core.TopicTuple:
        overrides = image.topic_config(topic.name)
        for sentence in unreadable(overrides):
            log.warning("topic %s: %s", topic.name, sentence)
        values = effective(overrides, self.config.topic_defaults)
        # What holds for every log of this broker goes with each.
        values.update((name, self.config[name]) for name in _FOR_EVERY_LOG)
        return (
            topic.name,
            topic.topic_id,
            topic.name in INTERNAL_TOPICS,
            {name: value for name, value in values.items() if value is not None},
            [
                (
                    partition.index,
                    partition.leader,
                    partition.leader_epoch,
                    partition.partition_epoch,
                    partition.replicas,
                    partition.isr,
                )
                for partition in topic.partitions
            ],
        )

    # What people are told.

    @property
    def bootstrap_servers(self) -> str:
        first = self.advertised[0]
        host = f"[{first.host}]" if ":" in first.host else first.host
        return f"{host}:{first.port}"

    def status(self) -> BrokerStatus:
        controller = self.controller.status()
        return BrokerStatus(
            node_id=self.config.node_id,
            cluster_id=self.engine.cluster_id,
            bootstrap_servers=self.bootstrap_servers,
            listeners=self.bound,
            data_dirs=tuple(self.data_dirs or ()),
            clean_start=self.engine.clean_shutdown,
            failure=controller.halted,
            controller=controller,
            dispatcher=self.dispatcher.status,
            groups=self.coordinators.groups.status,
            transactions=self.coordinators.transactions.status,
            engine=self.engine.status(),
            server=self.server.status(),
        )
