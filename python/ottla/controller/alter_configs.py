"""Deciding on settings of topics, brokers and groups: one set, deleted, or a list changed (KIP-339)."""

from __future__ import annotations

import re
from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ottla.config import dynamic, group_config
from ottla.config.broker_settings import BROKER_SETTINGS
from ottla.config.group_config import GROUP_CONFIGS
from ottla.config.setting import Kind
from ottla.config.topic_config import validate
from ottla.config.topic_settings import TOPIC_SETTINGS
from ottla.controller.decision import Decision
from ottla.controller.image import BROKER_RESOURCE, TOPIC_RESOURCE
from ottla.controller.names import check_name
from ottla.errors import ErrorCode, RequestError
from ottla.messages import ConfigRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.config.broker_config import BrokerConfig
    from ottla.config.setting import SettingValue
    from ottla.controller.image import MetadataImage


_INTEGER = re.compile(r"[-+]?[0-9]{1,10}")
# What a value in a metadata record may take. A request's strings are no longer; a list grows past it by being added to.
VALUE_BYTES_MAX = 2**15 - 1


class Operation(IntEnum):
    """What is done to a setting; the numbers are those of IncrementalAlterConfigs."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Alteration(Struct, frozen=True):
    """Operations on the settings of one topic, broker or group, as (setting, operation, text)."""

    name: str
    operations: tuple[tuple[str, Operation, str | None], ...]
    kind: int = TOPIC_RESOURCE
    # Whatever was set before goes (AlterConfigs).
    replaces_all: bool = False


class Altered(Struct, frozen=True):
    """What one item of the request is answered."""

    name: str
    code: ErrorCode = ErrorCode.NONE
    message: str | None = None


def alter_configs(
    image: MetadataImage,
    alterations: Sequence[Alteration],
    config: BrokerConfig,
    *,
    validate_only: bool = False,
) -> Decision[Altered]:
    """Decide on each resource, independent of the others; all operations of one are made or none."""
    results: list[Altered] = []
    records: list[Struct] = []
    for alteration in alterations:
        try:
            records.extend(_alter(image, alteration, config))
        except RequestError as error:
            results.append(Altered(alteration.name, error.code, error.message))
        else:
            results.append(Altered(alteration.name))
    return Decision(results, [] if validate_only else records)


def _alter(image: MetadataImage, alteration: Alteration, config: BrokerConfig) -> list[ConfigRecord]:
    is_topic, is_broker = alteration.kind == TOPIC_RESOURCE, alteration.kind == BROKER_RESOURCE
    if is_broker and alteration.name:
        _check_broker(alteration.name, config.node_id)
    elif not alteration.name and not is_broker:
        what = "topic" if is_topic else "group"
        raise RequestError(ErrorCode.INVALID_REQUEST, f"Default {what} resources are not allowed.")
    if is_topic:
        check_name(alteration.name)
    old = image.configs.get((alteration.kind, alteration.name), {})
    new: dict[str, str | None] = {} if alteration.replaces_all else dict(old)
    for name, operation, text in alteration.operations:
        if is_broker:
            _check_setting_of_broker(name, operation, text)
        if operation is Operation.DELETE:
            new.pop(name, None)
        elif operation is Operation.SET:
            new[name] = text
        else:
            new[name] = _changed_list(name, operation, new.get(name), text, config.topic_defaults)
    if is_topic:
        validate(new, config.topic_defaults)
        # Kafka, too, looks for the topic last. A group need not exist.
        if alteration.name not in image.topics:
            raise RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{alteration.name}' does not exist.")
    elif is_broker:
        theirs = image.dynamic_of(config.node_id)
        given = {name: text for name, text in new.items() if text is not None}
        changed_of = {"of_broker": given} if alteration.name else {"of_all": given}
        dynamic.validate_together(config, replace(theirs, **changed_of))
    else:
        group_config.validate(new, config)
    changed = [(name, text) for name, text in new.items() if old.get(name) != text]
    dropped = [(name, None) for name in old if name not in new]
    return [
        ConfigRecord(resource_type=alteration.kind, resource_name=alteration.name, name=name, value=text)
        for name, text in [*changed, *dropped]
    ]


def _check_broker(name: str, node_id: int) -> None:
    """Kafka's `ConfigAdminManager.validateResourceNameIsCurrentNodeId`."""
    if not _INTEGER.fullmatch(name):
        raise RequestError(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {name}")
    if int(name) != node_id:
        words = f"Unexpected broker id, expected {node_id}, but received {name}"
        raise RequestError(ErrorCode.INVALID_REQUEST, words)


def _check_setting_of_broker(name: str, operation: Operation, text: str | None) -> None:
    """None of those that may be altered is a list. Others may still be deleted: Kafka may have set them."""
    if operation is Operation.SET:
        dynamic.validate(name, text)
    elif operation is not Operation.DELETE:
        code = ErrorCode.INVALID_CONFIG
        if name not in BROKER_SETTINGS:
            raise RequestError(code, f"Unknown config name: {name}")
        what = operation.name.lower()
        raise RequestError(code, f"Config value {what} is not allowed for config key: {name}")


def _changed_list(
    name: str,
    operation: Operation,
    current: str | None,
    text: str | None,
    defaults: Mapping[str, SettingValue],
) -> str:
    """Give the list after APPEND or SUBTRACT, entry by entry as Kafka's `ConfigurationControlManager` does."""
    setting = TOPIC_SETTINGS.get(name) or GROUP_CONFIGS.get(name)
    if setting is None:
        raise RequestError(ErrorCode.INVALID_CONFIG, f"Unknown config name: {name}")
    if setting.kind is not Kind.LIST:
        raise RequestError(
            ErrorCode.INVALID_CONFIG, f"Can't {operation.name} to key {name} because its type is not LIST."
        )
    entries = (setting.text(defaults[name]) if current is None else current) or ""
    # Blanks are kept: Kafka compares entries as they were given.
    values = [entry for entry in entries.split(",") if entry]
    given = _split(text or "")
    if operation is Operation.APPEND:
        there = set(values)
        for entry in given:
            if entry not in there:
                there.add(entry)
                values.append(entry)
    else:
        # Each takes out one, where an entry stands there twice.
        taken = Counter(given)
        kept = []
        for entry in values:
            if taken[entry]:
                taken[entry] -= 1
            else:
                kept.append(entry)
        values = kept
    changed = ",".join(values)
    if len(changed.encode()) > VALUE_BYTES_MAX:
        raise RequestError(
            ErrorCode.INVALID_CONFIG,
            "The configuration value cannot be added because it exceeds the maximum value size of "
            f"{VALUE_BYTES_MAX} bytes.",
        )
    return changed


def _split(text: str) -> list[str]:
    """Split as Java's `String.split` does: empty entries at the end go, but an empty text is one empty entry."""
    parts = text.split(",")
    while text and parts and not parts[-1]:
        parts.pop()
    return parts
