"""Kafka settings that are accepted without effect, and those that are refused because ignoring them would do harm.

A server.properties that worked with Apache Kafka is to work here. A name that only tunes Kafka's own machinery, or a
part Ottla does not serve yet, is accepted, and the start says that it has no effect and why. A setting that protects
(who may do what, what may be created) or that changes where data goes is refused while Ottla does not honour it: a
broker that starts without its authorizer is worse than one that does not start.
"""

from __future__ import annotations

_THREADS = "Ottla sizes its own threads"
_SINGLE = "this version runs a single node, which replicates nothing"
_WAITING = "waiting requests are woken when their moment comes, there is no purgatory to clean"
_METRICS = "there are no JMX metrics to sample or report"
_TLS = "no listener speaks TLS or SASL in this version"
_QUOTAS = "quotas are not served in this version"
_PROTOCOLS = "which group protocols are served follows from the feature group.version"
_SHARE = "share groups are not served in this version"
_STREAMS = "streams groups are not served in this version"
_TIERED = "tiered storage is not served in this version"
_TOKENS = "delegation tokens are not served in this version"
_AUTHORIZER = "no authorizer is served in this version"
_METADATA_LOG = "Ottla's metadata log is rolled and trimmed by its snapshots"
_CHECKPOINTS = "Ottla writes its checkpoints when they change"
_TESTS = "it is a switch for Kafka's own tests"
_ZOOKEEPER = "Ottla keeps its metadata itself, no ZooKeeper is needed"
_CONFLUENT = "it belongs to Confluent's own server"
_OLD_FORMATS = "there is one format of messages, the one Kafka 4 has"

_NAMES: dict[str, tuple[str, ...]] = {
    _THREADS: (
        "background.threads",
        "group.coordinator.background.threads",
        "group.coordinator.threads",
        "num.io.threads",
        "num.network.threads",
        "num.replica.alter.log.dirs.threads",
        "num.replica.fetchers",
    ),
    _SINGLE: (
        "auto.leader.rebalance.enable",
        "broker.heartbeat.interval.ms",
        "broker.session.timeout.ms",
        "controlled.shutdown.enable",
        "controller.quorum.append.linger.ms",
        "controller.quorum.auto.join.enable",
        "controller.quorum.bootstrap.servers",
        "controller.quorum.election.backoff.max.ms",
        "controller.quorum.election.timeout.ms",
        "controller.quorum.fetch.max.bytes",
        "controller.quorum.fetch.snapshot.max.bytes",
        "controller.quorum.fetch.timeout.ms",
        "controller.quorum.request.timeout.ms",
        "controller.quorum.retry.backoff.ms",
        "controller.socket.timeout.ms",
        "early.start.listeners",
        "initial.broker.registration.timeout.ms",
        "leader.imbalance.check.interval.seconds",
        "replica.fetch.backoff.ms",
        "replica.fetch.max.bytes",
        "replica.fetch.min.bytes",
        "replica.fetch.response.max.bytes",
        "replica.fetch.wait.max.ms",
        "replica.high.watermark.checkpoint.interval.ms",
        "replica.lag.time.max.ms",
        "replica.selector.class",
        "replica.socket.receive.buffer.bytes",
        "replica.socket.timeout.ms",
        "request.timeout.ms",
        "security.inter.broker.protocol",
        "socket.connection.setup.timeout.max.ms",
        "socket.connection.setup.timeout.ms",
        "unclean.leader.election.interval.ms",
    ),
    _WAITING: (
        "delete.records.purgatory.purge.interval.requests",
        "fetch.purgatory.purge.interval.requests",
        "producer.purgatory.purge.interval.requests",
    ),
    _METRICS: (
        "controller.performance.always.log.threshold.ms",
        "controller.performance.sample.period.ms",
        "kafka.metrics.polling.interval.secs",
        "kafka.metrics.reporters",
        "metric.reporters",
        "metrics.num.samples",
        "metrics.recording.level",
        "metrics.sample.window.ms",
        "telemetry.max.bytes",
    ),
    _TLS: (
        "connection.failed.authentication.delay.ms",
        "connections.max.reauth.ms",
        "principal.builder.class",
        "security.providers",
    ),
    _QUOTAS: (
        "alter.log.dirs.replication.quota.window.num",
        "alter.log.dirs.replication.quota.window.size.seconds",
        "controller.quota.window.num",
        "controller.quota.window.size.seconds",
        "replication.quota.window.num",
        "replication.quota.window.size.seconds",
    ),
    "two-phase commit (KIP-939) is not served, as in Kafka without unstable API versions": (
        "transaction.two.phase.commit.enable",
    ),
    "who waits for a transaction to be completed is told when it is, and need not ask again": (
        "add.partitions.to.txn.retry.backoff.ms",
    ),
    _PROTOCOLS: ("group.coordinator.rebalance.protocols",),
    _TIERED: ("follower.fetch.last.tiered.offset.enable",),
    _TOKENS: (
        "delegation.token.expiry.check.interval.ms",
        "delegation.token.expiry.time.ms",
        "delegation.token.max.lifetime.ms",
        "delegation.token.secret.key",
    ),
    _AUTHORIZER: ("allow.everyone.if.no.acl.found", "super.users"),
    _METADATA_LOG: (
        "internal.metadata.delete.delay.millis",
        "internal.metadata.log.segment.bytes",
        "internal.metadata.max.batch.size.in.bytes",
        "metadata.log.max.snapshot.interval.ms",
        "metadata.log.segment.bytes",
        "metadata.log.segment.ms",
        "metadata.max.idle.interval.ms",
        "metadata.max.retention.bytes",
        "metadata.max.retention.ms",
    ),
    _CHECKPOINTS: ("log.flush.start.offset.checkpoint.interval.ms",),
    _TESTS: ("server.max.startup.time.ms", "unstable.api.versions.enable", "unstable.feature.versions.enable"),
    "one append holds what one turn of the control plane wrote; there is nothing to linger for": (
        "group.coordinator.append.linger.ms",
        "group.coordinator.cached.buffer.max.bytes",
    ),
    "a directory that fails goes offline at once": ("log.dir.failure.timeout.ms",),
    "background work begins with its first interval": ("log.initial.task.delay.ms",),
    "the cleaner reads and writes in pieces of Ottla's own size": ("log.cleaner.io.buffer.size",),
    "groups and transactions are read in pieces of Ottla's own size": (
        "offsets.load.buffer.size",
        "transaction.state.log.load.buffer.size",
    ),
    "what coordinators write is not compressed": ("offsets.topic.compression.codec",),
    "the metadata log lies in the first of log.dirs": ("metadata.log.dir",),
    # Gone from Kafka 4, and still in many files.
    _OLD_FORMATS: ("inter.broker.protocol.version", "log.message.downconversion.enable", "log.message.format.version"),
}

# Families whose members all have the same reason.
_PREFIXES = {
    "ssl.": _TLS,
    "sasl.": _TLS,
    "listener.name.": _TLS,
    "group.share.": _SHARE,
    "share.": _SHARE,
    "group.streams.": _STREAMS,
    "remote.": _TIERED,
    "rlmm.config.": _TIERED,
    "rsm.config.": _TIERED,
    "zookeeper.": _ZOOKEEPER,
    "confluent.": _CONFLUENT,
}

WITHOUT_EFFECT: dict[str, str] = {name: reason for reason, names in _NAMES.items() for name in names}

# Name -> the only values that can be ignored without harm, and what to say about any other.
_REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "alter.config.policy.class.name": (("",), "policies are Java classes, which Ottla cannot run"),
    "authorizer.class.name": (("",), "no authorizer is served in this version: everybody would be let in"),
    "client.quota.callback.class": (("",), "quota callbacks are Java classes, which Ottla cannot run"),
    "config.providers": (("",), "config providers are Java classes, so their ${...} values would stay unresolved"),
    "cordoned.log.dirs": (("",), "log directories cannot be cordoned in this version"),
    "create.topic.policy.class.name": (("",), "policies are Java classes, which Ottla cannot run"),
    "remote.log.storage.system.enable": (("", "false"), "tiered storage is not served in this version"),
}

# Kafka's own authorizers, today's and that of the ZooKeeper years: they let everybody in where
# allow.everyone.if.no.acl.found is true and nobody has made an ACL.
OPEN_AUTHORIZERS = frozenset(
    {
        "kafka.security.authorizer.AclAuthorizer",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    }
)


def reason_without_effect(name: str) -> str | None:
    """Say why a name Kafka knows has no effect here; None if it has one, or is not known."""
    if name in _REFUSED:
        return _REFUSED[name][1]
    if name in WITHOUT_EFFECT:
        return WITHOUT_EFFECT[name]
    return next((reason for prefix, reason in _PREFIXES.items() if name.startswith(prefix)), None)


def refusal(name: str, value: str) -> str | None:
    """Say why this value must not be ignored; None if it may be."""
    if name not in _REFUSED:
        return None
    harmless, reason = _REFUSED[name]
    return None if value.strip().lower() in harmless else reason
