"""Configurations of topics, brokers and groups: describe, and change entry by entry (KIP-339).

Kafka before 2.3 can only replace all of a resource's settings at once; there what is set is read first and sent back
with the changes, so that a change of one setting leaves the others as they are on any version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ottla.admin import apis
from ottla.admin.connection import error_of
from ottla.admin.results import (
    ConfigChange,
    ConfigEntry,
    ConfigOperation,
    ConfigSource,
    ConfigSynonym,
    ConfigType,
    Resource,
    ResourceType,
)
from ottla.admin.routing import in_order
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ottla.admin.connection import Connection, Deadline
    from ottla.admin.routing import Routing

E = TypeVar("E", ConfigSource, ConfigType)

# The source that marks a value as set on the resource itself.
_OWN_SOURCE = {
    ResourceType.TOPIC: ConfigSource.DYNAMIC_TOPIC_CONFIG,
    ResourceType.BROKER: ConfigSource.DYNAMIC_BROKER_CONFIG,
    ResourceType.GROUP: ConfigSource.DYNAMIC_GROUP_CONFIG,
}


def resources_listed(routing: Routing, types: Iterable[ResourceType], deadline: Deadline) -> list[Resource]:
    """Give the resources of these types, by type and name."""
    from ottla.messages.list_config_resources import ListConfigResourcesRequest

    request = ListConfigResourcesRequest(resource_types=[int(each) for each in types])
    answer, _ = routing.ask_any(apis.LIST_CONFIG_RESOURCES, request, deadline)
    if answer.error_code:
        raise error_of(answer.error_code, None)
    return sorted(Resource(ResourceType(row.resource_type), row.resource_name) for row in answer.config_resources)


def described(
    routing: Routing, resources: Iterable[Resource], names: Iterable[str] | None, deadline: Deadline, *, docs: bool
) -> dict[Resource, tuple[ConfigEntry, ...] | RequestError]:
    """Give the settings of each resource with sources and synonyms, by name."""
    from ottla.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsRequestResource

    resources = list(dict.fromkeys(resources))
    keys = None if names is None else list(names)
    found: dict[Resource, tuple[ConfigEntry, ...] | RequestError] = {}
    for connect, those in _placed(routing, resources, deadline):
        request = DescribeConfigsRequest(
            resources=[DescribeConfigsRequestResource(each.type, each.name, keys) for each in those],
            include_synonyms=True,
            include_documentation=docs,
        )
        answer, _ = routing.ask(connect, apis.DESCRIBE_CONFIGS, request, deadline)
        for row in answer.results:
            resource = Resource(ResourceType(row.resource_type), row.resource_name)
            found[resource] = (
                error_of(row.error_code, row.error_message)
                if row.error_code
                else tuple(sorted(map(_entry, row.configs), key=lambda entry: entry.name))
            )
    return in_order(resources, found)


def altered(
    routing: Routing,
    changes: Mapping[Resource, Sequence[ConfigChange]],
    deadline: Deadline,
    *,
    validate_only: bool,
) -> dict[Resource, RequestError | None]:
    """Change settings one by one; all changes of a resource or none."""
    from ottla.messages.incremental_alter_configs import (
        IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsRequestAlterableConfig,
        IncrementalAlterConfigsRequestAlterConfigsResource,
    )

    outcomes: dict[Resource, RequestError | None] = {}
    for connect, those in _placed(routing, changes, deadline):
        if connect().version(apis.INCREMENTAL_ALTER_CONFIGS) is None and connect().version(apis.ALTER_CONFIGS):
            outcomes.update(_replaced(routing, connect, those, changes, deadline, validate_only=validate_only))
            continue
        request = IncrementalAlterConfigsRequest(
            resources=[
                IncrementalAlterConfigsRequestAlterConfigsResource(
                    each.type,
                    each.name,
                    [
                        IncrementalAlterConfigsRequestAlterableConfig(change.name, change.operation, change.value)
                        for change in changes[each]
                    ],
                )
                for each in those
            ],
            validate_only=validate_only,
        )
        answer, _ = routing.ask(connect, apis.INCREMENTAL_ALTER_CONFIGS, request, deadline)
        outcomes.update(_outcomes(answer.responses))
    return in_order(changes, outcomes)


def _replaced(
    routing: Routing,
    connect: Callable[[], Connection],
    resources: Sequence[Resource],
    changes: Mapping[Resource, Sequence[ConfigChange]],
    deadline: Deadline,
    *,
    validate_only: bool,
) -> dict[Resource, RequestError | None]:
    """What is set, with the changes made, by AlterConfigs."""
    from ottla.messages.alter_configs import (
        AlterConfigsRequest,
        AlterConfigsRequestAlterableConfig,
        AlterConfigsRequestResource,
    )

    outcomes: dict[Resource, RequestError | None] = {}
    entries: list[AlterConfigsRequestResource] = []
    for resource, settings in described(routing, resources, None, deadline, docs=False).items():
        if isinstance(settings, RequestError):
            outcomes[resource] = settings
            continue
        try:
            values = merged(resource, settings, changes[resource])
        except RequestError as error:
            outcomes[resource] = error
            continue
        configs = [AlterConfigsRequestAlterableConfig(name, value) for name, value in values.items()]
        entries.append(AlterConfigsRequestResource(resource.type, resource.name, configs))
    if entries:
        request = AlterConfigsRequest(resources=entries, validate_only=validate_only)
        answer, _ = routing.ask(connect, apis.ALTER_CONFIGS, request, deadline)
        outcomes.update(_outcomes(answer.responses))
    return outcomes


def merged(
    resource: Resource, settings: Sequence[ConfigEntry], changes: Sequence[ConfigChange]
) -> dict[str, str | None]:
    """Give all settings a resource is to have on its own, as AlterConfigs wants them."""
    own = _OWN_SOURCE.get(resource.type)
    current = {entry.name: entry.value for entry in settings}
    values = {entry.name: entry.value for entry in settings if entry.source == own}
    hidden = [entry.name for entry in settings if entry.source == own and entry.sensitive]
    lost = sorted(set(hidden) - {change.name for change in changes})
    if lost:
        raise RequestError(
            ErrorCode.UNSUPPORTED_VERSION,
            f"this broker (before Kafka 2.3) only takes all settings at once, and does not show {', '.join(lost)}",
        )
    for change in changes:
        parts = [part for part in (current.get(change.name) or "").split(",") if part]
        more = [part for part in (change.value or "").split(",") if part]
        if change.operation == ConfigOperation.DELETE:
            values.pop(change.name, None)
        elif change.operation == ConfigOperation.SET:
            values[change.name] = change.value
        elif change.operation == ConfigOperation.APPEND:
            values[change.name] = ",".join(dict.fromkeys([*parts, *more]))
        else:
            values[change.name] = ",".join(part for part in parts if part not in more)
    return values


def _placed(
    routing: Routing, resources: Iterable[Resource], deadline: Deadline
) -> list[tuple[Callable[[], Connection], list[Resource]]]:
    """Sort resources by who is asked: a broker for its own settings, any broker for the rest."""
    own: dict[int, list[Resource]] = {}
    rest: list[Resource] = []
    for resource in dict.fromkeys(resources):
        if resource.type in (ResourceType.BROKER, ResourceType.BROKER_LOGGER) and resource.name:
            own.setdefault(int(resource.name), []).append(resource)
        else:
            rest.append(resource)
    placed: list[tuple[Callable[[], Connection], list[Resource]]] = []
    if rest:
        placed.append((lambda: routing.any(deadline), rest))
    for broker_id, those in own.items():
        placed.append((routing.by_id(broker_id, deadline), those))
    return placed


def _entry(row: Any) -> ConfigEntry:
    return ConfigEntry(
        name=row.name,
        value=None if row.is_sensitive else row.value,
        source=_known(ConfigSource, row.config_source, ConfigSource.UNKNOWN),
        read_only=row.read_only,
        sensitive=row.is_sensitive,
        type=_known(ConfigType, row.config_type, ConfigType.UNKNOWN),
        synonyms=tuple(
            ConfigSynonym(each.name, each.value, _known(ConfigSource, each.source, ConfigSource.UNKNOWN))
            for each in row.synonyms
        ),
        documentation=row.documentation or None,
    )


def _known(kind: type[E], number: int, otherwise: E) -> E:
    try:
        return kind(number)
    except ValueError:
        return otherwise


def _outcomes(rows: Iterable[Any]) -> dict[Resource, RequestError | None]:
    return {
        Resource(ResourceType(row.resource_type), row.resource_name): error_of(row.error_code, row.error_message)
        if row.error_code
        else None
        for row in rows
    }
