"""Which partition of an internal topic a key lives on: a group by its id, a transaction by its own.

It is abs(hashCode(key)) % partitions, with Java's hash of a string (over UTF-16 units), so that a directory of Apache
Kafka's opens here and the other way round. (abs of the smallest int is 0.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# Keys whose partition is remembered: a few hundred kilobytes at most.
_CACHED_KEYS_MAX: Final = 1024
_CACHED_CHARS_MAX: Final = 128


def java_string_hash(text: str) -> int:
    """String.hashCode of Java: over UTF-16 units, in 32 signed bits."""
    value = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for high, low in zip(units[::2], units[1::2], strict=True):
        value = (value * 31 + (high << 8 | low)) & 0xFFFF_FFFF
    return value - (1 << 32) if value & 0x8000_0000 else value


def partition_for(key: str, partition_count: int) -> int:
    """Which of the partitions a key lives on."""
    # Asked with every request: it is looked up where keys are no longer than anybody gives them.
    return (_cached_partition if len(key) <= _CACHED_CHARS_MAX else _partition)(key, partition_count)


def _partition(key: str, partition_count: int) -> int:
    value = java_string_hash(key)
    return 0 if value == -(1 << 31) else abs(value) % partition_count


_cached_partition = lru_cache(maxsize=_CACHED_KEYS_MAX)(_partition)
