"""Settings of a broker that may be altered while it runs (KIP-226): of one, and of all that have none of their own.

They are kept in the metadata log and count over the broker's file. So far they are the bounds on connections; what
Kafka can alter besides is refused, and ignored where Kafka has set it in a directory that is opened here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from ottla.config.broker_settings import BROKER_SETTINGS
from ottla.config.listeners import parse_counts_by_host
from ottla.config.setting import InvalidValue
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ottla.config.broker_config import BrokerConfig
    from ottla.config.setting import SettingValue

OVERRIDES = "max.connections.per.ip.overrides"
# Zero lets nobody in, nor anybody who could take it back.
_POSITIVE = ("max.connections", "max.connection.creation.rate")


class Dynamic(Struct, frozen=True):
    """What was altered, as it was given: of this broker, and of all brokers."""

    of_broker: Mapping[str, str] = field(default_factory=dict)
    of_all: Mapping[str, str] = field(default_factory=dict)


def is_dynamic(name: str) -> bool:
    """Whether a setting can be altered while the broker runs."""
    return name in BROKER_SETTINGS and not BROKER_SETTINGS[name].restart


def read(name: str, text: str) -> SettingValue:
    """Give the value; raises `InvalidValue`."""
    value = BROKER_SETTINGS[name].parse(text)
    if name in _POSITIVE and value == 0:
        raise InvalidValue(text, "Value must be at least 1")
    if name == OVERRIDES:
        try:
            parse_counts_by_host(text)
        except ValueError as error:
            raise InvalidValue(text, str(error)) from error
    return value


def validate(name: str, text: str | None) -> None:
    """Check one setting that is to be altered. Raises `RequestError`, as Kafka for all of these (INVALID_REQUEST)."""
    if not is_dynamic(name):
        raise _invalid(
            f"Cannot update these configs dynamically: [{name}]; put it into the broker's file, and restart it"
        )
    if text is None:
        raise _invalid(f"Null value not supported for : {name}")
    try:
        read(name, text)
    except InvalidValue as error:
        raise _invalid(f"Invalid value {error.shown} for configuration {name}: {error.reason}") from error


def validate_together(config: BrokerConfig, dynamic: Dynamic) -> None:
    """Check what would hold for what contradicts itself. Raises `RequestError`."""
    altered, _ = effective(config, dynamic)
    if altered["max.connections.per.ip"] == 0 and not altered.connections_of_hosts:
        raise _invalid(f"max.connections.per.ip can be set to zero only if {OVERRIDES} property is set.")


def effective(config: BrokerConfig, dynamic: Dynamic) -> tuple[BrokerConfig, list[str]]:
    """Give the configuration that holds, and a sentence for each altered setting that no longer can."""
    values = dict(config.values)
    unreadable = []
    for texts in (dynamic.of_all, dynamic.of_broker):
        for name, text in texts.items():
            if is_dynamic(name):
                try:
                    values[name] = read(name, text)
                except InvalidValue as error:
                    unreadable.append(f"{name}={text!r} does not hold ({error.reason}); set it again or delete it")
    return replace(config, values=values), unreadable


def _invalid(message: str) -> RequestError:
    return RequestError(ErrorCode.INVALID_REQUEST, message)
