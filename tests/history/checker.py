"""The one checker: a history in, a verdict out.

It distinguishes what Jepsen's workload for Kafka distinguishes, and adds fenced producers, groups and outputs that
belong to inputs. Each check is one pass over the history or over what it was folded into, so that it is about linear.

An attempt without a known outcome is never held against the broker in either direction: what it wrote may be read or
not. `exactly_once=False` is for programs that may do their work twice after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.history import groups, reads, transactions, writes
from tests.history.events import AnyEvent, Poll, in_order, load, save
from tests.history.findings import Verdict
from tests.history.model import Model

Check = Callable[[Model, Verdict], None]
ALWAYS: tuple[Check, ...] = (
    writes.one_value_at_an_offset,
    writes.one_offset_for_a_record,
    writes.nothing_is_lost,
    writes.records_of_a_producer_stay_in_order,
    writes.records_stay_in_the_order_of_time,
    writes.fenced_producers_write_nothing,
    reads.what_is_read_was_written,
    reads.polls_go_forward_without_a_hole,
    transactions.no_circles,
    groups.a_partition_has_one_owner,
    groups.committed_offsets_grow,
    groups.everything_is_delivered,
)


def check(history: Iterable[AnyEvent], *, exactly_once: bool = True) -> Verdict:
    """Judges a history."""
    events: Sequence[AnyEvent] = in_order(history)
    model = Model(events)
    verdict = Verdict(events)
    for each in ALWAYS:
        each(model, verdict)
    if exactly_once:
        transactions.inputs_have_their_outputs_once(model, verdict)
    _count(model, verdict)
    return verdict


def _count(model: Model, verdict: Verdict) -> None:
    for event in model.events:
        verdict.counts[str(type(event).__struct_config__.tag)] += 1
        if isinstance(event, Poll):
            verdict.counts["records_polled"] += len(event.records)
    for txn in model.txns.values():
        verdict.counts[f"transactions_{txn.outcome.value}"] += 1


def assert_clean(path: Path, *, exactly_once: bool = True, at_least: dict[str, int] | None = None) -> Verdict:
    """Judges the history in a file; fails with the report, and names the file, which stays for a closer look.

    `at_least` says how much must have happened (`Verdict.counts`) for the run to show anything.
    """
    verdict = check(load(path), exactly_once=exactly_once)
    assert not verdict.anomalies, f"{path}\n{verdict.report()}"
    for name, least in (at_least or {}).items():
        assert verdict.counts[name] >= least, f"{name} is {verdict.counts[name]}, {least} wanted: {verdict.report()}"
    return verdict


__all__ = ["assert_clean", "check", "load", "save"]
