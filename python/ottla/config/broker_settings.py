"""Settings of the broker that are read: Kafka 4.3.1's names, bounds and defaults, and Ottla's own.

The broker settings that give defaults to topics come from `topic_settings`. Where one topic setting has several
(`log.retention.ms`, `.minutes`, `.hours`) the strongest one that is set wins and only the weakest has a default, as in
Kafka. `node.id` is the one default of ours: Kafka has none.
"""

from __future__ import annotations

import sys

from ottla.config.group_settings import GROUP_SETTINGS
from ottla.config.setting import DAY_MS, INT_MAX, LONG_MAX, MEBIBYTE, MINUTE_MS, SECOND_MS, Kind, Setting, table
from ottla.config.topic_settings import TOPIC_SETTINGS
from ottla.config.transaction_settings import TRANSACTION_SETTINGS

# Lower bounds that a broker setting has, but not the topic setting whose default it gives (or the other way round).
_LOW_OF_SYNONYM = {
    "log.retention.ms": -1,
    "log.retention.minutes": -1,
    "log.retention.hours": -1,
    "log.flush.interval.ms": 0,
    "log.flush.scheduler.interval.ms": 0,
}
# Zero would delete everything at once; Kafka refuses it for the broker's default, though not for a topic.
_NOT_ZERO = frozenset({"log.retention.ms", "log.retention.minutes", "log.retention.hours"})


def _defaults_of_topics() -> list[Setting]:
    found = []
    for topic in TOPIC_SETTINGS.values():
        for synonym in topic.synonyms:
            weakest = synonym is topic.synonyms[-1]
            default = topic.default
            if weakest and synonym.factor > 1:
                assert isinstance(default, int)
                default = default // synonym.factor
            found.append(
                Setting(
                    name=synonym.name,
                    kind=Kind.INT if synonym.factor > 1 else topic.kind,
                    default=default if weakest else None,
                    doc=f"Default of the topic setting {topic.name}"
                    + ("" if synonym.factor == 1 else ", in " + synonym.name.rpartition(".")[2])
                    + f". {topic.doc}",
                    low=_LOW_OF_SYNONYM.get(synonym.name, topic.low),
                    high=topic.high,
                    beside=topic.beside,
                    choices=topic.choices,
                    not_zero=synonym.name in _NOT_ZERO,
                    without_effect=topic.without_effect,
                    choices_without_effect=topic.choices_without_effect,
                )
            )
    return found


_NETWORK = [
    Setting(
        name="listeners",
        kind=Kind.LIST,
        default=["PLAINTEXT://:9092"],
        doc="Where the broker listens: NAME://host:port, several separated by commas; an empty host means every "
        "address, port 0 a free one. Listeners named in controller.listener.names are understood and not opened.",
        empty_ok=False,
    ),
    Setting(
        name="advertised.listeners",
        kind=Kind.LIST,
        default=None,
        doc="What clients are told to connect to, one address for each listener; where the listeners themselves are "
        "not what clients reach (containers, address translation).",
    ),
    Setting(
        name="listener.security.protocol.map",
        kind=Kind.STRING,
        default="SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
        doc="Security protocol of each listener name. Only PLAINTEXT is served so far; a listener of another is "
        "refused.",
    ),
    Setting(
        name="inter.broker.listener.name",
        kind=Kind.STRING,
        default=None,
        doc="Listener brokers would use among themselves; must be one of the listeners.",
    ),
    Setting(
        name="socket.request.max.bytes",
        kind=Kind.INT,
        default=100 * MEBIBYTE,
        doc="The largest request; a longer one closes the connection before it is read.",
        low=1,
    ),
    Setting(
        name="queued.max.requests",
        kind=Kind.INT,
        default=500,
        doc="How many requests may wait for the control plane to take them up; connections with further ones are not "
        "read from meanwhile.",
        low=1,
    ),
    Setting(
        name="queued.max.request.bytes",
        kind=Kind.LONG,
        default=-1,
        doc="How many bytes the requests that are being received or in work may have together, but for one that is "
        "larger alone; who finds no room is not read from until others are done. A quarter is for requests that carry "
        "no records. -1 is 256 MiB.",
    ),
    Setting(
        name="ottla.unsent.bytes.max",
        kind=Kind.LONG,
        default=64 * MEBIBYTE,
        doc="How many bytes of answers may wait in memory for clients that do not take them. With more, connections "
        "whose client takes nothing for five seconds are closed, and requests other than Produce and Fetch wait "
        "meanwhile. Records that are sent straight from their files do not count.",
        low=0,
    ),
    Setting(
        name="connections.max.idle.ms",
        kind=Kind.LONG,
        default=10 * MINUTE_MS,
        doc="A connection on which no byte was moved for so long is closed; below 0 none is. While a request is in "
        "work (a Fetch that waits for records, say) its connection is not idle; Kafka closes it then too.",
    ),
    Setting(
        name="max.connections",
        kind=Kind.INT,
        default=INT_MAX,
        doc="How many connections the broker serves at once, on all listeners together. Further ones wait, unanswered, "
        "until others end. Kafka lets those on the listener between brokers in all the same; this version is alone.",
        low=0,
        restart=False,
    ),
    Setting(
        name="max.connections.per.ip",
        kind=Kind.INT,
        default=INT_MAX,
        doc="How many connections one address may have; further ones are closed at once.",
        low=0,
        restart=False,
    ),
    Setting(
        name="max.connections.per.ip.overrides",
        kind=Kind.STRING,
        default="",
        doc="The same for single addresses or host names, as host:count, several separated by commas.",
        restart=False,
    ),
    Setting(
        name="max.connection.creation.rate",
        kind=Kind.INT,
        default=INT_MAX,
        doc="How many connections may be made in a second, on all listeners together; further ones wait, unanswered, "
        "for a second at most each.",
        low=0,
        restart=False,
    ),
    Setting(
        name="quota.window.num",
        kind=Kind.INT,
        default=11,
        doc="Over how many windows the rate of new connections is measured: a burst may have as many as may come in "
        "all of them but one.",
        low=1,
    ),
    Setting(
        name="quota.window.size.seconds",
        kind=Kind.INT,
        default=1,
        doc="How long each of those windows is.",
        low=1,
    ),
    Setting(
        name="socket.listen.backlog.size",
        kind=Kind.INT,
        default=1024,
        doc="How many connections the system keeps until they are accepted, if it allows so many "
        "(net.core.somaxconn). Kafka has 50, too few for many clients that come at once.",
        low=1,
        own_default=True,
    ),
    Setting(
        name="socket.send.buffer.bytes",
        kind=Kind.INT,
        default=524_288,
        doc="Send buffer of each connection (SO_SNDBUF), if the system allows as much (net.core.wmem_max); -1 lets the "
        "system adapt it. No more than this is sent in the time of a round trip: consumers far away may want -1. "
        "Kafka has 102400, which takes more of the processor.",
        low=-1,
        not_zero=True,
        own_default=True,
    ),
    Setting(
        name="socket.receive.buffer.bytes",
        kind=Kind.INT,
        default=-1,
        doc="Receive buffer of each connection (SO_RCVBUF); -1 lets the system adapt it. Kafka has 102400.",
        low=-1,
        not_zero=True,
        own_default=True,
    ),
    Setting(
        name="fetch.max.bytes",
        kind=Kind.INT,
        default=55 * MEBIBYTE,
        doc="The most one fetch answers with, whatever the consumer asks for.",
        low=1024,
    ),
    Setting(
        name="max.incremental.fetch.session.cache.slots",
        kind=Kind.INT,
        default=1000,
        doc="How many incremental fetch sessions are kept.",
        low=0,
    ),
    Setting(
        name="max.request.partition.size.limit",
        kind=Kind.INT,
        default=2000,
        doc="How many partitions one answer to DescribeTopicPartitions holds.",
        low=1,
    ),
]

_IDENTITY = [
    Setting(
        name="node.id",
        kind=Kind.INT,
        default=1,
        doc="Number of this node, the same for the life of its data directory.",
        low=0,
        own_default=True,
    ),
    Setting(name="broker.id", kind=Kind.INT, default=-1, doc="Older name of node.id; -1 means not set."),
    Setting(
        name="broker.rack",
        kind=Kind.STRING,
        default=None,
        doc="Rack or zone the broker stands in, told to clients that prefer near replicas.",
    ),
    Setting(
        name="process.roles",
        kind=Kind.LIST,
        default=["broker", "controller"],
        doc="Roles of this process; it must be a broker, and is its own controller in any case.",
        choices=("broker", "controller"),
        own_default=True,
    ),
    Setting(
        name="controller.listener.names",
        kind=Kind.LIST,
        default=["CONTROLLER"],
        doc="Listeners that belong to the controller: they may stand among listeners and are not opened.",
        own_default=True,
    ),
    Setting(
        name="controller.quorum.voters",
        kind=Kind.LIST,
        default=[],
        doc="Voters as id@host:port. This version runs a single node, so it must be the only voter.",
    ),
    Setting(
        name="log.dirs",
        kind=Kind.LIST,
        default=None,
        doc="Directories that hold the data, separated by commas.",
    ),
    Setting(
        name="log.dir",
        kind=Kind.LIST,
        default=["/tmp/kafka-logs"],  # noqa: S108 - Kafka's default; `ottla serve` wants a directory to be named
        doc="Directory that holds the data, if log.dirs is not set.",
    ),
]

_TOPICS = [
    Setting(
        name="auto.create.topics.enable",
        kind=Kind.BOOLEAN,
        default=True,
        doc="Make a topic when a client first asks for it by name.",
    ),
    Setting(
        name="delete.topic.enable",
        kind=Kind.BOOLEAN,
        default=True,
        doc="Let topics be deleted.",
    ),
    Setting(
        name="num.partitions",
        kind=Kind.INT,
        default=1,
        doc="Partitions of a topic created without saying how many.",
        low=1,
    ),
    Setting(
        name="default.replication.factor",
        kind=Kind.INT,
        default=1,
        doc="Replicas of a topic created without saying how many.",
        low=1,
        high=2**15 - 1,
    ),
    Setting(
        name="log.retention.check.interval.ms",
        kind=Kind.LONG,
        default=5 * MINUTE_MS,
        doc="How often segments past their retention are looked for.",
        low=1,
    ),
    Setting(
        name="log.cleaner.enable",
        kind=Kind.BOOLEAN,
        default=True,
        doc="Compact topics whose cleanup.policy says so; without it they only grow.",
    ),
    Setting(
        name="log.cleaner.threads",
        kind=Kind.INT,
        default=1,
        doc="Threads that compact, each one partition at a time.",
        low=0,
    ),
    Setting(
        name="log.cleaner.dedupe.buffer.size",
        kind=Kind.LONG,
        default=128 * MEBIBYTE,
        doc="Memory for the keys of what is being compacted, of all cleaner threads together: 24 bytes for each key. "
        "What does not fit is compacted in several passes.",
        low=0,
    ),
    Setting(
        name="log.cleaner.io.buffer.load.factor",
        kind=Kind.DOUBLE,
        default=0.9,
        doc="How full that memory may get, as a share of it; fuller holds more keys and finds them more slowly.",
        low=0,
        high=1,
    ),
    Setting(
        name="log.cleaner.io.max.bytes.per.second",
        kind=Kind.DOUBLE,
        default=sys.float_info.max,
        doc="How much the cleaner threads together may read in a second.",
        low=0,
    ),
    Setting(
        name="log.cleaner.backoff.ms",
        kind=Kind.LONG,
        default=15 * SECOND_MS,
        doc="How long a cleaner thread waits when nothing needs compacting.",
        low=0,
    ),
    Setting(
        name="log.flush.offset.checkpoint.interval.ms",
        kind=Kind.INT,
        default=MINUTE_MS,
        doc="How often it is written down up to where each log is on the disk; after a crash only the rest is scanned.",
        low=0,
    ),
    Setting(
        name="producer.id.expiration.check.interval.ms",
        kind=Kind.INT,
        default=10 * MINUTE_MS,
        doc="How often idle producers are looked for.",
        low=1,
        hidden=True,
    ),
    Setting(
        name="producer.id.expiration.ms",
        kind=Kind.INT,
        default=DAY_MS,
        doc="How long a partition remembers an idempotent producer that writes nothing.",
        low=1,
    ),
]

_METADATA = [
    Setting(
        name="metadata.log.max.record.bytes.between.snapshots",
        kind=Kind.LONG,
        default=20 * MEBIBYTE,
        doc="Write a snapshot of the metadata after this many bytes of changes; the log before it goes.",
        low=1,
    ),
]

_OTTLA = [
    Setting(
        name="ottla.flush.interval.ms",
        kind=Kind.LONG,
        default=SECOND_MS,
        doc="How often logs are looked at for what flush.ms asks for.",
        low=1,
    ),
    Setting(
        name="ottla.flush.start.bytes",
        kind=Kind.LONG,
        default=1024 * MEBIBYTE,
        doc="With so many bytes in all logs together that are not on the disk yet, they are synced in the background, "
        "whatever their durability.",
        low=1,
    ),
    Setting(
        name="ottla.flush.wait.bytes",
        kind=Kind.LONG,
        default=2048 * MEBIBYTE,
        doc="With so many, producers wait until the disk has caught up.",
        low=1,
    ),
    Setting(
        name="num.recovery.threads.per.data.dir",
        kind=Kind.INT,
        default=2,
        doc="After a crash so many threads check the partitions of each data directory.",
        low=1,
        high=1024,
    ),
    Setting(
        name="ottla.disk.reserve.bytes",
        kind=Kind.LONG,
        default=4 * MEBIBYTE,
        doc="Kept in each data directory for what must be written on a full disk: metadata, checkpoints, a clean stop. "
        "While it is used, records are refused. 0 keeps nothing.",
        low=0,
    ),
    Setting(
        name="ottla.fast.paths",
        kind=Kind.LIST,
        default=["cachestat", "nowait", "sendfile", "sync_file_range"],
        doc="The kernel's short cuts that may be used. Without one something slower is done, to the same effect; what "
        "the kernel or a file system does not have is given up by itself.",
        choices=("cachestat", "nowait", "sendfile", "sync_file_range"),
        hidden=True,
    ),
    Setting(
        name="ottla.decompressed.bytes.max",
        kind=Kind.INT,
        default=256 * MEBIBYTE,
        doc="The most a compressed record batch may unpack to; a larger one is refused as corrupt.",
        low=1024,
    ),
    Setting(
        name="ottla.control.frame.bytes.max",
        kind=Kind.INT,
        default=8 * MEBIBYTE,
        doc="The largest request of every API but Produce, the only one that carries records; a longer one closes the "
        "connection.",
        low=1024,
    ),
]

BROKER_SETTINGS = table(
    *(*_IDENTITY, *_NETWORK, *_TOPICS, *_defaults_of_topics()),
    *(*GROUP_SETTINGS, *TRANSACTION_SETTINGS, *_METADATA, *_OTTLA),
)

assert BROKER_SETTINGS["fetch.max.bytes"].default == 57_671_680
assert BROKER_SETTINGS["log.flush.scheduler.interval.ms"].default == LONG_MAX
