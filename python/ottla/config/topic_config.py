"""Configuration of one topic: what it sets itself over what the broker gives it.

`validate` refuses with the code and the words Kafka 4.3.1 answers, in Kafka's order: nulls, names, values one by one,
then what contradicts itself. Texts are kept as they were given (`" 10 "` stays), as
Kafka stores them, and read again whenever a value is needed.
"""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from ottla.config.broker_settings import BROKER_SETTINGS
from ottla.config.dynamic import Dynamic, is_dynamic, read
from ottla.config.setting import InvalidValue, Kind, Setting, SettingValue
from ottla.config.topic_settings import TOPIC_SETTINGS
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ottla.config.broker_config import BrokerConfig


class Source(IntEnum):
    """Where a value comes from; the numbers are those of DescribeConfigs."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    GROUP = 8


# A name, its value, and where that comes from.
_SynonymEntry = tuple[str, str | None, Source]


class Described(Struct, frozen=True):
    """A setting with its value and where it comes from; `synonyms` is every place that has one, strongest first."""

    setting: Setting
    value: str | None
    source: Source
    synonyms: tuple[_SynonymEntry, ...]
    read_only: bool

    @property
    def sensitive(self) -> bool:
        """Whether the value must not be shown."""
        return self.setting.kind is Kind.PASSWORD


def validate(overrides: Mapping[str, str | None], defaults: Mapping[str, SettingValue]) -> None:
    """Check what a topic is to set. Raises `RequestError` (INVALID_CONFIG)."""
    null_names = [name for name, text in overrides.items() if text is None]
    if null_names:
        raise _invalid(f"Null value not supported for topic configs: {','.join(null_names)}")
    for name in overrides:
        if name not in TOPIC_SETTINGS:
            raise _invalid(f"Unknown topic config name: {name}")
    values = dict(defaults)
    for name, text in overrides.items():
        assert text is not None, "nulls were refused above"
        try:
            values[name] = TOPIC_SETTINGS[name].parse(text)
        except InvalidValue as error:
            words = error.reason
            if not words.startswith("Configuration '"):
                words = f"Invalid value {error.shown} for configuration {name}: {words}"
            raise _invalid(words) from error
    earliest, latest = values["min.compaction.lag.ms"], values["max.compaction.lag.ms"]
    assert isinstance(earliest, int)
    assert isinstance(latest, int)
    if earliest > latest:
        raise _invalid(
            f"conflict topic config setting min.compaction.lag.ms ({earliest}) > max.compaction.lag.ms ({latest})"
        )
    if values["remote.storage.enable"]:
        raise _invalid(
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage."
        )


def without_effect(overrides: Mapping[str, str]) -> list[str]:
    """Give a sentence for each setting of a topic that was accepted and changes nothing in this version."""
    found = []
    for name, text in overrides.items():
        setting = TOPIC_SETTINGS.get(name)
        if setting is None:
            continue
        with suppress(InvalidValue):
            value = setting.parse(text)
            reason = setting.ignored(value)
            if reason is not None:
                found.append(f"{name}={setting.text(value)} has no effect: {reason}")
    return found


def unreadable(overrides: Mapping[str, str]) -> list[str]:
    """Give a sentence for each setting of a topic that no longer parses; see `effective`."""
    found = []
    for name, text in overrides.items():
        try:
            if name in TOPIC_SETTINGS:
                TOPIC_SETTINGS[name].parse(text)
        except InvalidValue as error:
            found.append(f"{name}={text!r} does not hold, the default does ({error.reason}); set it again or delete it")
    return found


def effective(overrides: Mapping[str, str], defaults: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    """Give every value that holds for a topic, by Kafka's topic names; what no longer parses gives way to the default.

    Overrides come from the metadata log: they were checked when they were set, but perhaps by a version with other
    bounds, and a topic must not become unusable for that.
    """
    values = dict(defaults)
    for name, text in overrides.items():
        setting = TOPIC_SETTINGS.get(name)
        if setting is None:
            continue
        try:
            values[name] = setting.parse(text)
        except InvalidValue:
            continue
    if values.get("internal.segment.bytes") is not None:
        values["segment.bytes"] = values["internal.segment.bytes"]
    return values


def describe(overrides: Mapping[str, str], broker: BrokerConfig) -> list[Described]:
    """Give every setting of a topic with its sources, in the order of their names."""
    found = []
    for name, setting in TOPIC_SETTINGS.items():
        if setting.hidden and name not in overrides:
            continue
        synonyms: list[_SynonymEntry] = []
        if name in overrides:
            # What no longer parses does not hold, so it is not shown as if it did.
            with suppress(InvalidValue):
                synonyms.append((name, setting.text(setting.parse(overrides[name])), Source.TOPIC))
        synonyms.extend(_broker_synonyms(setting, broker))
        if synonyms and synonyms[0][2] is Source.TOPIC:
            value, source = synonyms[0][1], Source.TOPIC
        else:
            value = setting.text(broker.topic_defaults[name])
            source = synonyms[0][2] if synonyms else Source.DEFAULT
        found.append(Described(setting, value, source, tuple(synonyms), read_only=False))
    return found


def describe_broker(broker: BrokerConfig, dynamic: Dynamic) -> list[Described]:
    """Give every setting of the broker with its sources."""
    chains = {
        synonym.name: [other.name for other in topic.synonyms]
        for topic in TOPIC_SETTINGS.values()
        for synonym in topic.synonyms
    }
    found = []
    for name, setting in BROKER_SETTINGS.items():
        if setting.hidden and name not in broker.given:
            continue
        synonyms = _from(name, _chain(chains.get(name, [name]), broker))
        value, source = setting.text(broker.values[name]), Source.DEFAULT
        if name in broker.given:
            source = Source.STATIC_BROKER
        altered = _altered(setting, dynamic)
        if altered:
            synonyms = altered + synonyms
            _, given, source = altered[0]
            value = setting.text(read(name, given or ""))
        found.append(Described(setting, value, source, tuple(synonyms), setting.restart))
    return found


def describe_all_brokers(dynamic: Dynamic) -> list[Described]:
    """Give what was altered for all brokers."""
    found: list[Described] = []
    for name in dynamic.of_all:
        if is_dynamic(name):
            setting = BROKER_SETTINGS[name]
            entries = _altered(setting, Dynamic(of_all=dynamic.of_all))
            found.extend(
                Described(setting, value, source, tuple(entries), read_only=False) for _, value, source in entries
            )
    return found


def _altered(setting: Setting, dynamic: Dynamic) -> list[_SynonymEntry]:
    """Give what was altered while the broker runs, as it was given, the strongest first.

    What does not parse does not hold.
    """
    found: list[_SynonymEntry] = []
    layers = ((dynamic.of_broker, Source.DYNAMIC_BROKER), (dynamic.of_all, Source.DYNAMIC_DEFAULT_BROKER))
    for texts, source in layers:
        if is_dynamic(setting.name) and setting.name in texts:
            text = texts[setting.name]
            with suppress(InvalidValue):
                read(setting.name, text)
                found.append((setting.name, text, source))
    return found


def _broker_synonyms(topic: Setting, broker: BrokerConfig) -> list[_SynonymEntry]:
    """Give the broker's settings a topic setting falls back to.

    Kafka looks for the strongest of them and shows nothing if that is not set, even where another is
    (log.roll.hours). We do the same while none is set, and show the one that counts otherwise.
    """
    names = [synonym.name for synonym in topic.synonyms]
    if not names:
        return []
    if any(name in broker.given for name in names):
        return _chain(names, broker)
    return _from(names[0], _chain(names, broker))


def _chain(names: list[str], broker: BrokerConfig) -> list[_SynonymEntry]:
    """Give what was set under any of the names, then what Kafka has as default for them."""
    settings = [BROKER_SETTINGS[name] for name in names]
    found = [
        (setting.name, setting.text(broker.values[setting.name]), Source.STATIC_BROKER)
        for setting in settings
        if setting.name in broker.given
    ]
    found.extend(
        (setting.name, setting.text(setting.default), Source.DEFAULT)
        for setting in settings
        if setting.default is not None and not (setting.own_default and setting.name in broker.given)
    )
    return found


def _from(name: str, chain: list[_SynonymEntry]) -> list[_SynonymEntry]:
    """Drop what stands before the first entry of this name, as Kafka does."""
    places = [place for place, entry in enumerate(chain) if entry[0] == name]
    return chain[places[0] :] if places else []


def _invalid(message: str) -> RequestError:
    return RequestError(ErrorCode.INVALID_CONFIG, message)
