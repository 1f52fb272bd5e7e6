"""What a consumer group may set for itself (KIP-1005), over what the broker gives all groups.

A value must lie between the broker's bounds when it is set. Should these become narrower later, the value that counts
is the nearest one inside.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ottla.config.broker_settings import BROKER_SETTINGS
from ottla.config.setting import InvalidValue, Kind, Setting, Synonym, table
from ottla.config.topic_config import Described, Source
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ottla.config.broker_config import BrokerConfig

_PREFIX: Final = "group."
# In the name of the broker's setting, where it stands before its lower and upper bound.
_BOUNDED: Final = "group.consumer."


def _setting(name: str, doc: str) -> Setting:
    broker = BROKER_SETTINGS[_PREFIX + name]
    return Setting(
        name=name,
        kind=Kind.INT,
        default=broker.default,
        doc=doc,
        scope="group",
        low=broker.low,
        synonyms=(Synonym(broker.name),),
    )


GROUP_CONFIGS: Final[Mapping[str, Setting]] = table(
    _setting("consumer.session.timeout.ms", "How long a member of this group may be silent before it is fenced."),
    _setting("consumer.heartbeat.interval.ms", "How often members of this group are asked to send a heartbeat."),
    _setting(
        "consumer.assignment.interval.ms",
        "How long this group keeps its target assignment before the next one may be computed; 0: no time.",
    ),
)


def validate(overrides: Mapping[str, str | None], broker: BrokerConfig) -> None:
    """Check what a group is to set. Raises `RequestError` (INVALID_CONFIG)."""
    values: dict[str, int] = {}
    for name, text in overrides.items():
        if name not in GROUP_CONFIGS:
            raise _invalid(f"Unknown group config name: {name}")
        if text is None:
            raise _invalid(f"Null value not supported for group configs: {name}")
        try:
            value = GROUP_CONFIGS[name].parse(text)
        except InvalidValue as error:
            raise _invalid(f"Invalid value {error.shown} for configuration {name}: {error.reason}") from error
        assert isinstance(value, int)
        values[name] = value
        what = name.removeprefix("consumer.")
        low, high = f"{_BOUNDED}min.{what}", f"{_BOUNDED}max.{what}"
        if value < broker.integer(low):
            raise _invalid(f"{name} must be greater than or equal to {low}")
        if value > broker.integer(high):
            raise _invalid(f"{name} must be less than or equal to {high}")

    def chosen(name: str) -> int:
        return values.get(name, broker.integer(_PREFIX + name))

    session, heartbeat = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"
    if chosen(session) <= chosen(heartbeat):
        raise _invalid(f"{session} must be greater than {heartbeat}")


def describe(overrides: Mapping[str, str], broker: BrokerConfig) -> list[Described]:
    """Give every setting of a group with its sources, in the order of their names."""
    found = []
    for name, setting in GROUP_CONFIGS.items():
        theirs = BROKER_SETTINGS[_PREFIX + name]
        synonyms: list[tuple[str, str | None, Source]] = []
        if name in overrides:
            with suppress(InvalidValue):
                synonyms.append((name, setting.text(setting.parse(overrides[name])), Source.GROUP))
        if theirs.name in broker.given:
            synonyms.append((theirs.name, theirs.text(broker.values[theirs.name]), Source.STATIC_BROKER))
        synonyms.append((theirs.name, theirs.text(theirs.default), Source.DEFAULT))
        _, value, source = synonyms[0]
        found.append(Described(setting, value, source, tuple(synonyms), read_only=False))
    return found


def _invalid(message: str) -> RequestError:
    return RequestError(ErrorCode.INVALID_CONFIG, message)
