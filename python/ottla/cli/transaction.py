"""`ottla transaction`: list, describe, abort."""

from __future__ import annotations

import time

import click

from ottla.cli.lazy import LazyGroup
from ottla.cli.options import ExampleCommand, admin, as_json, connected, no_doubles
from ottla.cli.output import Cell, print_json, print_table, title
from ottla.cli.refusals import Refusals, accepted
from ottla.cli.topic import confirm

# What a transactional id can be in (Kafka's TransactionState).
STATES = ("Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort")


@click.group(cls=LazyGroup)
def transaction() -> None:
    """List, describe and abort transactions of producers."""


@transaction.command(
    "list",
    cls=ExampleCommand,
    examples="""
ottla transaction list
ottla transaction list --state Ongoing --longer-than 60 --json
""",
)
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES, case_sensitive=False),
    multiple=True,
    help="Only transactional ids in this state.",
)
@click.option(
    "--longer-than",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Only what has been open longer (Kafka 3.8 or later).",
)
@click.option("--pattern", metavar="REGEX", help="Only ids that match as a whole (Kafka 4.1 or later).")
@as_json
@connected
def list_transactions(
    states: tuple[str, ...],
    longer_than: float | None,
    pattern: str | None,
    as_json: bool,
    server: str,
    timeout: float,
) -> None:
    """List the transactional ids of the cluster."""
    longer_than_ms = None if longer_than is None else round(longer_than * 1000)
    with admin(server, timeout) as client:
        found = client.list_transactions(states=states, longer_than_ms=longer_than_ms, pattern=pattern)
    if as_json:
        print_json(found)
        return
    print_table(
        ["TRANSACTIONAL ID", "STATE", "PRODUCER ID", "COORDINATOR"],
        ([each.transactional_id, each.state, each.producer_id, each.coordinator_id] for each in found),
    )


@transaction.command(
    "describe",
    cls=ExampleCommand,
    examples="""
ottla transaction describe billing-1
ottla transaction describe billing-1 billing-2 --json
""",
)
@click.argument("names", nargs=-1, required=True, metavar="ID...", callback=no_doubles("transactional id"))
@as_json
@connected
def describe(names: tuple[str, ...], as_json: bool, server: str, timeout: float) -> None:
    """Show what transactional ids have open, since when and where."""
    with admin(server, timeout) as client:
        found = accepted("transactional id", client.describe_transactions(names))
    if as_json:
        print_json(list(found.values()))
        return
    now_ms = time.time_ns() // 1_000_000
    for index, (name, each) in enumerate(found.items()):
        if index:
            click.echo()
        title(
            f"{name}   {each.state}   producer {each.producer_id} epoch {each.producer_epoch}   "
            f"time-out {each.timeout_ms / 1000:g} s   coordinator {each.coordinator.broker_id}"
        )
        open_s = None if each.started_ms is None else max(0, now_ms - each.started_ms) // 1000
        late = open_s is not None and open_s * 1000 > each.timeout_ms
        print_table(
            ["TOPIC", "PARTITION", "OPEN FOR (S)"],
            (
                [place.topic, place.partition, Cell(str(open_s), "yellow") if late else open_s]
                for place in each.partitions
            ),
        )


@transaction.command(
    "abort",
    cls=ExampleCommand,
    examples="""
ottla transaction abort billing-1
""",
)
@click.argument("name", metavar="ID")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@connected
def abort(name: str, yes: bool, server: str, timeout: float) -> None:
    """Abort what a transactional id has open, and fence its producer."""
    with admin(server, timeout) as client:
        # Asked first: whoever terminates an id that does not exist would make it.
        found = accepted("transactional id", client.describe_transactions([name]))[name]
        confirm(f"Abort the transaction of {name} ({found.state}) and fence its producer?", yes=yes)
        refused = client.terminate_transaction(name)
    if refused is not None:
        raise Refusals([(f"transactional id {name}", refused)])
    click.echo(f"aborted what {name} had open")
