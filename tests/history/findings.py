"""What the checker finds, and how a person reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.history.events import AnyEvent, texts

SHOWN_OF_A_KIND = 5


class Kind(Enum):
    """The anomalies; the text says what is wrong with one."""

    TWO_VALUES = "two values at one offset"
    DUPLICATE = "one record at two offsets"
    LOST_WRITE = "an acknowledged or committed record that readers went past"
    ABORTED_READ = "a record of an aborted transaction was read"
    EARLY_READ = "a record was read before its commit was asked for"
    PHANTOM_READ = "a record was read that nobody wrote, or whose write had failed for good"
    BACKWARD_POLL = "a consumer was given an offset again, or an earlier one"
    SKIPPED_POLL = "a consumer was not given a record between two that it was given"
    NONMONOTONIC_SEND = "a producer's later record has the lower offset"
    OVERTAKEN_SEND = "a record sent after another's acknowledgement has the lower offset"
    READ_CYCLE = "committed transactions that read each other's records in a circle"
    WRITE_CYCLE = "committed transactions that wrote between each other's records in a circle"
    FENCED_WRITE = "a fenced producer wrote or committed"
    REPEATED_EFFECT = "one input has its output twice"
    MISSING_EFFECT = "an input has no output"
    OWNED_TWICE = "a partition had two owners in its group at a time"
    COMMIT_BACK = "a group's committed offset went back"
    COMMIT_LOST = "a member began before the offset its group had committed"
    UNDELIVERED = "a record that no member of the group was given"


# Kafka does not keep the writes of transactions apart: who writes to two partitions at the same time as another may be
# first in one and second in the other. So this is told, not held against the broker. With reads in the circle it would
# be wrong at read_committed, and records out of the order of time are wrong as OVERTAKEN_SEND.
ALLOWED = frozenset({Kind.WRITE_CYCLE})


@dataclass(frozen=True)
class Finding:
    """One anomaly: a sentence, and the events that show it (places in the history)."""

    kind: Kind
    sentence: str
    lines: tuple[int, ...] = ()


@dataclass
class Verdict:
    """All findings, and how much was looked at: a run in which nothing happened has no anomaly either."""

    events: Sequence[AnyEvent]
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def found(self, kind: Kind, sentence: str, *lines: int | None) -> None:
        self.findings.append(Finding(kind, sentence, tuple(sorted({line for line in lines if line is not None}))))

    @property
    def anomalies(self) -> list[Finding]:
        return [each for each in self.findings if each.kind not in ALLOWED]

    @property
    def kinds(self) -> set[Kind]:
        return {each.kind for each in self.findings}

    def report(self) -> str:
        """Each kind with its first findings and their events."""
        parts = [" ".join(f"{name}={count}" for name, count in sorted(self.counts.items()))]
        for kind in Kind:
            these = [each for each in self.findings if each.kind is kind]
            if not these:
                continue
            remark = " (allowed)" if kind in ALLOWED else ""
            parts.append(f"{kind.name}{remark}: {kind.value}; {len(these)} found")
            for each in these[:SHOWN_OF_A_KIND]:
                parts.append(f"  {each.sentence}")
                parts += [f"  {text}" for text in texts(self.events, each.lines)]
        return "\n".join(parts)
