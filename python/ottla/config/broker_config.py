"""The broker's configuration: where each value comes from, and everything wrong with it at once.

Sources, weakest first: the defaults of the table, the file (server.properties), what the program or the command line
sets. `load` collects every problem before it raises, so that one look is enough to repair a file; what is merely
unknown or without effect comes back as warnings with the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from ottla.config import properties
from ottla.config.broker_settings import BROKER_SETTINGS
from ottla.config.inert import OPEN_AUTHORIZERS, reason_without_effect, refusal
from ottla.config.listeners import (
    Endpoint,
    parse_counts_by_host,
    parse_endpoints,
    parse_host_port,
    parse_protocol_map,
    problems_of_advertised,
    problems_of_listeners,
)
from ottla.config.setting import InvalidValue, SettingValue
from ottla.config.topic_settings import TOPIC_SETTINGS
from ottla.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# Bounds the data plane keeps (`rust/server/src/limits.rs`).
_LIMITS = (
    "socket.request.max.bytes",
    "ottla.control.frame.bytes.max",
    "queued.max.requests",
    "queued.max.request.bytes",
    "ottla.unsent.bytes.max",
    "connections.max.idle.ms",
    "max.connections",
    "max.connections.per.ip",
    "max.connection.creation.rate",
    "quota.window.num",
    "quota.window.size.seconds",
    "socket.listen.backlog.size",
    "socket.send.buffer.bytes",
    "socket.receive.buffer.bytes",
    "fetch.max.bytes",
    "max.incremental.fetch.session.cache.slots",
    "max.request.partition.size.limit",
    "auto.create.topics.enable",
)


class Given(Struct, frozen=True):
    """A setting as somebody wrote it."""

    name: str
    text: str
    # "line 12 of server.properties", "--set", "Broker(config=...)": completes "num.partitions=0 (...)".
    origin: str


class BrokerConfig(Struct, frozen=True):
    """Checked settings of one broker, as they were at its start; `dynamic.py` has what is altered while it runs."""

    # Every setting of the table; what nobody set has its default.
    values: Mapping[str, SettingValue]
    # Names somebody set, with the text as written: DescribeConfigs tells them from defaults.
    given: Mapping[str, Given]
    listeners: tuple[Endpoint, ...]
    advertised: tuple[Endpoint, ...]
    # What is worth saying at a start and stops nothing: one sentence each.
    warnings: tuple[str, ...] = ()
    # Defaults of topic settings after the synonyms of this broker are applied.
    topic_defaults: Mapping[str, SettingValue] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def integer(self, name: str) -> int:
        """Give a setting that is a whole number."""
        value = self.values[name]
        assert isinstance(value, int)
        return value

    @property
    def node_id(self) -> int:
        """Number of this node: node.id, or broker.id where only that is set."""
        if "node.id" not in self.given and self.integer("broker.id") >= 0:
            return self.integer("broker.id")
        return self.integer("node.id")

    @property
    def data_dirs(self) -> list[str]:
        """Directories of log.dirs, or else log.dir."""
        return list(self.values["log.dirs"] or self.values["log.dir"] or [])  # type: ignore[arg-type]

    @property
    def limits(self) -> dict[str, int]:
        """Give what bounds the data plane, by name."""
        return {name: int(self.values[name]) for name in _LIMITS}  # type: ignore[arg-type]  # numbers and a boolean

    @property
    def connections_of_hosts(self) -> dict[str, int]:
        """Give how many connections single hosts may have."""
        return parse_counts_by_host(str(self.values["max.connections.per.ip.overrides"]))


def given_in_file(content: bytes, file_name: str) -> list[Given]:
    """Read a file in Java's properties syntax. Raises `ConfigError`."""
    try:
        entries = properties.parse(properties.decode(content))
    except properties.PropertiesError as error:
        raise ConfigError([f"{file_name}, line {error.line}: {error.reason}"]) from error
    return [Given(entry.name, entry.value, f"line {entry.line} of {file_name}") for entry in entries]


def shortcuts(
    given: Iterable[Given], *, data_dir: str | None, listen: str | None, advertise: str | None, listen_default: str
) -> list[Given]:
    """Give the settings that the plain arguments of a broker stand for; they count over `given`.

    Raises `ConfigError` if one of them is not what it should be.
    """
    texts = {entry.name: entry.text for entry in given}
    found: list[Given] = []
    problems: list[str] = []
    if data_dir is not None:
        if "," in data_dir:
            problems.append(f"{data_dir}: a data directory has no comma in its name")
        found.append(Given("log.dirs", data_dir, "data directory"))
    name = "PLAINTEXT"
    if listen is None and "listeners" in texts:
        name = texts["listeners"].partition("://")[0].strip() or name
    else:
        listen = listen or listen_default
    for setting, text, origin in (("listeners", listen, "listen"), ("advertised.listeners", advertise, "advertise")):
        if text is not None:
            try:
                found.append(Given(setting, str(Endpoint(name, *parse_host_port(text))), origin))
            except ValueError as error:
                problems.append(f"{origin}: {error}")
    if problems:
        raise ConfigError(problems)
    return found


def load(given: Iterable[Given] = ()) -> BrokerConfig:
    """Check everything that was given, later ones before earlier ones. Raises `ConfigError` with all problems."""
    problems: list[str] = []
    warnings: list[str] = []
    last: dict[str, Given] = {}
    for entry in given:
        if (
            entry.name in last
            and last[entry.name].origin.partition(" of ")[2] == entry.origin.partition(" of ")[2] != ""
        ):
            warnings.append(f"{entry.name} is set twice: {entry.origin} counts, {last[entry.name].origin} does not")
        last[entry.name] = entry

    values: dict[str, SettingValue] = {name: setting.default for name, setting in BROKER_SETTINGS.items()}
    known: dict[str, Given] = {}
    for entry in last.values():
        setting = BROKER_SETTINGS.get(entry.name)
        if setting is None:
            _judge_foreign(entry, last, problems, warnings)
            continue
        known[entry.name] = entry
        try:
            values[entry.name] = setting.parse(entry.text)
        except InvalidValue as error:
            allowed = f" (allowed: {setting.allowed})"
            problems.append(f"{entry.name}={entry.text} ({entry.origin}): {_sentence(error.reason)}{allowed}")
        else:
            ignored = setting.ignored(values[entry.name])
            if ignored is not None:
                warnings.append(f"{entry.name}={entry.text} ({entry.origin}) has no effect: {ignored}")

    listeners, advertised = _listeners(values, known, problems)
    if not problems:
        problems.extend(_contradictions(values, last))
    if problems:
        raise ConfigError(problems)
    config = BrokerConfig(values, known, tuple(listeners), tuple(advertised), tuple(warnings))
    defaults = {name: topic_default(config, name) for name in TOPIC_SETTINGS}
    return BrokerConfig(values, known, tuple(listeners), tuple(advertised), tuple(warnings), defaults)


def topic_default(config: BrokerConfig, name: str) -> SettingValue:
    """Give what a topic has that sets nothing: the strongest synonym somebody set, in the topic setting's unit."""
    setting = TOPIC_SETTINGS[name]
    for synonym in setting.synonyms:
        value = config.values[synonym.name]
        if value is None or (synonym.name not in config.given and synonym is not setting.synonyms[-1]):
            continue
        if synonym.factor == 1:
            return value
        assert isinstance(value, int)
        return value if value < 0 else value * synonym.factor
    return setting.default


def _judge_foreign(entry: Given, given: Mapping[str, Given], problems: list[str], warnings: list[str]) -> None:
    """A name that is not in the table: harmful, without effect, or unknown."""
    refused = refusal(entry.name, entry.text)
    reason = reason_without_effect(entry.name)
    everyone = given.get("allow.everyone.if.no.acl.found")
    if (
        entry.name == "authorizer.class.name"
        and entry.text.strip() in OPEN_AUTHORIZERS
        and everyone is not None
        and everyone.text.strip().lower() == "true"
    ):
        # Without a single ACL, and none can be made here, this authorizer lets everybody do everything.
        warnings.append(
            f"{entry.name} ({entry.origin}) has no effect: no ACL can be created in this version, and "
            "allow.everyone.if.no.acl.found=true lets everybody in while there is none"
        )
    elif refused is not None:
        problems.append(f"{entry.name}={entry.text} ({entry.origin}): {refused}")
    elif reason is not None:
        warnings.append(f"{entry.name} ({entry.origin}) has no effect: {reason}")
    else:
        hint = ""
        if entry.name in TOPIC_SETTINGS and TOPIC_SETTINGS[entry.name].synonyms:
            hint = f"; it is a topic's setting, whose default is {TOPIC_SETTINGS[entry.name].synonyms[0].name}"
        warnings.append(f"{entry.name} ({entry.origin}) is not known and has no effect{hint}")


def _listeners(
    values: dict[str, SettingValue], given: dict[str, Given], problems: list[str]
) -> tuple[list[Endpoint], list[Endpoint]]:
    def read(name: str) -> list[Endpoint]:
        try:
            return parse_endpoints(values[name] or [])  # type: ignore[arg-type]
        except ValueError as error:
            problems.append(f"{name} ({given[name].origin}): {error}")
            return []

    controllers = {name.upper() for name in values["controller.listener.names"] or []}  # type: ignore[union-attr]
    listeners = [endpoint for endpoint in read("listeners") if endpoint.name not in controllers]
    advertised = [endpoint for endpoint in read("advertised.listeners") if endpoint.name not in controllers]
    try:
        protocols = parse_protocol_map(str(values["listener.security.protocol.map"]))
    except ValueError as error:
        problems.append(f"listener.security.protocol.map ({given['listener.security.protocol.map'].origin}): {error}")
        return listeners, advertised
    if not listeners and not problems:
        problems.append("listeners: none is left for clients, all belong to the controller")
    problems.extend(problems_of_listeners(listeners, protocols))
    problems.extend(problems_of_advertised(advertised, listeners))
    inter_broker = values["inter.broker.listener.name"]
    names = [listener.name for listener in listeners]
    if inter_broker is not None and names and str(inter_broker).upper() not in names:
        problems.append(f"inter.broker.listener.name={inter_broker}: allowed are the listeners {', '.join(names)}")
    return listeners, advertised


def _contradictions(values: dict[str, SettingValue], given: dict[str, Given]) -> list[str]:
    """Values that are fine alone and not together, as Kafka checks them."""
    found: list[str] = []

    def at_most(low: str, high: str) -> None:
        if values[low] is not None and values[high] is not None and values[low] > values[high]:  # type: ignore[operator]
            found.append(f"{low}={values[low]} must not be more than {high}={values[high]}")

    try:
        of_hosts = parse_counts_by_host(str(values["max.connections.per.ip.overrides"]))
    except ValueError as error:
        found.append(f"max.connections.per.ip.overrides: {error}")
    else:
        if values["max.connections.per.ip"] == 0 and not of_hosts:
            found.append("max.connections.per.ip=0 lets nobody in: it needs max.connections.per.ip.overrides")
    at_most("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms")
    at_most("group.min.session.timeout.ms", "group.max.session.timeout.ms")
    for what in ("session.timeout.ms", "heartbeat.interval.ms", "assignment.interval.ms"):
        at_most(f"group.consumer.min.{what}", f"group.consumer.max.{what}")
        at_most(f"group.consumer.min.{what}", f"group.consumer.{what}")
        at_most(f"group.consumer.{what}", f"group.consumer.max.{what}")
    heartbeat, session = "group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"
    if values[heartbeat] >= values[session]:  # type: ignore[operator]
        found.append(f"{heartbeat}={values[heartbeat]} must be less than {session}={values[session]}")
    roles = values["process.roles"] or []
    if "broker" not in roles:  # type: ignore[operator]
        found.append("process.roles: a controller without a broker is not served in this version; add broker")
    # Nodes that look for each other here would each be a cluster of its own, and nobody would notice.
    quorum = given.get("controller.quorum.bootstrap.servers")
    if quorum is not None and ("," in quorum.text.strip(" ,") or (quorum.text.strip() and "controller" not in roles)):  # type: ignore[operator]
        found.append(
            f"controller.quorum.bootstrap.servers={quorum.text}: this version runs a single node, which is its own "
            "controller; name one server at most, and both roles in process.roles"
        )
    node_id, broker_id = values["node.id"], values["broker.id"]
    if "node.id" in given and broker_id not in (-1, node_id):
        found.append(f"node.id={node_id} and broker.id={broker_id} name the same thing and must be equal")
    elif broker_id != -1:
        node_id = broker_id
    voters = [str(voter) for voter in values["controller.quorum.voters"] or []]  # type: ignore[union-attr]
    if voters and [voter.partition("@")[0] for voter in voters] != [str(node_id)]:
        found.append(
            f"controller.quorum.voters={','.join(voters)}: this version runs a single node, so the only voter may be "
            f"{node_id}@host:port"
        )
    return found


def _sentence(reason: str) -> str:
    return reason[:1].lower() + reason[1:]
