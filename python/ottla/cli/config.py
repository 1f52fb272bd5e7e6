"""`ottla config`: the settings of topics, brokers and groups."""

from __future__ import annotations

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
    settings_option,
    topic_name,
)
from ottla.cli.output import Cell, note, print_json, print_table
from ottla.cli.refusals import accepted
from ottla.cli.seen import wait_for_configs

if TYPE_CHECKING:
    from ottla.admin import ConfigChange, ConfigEntry, Resource

BROKER_ID_MAX = 2**31 - 1
KINDS = ("topic", "broker", "group")


@click.group(cls=LazyGroup)
def config() -> None:
    """Show and change the settings of topics, brokers and groups."""


@config.command(
    "describe",
    cls=ExampleCommand,
    examples="""
ottla config describe topic orders
ottla config describe broker 1 log.retention.hours --all
ottla config describe topic orders --all --json
""",
)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.argument("settings", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Defaults too; without it only what somebody has set.")
@as_json
@connected
def describe(
    kind: str, name: str, settings: tuple[str, ...], everything: bool, as_json: bool, server: str, timeout: float
) -> None:
    """Show the settings of a topic, of a broker by its id, or of a group; all, or SETTINGS by name."""
    from ottla.admin import ConfigSource

    resource = resource_of(kind, name)
    with admin(server, timeout) as client:
        entries = accepted(kind, {name: client.describe_configs([resource], names=settings or None)[resource]})[name]
    unknown = sorted(set(settings) - {entry.name for entry in entries})
    if unknown:
        raise click.UsageError(
            f"no setting of a {kind} is called {', '.join(unknown)}; `ottla config describe {kind} {name} --all` "
            "lists them."
        )
    shown = [entry for entry in entries if everything or settings or entry.source != ConfigSource.DEFAULT_CONFIG]
    if as_json:
        print_json([_facts(entry) for entry in shown])
        return
    if not shown:
        note(f"every setting of {kind} {name} has its default; --all shows them")
        return
    print_table(["SETTING", "VALUE", "SOURCE"], ([entry.name, _value(entry), source_of(entry)] for entry in shown))


def _value(entry: ConfigEntry) -> object:
    return Cell("(hidden)", "dim") if entry.sensitive else "" if entry.value is None else entry.value


def source_of(entry: ConfigEntry) -> str:
    """Say in words where a value comes from."""
    from ottla.admin import ConfigSource

    return {
        ConfigSource.DYNAMIC_TOPIC_CONFIG: "topic",
        ConfigSource.DYNAMIC_BROKER_CONFIG: "broker",
        ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG: "all brokers",
        ConfigSource.STATIC_BROKER_CONFIG: "server.properties",
        ConfigSource.DEFAULT_CONFIG: "default",
        ConfigSource.DYNAMIC_GROUP_CONFIG: "group",
    }.get(entry.source, entry.source.name.lower())


def _facts(entry: ConfigEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "value": entry.value,
        "source": entry.source.name,
        "type": entry.type.name,
        "read_only": entry.read_only,
        "sensitive": entry.sensitive,
        "synonyms": [{"name": each.name, "value": each.value, "source": each.source.name} for each in entry.synonyms],
    }


@config.command(
    "alter",
    cls=ExampleCommand,
    examples="""
ottla config alter topic orders --set retention.ms=86400000 --unset segment.ms
ottla config alter topic orders --append cleanup.policy=compact --dry-run
""",
)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@settings_option("--set", "settings", said="A new value.")
@names_option("--unset", said="Back to the default.")
@settings_option("--append", said="Entries to add to a list.")
@settings_option("--subtract", said="Entries to take out of a list.")
@dry_run
@as_json
@connected
def alter(
    kind: str,
    name: str,
    settings: tuple[tuple[str, str], ...],
    unset: tuple[str, ...],
    append: tuple[tuple[str, str], ...],
    subtract: tuple[tuple[str, str], ...],
    dry_run: bool,
    as_json: bool,
    server: str,
    timeout: float,
) -> None:
    """Change settings of a topic, a broker or a group; all of them or, if one is refused, none."""
    changes = change_of(settings, unset, append, subtract)
    if not changes:
        raise click.UsageError("say what to change: --set, --unset, --append or --subtract.")
    resource = resource_of(kind, name)
    with admin(server, timeout) as client:
        outcome = client.alter_configs({resource: changes}, validate_only=dry_run)[resource]
        accepted(kind, {name: outcome})
        if not dry_run:
            wait_for_configs(client, resource, changes)
    if as_json:
        print_json(
            {
                "kind": kind,
                "name": name,
                "altered": not dry_run,
                "changes": [
                    {"name": each.name, "operation": each.operation.name.lower(), "value": each.value}
                    for each in changes
                ],
            }
        )
        return
    for each in changes:
        words = {"SET": f"set to {each.value}", "DELETE": "back to its default"}.get(
            each.operation.name, f"{each.operation.name.lower()} {each.value}"
        )
        click.echo(f"{'would change' if dry_run else 'changed'} {kind} {name}: {each.name} {words}")


def change_of(
    settings: tuple[tuple[str, str], ...],
    unset: tuple[str, ...],
    append: tuple[tuple[str, str], ...] = (),
    subtract: tuple[tuple[str, str], ...] = (),
) -> list[ConfigChange]:
    """Give the changes that options ask for; a setting may stand in one of them only."""
    from ottla.admin import ConfigChange, ConfigOperation

    changes = [ConfigChange(name, value) for name, value in settings]
    changes += [ConfigChange(name, None, ConfigOperation.DELETE) for name in unset]
    changes += [ConfigChange(name, value, ConfigOperation.APPEND) for name, value in append]
    changes += [ConfigChange(name, value, ConfigOperation.SUBTRACT) for name, value in subtract]
    names = [change.name for change in changes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.UsageError(f"'{twice}' is to be changed in two ways: name it once.")
    return changes


def resource_of(kind: str, name: str) -> Resource:
    """Give the resource the words name; refuses names that cannot be one."""
    from ottla.admin import Resource, ResourceType

    if kind == "topic":
        topic_name(name)
        return Resource(ResourceType.TOPIC, name)
    if kind == "broker":
        if not name.isascii() or not name.isdigit() or len(name) > len(str(BROKER_ID_MAX)) or int(name) > BROKER_ID_MAX:
            raise click.UsageError(f"'{name}' is no id of a broker: a whole number, such as 1.")
        return Resource(ResourceType.BROKER, str(int(name)))
    if not name:
        raise click.UsageError("a group has a name.")
    return Resource(ResourceType.GROUP, name)
