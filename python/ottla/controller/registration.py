"""What a broker writes when it starts: the features of a new cluster, itself, and its partitions' new leaders.

The first start of a data directory writes the features, and one on a directory of Apache Kafka's switches off those
this version does not serve. Every start registers the broker under a new incarnation, whose epoch is the offset of that
record, and lets it take part (unfenced) in the same batch. Then it leads again what it holds: a partition somebody
else left without a leader (Kafka's controlled shutdown does that) gets this broker, and after a start that did not
find the mark of a clean shutdown every partition gets a new leader epoch, so that consumers which have read records a
power cut took back notice (KIP-320). A clean restart of n partitions writes nothing for them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ottla.controller.decision import Decision
from ottla.controller.image import LEADER_UNCHANGED
from ottla.messages import (
    AbortTransactionRecord,
    BrokerRegistrationChangeRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    RegisterBrokerRecord,
    RegisterBrokerRecordBrokerEndpoint,
    RegisterBrokerRecordBrokerFeature,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msgspec import Struct

    from ottla.config.listeners import Endpoint
    from ottla.controller.image import MetadataImage
    from ottla.types import Random

log = logging.getLogger(__name__)

METADATA_VERSION = "metadata.version"
# 4.3-IV0: the versions records are written in (`records`).
METADATA_LEVEL = 30

GROUP_VERSION = "group.version"
TRANSACTION_VERSION = "transaction.version"

# Feature -> levels this version understands.
SUPPORTED_FEATURES: Mapping[str, tuple[int, int]] = {
    METADATA_VERSION: (7, METADATA_LEVEL),
    GROUP_VERSION: (0, 1),
    TRANSACTION_VERSION: (0, 2),
}

# Features a start finalizes where nobody has said anything: in a new directory, and in one of an earlier version of
# ours that did not serve them. What Apache Kafka has finalized stays.
FINALIZED_UNLESS_SAID: Mapping[str, int] = {GROUP_VERSION: 1, TRANSACTION_VERSION: 2}

# Features of Apache Kafka 4.3 that a cluster can do without: their records are skipped or kept, none is misread.
_DISPENSABLE = frozenset(
    {
        "eligible.leader.replicas.version",
        "share.version",
        "streams.version",
    }
)

_UNFENCE = -1


def check_features(image: MetadataImage) -> list[str]:
    """Say which finalized features keep this version from opening the directory: it would misread its records."""
    found = []
    for name, level in sorted(image.features.items()):
        low, high = SUPPORTED_FEATURES.get(name, (0, 0))
        if not low <= level <= high and name not in _DISPENSABLE:
            found.append(f"{name}={level}")
    return found


def features_to_write(image: MetadataImage) -> dict[str, int]:
    """Give the feature levels a start changes.

    A new cluster gets the metadata level, an older one is raised to it, since records are written in no other; and the
    features that come with this version, unless it has a level of them already. What a fuller broker (Apache Kafka) has
    finalized and this one does not serve is switched off, so that no client goes by it.
    """
    changes = {name: 0 for name in image.features if name not in SUPPORTED_FEATURES}
    if image.features.get(METADATA_VERSION) != METADATA_LEVEL:
        changes = {METADATA_VERSION: METADATA_LEVEL} | changes
    changes |= {name: level for name, level in FINALIZED_UNLESS_SAID.items() if name not in image.features}
    return changes


def register(
    image: MetadataImage,
    *,
    broker_id: int,
    end_offset: int,
    endpoints: Sequence[Endpoint],
    rack: str | None,
    random: Random,
    clean_shutdown: bool,
) -> Decision[int]:
    """Decide on everything a start writes; the result is the broker's epoch. `end_offset` is where the batch goes."""
    records: list[Struct] = []
    if image.in_transaction:
        # Whoever began it is gone. The record stands in front of the others, which would else be part of it.
        records.append(AbortTransactionRecord(reason="the controller that began it is gone"))
    for name, level in features_to_write(image).items():
        if level == 0 and name not in SUPPORTED_FEATURES:
            log.warning("%s=%d is switched off: this version does not serve it", name, image.features[name])
        records.append(FeatureLevelRecord(name=name, feature_level=level))
    epoch = end_offset + len(records)
    records.append(
        RegisterBrokerRecord(
            broker_id=broker_id,
            incarnation_id=random.bytes(16),
            broker_epoch=epoch,
            end_points=[
                RegisterBrokerRecordBrokerEndpoint(name=endpoint.name, host=endpoint.host, port=endpoint.port)
                for endpoint in endpoints
            ],
            features=[
                RegisterBrokerRecordBrokerFeature(name=name, min_supported_version=low, max_supported_version=high)
                for name, (low, high) in SUPPORTED_FEATURES.items()
            ],
            rack=rack,
            fenced=True,
        )
    )
    records.append(BrokerRegistrationChangeRecord(broker_id=broker_id, broker_epoch=epoch, fenced=_UNFENCE))
    records.extend(_leaders(image, broker_id, clean_shutdown=clean_shutdown))
    return Decision([epoch], records)


def _leaders(image: MetadataImage, broker_id: int, *, clean_shutdown: bool) -> list[Struct]:
    found: list[Struct] = []
    for topic in image.topics.values():
        for partition in topic.partitions:
            if broker_id not in partition.replicas:
                continue
            leads = partition.leader == broker_id
            in_sync = broker_id in partition.isr
            if leads and in_sync and clean_shutdown:
                continue
            # A replica that is not in sync may lead only if nobody else could: of one broker that is always so.
            found.append(
                PartitionChangeRecord(
                    partition_id=partition.index,
                    topic_id=topic.topic_id,
                    leader=LEADER_UNCHANGED if leads and clean_shutdown else broker_id,
                    isr=None if in_sync else [broker_id],
                    eligible_leader_replicas=[] if partition.eligible_leader_replicas else None,
                    last_known_elr=[] if partition.last_known_elr else None,
                )
            )
    return found
