"""`ottla topic`: list, create, describe, alter, delete."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from ottla.cli.lazy import LazyGroup
from ottla.cli.options import (
    ExampleCommand,
    admin,
    as_json,
    connected,
    dry_run,
    names_option,
    no_doubles,
    settings_option,
    topic_name,
    whole,
)
from ottla.cli.output import Cell, print_json, print_table, title
from ottla.cli.refusals import Refusals, accepted
from ottla.cli.seen import wait_for_configs, wait_for_partitions
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ottla.admin import Admin, ConfigEntry, OffsetAt, Topic, TopicPartition

PARTITIONS_MAX = 2**31 - 1
BROKER_ID_MAX = 2**31 - 1
REPLICAS_MAX = 2**15 - 1


@click.group(cls=LazyGroup)
def topic() -> None:
    """List, create, describe, change and delete topics."""


@topic.command(
    "list",
    cls=ExampleCommand,
    examples="""
ottla topic list
ottla topic list 'orders-*' --json
""",
)
@click.argument("patterns", nargs=-1)
@click.option("--internal", is_flag=True, help="Kafka's own topics too (__consumer_offsets, ...).")
@as_json
@connected
def list_topics(patterns: tuple[str, ...], internal: bool, as_json: bool, server: str, timeout: float) -> None:
    """List the topics whose names match one of PATTERNS (* and ?), or all."""
    with admin(server, timeout) as client:
        topics = [
            each
            for each in client.list_topics()
            if (internal or not each.internal)
            and (not patterns or any(fnmatchcase(each.name, pattern) for pattern in patterns))
        ]
    if as_json:
        print_json(topics)
        return
    print_table(
        ["TOPIC", "PARTITIONS", "REPLICAS"], ([each.name, each.partitions, each.replication_factor] for each in topics)
    )


@topic.command(
    "create",
    cls=ExampleCommand,
    examples="""
ottla topic create orders --partitions 6
ottla topic create clicks views -p 3 --config retention.ms=86400000 --if-not-exists
""",
)
@click.argument("names", nargs=-1, required=True, type=topic_name, metavar="TOPIC...", callback=no_doubles("topic"))
@click.option("-p", "--partitions", type=whole(1, PARTITIONS_MAX), help="How many. [the broker's num.partitions]")
@click.option(
    "-r",
    "--replication-factor",
    type=whole(1, REPLICAS_MAX),
    help="Copies of each partition. [the broker's default.replication.factor]",
)
@settings_option("-c", "--config", "configs", said="A setting of the topic; `ottla settings --topic` lists them.")
@click.option(
    "--replica-assignment",
    metavar="1:2,2:1",
    help="Brokers of each partition, the leader first; instead of both numbers.",
)
@click.option("--if-not-exists", is_flag=True, help="Leave topics alone that exist.")
@dry_run
@as_json
@connected
def create(
    names: tuple[str, ...],
    partitions: int | None,
    replication_factor: int | None,
    configs: tuple[tuple[str, str], ...],
    replica_assignment: str | None,
    if_not_exists: bool,
    dry_run: bool,
    as_json: bool,
    server: str,
    timeout: float,
) -> None:
    """Create topics. All are checked before the first is made."""
    from ottla.admin import CreatedTopic, NewTopic

    replicas: tuple[tuple[int, ...], ...] = ()
    if replica_assignment is not None:
        if partitions is not None or replication_factor is not None:
            raise click.UsageError(
                "--replica-assignment says how many partitions and replicas there are: leave --partitions and "
                "--replication-factor out."
            )
        replicas = parse_assignment(replica_assignment)
    wanted = [NewTopic(name, partitions or -1, replication_factor or -1, replicas, configs) for name in names]
    with admin(server, timeout) as client, _old_brokers_need(partitions, replication_factor, replicas):
        existing: set[str] = set()
        if if_not_exists:
            found = client.describe_topics(names)
            existing = {name for name, outcome in found.items() if not isinstance(outcome, RequestError)}
            wanted = [each for each in wanted if each.name not in existing]
        made: dict[str, CreatedTopic] = {}
        if wanted and (dry_run or len(wanted) > 1):
            made = accepted("topic", client.create_topics(wanted, validate_only=True))
        if wanted and not dry_run:
            outcomes = client.create_topics(wanted)
            if if_not_exists:
                # Somebody else was quicker.
                raced = {
                    name
                    for name, outcome in outcomes.items()
                    if isinstance(outcome, RequestError) and outcome.code == ErrorCode.TOPIC_ALREADY_EXISTS
                }
                existing |= raced
                outcomes = {name: outcome for name, outcome in outcomes.items() if name not in raced}
            made = accepted("topic", outcomes)
            wait_for_partitions(client, dict.fromkeys(made, 1))
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "created": name in made and not dry_run,
                    "topic_id": made[name].topic_id if name in made and not dry_run else None,
                    "partitions": made[name].partitions if name in made else None,
                    "replication_factor": made[name].replication_factor if name in made else None,
                }
                for name in names
            ]
        )
        return
    for name in names:
        if name in existing:
            click.echo(f"{name} exists already")
            continue
        count = made[name].partitions or partitions
        size = "" if count is None else f" with {count} {'partition' if count == 1 else 'partitions'}"
        click.echo(f"{'would create' if dry_run else 'created'} {name}{size}")


@contextmanager
def _old_brokers_need(partitions: int | None, replication_factor: int | None, replicas: object) -> Iterator[None]:
    """Say which options are missing where the broker has no defaults for them."""
    try:
        yield
    except RequestError as error:
        if error.code != ErrorCode.UNSUPPORTED_VERSION or replicas or (partitions and replication_factor):
            raise
        raise click.UsageError(
            f"this broker is older than Kafka 2.4 and leaves no number open: give --partitions and "
            f"--replication-factor ({error.message})."
        ) from error


def parse_assignment(text: str) -> tuple[tuple[int, ...], ...]:
    """Read 1:2,2:1: the replicas of each partition, as kafka-topics takes them."""
    try:
        placed = tuple(tuple(int(broker) for broker in part.split(":")) for part in text.split(","))
    except ValueError:
        placed = ()
    right = "write the broker ids of each partition as in 1:2,2:1, as many for each, none of them twice."
    if not placed or any(not 0 <= broker <= BROKER_ID_MAX for replicas in placed for broker in replicas):
        raise click.UsageError(f"--replica-assignment '{text}': {right}")
    if any(len(set(replicas)) < len(replicas) for replicas in placed) or len({len(r) for r in placed}) > 1:
        raise click.UsageError(f"--replica-assignment '{text}': {right}")
    return placed


@topic.command(
    "describe",
    cls=ExampleCommand,
    examples="""
ottla topic describe orders
ottla topic describe orders clicks --json
""",
)
@click.argument("names", nargs=-1, required=True, type=topic_name, metavar="TOPIC...", callback=no_doubles("topic"))
@as_json
@connected
def describe(names: tuple[str, ...], as_json: bool, server: str, timeout: float) -> None:
    """Show partitions with leader, replicas and offsets, and the settings that are not defaults."""
    from ottla.admin import Resource, ResourceType

    with admin(server, timeout) as client:
        topics = accepted("topic", client.describe_topics(names))
        configs = client.describe_configs([Resource(ResourceType.TOPIC, name) for name in names])
        first, last = ends(client, topics.values())
    described = []
    for name, found in topics.items():
        entries = configs.get(Resource(ResourceType.TOPIC, name), ())
        own = {} if isinstance(entries, RequestError) else own_configs(entries)
        described.append(_described(found, own, first, last))
    if as_json:
        print_json(described)
        return
    for index, (name, facts) in enumerate(zip(topics, described, strict=True)):
        if index:
            click.echo()
        title(f"{name}   id {facts['topic_id'] or 'none'}   {len(topics[name].partitions)} partitions")
        for setting, value in facts["configs"].items():
            click.echo(f"  {setting}={value}")
        print_table(
            ["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "FIRST OFFSET", "END OFFSET"],
            (
                [
                    row["partition"],
                    Cell("none", "bold red") if row["leader"] is None else row["leader"],
                    row["replicas"],
                    Cell(",".join(map(str, row["isr"])), "red" if len(row["isr"]) < len(row["replicas"]) else ""),
                    row["first_offset"],
                    row["end_offset"],
                ]
                for row in facts["partitions"]
            ),
        )


def ends(
    client: Admin, topics: Iterable[Topic]
) -> tuple[Mapping[TopicPartition, OffsetAt | RequestError], Mapping[TopicPartition, OffsetAt | RequestError]]:
    """Ask for both ends of every partition that has a leader."""
    from ottla.admin import EARLIEST, LATEST, TopicPartition

    led = [
        TopicPartition(topic.name, partition.index)
        for topic in topics
        for partition in topic.partitions
        if partition.leader is not None
    ]
    return client.list_offsets(dict.fromkeys(led, EARLIEST)), client.list_offsets(dict.fromkeys(led, LATEST))


def own_configs(entries: Iterable[ConfigEntry]) -> dict[str, str]:
    """Give the settings that were made for the topic itself."""
    from ottla.admin import ConfigSource

    return {
        entry.name: "(hidden)" if entry.sensitive else entry.value or ""
        for entry in entries
        if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG
    }


def _described(
    found: Topic,
    configs: Mapping[str, str],
    first: Mapping[TopicPartition, OffsetAt | RequestError],
    last: Mapping[TopicPartition, OffsetAt | RequestError],
) -> dict[str, Any]:
    from ottla.admin import TopicPartition

    def offset(ends: Mapping[TopicPartition, OffsetAt | RequestError], index: int) -> int | None:
        at = ends.get(TopicPartition(found.name, index))
        return None if at is None or isinstance(at, RequestError) else at.offset

    return {
        "name": found.name,
        "topic_id": found.topic_id,
        "internal": found.internal,
        "configs": dict(configs),
        "partitions": [
            {
                "partition": each.index,
                "leader": each.leader,
                "leader_epoch": each.leader_epoch,
                "replicas": list(each.replicas),
                "isr": list(each.isr),
                "offline": list(each.offline),
                "first_offset": offset(first, each.index),
                "end_offset": offset(last, each.index),
            }
            for each in found.partitions
        ],
    }


@topic.command(
    "alter",
    cls=ExampleCommand,
    examples="""
ottla topic alter orders --partitions 12
ottla topic alter orders --set retention.ms=86400000 --unset cleanup.policy --dry-run
""",
)
@click.argument("name", type=topic_name, metavar="TOPIC")
@click.option("-p", "--partitions", type=whole(1, PARTITIONS_MAX), help="How many it is to have; never fewer than now.")
@settings_option("--set", "settings", said="A setting of the topic; `ottla settings --topic` lists them.")
@names_option("--unset", said="A setting that goes back to its default.")
@dry_run
@as_json
@connected
def alter(
    name: str,
    partitions: int | None,
    settings: tuple[tuple[str, str], ...],
    unset: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    server: str,
    timeout: float,
) -> None:
    """Give a topic more partitions, or change its settings. Both are checked before either is done."""
    from ottla.admin import ConfigChange, NewPartitions, Resource, ResourceType
    from ottla.cli.config import change_of

    changes: list[ConfigChange] = change_of(settings, unset)
    if partitions is None and not changes:
        raise click.UsageError("say what to change: --partitions, --set or --unset.")
    resource = Resource(ResourceType.TOPIC, name)
    with admin(server, timeout) as client:
        accepted("topic", client.describe_topics([name]))
        for validate_only in (True,) if dry_run else (True, False):
            if partitions is not None:
                wanted = {name: NewPartitions(partitions)}
                accepted("topic", client.create_partitions(wanted, validate_only=validate_only))
                if not validate_only:
                    wait_for_partitions(client, {name: partitions})
            if changes:
                outcomes = client.alter_configs({resource: changes}, validate_only=validate_only)
                accepted("topic", {name: outcomes[resource]})
                if not validate_only:
                    wait_for_configs(client, resource, changes)
    if as_json:
        print_json(
            {
                "name": name,
                "altered": not dry_run,
                "partitions": partitions,
                "set": dict(settings),
                "unset": list(unset),
            }
        )
        return
    would = "would have" if dry_run else "has"
    if partitions is not None:
        click.echo(f"{name} {would} {partitions} partitions")
    for setting, value in settings:
        click.echo(f"{name} {would} {setting}={value}")
    for setting in unset:
        click.echo(f"{name} {would} the default of {setting}")


@topic.command(
    "delete",
    cls=ExampleCommand,
    examples="""
ottla topic delete orders
ottla topic delete clicks views --yes --if-exists
""",
)
@click.argument("names", nargs=-1, required=True, type=topic_name, metavar="TOPIC...", callback=no_doubles("topic"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask, on a terminal.")
@click.option("--if-exists", is_flag=True, help="Leave out topics that do not exist.")
@dry_run
@as_json
@connected
def delete(
    names: tuple[str, ...], yes: bool, if_exists: bool, dry_run: bool, as_json: bool, server: str, timeout: float
) -> None:
    """Delete topics with all their records. If one does not exist none is deleted."""
    with admin(server, timeout) as client:
        found = client.describe_topics(names)
        missing = [
            (f"topic {name}", outcome)
            for name, outcome in found.items()
            if isinstance(outcome, RequestError)
            and not (if_exists and outcome.code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        ]
        if missing:
            raise Refusals(missing)
        there = [name for name, outcome in found.items() if not isinstance(outcome, RequestError)]
        if there and not dry_run:
            confirm(f"Delete {', '.join(there)} with all records?", yes=yes)
            accepted("topic", client.delete_topics(there))
            wait_for_partitions(client, dict.fromkeys(there, 0))
    if as_json:
        print_json([{"name": name, "deleted": name in there and not dry_run} for name in names])
        return
    for name in names:
        done = "would delete" if dry_run else "deleted"
        click.echo(f"{done} {name}" if name in there else f"{name} does not exist")


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person; a script has said what it wants."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
