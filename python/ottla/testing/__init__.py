"""Fakes for what comes from outside, for tests: ours and those of people who build on Ottla.

Fakes, not mocks: each behaves like the real thing, kept in memory, with the levers a test needs.
"""

from ottla.clock import DeadlineQueue, SeededRandom, VirtualClock
from ottla.testing.cluster import MemoryTopics, memory_cluster
from ottla.testing.journal import MemoryJournal
from ottla.testing.metadata import MemoryMetadataJournal
from ottla.testing.time import run_until
from ottla.testing.transactions import GateQuestion, MemoryMarkers, MemoryTransactionGate

__all__ = [
    "DeadlineQueue",
    "GateQuestion",
    "MemoryJournal",
    "MemoryMarkers",
    "MemoryMetadataJournal",
    "MemoryTopics",
    "MemoryTransactionGate",
    "SeededRandom",
    "VirtualClock",
    "memory_cluster",
    "run_until",
]
