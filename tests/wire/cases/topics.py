"""CreateTopics, CreatePartitions, DeleteTopics."""

from __future__ import annotations

from typing import Any

from tests.wire.cases.metadata import UNKNOWN_ID
from tests.wire.client import Plain
from tests.wire.differential import Talk, case, gone, ready


def wanted(name: str, partitions: int = 1, replicas: int = 1, assignments: Any = (), **configs: str | None) -> Plain:
    return {
        "name": name,
        "num_partitions": partitions,
        "replication_factor": replicas,
        "assignments": [{"partition_index": index, "broker_ids": brokers} for index, brokers in assignments],
        "configs": [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()],
    }


def by_name(answer: Any, field: str) -> Any:
    """Kafka answers in the order of a hash map."""
    if isinstance(answer, dict):
        answer[field].sort(key=lambda each: str(each["name"]))
        for each in answer[field]:
            if each.get("configs"):
                each["configs"].sort(key=lambda config: str(config["name"]))
    return answer


@case(range(2, 8))
def create_topics(talk: Talk, version: int) -> None:
    """Every reason for which a topic is not created, and the ways in which one is."""

    def ask(label: str, *topics: Plain, validate_only: bool = False) -> None:
        answer = talk.quietly("create_topics", version, topics=topics, timeout=10_000, validate_only=validate_only)
        talk.note(label, by_name(answer, "topics"))

    name = talk.topic
    ask("one partition", wanted(name("-1")))
    ask("again", wanted(name("-1")))
    ask("three partitions", wanted(name("-3"), 3))
    if version >= 4:
        ask("defaults", wanted(name("-default"), -1, -1))
    ask("no partitions", wanted(name("-x"), 0))
    ask("minus two partitions", wanted(name("-x"), -2))
    ask("no replicas", wanted(name("-x"), 1, 0))
    ask("three replicas", wanted(name("-x"), 1, 3))
    for bad in ("", ".", "..", "a b", "a/b", "ü", "x" * 250):
        ask(f"named {bad[:9]!r}", wanted(bad))
    ask("the longest name", wanted((name("-") + "y" * 249)[:249]), validate_only=True)
    ask("collides with a dot", wanted(name(".c")), wanted(name("_d")))
    ask("collides with an underscore", wanted(name("_c")))
    ask("twice in one question", wanted(name("-twice")), wanted(name("-twice")), wanted(name("-once")))
    ask("assigned", wanted(name("-assigned"), -1, -1, [(0, [1]), (1, [1])]))
    ask("assigned and counted", wanted(name("-x"), 2, -1, [(0, [1])]))
    ask("assigned and replicated", wanted(name("-x"), -1, 1, [(0, [1])]))
    ask("assigned to an unknown broker", wanted(name("-x"), -1, -1, [(0, [9])]))
    ask("assigned twice to one broker", wanted(name("-x"), -1, -1, [(0, [1, 1])]))
    ask("assigned to nobody", wanted(name("-x"), -1, -1, [(0, [])]))
    ask("assigned with a gap", wanted(name("-x"), -1, -1, [(0, [1]), (2, [1])]))
    ask("assigned from one", wanted(name("-x"), -1, -1, [(1, [1])]))
    ask("assigned a partition twice", wanted(name("-x"), -1, -1, [(0, [1]), (0, [1])]))
    ask("configured", wanted(name("-configured"), 1, 1, (), retention_ms="1000", cleanup_policy="compact,delete"))
    ask("unknown config", wanted(name("-x"), 1, 1, (), no_such="1"))
    ask("bad number", wanted(name("-x"), 1, 1, (), retention_ms="soon"))
    ask("number out of range", wanted(name("-x"), 1, 1, (), segment_bytes="1"))
    ask("bad choice", wanted(name("-x"), 1, 1, (), cleanup_policy="burn"))
    ask("null value", wanted(name("-x"), 1, 1, (), retention_ms=None))
    ask("replicas of config more than brokers", wanted(name("-isr"), 1, 1, (), min_insync_replicas="2"))
    ask("validated only", wanted(name("-validated"), 2), validate_only=True)
    ask("validated only, there already", wanted(name("-1")), validate_only=True)
    talk.note("validated only is not there", gone(talk.wait_for_metadata(name("-validated"), lambda _: True)))
    ask("good and bad", wanted(name("-good")), wanted(name("-bad"), 0))
    ask("none")


@case(range(4))
def create_partitions(talk: Talk, version: int) -> None:
    """More partitions, never fewer."""
    talk.create(partitions=2)

    def ask(label: str, *topics: Plain, validate_only: bool = False) -> None:
        answer = talk.quietly("create_partitions", version, topics=topics, timeout=10_000, validate_only=validate_only)
        talk.note(label, by_name(answer, "results"))

    def to(count: int, assignments: list[list[int]] | None = None, name: str | None = None) -> Plain:
        entries = None if assignments is None else [{"broker_ids": brokers} for brokers in assignments]
        return {"name": name or talk.topic(), "count": count, "assignments": entries}

    ask("as many as there are", to(2))
    ask("fewer", to(1))
    ask("none", to(0))
    ask("negative", to(-1))
    ask("unknown topic", to(3, name=talk.topic("-none")))
    ask("validated only", to(3), validate_only=True)
    ask("one more", to(3))
    ask("assigned", to(5, [[1], [1]]))
    ask("assigned too few", to(7, [[1]]))
    ask("assigned too many", to(6, [[1], [1]]))
    ask("assigned to an unknown broker", to(6, [[9]]))
    ask("assigned unevenly", to(6, [[1, 1]]))
    ask("twice in one question", to(7), to(8))
    talk.wait_for_metadata(talk.topic(), lambda topic: ready(topic, 5))
    found = talk.quietly("metadata", 12, topics=[{"name": talk.topic()}], allow_auto_topic_creation=False)
    found["topics"][0]["partitions"].sort(key=lambda each: each["partition_index"])
    talk.note("metadata after", found["topics"])


@case(range(1, 7))
def delete_topics(talk: Talk, version: int) -> None:
    """By name, from version 6 by id; unknown, twice, and gone afterwards."""
    ids = {suffix: talk.create(suffix) for suffix in ("-a", "-b", "-c")}

    def ask(label: str, *names: str | None, ids: tuple[str | None, ...] = ()) -> None:
        if version < 6:
            answer = talk.quietly("delete_topics", version, topic_names=names, timeout=10_000)
        else:
            topics = [{"name": name} for name in names] + [{"name": None, "topic_id": each} for each in ids]
            answer = talk.quietly("delete_topics", version, topics=topics, timeout=10_000)
        answer["responses"].sort(key=lambda each: (str(each["name"]), str(each.get("topic_id"))))
        talk.note(label, answer)

    ask("unknown", talk.topic("-none"))
    ask("ill-named", "not a name", "")
    ask("one and an unknown", talk.topic("-a"), talk.topic("-none"))
    talk.note("gone", talk.wait_for_metadata(talk.topic("-a"), gone))
    ask("again", talk.topic("-a"))
    ask("twice in one question", talk.topic("-b"), talk.topic("-b"))
    ask("none")
    if version >= 6:
        ask("unknown id", ids=(UNKNOWN_ID,))
        ask("by id", ids=(ids["-c"],))
        talk.note("gone by id", talk.wait_for_metadata(talk.topic("-c"), gone))
        both = [{"name": talk.topic("-b"), "topic_id": ids["-b"]}]
        talk.ask("name and id", "delete_topics", version, topics=both, timeout=10_000)
        talk.ask("neither", "delete_topics", version, topics=[{"name": None}], timeout=10_000)
