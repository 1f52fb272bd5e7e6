"""Every message and version through three codecs: kio's values, our codec, kafka-python.

Per version: kio makes a value and its bytes; ours must read the same values out of them, by name, with defaults in
the fields the version lacks, and write the same bytes; kafka-python must read the same values too, and write the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ottla import messages
from ottla._core import Codec
from ottla.errors import CodecError
from tests.protocol import kafka_python_oracle, kio_oracle

CODEC = Codec()
SERVED = {*range(4), *range(8, 52), 55, 57, 60, 61, 64, 65, 66, 68, 69, 71, 72, *range(74, 82), *range(83, 93)}
DATA = {
    "ConsumerProtocolAssignment",
    "ConsumerProtocolSubscription",
    "ControlRecordTypeSchema",
    "EndTxnMarker",
    "KRaftVersionRecord",
    "LeaderChangeMessage",
    "SnapshotFooterRecord",
    "SnapshotHeaderRecord",
    "VotersRecord",
}
ENTITIES = kio_oracle.entities(SERVED, DATA)
KAFKA_PYTHON = kafka_python_oracle.message_classes()


def examples(*, long: bool) -> settings:
    """A handful of values in `make test`, always the same; many, new ones each time and the smallest one that fails in
    `make test-long`.
    """
    return settings(
        max_examples=100 if long else 3,
        derandomize=not long,
        database=None,
        phases=tuple(Phase) if long else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


def decode(entity: kio_oracle.Entity, data: bytes) -> Any:
    if entity.api_key is not None:
        by_key = CODEC.decode_request if entity.kind == "request" else CODEC.decode_response
        return by_key(entity.api_key, entity.version, data)
    return CODEC.decode_struct(entity.name, entity.version, data)


def encode(entity: kio_oracle.Entity, value: Any) -> bytes:
    if entity.api_key is not None:
        by_key = CODEC.encode_request if entity.kind == "request" else CODEC.encode_response
        return by_key(entity.api_key, entity.version, value)
    return CODEC.encode_struct(entity.name, entity.version, value)


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where a value of ours differs from a plain one; what theirs lacks must have its default in ours."""
    if isinstance(ours, msgspec.Struct) and isinstance(theirs, dict):
        defaults = type(ours)()
        for name in ours.__struct_fields__:
            value = getattr(ours, name)
            if name in theirs:
                yield from differences(value, theirs[name], f"{path}.{name}")
            elif value != getattr(defaults, name):
                yield f"{path}.{name}: {value!r} is not the default"
        yield from (f"{path}.{name}: not in ours" for name in theirs.keys() - set(ours.__struct_fields__))
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield f"{path}: {len(ours)} elements, theirs {len(theirs)}"
        for place, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from differences(one, other, f"{path}[{place}]")
    elif ours != theirs or type(ours) is not type(theirs):
        yield f"{path}: {ours!r}, theirs {theirs!r}"


@pytest.mark.parametrize("entity", ENTITIES, ids=str)
def test_three_codecs_agree(entity: kio_oracle.Entity, pytestconfig: pytest.Config) -> None:
    """Bytes of kio's decode to kio's values and encode to the same bytes; so with kafka-python where it can."""

    @examples(long=pytestconfig.getoption("--long"))
    @given(st.from_type(entity.cls))
    def agree(value: Any) -> None:
        data = kio_oracle.write(value)
        ours = decode(entity, data)
        assert list(differences(ours, kio_oracle.plain(value))) == []
        assert encode(entity, ours) == data
        theirs = KAFKA_PYTHON.get(entity.name)
        if theirs is not None and entity.version <= theirs.max_version and kafka_python_oracle.knows(entity.name, ours):
            read = theirs.decode(data, version=entity.version)
            assert list(differences(ours, kafka_python_oracle.plain(read, entity.version))) == []
            assert kafka_python_oracle.write(read, entity.version) == data

    agree()


def test_every_version_is_compared() -> None:
    """Every version of every API in our table is known to kio."""
    seen = {(entity.name, entity.version) for entity in ENTITIES}
    missing = []
    for name in vars(messages)["__all__"]:
        if name.endswith(("Request", "Response")):
            for version in range(32):
                try:
                    CODEC.encode_struct(name, version, getattr(messages, name)())
                except CodecError:
                    continue
                missing += [(name, version)] if (name, version) not in seen else []
    assert missing == []
