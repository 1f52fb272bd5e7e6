"""`ottla group`: list, describe, reset, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ottla.cli.lazy import LazyGroup
from ottla.cli.offsets_wanted import chosen_mode, places_of, plan_of
from ottla.cli.options import ExampleCommand, admin, as_json, connected, dry_run, no_doubles, topic_name, whole
from ottla.cli.output import Cell, note, print_json, print_table, title
from ottla.cli.refusals import Refusals, accepted
from ottla.cli.times import moment
from ottla.cli.topic import confirm
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.admin import Admin, Group, TopicPartition

# What the two protocols call the states a group can be in (Kafka's GroupState).
STATES = ("PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling")
TYPES = ("Classic", "Consumer", "Share", "Streams")


@click.group(cls=LazyGroup)
def group() -> None:
    """List, describe, reset and delete consumer groups."""


@group.command(
    "list",
    cls=ExampleCommand,
    examples="""
ottla group list
ottla group list --state Empty --state Stable --json
""",
)
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES, case_sensitive=False),
    multiple=True,
    help="Only groups in this state (Kafka 2.6 or later).",
)
@click.option(
    "--type",
    "types",
    type=click.Choice(TYPES, case_sensitive=False),
    multiple=True,
    help="Only groups of this type (Kafka 3.8 or later).",
)
@as_json
@connected
def list_groups(states: tuple[str, ...], types: tuple[str, ...], as_json: bool, server: str, timeout: float) -> None:
    """List the groups of the cluster."""
    with admin(server, timeout) as client:
        groups = client.list_groups(states=states, types=types)
    if as_json:
        print_json(groups)
        return
    print_table(
        ["GROUP", "STATE", "TYPE", "PROTOCOL"],
        (
            [each.group_id, each.state, each.type and each.type.capitalize(), each.protocol_type or None]
            for each in groups
        ),
    )


@group.command(
    "describe",
    cls=ExampleCommand,
    examples="""
ottla group describe billing
ottla group describe billing --members
ottla group describe billing audit --json
""",
)
@click.argument("names", nargs=-1, required=True, metavar="GROUP...", callback=no_doubles("group"))
@click.option("--members", is_flag=True, help="One line for each member instead of each partition.")
@as_json
@connected
def describe(names: tuple[str, ...], members: bool, as_json: bool, server: str, timeout: float) -> None:
    """Show where groups stand: offsets, lag and who reads what."""
    with admin(server, timeout) as client:
        groups = accepted("group", client.describe_groups(names))
        described = {name: _described(client, found) for name, found in groups.items()}
    if as_json:
        print_json(list(described.values()))
        return
    for index, (name, facts) in enumerate(described.items()):
        if index:
            click.echo()
        lag = sum(row["lag"] or 0 for row in facts["partitions"])
        assignor = f"   {facts['assignor']}" if facts["assignor"] else ""
        epoch = "" if facts["epoch"] is None else f"   epoch {facts['epoch']}"
        title(
            f"{name}   {facts['state']}   {facts['type']}{assignor}{epoch}   {len(facts['members'])} members   "
            f"lag {lag}   coordinator {groups[name].coordinator.broker_id}"
        )
        if members:
            _print_members(facts["members"], with_epochs=groups[name].epoch is not None)
        else:
            _print_partitions(facts["partitions"])


def _print_members(members: list[dict[str, Any]], *, with_epochs: bool) -> None:
    # Only in a group of the consumer protocol, where members reach epochs one by one.
    epochs = ["EPOCH", "PROTOCOL"] if with_epochs else []
    print_table(
        ["MEMBER", *epochs, "INSTANCE", "CLIENT", "HOST", "PARTITIONS", "ASSIGNMENT"],
        (
            [
                each["member_id"],
                *([each["epoch"], each["protocol"]] if with_epochs else ()),
                each["instance_id"],
                each["client_id"],
                each["host"],
                None if each["assignment"] is None else sum(len(part["partitions"]) for part in each["assignment"]),
                None if each["assignment"] is None else [_span(part) for part in each["assignment"]],
            ]
            for each in members
        ),
    )


def _span(part: dict[str, Any]) -> str:
    return f"{part['topic']}[{','.join(map(str, part['partitions']))}]"


def _print_partitions(rows: list[dict[str, Any]]) -> None:
    print_table(
        ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST", "CLIENT"],
        (
            [
                row["topic"],
                row["partition"],
                row["committed"],
                row["end"],
                Cell(str(row["lag"]), "yellow") if row["lag"] else row["lag"],
                row["member_id"],
                row["host"],
                row["client_id"],
            ]
            for row in rows
        ),
    )


def _described(client: Admin, found: Group) -> dict[str, Any]:
    committed = client.list_group_offsets(found.group_id)
    owner = {place: member for member in found.members for place in member.assignment or ()}
    places = sorted({*committed, *owner})
    ends = ends_of(client, places)
    rows = []
    for place in places:
        commit = committed.get(place)
        offset = None if commit is None or isinstance(commit, RequestError) else commit.offset
        end = ends.get(place)
        member = owner.get(place)
        rows.append(
            {
                "topic": place.topic,
                "partition": place.partition,
                "committed": offset,
                "end": end,
                "lag": None if offset is None or end is None else end - offset,
                "member_id": member and member.member_id,
                "host": member and member.host,
                "client_id": member and member.client_id,
            }
        )
    return {
        "group": found.group_id,
        "type": found.type,
        "state": found.state,
        "protocol_type": found.protocol_type,
        "assignor": found.assignor,
        "epoch": found.epoch,
        "target_epoch": found.target_epoch,
        "coordinator": found.coordinator,
        "members": [
            {
                "member_id": member.member_id,
                "instance_id": member.instance_id,
                "client_id": member.client_id,
                "host": member.host,
                "subscription": list(member.subscription),
                "epoch": member.epoch,
                "protocol": None if member.upgraded is None else ("consumer" if member.upgraded else "classic"),
                "assignment": None if member.assignment is None else _by_topic(member.assignment),
                "target": None if member.target is None else _by_topic(member.target),
            }
            for member in found.members
        ],
        "partitions": rows,
    }


def _by_topic(places: Iterable[TopicPartition]) -> list[dict[str, Any]]:
    topics: dict[str, list[int]] = {}
    for place in places:
        topics.setdefault(place.topic, []).append(place.partition)
    return [{"topic": topic, "partitions": partitions} for topic, partitions in topics.items()]


def ends_of(client: Admin, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Give the ends of partitions; one that is gone or has no leader has none."""
    from ottla.admin import LATEST

    found = client.list_offsets(dict.fromkeys(places, LATEST))
    return {place: at.offset for place, at in found.items() if not isinstance(at, RequestError)}


@group.command(
    "reset",
    cls=ExampleCommand,
    examples="""
ottla group reset billing --topic orders --to-earliest --dry-run
ottla group reset billing --topic orders:0,2 --to-offset 1500
ottla group reset billing --all-topics --to-time 2026-11-21T08:00:00Z
ottla group reset billing --topic orders --shift-by -100
""",
)
@click.argument("name", metavar="GROUP")
@click.option("--topic", "topics", metavar="TOPIC[:0,1,...]", multiple=True, help="A topic, or some of its partitions.")
@click.option("--all-topics", is_flag=True, help="All partitions the group has committed offsets for.")
@click.option("--to-earliest", is_flag=True, help="To the first record there is.")
@click.option("--to-latest", is_flag=True, help="To the end.")
@click.option("--to-current", is_flag=True, help="To what is committed now; to the end where nothing is.")
@click.option("--to-offset", type=whole(0, 2**63 - 1), help="To an offset.")
@click.option(
    "--to-time",
    type=moment,
    metavar="TIME",
    help="To the first record since then: 2h, 2026-11-21, ...",
)
@click.option("--shift-by", type=whole(-(2**63), 2**63 - 1), help="Forward or (-N) back from what is committed.")
@dry_run
@as_json
@connected
def reset(
    name: str,
    topics: tuple[str, ...],
    all_topics: bool,
    dry_run: bool,
    as_json: bool,
    server: str,
    timeout: float,
    **modes: Any,
) -> None:
    """Set where a group goes on reading. The group must have no members.

    An offset outside of what a partition holds becomes the nearest one it holds.
    """
    from ottla.admin import CommittedOffset

    target = chosen_mode(modes)
    if bool(topics) == all_topics:
        raise click.UsageError("say what to reset: --topic TOPIC (may be repeated) or --all-topics.")
    asked = places_of(topics)
    with admin(server, timeout) as client:
        _refuse_members(client, name)
        plan = plan_of(client, name, asked, target)
        if not plan:
            raise click.UsageError(f"group {name} has committed nothing: name the topics with --topic.")
        if not dry_run:
            outcomes = client.alter_group_offsets(name, {row.place: CommittedOffset(row.offset) for row in plan})
            refused = [(f"group {name}, {place}", error) for place, error in outcomes.items() if error is not None]
            if refused:
                raise Refusals(refused)
    if as_json:
        print_json(
            [
                {
                    "topic": row.place.topic,
                    "partition": row.place.partition,
                    "from": row.committed,
                    "to": row.offset,
                    "done": not dry_run,
                }
                for row in plan
            ]
        )
        return
    print_table(
        ["TOPIC", "PARTITION", "FROM", "TO"],
        ([row.place.topic, row.place.partition, row.committed, row.offset] for row in plan),
    )
    if dry_run:
        note("nothing was changed: leave --dry-run out to do it")


def _refuse_members(client: Admin, name: str) -> None:
    """Kafka commits for a simple consumer only while a group has no members; say so before anything is asked."""
    found = client.describe_groups([name])[name]
    if isinstance(found, RequestError):
        # A group that does not exist yet may be given offsets to start from.
        if found.code != ErrorCode.GROUP_ID_NOT_FOUND:
            raise found
    elif found.members:
        raise RequestError(
            ErrorCode.NON_EMPTY_GROUP,
            f"group {name} has {len(found.members)} members ({found.state}): stop them first, since they would "
            "commit over it",
        )


@group.command(
    "delete",
    cls=ExampleCommand,
    examples="""
ottla group delete billing
ottla group delete billing --topic orders
""",
)
@click.argument("names", nargs=-1, required=True, metavar="GROUP...", callback=no_doubles("group"))
@click.option(
    "--topic",
    "topics",
    type=topic_name,
    metavar="TOPIC",
    multiple=True,
    callback=no_doubles("topic"),
    help="Forget only what is committed for this topic.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask, on a terminal.")
@dry_run
@as_json
@connected
def delete(
    names: tuple[str, ...],
    topics: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    as_json: bool,
    server: str,
    timeout: float,
) -> None:
    """Delete groups with all they have committed. They must have no members; if one has, none is deleted."""
    with admin(server, timeout) as client:
        groups = accepted("group", client.describe_groups(names))
        if topics:
            done = _forget(client, names, topics, yes=yes, dry_run=dry_run)
        else:
            alive = [
                (f"group {each}", RequestError(ErrorCode.NON_EMPTY_GROUP, f"it has {len(found.members)} members"))
                for each, found in groups.items()
                if found.members
            ]
            if alive:
                raise Refusals(alive)
            if not dry_run:
                confirm(f"Delete {', '.join(names)} with what they have committed?", yes=yes)
                accepted("group", client.delete_groups(names))
            done = [{"group": each, "deleted": not dry_run} for each in names]
    if as_json:
        print_json(done)
        return
    verb = "would delete" if dry_run else "deleted"
    for row in done:
        place = f" {row['topic']} partition {row['partition']}" if topics else ""
        click.echo(f"{verb} {row['group']}{place}")


def _forget(
    client: Admin, names: tuple[str, ...], topics: tuple[str, ...], *, yes: bool, dry_run: bool
) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    plan = {name: [each for each in client.list_group_offsets(name) if each.topic in topics] for name in names}
    absent = [
        (f"group {name}", RequestError(ErrorCode.RESOURCE_NOT_FOUND, f"nothing is committed for {topic}"))
        for name, places in plan.items()
        for topic in sorted(set(topics) - {place.topic for place in places})
    ]
    if absent:
        raise Refusals(absent)
    if not dry_run:
        confirm(f"Forget what {', '.join(names)} committed for {', '.join(topics)}?", yes=yes)
    for name, places in plan.items():
        if not dry_run:
            outcomes = client.delete_group_offsets(name, places)
            refused = [(f"group {name}, {place}", error) for place, error in outcomes.items() if error is not None]
            if refused:
                raise Refusals(refused)
        done += [
            {"group": name, "topic": place.topic, "partition": place.partition, "deleted": not dry_run}
            for place in places
        ]
    return done
