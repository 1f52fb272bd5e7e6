"""`kafka-configs`: settings of topics and brokers, shown and changed.

Kafka: kafka.admin.ConfigCommand. Of its entity types those of topics and brokers are here; the others end with one line
that names what is missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ottla.cli.kafka import words
from ottla.cli.kafka.connection import NoFile, admin, command_config, properties_of
from ottla.cli.kafka.options import Option, OptionError, OptionParser, Options, integer
from ottla.cli.kafka.usage import complain, help_or_version, not_with, say, usage_and_exit
from ottla.errors import ErrorCode, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.admin import Admin, ConfigEntry, Resource

TYPES = ("topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers")
FLAGS = {
    "topic": "topics",
    "client": "clients",
    "user": "users",
    "broker": "brokers",
    "broker-logger": "broker-loggers",
    "ip": "ips",
    "client-metrics": "client-metrics",
    "group": "groups",
}
DEFAULT_FLAGS = {
    "client-defaults": "clients",
    "user-defaults": "users",
    "broker-defaults": "brokers",
    "ip-defaults": "ips",
}
# What each of the other entity types would need.
MISSING = {
    "clients": "client quotas (DescribeClientQuotas and AlterClientQuotas)",
    "users": "client quotas and SCRAM credentials (AlterClientQuotas and AlterUserScramCredentials)",
    "ips": "quotas of connections (AlterClientQuotas)",
    "client-metrics": "metrics pushed by clients (KIP-714)",
    "broker-loggers": "log levels of a running broker (`ottla serve --log-level` sets one at the start)",
}
NAME_LENGTH_MAX = 249

PARSER = OptionParser(
    Option("bootstrap-server", "Where the cluster is found. Needed.", "server to connect to"),
    Option("bootstrap-controller", "Accepted instead: this version asks brokers only.", "controller to connect to"),
    Option("command-config", "A file of client settings.", "command config property file"),
    Option("alter", "Change settings."),
    Option("describe", "Show settings."),
    Option("all", "With --describe: those that are not set too."),
    Option(
        "entity-type",
        "topics, brokers or groups. (The others end with a line that says what is missing.)",
        "",
    ),
    Option("entity-name", "Name of the topic or group, number of the broker.", ""),
    Option("entity-default", "The default of all brokers."),
    Option("add-config", "k1=v1,k2=[v1,v2,v2],k3=v3", ""),
    Option("add-config-file", "A properties file of settings to add.", ""),
    Option("delete-config", "k1,k2", "", separator=","),
    Option("topic", "Name of a topic.", ""),
    Option("client", "A client id.", ""),
    Option("client-defaults", "The default of all clients."),
    Option("user", "Name of a user.", ""),
    Option("user-defaults", "The default of all users."),
    Option("broker", "Number of a broker.", ""),
    Option("broker-defaults", "The default of all brokers."),
    Option("broker-logger", "Number of a broker, for its loggers.", ""),
    Option("ip", "An address.", ""),
    Option("ip-defaults", "The default of all addresses."),
    Option("group", "A group.", ""),
    Option("client-metrics", "Name of a subscription.", ""),
)


class Refused(Exception):
    """What was asked for cannot be; the text is the tool's sentence."""


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        options = PARSER.parse(arguments)
        help_or_version(
            options,
            "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, "
            "client-metrics or group",
        )
        kind, name = _check(options)
        _act(options, kind, name)
    except (OptionError, Refused) as error:
        complain(str(error))
        return 1
    except NoFile as error:
        return _failed(arguments, f"java.nio.file.NoSuchFileException: {error}")
    except RequestError as error:
        return _failed(arguments, f"java.util.concurrent.ExecutionException: {words.exception(error)}")
    except OttlaError as error:
        return _failed(arguments, words.exception(error))
    return 0


def _failed(arguments: Sequence[str], exception: str) -> int:
    complain(f"Error while executing config command with args '{' '.join(arguments)}'", exception)
    return 1


def _check(options: Options) -> tuple[str, str | None]:
    """Give the entity type and the name, if there is one; the default of all brokers is the empty name."""
    if options.has("alter") == options.has("describe"):
        usage_and_exit(PARSER, "Command must include exactly one action: --describe, --alter")
    not_with(options, "describe", ("alter", "add-config", "delete-config"))
    kinds = options.values("entity-type") + [
        kind for flag, kind in (*FLAGS.items(), *DEFAULT_FLAGS.items()) if options.has(flag)
    ]
    kind = _entity_type(options, kinds)
    if options.has("bootstrap-server") and options.has("bootstrap-controller"):
        raise Refused("Only one of --bootstrap-server or --bootstrap-controller can be specified")
    if not options.has("bootstrap-server") and not options.has("bootstrap-controller"):
        raise Refused("Either --bootstrap-server or --bootstrap-controller must be specified.")
    missing = next((each for each in kinds if each in MISSING), None)
    if missing is not None:
        raise Refused(
            f"--entity-type {missing}: Ottla's kafka-configs has topics, brokers and groups, not {MISSING[missing]}"
        )
    names = _names(options)
    if kind == "brokers":
        for name in filter(None, names):
            try:
                integer(name)
            except ValueError as error:
                raise Refused(
                    f"The entity name for brokers must be a valid integer broker id, but it is: {name}"
                ) from error
    if options.has("describe") and kind == "topics" and options.has("entity-default"):
        raise Refused("--entity-default must not be specified with --describe of topics")
    if options.has("alter"):
        _check_alter(options, kind, names)
    return kind, names[0] if names else None


def _entity_type(options: Options, kinds: list[str]) -> str:
    twice = [kind for kind in kinds if kinds.count(kind) > 1]
    if twice:
        raise Refused(f"Duplicate entity type(s) specified: {twice[0]}")
    for kind in kinds:
        if kind not in TYPES:
            raise Refused(
                f"Invalid entity type {kind}, the entity type must be one of {', '.join(TYPES)} with a "
                "--bootstrap-server or --bootstrap-controller argument"
            )
    if not kinds:
        raise Refused("At least one entity type must be specified")
    if len(kinds) > 1 and set(kinds) != {"users", "clients"}:
        raise Refused("Only 'users' and 'clients' entity types may be specified together")
    named = any(options.has(flag) for flag in (*FLAGS, *DEFAULT_FLAGS))
    if named and any(options.has(flag) for flag in ("entity-name", "entity-type", "entity-default")):
        raise Refused("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
    return kinds[0]


def _names(options: Options) -> list[str]:
    names: list[str] = options.values("entity-name")
    if options.has("entity-default"):
        names.append("")
    names += [options.value(flag) for flag in FLAGS if options.has(flag)]
    return names + ["" for flag in DEFAULT_FLAGS if options.has(flag)]


def _check_alter(options: Options, kind: str, names: list[str]) -> None:
    if kind == "brokers" and not names:
        raise Refused(
            "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips"
        )
    if kind in ("topics", "groups") and not any(names):
        raise Refused(f"An entity name must be specified with --alter of {kind}")
    if options.has("add-config") and options.has("add-config-file"):
        raise Refused("Only one of --add-config or --add-config-file must be specified")
    if not any(options.has(name) for name in ("add-config", "add-config-file", "delete-config")):
        raise Refused(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"
        )
    if len(names) != 1:
        raise Refused("An entity name must be specified for every entity type")


def _act(options: Options, kind: str, name: str | None) -> None:
    server = options.value("bootstrap-server") or options.value("bootstrap-controller")
    with admin(server, command_config(options), client_id="kafka-configs") as client:
        if options.has("alter"):
            assert name is not None
            _alter(client, options, kind, name)
        else:
            _describe(client, kind, name, everything=options.has("all"))


def _alter(client: Admin, options: Options, kind: str, name: str) -> None:
    from ottla.admin import ConfigChange, ConfigOperation, required

    changes = [ConfigChange(key, value) for key, value in _added(options).items()]
    deleted = [key.strip() for key in options.values("delete-config")]
    changes += [ConfigChange(key, None, ConfigOperation.DELETE) for key in deleted]
    resource = _resource(kind, name)
    required(client.alter_configs({resource: changes})[resource])
    if name:
        say(f"Completed updating config for {kind[:-1]} {name}.")
    else:
        say(f"Completed updating default config for {kind} in the cluster.")


def _added(options: Options) -> dict[str, str]:
    found = properties_of(options.value("add-config-file")) if options.has("add-config-file") else {}
    if options.has("add-config"):
        # Commas and equals signs in brackets belong to a value.
        outside = r"(?=[^\]]*(?:\[|$))"
        pairs = [re.split(rf"\s*=\s*{outside}", part) for part in re.split(f",{outside}", options.value("add-config"))]
        if any(len(pair) != 2 for pair in pairs):
            raise Refused(
                'requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or '
                ' "key=[val1,val2]" to group values which contain commas.'
            )
        found |= {key.strip(): re.sub(r"[\[\]]", "", value).strip() for key, value in pairs}
    for key in found:
        if not re.fullmatch(r"[$a-zA-Z0-9._-]*", key):
            raise Refused(f"Invalid character found for config key: {key}")
    return found


def _resource(kind: str, name: str) -> Resource:
    from ottla.admin import Resource, ResourceType

    types = {"topics": ResourceType.TOPIC, "brokers": ResourceType.BROKER, "groups": ResourceType.GROUP}
    return Resource(types[kind], name)


def _describe(client: Admin, kind: str, name: str | None, *, everything: bool) -> None:
    from ottla.admin import required

    if kind == "topics" and name is not None:
        _must_be_a_name(name)
    there = _entities(client, kind)
    if name and name not in there:
        say(f"The {kind[:-1]} '{name}' doesn't exist and doesn't have dynamic config.")
        return
    for entity in there if name is None else [name]:
        resource = _resource(kind, entity)
        try:
            entries = required(client.describe_configs([resource])[resource])
        except RequestError as error:
            if entity or error.code not in (ErrorCode.INVALID_REQUEST, ErrorCode.UNSUPPORTED_VERSION):
                raise
            # A broker that keeps no default for all of them.
            entries = ()
        if entity:
            say(f"{'All' if everything else 'Dynamic'} configs for {kind[:-1]} {entity} are:")
        else:
            say(f"Default configs for {kind} in the cluster are:")
        for entry in entries:
            if everything or _is_dynamic(entry, kind, entity):
                say(_line(entry))


def _entities(client: Admin, kind: str) -> list[str]:
    if kind == "topics":
        return [topic.name for topic in client.list_topics()]
    if kind == "groups":
        from ottla.admin import ResourceType

        # A group may set something before anybody is in it.
        configured = client.list_config_resources([ResourceType.GROUP])
        return sorted({group.group_id for group in client.list_groups()} | {each.name for each in configured})
    return [*(str(broker.broker_id) for broker in client.describe_cluster().brokers), ""]


def _is_dynamic(entry: ConfigEntry, kind: str, entity: str) -> bool:
    from ottla.admin import ConfigSource

    if kind == "topics":
        return entry.source is ConfigSource.DYNAMIC_TOPIC_CONFIG
    if kind == "groups":
        return entry.source is ConfigSource.DYNAMIC_GROUP_CONFIG
    wanted = ConfigSource.DYNAMIC_BROKER_CONFIG if entity else ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG
    return entry.source is wanted


def _line(entry: ConfigEntry) -> str:
    synonyms = ", ".join(f"{each.source.name}:{each.name}={_text(each.value)}" for each in entry.synonyms)
    sensitive = str(entry.sensitive).lower()
    return f"  {entry.name}={_text(entry.value)} sensitive={sensitive} synonyms={{{synonyms}}}"


def _text(value: str | None) -> str:
    return "null" if value is None else value


def _must_be_a_name(name: str) -> None:
    why = None
    if not name:
        why = "the empty string is not allowed"
    elif name in (".", ".."):
        why = "'.' or '..' is not allowed"
    elif len(name) > NAME_LENGTH_MAX:
        why = f"the length of '{name}' is longer than the max allowed length {NAME_LENGTH_MAX}"
    elif not re.fullmatch(r"[a-zA-Z0-9._-]+", name):
        why = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    if why is not None:
        raise Refused(f"Topic name is invalid: {why}")
