"""Which partitions a region has: the custom partitioner.

The default partitioner hashes the whole key over all partitions. Here the region decides: whoever wants one region
reads its partitions only, and a busy region can be given more of them without touching the others. Inside a region the
rider decides, so that the updates a rider sends from there stay in order.

A rider who rides from one region into the next moves to another partition. Between partitions Kafka promises no order:
a reader may see the update from the new region before the last one from the old. Hence `seq` in every update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka.partitioner import Partitioner
from kafka.partitioner.default import murmur2

if TYPE_CHECKING:
    from examples.riders.world import Update

PARTITIONS = {"centre": (0, 1, 2), "north": (3,), "east": (4,), "south": (5,), "west": (6,)}
PARTITION_COUNT = sum(len(numbers) for numbers in PARTITIONS.values())
REGION_OF_PARTITION = {number: region for region, numbers in PARTITIONS.items() for number in numbers}


def key_of(update: Update) -> bytes:
    return f"{update.region}/{update.rider}".encode()


class RegionPartitioner(Partitioner):  # type: ignore[misc]  # kafka-python carries no types
    """For `KafkaProducer(partitioner=...)`."""

    def partition(
        self, _topic: str, _key: Any, serialized_key: bytes, _value: Any, _serialized_value: bytes, _cluster: Any
    ) -> int:
        region, _slash, rider = serialized_key.partition(b"/")
        numbers = PARTITIONS[region.decode()]
        # Kafka's own hash: a producer in another language that does the same puts a rider into the same partition.
        positive_hash: int = murmur2(rider) & 0x7FFFFFFF
        return numbers[positive_hash % len(numbers)]
