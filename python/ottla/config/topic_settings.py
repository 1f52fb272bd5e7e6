"""Settings of a topic: name, bounds and default as in Apache Kafka 4.3.1, prose our own.

The default of a topic setting is the broker setting named as its synonym; `synonyms` lists those, strongest first, so
that the broker's own settings are derived from this table (`broker_settings`) and the two cannot drift apart.
"""

from __future__ import annotations

from ottla.config.setting import DAY_MS, HOUR_MS, LONG_MAX, MEBIBYTE, MINUTE_MS, Kind, Setting, Synonym, table

# Why settings are accepted that change nothing yet.
_COMPACTION = "nothing is compacted in this version"
_SINGLE = "this version runs a single node, which replicates nothing"
_TIERED = "tiered storage is not served in this version"
_PREALLOCATE = "files grow as they are written"


def _topic(name: str, kind: Kind, default: object, doc: str, *synonyms: str | Synonym, **rest: object) -> Setting:
    names = tuple(synonym if isinstance(synonym, Synonym) else Synonym(synonym) for synonym in synonyms)
    return Setting(name=name, kind=kind, default=default, doc=doc, scope="topic", synonyms=names, **rest)  # type: ignore[arg-type]


TOPIC_SETTINGS = table(
    _topic(
        "cleanup.policy",
        Kind.LIST,
        ["delete"],
        "What happens to old records: delete drops segments past the retention, compact keeps the last record of each "
        "key, both does both, nothing keeps everything.",
        "log.cleanup.policy",
        choices=("compact", "delete"),
        choices_without_effect={
            "compact": f"{_COMPACTION}, and without delete nothing is deleted, so that the log only grows"
        },
    ),
    _topic(
        "compression.gzip.level",
        Kind.INT,
        -1,
        "Level used when the broker itself compresses with gzip; -1 is the codec's own default.",
        "compression.gzip.level",
        low=1,
        high=9,
        beside=-1,
    ),
    _topic(
        "compression.lz4.level",
        Kind.INT,
        9,
        "Level used when the broker itself compresses with lz4.",
        "compression.lz4.level",
        low=1,
        high=17,
    ),
    _topic(
        "compression.type",
        Kind.STRING,
        "producer",
        "Codec record batches are stored in; producer keeps whatever the producer chose, uncompressed unpacks them.",
        "compression.type",
        choices=("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
    ),
    _topic(
        "compression.zstd.level",
        Kind.INT,
        3,
        "Level used when the broker itself compresses with zstd.",
        "compression.zstd.level",
        low=-131072,
        high=22,
    ),
    _topic(
        "delete.retention.ms",
        Kind.LONG,
        DAY_MS,
        "How long compaction keeps the marker of a deleted key, so that a reader from the start sees the deletion.",
        "log.cleaner.delete.retention.ms",
        low=0,
        without_effect=_COMPACTION,
    ),
    _topic(
        "file.delete.delay.ms",
        Kind.LONG,
        MINUTE_MS,
        "How long a segment file stays on disk after it has left the log, for reads still under way.",
        "log.segment.delete.delay.ms",
        low=0,
    ),
    _topic(
        "flush.messages",
        Kind.LONG,
        LONG_MAX,
        "Force the log to disk after this many records, beside what ottla.durability does.",
        "log.flush.interval.messages",
        low=1,
    ),
    _topic(
        "flush.ms",
        Kind.LONG,
        LONG_MAX,
        "Force the log to disk after this long, beside what ottla.durability does.",
        "log.flush.interval.ms",
        "log.flush.scheduler.interval.ms",
        low=0,
    ),
    _topic(
        "follower.replication.throttled.replicas",
        Kind.LIST,
        [],
        "Replicas whose catching up is throttled on the follower's side, as partition:broker, or * for all.",
        throttled=True,
        without_effect=_SINGLE,
    ),
    _topic(
        "index.interval.bytes",
        Kind.INT,
        4096,
        "One entry goes into the offset index for about this many bytes of log: less finds records faster, more keeps "
        "the index small.",
        "log.index.interval.bytes",
        low=0,
    ),
    _topic(
        "internal.segment.bytes",
        Kind.INT,
        None,
        "For tests: takes the place of segment.bytes without its lower bound.",
        hidden=True,
        low=64,
    ),
    _topic(
        "leader.replication.throttled.replicas",
        Kind.LIST,
        [],
        "Replicas whose catching up is throttled on the leader's side, as partition:broker, or * for all.",
        throttled=True,
        without_effect=_SINGLE,
    ),
    _topic(
        "local.retention.bytes",
        Kind.LONG,
        -2,
        "With tiered storage, how many bytes of a partition stay local; -2 means retention.bytes.",
        "log.local.retention.bytes",
        low=-2,
        without_effect=_TIERED,
    ),
    _topic(
        "local.retention.ms",
        Kind.LONG,
        -2,
        "With tiered storage, how long records stay local; -2 means retention.ms.",
        "log.local.retention.ms",
        low=-2,
        without_effect=_TIERED,
    ),
    _topic(
        "max.compaction.lag.ms",
        Kind.LONG,
        LONG_MAX,
        "The longest a record may wait for compaction.",
        "log.cleaner.max.compaction.lag.ms",
        low=1,
        without_effect=_COMPACTION,
    ),
    _topic(
        "max.message.bytes",
        Kind.INT,
        MEBIBYTE + 12,
        "The largest record batch a producer may write, as it is stored (after compression).",
        "message.max.bytes",
        low=0,
    ),
    _topic(
        "message.timestamp.after.max.ms",
        Kind.LONG,
        HOUR_MS,
        "How far a record's own timestamp may lie in the broker's future.",
        "log.message.timestamp.after.max.ms",
        low=0,
    ),
    _topic(
        "message.timestamp.before.max.ms",
        Kind.LONG,
        LONG_MAX,
        "How far a record's own timestamp may lie in the broker's past.",
        "log.message.timestamp.before.max.ms",
        low=0,
    ),
    _topic(
        "message.timestamp.type",
        Kind.STRING,
        "CreateTime",
        "Whose clock stamps records: the producer's (CreateTime) or the broker's when it appends (LogAppendTime).",
        "log.message.timestamp.type",
        choices=("CreateTime", "LogAppendTime"),
    ),
    _topic(
        "min.cleanable.dirty.ratio",
        Kind.DOUBLE,
        0.5,
        "Compaction starts when this share of the log has not been compacted yet.",
        "log.cleaner.min.cleanable.ratio",
        low=0,
        high=1,
        without_effect=_COMPACTION,
    ),
    _topic(
        "min.compaction.lag.ms",
        Kind.LONG,
        0,
        "How long a record stays as it is before compaction may touch it.",
        "log.cleaner.min.compaction.lag.ms",
        low=0,
        without_effect=_COMPACTION,
    ),
    _topic(
        "min.insync.replicas",
        Kind.INT,
        1,
        "How many replicas must be in sync for a produce request with acks=all to be accepted.",
        "min.insync.replicas",
        low=1,
    ),
    _topic(
        "ottla.durability",
        Kind.STRING,
        "fsync",
        "What an acknowledgement with acks=all means: fsync, the records are on the disk (a group commit shared by "
        "all who wait); os, they are in the page cache, as with Apache Kafka.",
        "ottla.durability",
        choices=("fsync", "os"),
        # Kafka's tools print what Kafka has.
        hidden=True,
    ),
    _topic(
        "preallocate",
        Kind.BOOLEAN,
        False,
        "Reserve the whole segment on disk when it is made.",
        "log.preallocate",
        without_effect=_PREALLOCATE,
    ),
    _topic(
        "remote.log.copy.disable",
        Kind.BOOLEAN,
        False,
        "With tiered storage, stop copying segments to it.",
        without_effect=_TIERED,
    ),
    _topic(
        "remote.log.delete.on.disable",
        Kind.BOOLEAN,
        False,
        "With tiered storage, delete what it holds when it is switched off.",
        without_effect=_TIERED,
    ),
    _topic(
        "remote.storage.enable",
        Kind.BOOLEAN,
        False,
        "Move old segments to tiered storage (not served: true is refused).",
        without_effect=_TIERED,
    ),
    _topic(
        "retention.bytes",
        Kind.LONG,
        -1,
        "Drop the oldest segments of a partition while it is larger than this; -1 means no limit.",
        "log.retention.bytes",
    ),
    _topic(
        "retention.ms",
        Kind.LONG,
        7 * DAY_MS,
        "Drop a segment once its newest record is older than this; -1 keeps records for ever.",
        "log.retention.ms",
        Synonym("log.retention.minutes", MINUTE_MS),
        Synonym("log.retention.hours", HOUR_MS),
        low=-1,
    ),
    _topic(
        "segment.bytes",
        Kind.INT,
        1024 * MEBIBYTE,
        "The largest segment file; retention and compaction work on whole segments.",
        "log.segment.bytes",
        low=MEBIBYTE,
    ),
    _topic(
        "segment.index.bytes",
        Kind.INT,
        10 * MEBIBYTE,
        "The largest offset index of a segment; a full one starts a new segment.",
        "log.index.size.max.bytes",
        low=4,
    ),
    _topic(
        "segment.jitter.ms",
        Kind.LONG,
        0,
        "A random part of this is taken off segment.ms, so that segments do not all roll at once.",
        "log.roll.jitter.ms",
        Synonym("log.roll.jitter.hours", HOUR_MS),
        low=0,
    ),
    _topic(
        "segment.ms",
        Kind.LONG,
        7 * DAY_MS,
        "Start a new segment after this long even if the old one is not full.",
        "log.roll.ms",
        Synonym("log.roll.hours", HOUR_MS),
        low=1,
    ),
    _topic(
        "unclean.leader.election.enable",
        Kind.BOOLEAN,
        False,
        "Let a replica that is not in sync become leader when no other is left, losing what it lacks.",
        "unclean.leader.election.enable",
        without_effect=_SINGLE,
    ),
)
