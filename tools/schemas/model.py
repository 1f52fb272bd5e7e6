"""Kafka's message schemas as values: facts only (names, types, versions, defaults), none of the prose.

A `Message` owns a list of `Struct`s, the first of which is the message itself; a struct of one message is never used by
another. Every struct has the name of its Python class, every field the name of its Python attribute, so that the two
writers (`rust`, `python`) cannot disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

VERSION_MAX = 32767
"""The upper end of an open range such as `3+`."""


class Family(Enum):
    """Where a message lives; each family has its own Rust list and its own Python modules."""

    API = "api"
    HEADER = "header"
    CONSUMER_PROTOCOL = "consumer_protocol"
    CONTROL = "control"
    METADATA = "metadata"
    GROUP = "group"
    TRANSACTION = "transaction"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class Versions:
    """An inclusive range; `low > high` is the empty one (`none`)."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str | None) -> Versions:
        """Reads `3`, `3-5`, `3+` or `none`; a missing text is `none`."""
        if text is None or text == "none":
            return NONE
        if text.endswith("+"):
            return cls(int(text[:-1]), VERSION_MAX)
        low, _, high = text.partition("-")
        return cls(int(low), int(high or low))

    @property
    def empty(self) -> bool:
        """Whether no version is in it."""
        return self.low > self.high

    def overlaps(self, other: Versions) -> bool:
        """Whether some version is in both."""
        return max(self.low, other.low) <= min(self.high, other.high)


NONE = Versions(1, 0)


@dataclass(frozen=True)
class Default:
    """What a field is when a version does not carry it. `zero` is the type's own: 0, false, "", empty, all defaults."""

    kind: str  # zero | null | int | bool | float | string
    value: int | bool | float | str | None = None


@dataclass
class Field:
    """One field: `kind` is a Kafka type, or `struct`; `array` wraps it. `json_name` is its name in Kafka's own JSON."""

    name: str
    json_name: str
    kind: str
    array: bool
    struct: Struct | None
    versions: Versions
    nullable: Versions
    tagged: Versions
    tag: int | None
    default: Default
    ignorable: bool
    map_key: bool
    never_flexible: bool


@dataclass
class Struct:
    """A struct by its Python class name; `index` counts inside its message."""

    index: int
    name: str
    fields: list[Field] = field(default_factory=list)


@dataclass
class Message:
    """One schema file: all versions of one message."""

    name: str
    family: Family
    kind: str
    api_key: int | None
    versions: Versions
    flexible: Versions
    structs: list[Struct]

    @property
    def root(self) -> Struct:
        """The struct that is the message itself."""
        return self.structs[0]


def snake_case(name: str) -> str:
    """`throttleTimeMs` and `ThrottleTimeMs` -> `throttle_time_ms`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def class_name(message: str, struct: str) -> str:
    """The class of a nested struct: the message's name, then the struct's without what it repeats of the message's.

    >>> class_name("MetadataResponse", "MetadataResponseTopic")
    'MetadataResponseTopic'
    >>> class_name("CreatePartitionsRequest", "CreatePartitionsTopic")
    'CreatePartitionsRequestTopic'
    >>> class_name("LeaveGroupRequest", "MemberIdentity")
    'LeaveGroupRequestMemberIdentity'
    """
    base = re.sub(r"(Request|Response)$", "", message)
    for prefix in (message, base):
        if struct.startswith(prefix) and struct != prefix:
            return message + struct.removeprefix(prefix)
    return message + struct
