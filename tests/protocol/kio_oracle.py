"""kio 0.6 (Kafka 4.3) as an oracle: its classes make the values, its serializers read and write them.

kio gives some numbers a Python type of their own: error codes are an enum, time spans `timedelta` and points in time
`datetime` (both lose their `_ms`), the zero uuid is None. `plain` turns a value of kio's into what ours should be.
"""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from kio.index import load_entity_schema
from kio.schema.index import api_key_map, schema_name_map
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType
from kio.static.primitive import Records

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

UNSTABLE = {("init_producer_id", 6)}

st.register_type_strategy(Records, st.binary(max_size=40).map(Records))


@dataclasses.dataclass(frozen=True)
class Entity:
    """One message in one version."""

    name: str
    version: int
    api_key: int | None
    kind: str
    cls: Any

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"


def entities(served: set[int], data: set[str]) -> list[Entity]:
    """All versions kio has of the APIs `served` and of the `data` messages, without those Kafka calls unstable."""
    keys = {name: key for key, name in api_key_map.items()}
    found = []
    for name, versions in schema_name_map.items():
        for version, kinds in versions.items():
            for kind in kinds:
                cls: Any = load_entity_schema(name, version, kind)
                key = keys.get(name) if kind in (EntityType.request, EntityType.response) else None
                if (name, version) in UNSTABLE:
                    continue
                if key in served or (kind is EntityType.data and cls.__name__ in data):
                    found.append(Entity(cls.__name__, int(version), key, kind.name, cls))
    return found


def write(value: Any) -> bytes:
    """The bytes kio makes of a value."""
    buffer = io.BytesIO()
    entity_writer(type(value))(buffer, value)
    return buffer.getvalue()


def read(cls: Any, data: bytes) -> Any:
    """The value kio finds in all of `data`."""
    value, size = entity_reader(cls)(data, 0)
    assert size == len(data)
    return value


def plain(value: Any) -> Any:
    """A value of kio's as ours; an entity becomes a dict by the names of ours."""
    if dataclasses.is_dataclass(value):
        return {ours(field): plain_field(field, getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [plain(element) for element in value]
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value // timedelta(milliseconds=1)
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, bytes):
        return bytes(value)
    return value


def ours(field: dataclasses.Field[Any]) -> str:
    """The name of our attribute."""
    kind = field.metadata.get("kafka_type", "")
    return f"{field.name}_ms" if kind.startswith(("timedelta", "datetime")) else field.name.removesuffix("_")


def plain_field(field: dataclasses.Field[Any], value: Any) -> Any:
    """A field's value; None stands for the zero uuid, and for a time of -1."""
    if value is None:
        return {"uuid": bytes(16), "datetime_i64": -1}.get(field.metadata.get("kafka_type", ""))
    if isinstance(value, tuple) and field.metadata.get("kafka_type") == "uuid":
        return [bytes(16) if element is None else plain(element) for element in value]
    return plain(value)
