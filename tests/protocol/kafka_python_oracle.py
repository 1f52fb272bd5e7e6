"""kafka-python 3.0 as an oracle: it reads what ours wrote, by the same names, and writes it back."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any
from uuid import UUID

import kafka.protocol
from kafka.protocol.api_message import ApiMessage


def message_classes() -> dict[str, Any]:
    """Every request and response class by its Kafka name."""
    for module in pkgutil.walk_packages(kafka.protocol.__path__, "kafka.protocol."):
        if ".old" not in module.name and "generate" not in module.name:
            importlib.import_module(module.name)
    found: dict[str, Any] = {}
    waiting: list[Any] = list(ApiMessage.__subclasses__())
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if cls._class_version is None:
            found.setdefault(cls.name, cls)
    return found


NAMES = {
    ("DescribeClusterResponse", "authorized_operations"): "cluster_authorized_operations",
    ("MetadataResponse", "authorized_operations"): "cluster_authorized_operations",
    ("MetadataResponseTopic", "authorized_operations"): "topic_authorized_operations",
}
"""Fields kafka-python has renamed."""


def plain(value: Any, version: int) -> Any:
    """A value of kafka-python's as ours; a struct becomes a dict by the names of ours.

    Fields the version lacks are left out, and so are tagged fields that are None: that is how kafka-python shows those
    that did not come. It shows the zero uuid as None too, and a bit field as the set of its bits, or None if only the
    sign is set.
    """
    if hasattr(value, "_struct"):
        named = type(value).__name__
        shown: dict[str, Any] = {}
        for field in value._struct.fields.values():
            part = getattr(value, field.name)
            if field.for_version_q(version) and not (part is None and field.tagged_field_q(version)):
                ours = NAMES.get((named, field.name), field.name)
                if part is None and field.type_str == "uuid":
                    shown[ours] = bytes(16)
                elif field.type_str == "bitfield":
                    shown[ours] = -(2**31) if part is None else bits(part)
                else:
                    shown[ours] = plain(part, version)
        return shown
    if isinstance(value, list | tuple):
        return [plain(element, version) for element in value]
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    return value


def bits(places: set[int]) -> int:
    """The int32 whose set bits these are."""
    number = sum(1 << place for place in places)
    return number - 2**32 if number >= 2**31 else number


def knows(name: str, value: Any) -> bool:
    """Whether kafka-python can read it: of an ApiVersions answer with an error it reads a version 0, whatever it is."""
    return not (name == "ApiVersionsResponse" and value.error_code != 0)


def write(value: Any, version: int) -> bytes:
    """The bytes kafka-python makes of a value it has decoded."""
    value._header = None
    return bytes(value.encode(version=version))
