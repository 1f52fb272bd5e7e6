"""ApiVersions, Metadata, DescribeCluster, DescribeTopicPartitions."""

from __future__ import annotations

import struct
from typing import Any

from tests.wire.client import Plain
from tests.wire.differential import Talk, case, ready

NIL = "00000000-0000-0000-0000-000000000000"
UNKNOWN_ID = "11111111-2222-3333-4444-555555555555"


def mine(talk: Talk, answer: Any, field: str = "topics") -> Any:
    """The answer with only this case's topics, in the order of their names (Kafka's is that of a hash map)."""
    if isinstance(answer, dict):
        kept = [topic for topic in answer[field] if (topic["name"] or "").startswith(talk.name)]
        answer = {**answer, field: sorted(kept, key=lambda topic: str(topic["name"]))}
    return answer


@case(range(14))
def metadata_by_name(talk: Talk, version: int) -> None:
    """Topics asked by name: there, unknown, ill-named, twice, none, all."""
    talk.create("-one", partitions=3)
    talk.create("-two")
    options: Plain = {"allow_auto_topic_creation": False}

    def ask(label: str, names: list[str] | None, **more: Any) -> None:
        topics = None if names is None else [{"name": name} for name in names]
        answer = talk.quietly("metadata", version, topics=topics, **options, **more)
        for topic in answer["topics"]:
            topic["partitions"].sort(key=lambda each: each["partition_index"])
        answer["topics"].sort(key=lambda topic: str(topic["name"]))
        talk.note(label, mine(talk, answer) if names is None or not names else answer)

    ask("known", [talk.topic("-one"), talk.topic("-two")])
    ask("the same twice", [talk.topic("-one"), talk.topic("-one")])
    if version >= 4:  # before, asking creates it
        ask("unknown", [talk.topic("-none"), talk.topic("-two")])
        ask("ill-named", ["not a name", "..", "x" * 250])
    ask("an empty list", [])
    if version >= 1:
        ask("null", None)
    if 8 <= version <= 10:
        ask("with operations of the cluster", [], include_cluster_authorized_operations=True)
    if version >= 8:
        ask("with operations of the topic", [talk.topic("-two")], include_topic_authorized_operations=True)


@case(range(10, 14))
def metadata_by_id(talk: Talk, version: int) -> None:
    """Topics asked by id (name null): there and unknown. Before version 12 an id is not looked at."""
    topic_id = talk.create()
    for label, wanted in {"known": topic_id, "unknown": UNKNOWN_ID}.items():
        asked = [{"topic_id": wanted, "name": None}]
        if version >= 12:
            talk.ask(label, "metadata", version, topics=asked, allow_auto_topic_creation=False)
    named = [{"topic_id": None, "name": talk.topic()}]
    talk.ask("by name", "metadata", version, topics=named, allow_auto_topic_creation=False)
    if version >= 12:
        both = [{"topic_id": topic_id, "name": None}, {"topic_id": None, "name": talk.topic()}]
        talk.ask("ids and names mixed", "metadata", version, topics=both, allow_auto_topic_creation=False)
        # The Java admin client asks by id with an empty name.
        for name in ("", talk.name + ".other", talk.topic()):
            asked = [{"topic_id": topic_id, "name": name}]
            talk.ask(f"the id with the name {name}", "metadata", version, topics=asked, allow_auto_topic_creation=False)
        mixed = [{"topic_id": UNKNOWN_ID, "name": talk.topic()}, {"topic_id": None, "name": talk.name + ".other"}]
        talk.ask("one id, unknown", "metadata", version, topics=mixed, allow_auto_topic_creation=True)


@case([3, 8, 13])
def metadata_creates_topics(talk: Talk, version: int) -> None:
    """A name that is not there is created with the defaults when the question allows it, and then has a leader."""
    name = talk.topic()
    talk.quietly("metadata", version, topics=[{"name": name}], allow_auto_topic_creation=True)
    talk.note("created", talk.wait_for_metadata(name, lambda topic: ready(topic, 1)))
    asked = [{"name": "not a name"}]
    talk.ask("ill-named", "metadata", version, topics=asked, allow_auto_topic_creation=True)


@case(range(3))
def describe_cluster(talk: Talk, version: int) -> None:
    """The cluster is one broker; the endpoint type of controllers is refused on a client listener."""
    talk.ask("brokers", "describe_cluster", version, endpoint_type=1)
    talk.ask("operations", "describe_cluster", version, include_cluster_authorized_operations=True, endpoint_type=1)
    if version >= 1:
        talk.ask("controllers", "describe_cluster", version, endpoint_type=2)
        talk.ask("no such type", "describe_cluster", version, endpoint_type=7)


@case([0])
def describe_topic_partitions(talk: Talk, version: int) -> None:
    """Pages of partitions across topics, and what is unknown."""
    for suffix in ("-a", "-b", "-c"):
        talk.create(suffix, partitions=3)
    names = [{"name": talk.topic(suffix)} for suffix in ("-c", "-a", "-b")]

    def ask(label: str, topics: list[Plain], limit: int = 2000, cursor: Plain | None = None) -> Any:
        return talk.ask(
            label, "describe_topic_partitions", version, topics=topics, response_partition_limit=limit, cursor=cursor
        )

    ask("all of three", names)
    ask("unknown among them", [*names, {"name": talk.topic("-z")}])
    ask("ill-named", [{"name": "not a name"}])
    ask("limit 0", names, 0)
    ask("limit -1", names, -1)
    page = ask("first page", names, 4)
    number = 0
    while page["next_cursor"] is not None and number < 5:
        number += 1
        page = ask(f"page {number}", names, 4, page["next_cursor"])
    ask(
        "cursor to a topic not asked",
        [{"name": talk.topic("-c")}],
        4,
        {"topic_name": talk.topic("-b"), "partition_index": 1},
    )
    ask("cursor behind the last partition", names, 4, {"topic_name": talk.topic("-a"), "partition_index": 9})
    ask("negative cursor", names, 4, {"topic_name": talk.topic("-a"), "partition_index": -1})
    ask("cursor to a topic that is gone", names, 4, {"topic_name": talk.topic("-aa"), "partition_index": 0})


@case(range(5))
def api_versions(talk: Talk, version: int) -> None:
    """The rows that both serve are the same; rows that Ottla does not serve yet are left out by the test."""
    talk.ask("api_versions", "api_versions", version, client_software_name="wire", client_software_version="1")


@case([3, 4])
def api_versions_refuses_odd_names(talk: Talk, version: int) -> None:
    """KIP-511: a client's software name and version have a shape."""
    for name, number in (
        ("", "1"),
        ("wire", ""),
        ("wi re", "1"),
        ("-wire", "1"),
        ("wire", "1/2"),
        ("wire-1.2", "1.2-x"),
    ):
        answer = talk.quietly("api_versions", version, client_software_name=name, client_software_version=number)
        talk.note(f"{name!r} {number!r}", answer["error_code"])


@case([5, 6, 99, 32767, -1])
def api_versions_of_the_future(talk: Talk, version: int) -> None:
    """An unknown version is answered with the v0 body, error 35, and the one row for key 18."""
    message = struct.pack(">hhih4sb", 18, version, 9, 4, b"wire", 0) + b"\x05wire\x021\x00"
    talk.ask_raw("api_versions", message, "api_versions", 0)
