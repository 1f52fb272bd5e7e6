"""What can be set about transactions, by Kafka's names and with Kafka's defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from ottla.config.broker_config import BrokerConfig

_MINUTE_MS = 60 * 1000


class TransactionSettings(Struct, frozen=True):
    """Values of the transaction coordinator's settings; `config` has the table that describes them."""

    # transaction.max.timeout.ms: the longest time-out a producer may ask for.
    timeout_ms_max: int = 15 * _MINUTE_MS
    # transaction.abort.timed.out.transaction.cleanup.interval.ms
    abort_interval_ms: int = 10 * 1000
    # transactional.id.expiration.ms
    id_expiration_ms: int = 7 * 24 * 60 * _MINUTE_MS
    # transaction.remove.expired.transaction.cleanup.interval.ms
    expiration_interval_ms: int = 60 * _MINUTE_MS
    # transaction.partition.verification.enable: whether writes of clients before KIP-890 are verified.
    verifies: bool = True
    # add.partitions.to.txn.retry.backoff.max.ms: how long whoever begins a transaction waits for the markers of the one
    # before. Kafka asks again every add.partitions.to.txn.retry.backoff.ms; here it is told.
    adding_wait_ms_max: int = 100
    # How long an answer waits for its record to be committed. Kafka waits for the transaction's own time-out here.
    commit_timeout_ms: int = 30 * 1000
    # One append to the partition of the transaction topic (max.message.bytes of that topic).
    batch_bytes_max: int = 1024 * 1024
    # How soon markers that could not be written are tried again, the first and any later time. (Kafka asks the other
    # broker again at once; what is refused here is refused by a disk, or by groups that are loading.)
    marker_backoff_ms: int = 20
    marker_backoff_ms_max: int = 2_000

    @classmethod
    def from_config(cls, config: BrokerConfig) -> TransactionSettings:
        """What the broker's configuration says."""
        return cls(
            timeout_ms_max=config.integer("transaction.max.timeout.ms"),
            abort_interval_ms=config.integer("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            id_expiration_ms=config.integer("transactional.id.expiration.ms"),
            expiration_interval_ms=config.integer("transaction.remove.expired.transaction.cleanup.interval.ms"),
            verifies=bool(config["transaction.partition.verification.enable"]),
            adding_wait_ms_max=config.integer("add.partitions.to.txn.retry.backoff.max.ms"),
        )
