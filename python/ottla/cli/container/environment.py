"""From a container's environment to a broker's settings. Pure: files and mounts are looked at by `run`.

What is the same in all the known images holds here too: a variable counts over a mounted server.properties;
KAFKA_ADVERTISED_LISTENERS alone gives the listeners (its ports, on every address). An empty variable is one that was
not set, which is what compose files with `${NAME}` mean by it.

Everything that contradicts itself or cannot be read is raised at once, as `ConfigError`; what has no effect is said in
one line for each reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ottla.cli.container import names
from ottla.config import Given
from ottla.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_HOST_OF_ENDPOINT = re.compile(r"://(\[[^\]]*\]|[^:,]*):")
_ANY_HOST_OF_ENDPOINT = re.compile(r"://(0\.0\.0\.0)?:")
_LISTENERS_DEFAULT = "PLAINTEXT://:9092"
_ADVERTISED_DEFAULT = "PLAINTEXT://localhost:9092"
_PORT_DEFAULT = "9092"

# log4j's levels -> ours.
_LOG_LEVELS = {
    "ALL": "debug",
    "TRACE": "debug",
    "DEBUG": "debug",
    "INFO": "info",
    "WARN": "warning",
    "WARNING": "warning",
    "ERROR": "error",
    "FATAL": "error",
    "OFF": "error",
}


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """One entry of KAFKA_CREATE_TOPICS."""

    name: str
    partitions: int
    replication_factor: int
    cleanup_policy: str | None = None


@dataclass(frozen=True, slots=True)
class ClusterId:
    """The cluster id that was asked for."""

    value: str
    variable: str

    @property
    def yields(self) -> bool:
        """Whether the id of an existing data directory counts instead, as in bitnami/kafka; in the others it is an
        error.
        """
        return self.variable != "CLUSTER_ID"


@dataclass(slots=True)
class Plan:
    """What a container's environment asks for."""

    # In the order in which they count, the last one most.
    given: list[Given] = field(default_factory=list)
    cluster_id: ClusterId | None = None
    topics: list[WantedTopic] = field(default_factory=list)
    log_level: str = "info"
    # One sentence each, to be logged at the start.
    notes: list[str] = field(default_factory=list)

    def value(self, name: str) -> str | None:
        """Give the text of a setting, as it counts."""
        return next((entry.text for entry in reversed(self.given) if entry.name == name), None)


def assignments(words: Iterable[str]) -> dict[str, str]:
    """Read arguments of the form VARIABLE=value, which the images' run scripts put over the environment."""
    found = {}
    problems = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            problems.append(f"{word}: write VARIABLE=value")
        found[name] = value
    if problems:
        raise ConfigError(problems)
    return found


def with_files(environment: Mapping[str, str], read: Callable[[str], str]) -> dict[str, str]:
    """Put the content of a file where KAFKA_CFG_X_FILE or a cluster id's _FILE names one, as bitnami/kafka does."""
    found = dict(environment)
    for name, path in environment.items():
        plain = name.removesuffix("_FILE")
        if plain != name and (plain.startswith("KAFKA_CFG_") or plain in names.CLUSTER_ID_VARIABLES) and path.strip():
            try:
                found[plain] = read(path.strip()).strip()
            except OSError as error:
                raise ConfigError([f"{name}={path}: {error.strerror}"]) from error
            del found[name]
    return found


def plan(environment: Mapping[str, str], file: Iterable[Given] = ()) -> Plan:
    """Make settings of an environment, over those of a mounted file. Raises `ConfigError` with all problems."""
    variables = {
        name: value.strip()
        for name, value in sorted(environment.items())
        if names.is_for_us(name) and value.strip() and not names.is_about_a_service(name, value.strip())
    }
    found = Plan(given=list(file))
    problems: list[str] = []
    in_file = bool(found.given)
    from_bitnami = any(name.startswith("KAFKA_CFG_") for name in variables)
    _special(variables, found, problems)
    old = {name: variables.pop(name) for name in names.HOST_AND_PORT & variables.keys()}
    bind = variables.pop(names.BIND_VARIABLE, None)
    _settings(variables, found, problems)
    _host_and_port(old, found)
    _listeners(found, from_bitnami=from_bitnami, in_file=in_file)
    if bind is not None:
        _bind(found, f"[{bind}]" if ":" in bind and not bind.startswith("[") else bind)
    if problems:
        raise ConfigError(problems)
    return found


def _special(variables: dict[str, str], found: Plan, problems: list[str]) -> None:
    """Take out everything that is no setting."""

    def take(those: frozenset[str]) -> list[str]:
        return [name for name in sorted(those & variables.keys()) if variables.pop(name)]

    take(names.OF_AN_IMAGE)
    if for_jvm := take(names.FOR_THE_JVM):
        found.notes.append(f"{', '.join(for_jvm)}: no effect, Ottla does not run on a JVM")
    if for_security := take(names.FOR_SECURITY):
        found.notes.append(f"{', '.join(for_security)}: no effect, no listener speaks TLS or SASL in this version")
    if rest := take(frozenset(name for name in variables if name.startswith("KAFKA_REST_"))):
        found.notes.append(f"{', '.join(rest)}: no effect, there is no REST proxy in this image")
    problems.extend(
        f"{name}: commands are not run here; write what it would print into the variable that uses it"
        for name in take(names.COMMANDS)
    )

    # The first of the two counts.
    for name in reversed(names.LOG_LEVEL_VARIABLES):
        text = variables.pop(name, None)
        if text is not None and text.upper() in _LOG_LEVELS:
            found.log_level = _LOG_LEVELS[text.upper()]
        elif text is not None:
            problems.append(f"{name}={text}: allowed are {', '.join(_LOG_LEVELS)}")

    ids = [ClusterId(variables.pop(name), name) for name in names.CLUSTER_ID_VARIABLES if name in variables]
    if len({cluster.value for cluster in ids}) > 1:
        said = " and ".join(f"{cluster.variable}={cluster.value}" for cluster in ids)
        problems.append(f"{said} name the same thing and must be equal")
    found.cluster_id = ids[0] if ids else None

    separator = variables.pop(names.SEPARATOR_VARIABLE, ",")
    for entry in filter(None, re.split(f"[{re.escape(separator)}\n]", variables.pop(names.CREATE_TOPICS_VARIABLE, ""))):
        topic = _topic(entry.strip())
        if isinstance(topic, str):
            problems.append(topic)
        elif topic is not None:
            found.topics.append(topic)


def _topic(entry: str) -> WantedTopic | str | None:
    """Read name:partitions:replicas[:cleanup.policy]; what is wrong comes back as a sentence."""
    if not entry:
        return None
    name, *words = (word.strip() for word in entry.split(":"))
    if not name or len(words) > 3 or any(re.fullmatch(r"[1-9]\d{0,8}", number) is None for number in words[:2]):
        return (
            f"KAFKA_CREATE_TOPICS: {entry} is not name:partitions:replicas or name:partitions:replicas:cleanup.policy"
        )
    numbers = [int(word) for word in words[:2]] + [-1, -1]
    return WantedTopic(name, numbers[0], numbers[1], words[2] if len(words) == 3 and words[2] else None)


def _settings(variables: Mapping[str, str], found: Plan, problems: list[str]) -> None:
    """Everything that is left is a setting; what the table does not know is said when the settings are checked."""
    origins: dict[str, Given] = {}
    for variable, value in variables.items():
        name = names.setting_name(variable)
        if name is None:
            continue
        entry = Given(name, value, variable)
        earlier = origins.setdefault(name, entry)
        if earlier.text != value:
            problems.append(f"{earlier.origin}={earlier.text} and {variable}={value} set {name} differently; keep one")
    found.given += origins.values()


def _host_and_port(old: Mapping[str, str], found: Plan) -> None:
    """KAFKA_HOST_NAME, KAFKA_PORT and KAFKA_ADVERTISED_*: one plain listener, where no listeners are given."""
    if not old:
        return
    if found.value("listeners") is not None or found.value("advertised.listeners") is not None:
        found.notes.append(f"{', '.join(sorted(old))}: no effect, listeners and advertised.listeners count over them")
        return
    host = old.get("KAFKA_HOST_NAME") or old.get("KAFKA_HOST") or ""
    told = old.get("KAFKA_ADVERTISED_HOST_NAME") or old.get("KAFKA_ADVERTISED_HOST") or ""
    port = old.get("KAFKA_PORT", _PORT_DEFAULT)
    origin = ", ".join(sorted(old))
    found.given.append(Given("listeners", f"PLAINTEXT://{host}:{port}", origin))
    advertised = f"PLAINTEXT://{told or host}:{old.get('KAFKA_ADVERTISED_PORT', port)}"
    found.given.append(Given("advertised.listeners", advertised, origin))


def _listeners(found: Plan, *, from_bitnami: bool, in_file: bool) -> None:
    """Fill in what the images fill in."""
    listeners, advertised = found.value("listeners"), found.value("advertised.listeners")
    if listeners is None:
        origin = next((entry.origin for entry in reversed(found.given) if entry.name == "advertised.listeners"), "")
        # bitnami/kafka derives nothing: a lone plain listener stays on the port it always has.
        lone = origin.startswith("KAFKA_CFG_") and re.fullmatch(r"PLAINTEXT://[^,]*", str(advertised).strip())
        if advertised is None or lone or not origin.startswith("KAFKA_"):
            found.given.append(Given("listeners", _LISTENERS_DEFAULT, "default of the container"))
        else:
            found.given.append(Given("listeners", _HOST_OF_ENDPOINT.sub("://0.0.0.0:", advertised), f"from {origin}"))
    if listeners is None and advertised is None and not from_bitnami and not in_file:
        # apache/kafka's default; bitnami/kafka and Kafka itself tell the machine's name.
        found.given.append(Given("advertised.listeners", _ADVERTISED_DEFAULT, "default of the container"))
        found.notes.append(
            "clients are told localhost:9092: set KAFKA_ADVERTISED_LISTENERS for clients in other containers or on "
            "other machines"
        )


def _bind(found: Plan, address: str) -> None:
    """Open what would be opened on every address on this one."""
    listeners = found.value("listeners") or _LISTENERS_DEFAULT
    found.given.append(Given("listeners", _ANY_HOST_OF_ENDPOINT.sub(f"://{address}:", listeners), names.BIND_VARIABLE))
