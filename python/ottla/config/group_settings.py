"""Settings of the broker about groups and their offsets: Kafka 4.3.1's names, bounds and defaults."""

from __future__ import annotations

from ottla.config.setting import INT_MAX, MEBIBYTE, MINUTE_MS, SECOND_MS, Kind, Setting

_CLASSIC_GROUPS = [
    Setting(
        name="group.min.session.timeout.ms",
        kind=Kind.INT,
        default=6 * SECOND_MS,
        doc="The shortest session time-out a member may ask for.",
    ),
    Setting(
        name="group.max.session.timeout.ms",
        kind=Kind.INT,
        default=30 * MINUTE_MS,
        doc="The longest session time-out a member may ask for.",
    ),
    Setting(
        name="group.initial.rebalance.delay.ms",
        kind=Kind.INT,
        default=3 * SECOND_MS,
        doc="How long a new group waits for more members before its first rebalance.",
    ),
    Setting(
        name="group.max.size",
        kind=Kind.INT,
        default=INT_MAX,
        doc="How many members a group may have.",
        low=1,
    ),
    Setting(
        name="offset.metadata.max.bytes",
        kind=Kind.INT,
        default=4096,
        doc="The longest text that may be stored with a committed offset.",
    ),
    Setting(
        name="offsets.commit.timeout.ms",
        kind=Kind.INT,
        default=5 * SECOND_MS,
        doc="How long a commit may wait until it is safe before the client is told to try again.",
        low=1,
    ),
    Setting(
        name="offsets.retention.minutes",
        kind=Kind.INT,
        default=7 * 24 * 60,
        doc="How long committed offsets of a group without members are kept.",
        low=1,
    ),
    Setting(
        name="offsets.retention.check.interval.ms",
        kind=Kind.LONG,
        default=10 * MINUTE_MS,
        doc="How often expired offsets are looked for.",
        low=1,
    ),
    Setting(
        name="offsets.topic.num.partitions",
        kind=Kind.INT,
        default=50,
        doc="Partitions of the offsets topic. Not to be changed once it exists: groups are found by it.",
        low=1,
    ),
    Setting(
        name="offsets.topic.replication.factor",
        kind=Kind.SHORT,
        default=3,
        doc="Replicas of the offsets topic. With fewer brokers alive it is created with as many as there are, so that "
        "a lone broker works with the default (Apache Kafka would wait for three).",
        low=1,
    ),
    Setting(
        name="offsets.topic.segment.bytes",
        kind=Kind.INT,
        default=100 * MEBIBYTE,
        doc="Segment size of the offsets topic.",
        low=1,
    ),
]

_CONSUMER_GROUPS = [
    Setting(
        name="group.consumer.session.timeout.ms",
        kind=Kind.INT,
        default=45 * SECOND_MS,
        doc="How long a member of a consumer group (group.protocol=consumer) may be silent before it is fenced.",
        low=1,
    ),
    Setting(
        name="group.consumer.min.session.timeout.ms",
        kind=Kind.INT,
        default=45 * SECOND_MS,
        doc="The shortest session time-out a group may set for itself.",
        low=1,
    ),
    Setting(
        name="group.consumer.max.session.timeout.ms",
        kind=Kind.INT,
        default=60 * SECOND_MS,
        doc="The longest session time-out a group may set for itself.",
        low=1,
    ),
    Setting(
        name="group.consumer.heartbeat.interval.ms",
        kind=Kind.INT,
        default=5 * SECOND_MS,
        doc="How often members of a consumer group are asked to send a heartbeat.",
        low=1,
    ),
    Setting(
        name="group.consumer.min.heartbeat.interval.ms",
        kind=Kind.INT,
        default=5 * SECOND_MS,
        doc="The shortest heartbeat interval a group may set for itself.",
        low=1,
    ),
    Setting(
        name="group.consumer.max.heartbeat.interval.ms",
        kind=Kind.INT,
        default=15 * SECOND_MS,
        doc="The longest heartbeat interval a group may set for itself.",
        low=1,
    ),
    Setting(
        name="group.consumer.max.size",
        kind=Kind.INT,
        default=INT_MAX,
        doc="How many members a consumer group may have.",
        low=1,
    ),
    Setting(
        name="group.consumer.assignors",
        kind=Kind.LIST,
        default=["uniform", "range"],
        doc="The assignors members may ask for; the first one is for groups whose members ask for none.",
        choices=("uniform", "range"),
        empty_ok=False,
    ),
    Setting(
        name="group.consumer.migration.policy",
        kind=Kind.STRING,
        default="bidirectional",
        doc="Whether a group with members may go from the classic protocol to the consumer protocol (upgrade), "
        "back (downgrade), both (bidirectional) or neither (disabled). Groups without members always may.",
        choices=("bidirectional", "downgrade", "upgrade", "disabled"),
        ignores_case=True,
    ),
    Setting(
        name="group.consumer.assignment.interval.ms",
        kind=Kind.INT,
        default=1 * SECOND_MS,
        doc="How long a consumer group keeps its target assignment before the next one may be computed; 0: no time.",
        low=0,
    ),
    Setting(
        name="group.consumer.min.assignment.interval.ms",
        kind=Kind.INT,
        default=0,
        doc="The shortest assignment interval a group may set for itself.",
        low=0,
    ),
    Setting(
        name="group.consumer.max.assignment.interval.ms",
        kind=Kind.INT,
        default=15 * SECOND_MS,
        doc="The longest assignment interval a group may set for itself.",
        low=0,
    ),
    Setting(
        name="group.consumer.regex.refresh.interval.ms",
        kind=Kind.INT,
        default=10 * MINUTE_MS,
        doc="How often the topics that match the patterns of a consumer group are looked up again, beside "
        "whenever one is created.",
        low=10 * SECOND_MS,
        hidden=True,
    ),
]

GROUP_SETTINGS = [*_CLASSIC_GROUPS, *_CONSUMER_GROUPS]
