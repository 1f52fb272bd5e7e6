"""Kafka's own message classes as the last word: every message of ours, records of the internal topics included.

The values are made from the schemas in the jars. Kafka gets our bytes and, independently, the value as its own JSON;
what it writes must be our bytes both times.
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ottla import messages
from ottla._core import Codec
from tests.kafka import jars
from tests.protocol.test_schemas import linked_jars
from tools.schemas.model import Family, Field, Message, Struct
from tools.schemas.read import read_jars

CODEC = Codec()
PACKAGES = {
    Family.GROUP: "org.apache.kafka.coordinator.group.generated.",
    Family.TRANSACTION: "org.apache.kafka.coordinator.transaction.generated.",
    Family.METADATA: "org.apache.kafka.common.metadata.",
    Family.SNAPSHOT: "org.apache.kafka.server.log.remote.metadata.storage.generated.",
}
LIMITS = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


def java_class(message: Message) -> str:
    """The class Kafka generates for a message."""
    suffix = "Data" if message.kind in ("request", "response", "header") else ""
    return PACKAGES.get(message.family, "org.apache.kafka.common.message.") + message.name + suffix


class Maker:
    """Values by the schema: `value` makes them plain, `to_struct` and `to_json` turn them into the two forms."""

    def __init__(self, seed: int, version: int) -> None:
        self.random = random.Random(seed)
        self.version = version

    def here(self, struct: Struct) -> Iterator[Field]:
        """The fields of this version."""
        return (part for part in struct.fields if part.versions.low <= self.version <= part.versions.high)

    def struct(self, struct: Struct) -> dict[str, Any]:
        made = {}
        for part in self.here(struct):
            if part.tag is None or self.random.random() < 0.5:
                made[part.name] = self.field(part)
        return made

    def field(self, part: Field) -> Any:
        if part.nullable.low <= self.version <= part.nullable.high and self.random.random() < 0.25:
            return None
        if part.array:
            return [self.value(part) for _ in range(self.random.randrange(4))]
        return self.value(part)

    def value(self, part: Field) -> Any:
        if part.struct is not None:
            return self.struct(part.struct)
        if part.kind == "bool":
            return self.random.random() < 0.5
        if part.kind == "float64":
            return self.random.choice([0.0, -0.5, 1e300, 0.1])
        if part.kind == "uuid":
            return self.random.randbytes(16)
        if part.kind == "string":
            return "".join(self.random.choices("abc-_.09éЖ日𝄞", k=self.random.choice([0, 1, 5, 140])))
        if part.kind in ("bytes", "records"):
            return self.random.randbytes(self.random.choice([0, 3, 200]))
        low, high = LIMITS[part.kind]
        return self.random.choice([low, high, 0, max(low, -1), self.random.randint(low, high)])

    def to_struct(self, struct: Struct, value: dict[str, Any]) -> Any:
        shown = {part.name: part for part in struct.fields}
        parts = {name: self.part_to_struct(shown[name], part) for name, part in value.items()}
        return getattr(messages, struct.name)(**parts)

    def part_to_struct(self, part: Field, value: Any) -> Any:
        if part.struct is None or value is None:
            return value
        if part.array:
            return [self.to_struct(part.struct, element) for element in value]
        return self.to_struct(part.struct, value)

    def to_json(self, struct: Struct, value: dict[str, Any]) -> dict[str, Any]:
        shown = {part.name: part for part in struct.fields}
        return {shown[name].json_name: self.part_to_json(shown[name], part) for name, part in value.items()}

    def part_to_json(self, part: Field, value: Any) -> Any:
        if part.array and value is not None:
            return [self.element_to_json(part, element) for element in value]
        return self.element_to_json(part, value)

    def element_to_json(self, part: Field, value: Any) -> Any:
        if value is None:
            return None
        if part.struct is not None:
            return self.to_json(part.struct, value)
        if part.kind == "uuid":
            return base64.urlsafe_b64encode(value).decode().rstrip("=")
        if part.kind in ("bytes", "records"):
            return base64.b64encode(value).decode()
        return value


def cases(found: list[Message], seeds: int) -> Iterator[tuple[str, bytes, str]]:
    """A line of input for each message, version and seed, with the bytes that are ours."""
    for message in found:
        for version in range(message.versions.low, message.versions.high + 1):
            for seed in range(seeds):
                maker = Maker(seed, version)
                value = maker.struct(message.root)
                ours = CODEC.encode_struct(message.name, version, maker.to_struct(message.root, value))
                shown = json.dumps(maker.to_json(message.root, value), ensure_ascii=False)
                yield f"{message.name} {version}", ours, f"{java_class(message)} {version} {ours.hex()} {shown}"


@pytest.mark.kafka
def test_kafka_writes_the_same_bytes(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """For every message and version, from our bytes and from its own JSON."""
    found = list(cases(read_jars(linked_jars(tmp_path)), 100 if pytestconfig.getoption("--long") else 5))
    source = Path(__file__).with_name("KafkaOracle.java")
    command = jars.java(str(source))
    text = "".join(f"{line}\n" for _, _, line in found)
    run = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    answers = run.stdout.decode().splitlines()
    assert len(answers) == len(found)
    wrong: dict[str, tuple[str, str]] = {}
    for (name, ours, line), answer in zip(found, answers, strict=True):
        expected = f"={ours.hex()}"
        if answer.split(" ") != [expected, expected]:
            wrong.setdefault(name, (answer, line))
    assert wrong == {}
