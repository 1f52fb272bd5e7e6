"""Settings of transactions: Kafka 4.3.1's names, bounds and defaults (see `broker_settings`)."""

from __future__ import annotations

from ottla.config.setting import DAY_MS, HOUR_MS, MEBIBYTE, MINUTE_MS, SECOND_MS, Kind, Setting

TRANSACTION_SETTINGS = [
    Setting(
        name="transaction.max.timeout.ms",
        kind=Kind.INT,
        default=15 * MINUTE_MS,
        doc="The longest time-out a transactional producer may ask for.",
        low=1,
    ),
    Setting(
        name="transaction.abort.timed.out.transaction.cleanup.interval.ms",
        kind=Kind.INT,
        default=10 * SECOND_MS,
        doc="How often transactions are looked for that have not ended within their time-out; they are aborted.",
        low=1,
    ),
    Setting(
        name="transactional.id.expiration.ms",
        kind=Kind.INT,
        default=7 * DAY_MS,
        doc="How long a transactional id is kept that begins no transaction.",
        low=1,
    ),
    Setting(
        name="transaction.remove.expired.transaction.cleanup.interval.ms",
        kind=Kind.INT,
        default=HOUR_MS,
        doc="How often expired transactional ids are looked for.",
        low=1,
    ),
    Setting(
        name="transaction.partition.verification.enable",
        kind=Kind.BOOLEAN,
        default=True,
        doc="Whether the first write of a transaction to a partition is verified for clients before KIP-890: that the "
        "partition has been added to it.",
    ),
    Setting(
        name="add.partitions.to.txn.retry.backoff.max.ms",
        kind=Kind.INT,
        default=100,
        doc="How long the first write of a transaction, or AddPartitionsToTxn, waits while the one before is "
        "completed.",
        low=0,
    ),
    Setting(
        name="transaction.state.log.num.partitions",
        kind=Kind.INT,
        default=50,
        doc="Partitions of the transaction topic. Not to be changed once it exists: transactional ids are found by it.",
        low=1,
    ),
    Setting(
        name="transaction.state.log.replication.factor",
        kind=Kind.SHORT,
        default=3,
        doc="Replicas of the transaction topic. With fewer brokers alive it is created with as many as there are, so "
        "that a lone broker works with the default (Apache Kafka would wait for three).",
        low=1,
    ),
    Setting(
        name="transaction.state.log.min.isr",
        kind=Kind.INT,
        default=2,
        doc="The transaction topic's min.insync.replicas.",
        low=1,
    ),
    Setting(
        name="transaction.state.log.segment.bytes",
        kind=Kind.INT,
        default=100 * MEBIBYTE,
        doc="Segment size of the transaction topic.",
        low=1,
    ),
]
