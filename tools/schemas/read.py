"""Reads the message JSON inside Kafka's jars into the model."""

from __future__ import annotations

import itertools
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from tools.schemas.model import NONE, Default, Family, Field, Message, Struct, Versions, class_name, snake_case

Json = dict[str, Any]

SERVED = frozenset(
    [*range(4), *range(8, 52), 55, 57, 60, 61, 64, 65, 66, 68, 69, 71, 72, *range(74, 82), *range(83, 93)],
)
"""API keys of the client surface; the rest belongs to the controllers' own listener."""

SOURCES: dict[str, tuple[Family, ...]] = {
    "kafka-clients": (Family.API, Family.HEADER, Family.CONSUMER_PROTOCOL, Family.CONTROL),
    "kafka-group-coordinator": (Family.GROUP,),
    "kafka-transaction-coordinator": (Family.TRANSACTION,),
    "kafka-metadata": (Family.METADATA,),
    "kafka-storage": (Family.SNAPSHOT,),
}

PLAIN_DATA = {
    "ConsumerProtocolSubscription": Family.CONSUMER_PROTOCOL,
    "ConsumerProtocolAssignment": Family.CONSUMER_PROTOCOL,
    "ControlRecordTypeSchema": Family.CONTROL,
    "EndTxnMarker": Family.CONTROL,
    "KRaftVersionRecord": Family.CONTROL,
    "LeaderChangeMessage": Family.CONTROL,
    "SnapshotFooterRecord": Family.CONTROL,
    "SnapshotHeaderRecord": Family.CONTROL,
    "VotersRecord": Family.CONTROL,
    "ProducerSnapshot": Family.SNAPSHOT,
}

SCALARS = frozenset(
    ["bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "uuid", "string", "bytes", "records"],
)


def read_jars(folder: Path) -> list[Message]:
    """All messages of the project from the jars of one Kafka version in `folder`, in order of family, key and name."""
    schemas: list[tuple[Json, Family]] = []
    for jar, families in SOURCES.items():
        found = sorted(path for path in folder.glob(f"{jar}-*.jar") if re.fullmatch(rf"{jar}-[\d.]+\.jar", path.name))
        if len(found) != 1:
            raise SystemExit(f"{folder}: expected one {jar}-<version>.jar, found {len(found)}")
        with zipfile.ZipFile(found[0]) as archive:
            for name in archive.namelist():
                if re.search(r"(^|/)(message|metadata)/\w+\.json$", name):
                    schema = parse_json(archive.read(name).decode())
                    family = family_of(schema, families)
                    if family is not None:
                        schemas.append((schema, family))
    # Only the request says that the newest version of an API is unstable.
    unstable = {schema["apiKey"] for schema, _ in schemas if schema.get("latestVersionUnstable")}
    messages = [read_message(schema, family, unstable) for schema, family in schemas]
    names = sorted(struct.name for message in messages for struct in message.structs)
    doubled = {name for name, after in itertools.pairwise(names) if name == after}
    if doubled:
        raise SystemExit(f"two classes of one name: {sorted(doubled)}")
    order = list(Family)
    messages.sort(key=lambda m: (order.index(m.family), -1 if m.api_key is None else m.api_key, m.name))
    return messages


def parse_json(text: str) -> Json:
    """Kafka's schema files are JSON with `//` lines."""
    schema: Json = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    return schema


def family_of(schema: Json, families: tuple[Family, ...]) -> Family | None:
    """The family a schema belongs to, or None when this project has no use for it."""
    if schema["validVersions"] == "none":
        return None
    family: Family | None
    match schema["type"]:
        case "request" | "response":
            family = Family.API if schema["apiKey"] in SERVED else None
        case "header":
            family = Family.HEADER
        case "coordinator-key" | "coordinator-value":
            family = Family.GROUP if Family.GROUP in families else Family.TRANSACTION
        case "metadata":
            family = Family.METADATA
        case _:
            family = PLAIN_DATA.get(schema["name"])
    return family if family in families else None


def read_message(schema: Json, family: Family, unstable: set[int]) -> Message:
    """One schema as a message; an unstable newest version is left out, and so are fields no version has."""
    versions = Versions.parse(schema["validVersions"])
    if schema.get("apiKey") in unstable and family is Family.API:
        versions = Versions(versions.low, versions.high - 1)
    structs: list[Struct] = []
    declared = {common["name"]: common["fields"] for common in schema.get("commonStructs", [])}
    by_name: dict[str, Struct] = {}

    def struct_of(name: str, own_name: str, fields: list[Json]) -> Struct:
        struct = Struct(len(structs), own_name)
        structs.append(struct)
        by_name[name] = struct
        struct.fields.extend(read_field(spec, nested) for spec in fields if carried(spec).overlaps(versions))
        return struct

    def nested(name: str, fields: list[Json]) -> Struct:
        if name in by_name:
            return by_name[name]
        return struct_of(name, class_name(schema["name"], name), fields or declared[name])

    struct_of(schema["name"], schema["name"], schema["fields"])
    return Message(
        name=schema["name"],
        family=family,
        kind=schema["type"],
        api_key=schema.get("apiKey"),
        versions=versions,
        flexible=Versions.parse(schema["flexibleVersions"]),
        structs=structs,
    )


def carried(spec: Json) -> Versions:
    """The versions a field is present in; a tagged field may leave them to `taggedVersions`."""
    return Versions.parse(spec["versions"] if "versions" in spec else spec["taggedVersions"])


def read_field(spec: Json, nested: Any) -> Field:
    """One field; `nested(name, fields)` finds or makes the struct of a struct type."""
    array = spec["type"].startswith("[]")
    kind = spec["type"].removeprefix("[]")
    struct = None
    if kind not in SCALARS:
        struct = nested(kind, spec.get("fields", []))
        kind = "struct"
    tagged = Versions.parse(spec.get("taggedVersions"))
    versions = carried(spec)
    if not tagged.empty and tagged != versions:
        raise SystemExit(f"{spec['name']}: tagged in some versions only, which the codec does not know")
    flexible = spec.get("flexibleVersions")
    if flexible not in (None, "none"):
        raise SystemExit(f"{spec['name']}: flexibleVersions {flexible}, which the codec does not know")
    return Field(
        name=snake_case(spec["name"]),
        json_name=spec["name"][0].lower() + spec["name"][1:],
        kind=kind,
        array=array,
        struct=struct,
        versions=versions,
        nullable=Versions.parse(spec.get("nullableVersions")),
        tagged=tagged,
        tag=spec.get("tag") if tagged != NONE else None,
        default=read_default(spec, kind, array),
        ignorable=bool(spec.get("ignorable", False)),
        map_key=bool(spec.get("mapKey", False)),
        never_flexible=flexible == "none",
    )


def read_default(spec: Json, kind: str, array: bool) -> Default:
    """The default of a field, `zero` where it is the type's own.

    Kafka's generator takes the string "null" for null, but JSON's null for no default at all.
    """
    text = spec.get("default")
    if text is None:
        return Default("zero")
    if text == "null":
        return Default("null")
    if array or kind == "struct":
        raise SystemExit(f"{spec['name']}: a default of {text!r}, which the codec does not know")
    if kind == "bool":
        value = text if isinstance(text, bool) else text == "true"
        return Default("bool", value) if value else Default("zero")
    if kind == "string":
        return Default("string", text) if text else Default("zero")
    if kind == "float64":
        return Default("float", float(text)) if float(text) else Default("zero")
    number = int(str(text), 0)
    return Default("int", number) if number else Default("zero")
