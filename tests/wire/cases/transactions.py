"""Transactions: producers, partitions, ends, and what readers see of them."""

from __future__ import annotations

import time
from typing import Any

from tests.wire.batches import TRANSACTIONAL, Batch, Record, summaries
from tests.wire.client import Plain
from tests.wire.differential import WAIT_S, Talk, case

TIMEOUT_MS = 60_000
Producer = tuple[int, int]


def begin(talk: Talk, suffix: str = "", timeout: int = TIMEOUT_MS) -> tuple[str, Producer]:
    """A transactional id, and its producer."""
    name = talk.topic(suffix)
    talk.coordinate_transactions(name)
    answer = talk.quietly("init_producer_id", 5, **initiation(name, timeout=timeout))
    assert answer["error_code"] == "none", answer
    return name, (answer["producer_id"], answer["producer_epoch"])


def initiation(name: str | None, producer: Producer = (-1, -1), timeout: int = TIMEOUT_MS) -> Plain:
    return {
        "transactional_id": name,
        "transaction_timeout": timeout,
        "producer_id": producer[0],
        "producer_epoch": producer[1],
    }


def addition(version: int, name: str, producer: Producer, *topics: Plain, verify_only: bool = False) -> Plain:
    if version >= 4:
        transaction = {
            "transactional_id": name,
            "producer_id": producer[0],
            "producer_epoch": producer[1],
            "verify_only": verify_only,
            "topics": topics,
        }
        return {"transactions": [transaction]}
    return {
        "v3_and_below_transactional_id": name,
        "v3_and_below_producer_id": producer[0],
        "v3_and_below_producer_epoch": producer[1],
        "v3_and_below_topics": topics,
    }


def ending(name: str, producer: Producer, *, committed: bool) -> Plain:
    return {
        "transactional_id": name,
        "producer_id": producer[0],
        "producer_epoch": producer[1],
        "committed": committed,
    }


def here(talk: Talk, *partitions: int) -> Plain:
    return {"name": talk.topic(), "partitions": partitions or (0,)}


def sorted_results(answer: Any) -> Any:
    """Kafka answers topics and partitions in the order of a hash map."""
    if isinstance(answer, dict):
        answer = {key: sorted_results(each) for key, each in answer.items()}
    if isinstance(answer, list):
        answer = sorted((sorted_results(each) for each in answer), key=_by_name)
    return answer


def _by_name(each: Any) -> str:
    if isinstance(each, dict):
        return str(each.get("name", each.get("topic", each.get("partition_index", ""))))
    return str(each)


def produce(
    talk: Talk,
    label: str,
    version: int,
    name: str | None,
    producer: Producer,
    sequence: int = 0,
    *,
    partition: int = 0,
    attributes: int = TRANSACTIONAL,
) -> str:
    """One batch of one record; gives the code."""
    batch = Batch(
        [Record(b"v%d" % sequence)],
        attributes=attributes,
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=sequence,
    )
    topic_id = talk.wait_for_metadata(talk.topic(), lambda _topic: True)["topic_id"]
    data = [
        {
            "name": talk.topic(),
            "topic_id": topic_id,
            "partition_data": [{"index": partition, "records": batch.encode()}],
        }
    ]
    fields = {"transactional_id": name, "acks": -1, "timeout": 10_000, "topic_data": data}
    answer = talk.ask(label, "produce", version, **fields)
    code: str = answer["responses"][0]["partition_responses"][0]["error_code"]
    return code


def settled(talk: Talk, label: str, name: str) -> None:
    """The id, once its transaction is complete."""
    deadline = time.monotonic() + WAIT_S
    while True:
        answer = talk.quietly("describe_transactions", 0, transactional_ids=(name,))
        found = answer["transaction_states"][0]
        if not found["transaction_state"].startswith("Prepare"):
            if found["transaction_start_time"] > 0:
                found["transaction_start_time"] = "a time"
            talk.note(label, sorted_results(answer))
            return
        assert time.monotonic() < deadline, found


def read(talk: Talk, label: str, partition: int = 0) -> None:
    """What a consumer of committed records sees, and where it ends."""
    asked = [{"name": talk.topic(), "partitions": [{"partition_index": partition, "timestamp": -1}]}]
    for isolation in (0, 1):
        talk.ask(
            f"{label}: end for isolation {isolation}",
            "list_offsets",
            5,
            replica_id=-1,
            isolation_level=isolation,
            topics=asked,
        )
        topics = [
            {
                "topic": talk.topic(),
                "partitions": [{"partition": partition, "fetch_offset": 0, "partition_max_bytes": 1 << 20}],
            }
        ]
        fields = {"max_wait": 0, "min_bytes": 0, "max_bytes": 1 << 20, "replica_id": -1, "session_epoch": -1}
        answer = talk.quietly("fetch", 11, topics=topics, isolation_level=isolation, session_id=0, rack_id="", **fields)
        found = answer["responses"][0]["partitions"][0]
        for batch in found.get("aborted_transactions") or []:
            batch["producer_id"] = "its"
        talk.note(f"{label}: fetched with isolation {isolation}", without_clocks(found))


def without_clocks(found: Plain) -> Plain:
    """Markers carry the time they were written, and a producer id of the broker's choice."""
    batches = summaries(found["records"]) or []
    for batch in batches:
        producer = batch["producer"]
        assert isinstance(producer, list)
        producer[0] = "its"
        if int(str(batch["attributes"])) & 0x20:
            batch["base_timestamp"] = batch["max_timestamp"] = "a time"
            batch["crc_ok"] = True
    return {**found, "records": batches}


@case(range(1, 7))
def find_coordinator_of_a_transaction(talk: Talk, version: int) -> None:
    """Kind 1, alone and in a list."""
    talk.coordinate_transactions(talk.topic())
    talk.ask("found", "find_coordinator", version, key="t", key_type=1, coordinator_keys=["t", "u", ""])


@case(range(6))
def init_producer_id_of_a_transaction(talk: Talk, version: int) -> None:
    """New, again, going on, fenced, and everything that is wrong with a request."""
    name, _ = begin(talk)
    talk.ask("again", "init_producer_id", version, **initiation(name))
    producer = talk.quietly("init_producer_id", 5, **initiation(name))
    own = (producer["producer_id"], producer["producer_epoch"])
    for label, had in {
        "going on": own,
        "going on, asked again": own,
        "an older epoch": (own[0], own[1] - 1),
        "a newer epoch": (own[0], own[1] + 9),
        "another id": (own[0] + 1_000_000, own[1]),
        "an id without an epoch": (own[0], -1),
        "an epoch without an id": (-1, 3),
    }.items():
        talk.ask(label, "init_producer_id", version, **initiation(name, had))
    for timeout in (0, -1, 900_000, 900_001, 2**31 - 1):
        talk.ask(f"time-out {timeout}", "init_producer_id", version, **initiation(talk.topic("-time"), timeout=timeout))
    talk.ask("no name", "init_producer_id", version, **initiation(""))
    talk.ask("unknown to the coordinator", "init_producer_id", version, **initiation(talk.topic("-new"), own))


@case(range(6))
def add_partitions_to_txn(talk: Talk, version: int) -> None:
    """Known and unknown partitions, the broker's own, twice, by others."""
    talk.create(partitions=3)
    name, own = begin(talk)

    def add(label: str, *topics: Plain, who: Producer = own, whose: str = name, **options: Any) -> None:
        fields = addition(version, whose, who, *topics, **options)
        talk.note(label, sorted_results(talk.quietly("add_partitions_to_txn", version, **fields)))

    add("first", here(talk, 0, 1))
    add("again", here(talk, 1))
    add("one more", here(talk, 2, 2), here(talk, 0))
    add("nothing")
    add("a topic without partitions", {"name": talk.topic(), "partitions": ()})
    add("unknown partition", here(talk, 0, 9))
    add("unknown topic", here(talk, 0), {"name": talk.topic("-none"), "partitions": (0,)})
    add("the broker's own", here(talk, 0), {"name": "__transaction_state", "partitions": (0,)})
    add("an older epoch", here(talk), who=(own[0], own[1] - 1))
    add("another id", here(talk), who=(own[0] + 1_000_000, own[1]))
    add("no name", here(talk), whose="")
    add("unknown name", here(talk), whose=talk.topic("-new"))
    settled(talk, "as it is", name)
    if version >= 4:
        add("verified", here(talk, 0, 1, 2), verify_only=True)
        name, own = begin(talk, "-2")
        add("not added", here(talk, 0, 1), whose=name, who=own, verify_only=True)
        talk.note(
            "begun by that",
            talk.quietly("describe_transactions", 0, transactional_ids=(name,))["transaction_states"][0][
                "transaction_state"
            ],
        )


@case(range(5))
def add_offsets_to_txn(talk: Talk, version: int) -> None:
    """The shard of a group."""
    talk.coordinate(talk.topic("-group"))
    name, own = begin(talk)
    for label, whose, who in (
        ("added", name, own),
        ("again", name, own),
        ("an older epoch", name, (own[0], own[1] - 1)),
        ("another id", name, (own[0] + 1_000_000, own[1])),
        ("no name", "", own),
        ("unknown name", talk.topic("-new"), own),
    ):
        fields = {"transactional_id": whose, "producer_id": who[0], "producer_epoch": who[1]}
        talk.ask(label, "add_offsets_to_txn", version, group_id=talk.topic("-group"), **fields)
    settled(talk, "as it is", name)


@case(range(6))
def end_txn(talk: Talk, version: int) -> None:
    """Ends of v1 and v2: of nothing, of something, again, by others. Every state: the table."""
    talk.create()
    name, own = begin(talk)

    def end(label: str, who: Producer, whose: str = name, *, committed: bool = True) -> Any:
        return talk.ask(label, "end_txn", version, **ending(whose, who, committed=committed))

    end("commit of nothing", own)
    answer = end("abort of nothing", own, committed=False)
    if version >= 5:
        settled(talk, "aborted", name)
        own = (answer["producer_id"], answer["producer_epoch"])
    for committed in (True, False):
        talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk)))
        end("an older epoch", (own[0], own[1] - 1), committed=committed)
        answer = end("the end", own, committed=committed)
        settled(talk, "ended", name)
        end("again", own, committed=committed)
        if version >= 5:
            own = (answer["producer_id"], answer["producer_epoch"])
        end("the other end again", (own[0], own[1] - (version >= 5)), committed=not committed)
    end("another id", (own[0] + 1_000_000, own[1]))
    end("no name", own, "")
    end("unknown name", own, talk.topic("-new"))


@case(range(3, 14))
def produce_in_a_transaction(talk: Talk, version: int) -> None:
    """v1 adds first, v2 with the first write; committed, aborted, open; what readers see at each step."""
    talk.create(partitions=2)
    name, own = begin(talk)
    sequence = 0
    newer = version >= 12

    def add() -> None:
        if not newer:
            talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk)))

    produce(talk, "without a name", version, None, own)
    if not newer:
        produce(talk, "not added", version, name, own)
    for committed in (True, False, True):
        add()
        produce(talk, "first", version, name, own, sequence)
        produce(talk, "second", version, name, own, sequence + 1)
        if not newer:
            produce(talk, "another partition, not added", version, name, own, sequence, partition=1)
        read(talk, "open")
        answer = talk.quietly("end_txn", 5 if newer else 3, **ending(name, own, committed=committed))
        assert answer["error_code"] == "none", answer
        settled(talk, "ended", name)
        read(talk, "ended")
        if newer:
            produce(talk, "late", version, name, own, sequence + 2)
            own = (answer["producer_id"], answer["producer_epoch"])
            sequence = 0
        else:
            sequence += 2
            produce(talk, "not added any more", version, name, own, sequence)
    add()
    produce(talk, "open for good", version, name, own, sequence)
    fenced = own
    while talk.quietly("init_producer_id", 5, **initiation(name))["error_code"] == "concurrent_transactions":
        pass
    produce(talk, "a zombie", version, name, fenced, sequence + 1)
    produce(talk, "unknown id", version, name, (own[0] + 1_000_000, 0))
    produce(talk, "not transactional", version, None, (own[0], own[1] + 9), attributes=0)
    settled(talk, "in the end", name)
    read(talk, "in the end")


@case(range(6))
def txn_offset_commit(talk: Talk, version: int) -> None:
    """Offsets in a transaction: pending, committed, aborted; unknown topics; of others; without the shard (v1)."""
    talk.create(partitions=2)
    group = talk.topic("-group")
    talk.coordinate(group)
    name, own = begin(talk)

    def add() -> None:
        if version < 5:
            fields = {"transactional_id": name, "producer_id": own[0], "producer_epoch": own[1]}
            talk.quietly("add_offsets_to_txn", 3, group_id=group, **fields)

    def commit(label: str, *topics: Plain, who: Producer | None = None, whose: str = name, **fields: Any) -> None:
        producer = own if who is None else who
        defaults: Plain = {"group_id": group, "generation_id": -1, "member_id": "", "group_instance_id": None}
        given = {
            "transactional_id": whose,
            "producer_id": producer[0],
            "producer_epoch": producer[1],
            **defaults,
            **fields,
        }
        answer = talk.quietly("txn_offset_commit", version, topics=topics, **given)
        talk.note(label, sorted_results(answer))

    def offset(value: int, *partitions: int, topic: str = talk.topic(), metadata: str = "m") -> Plain:
        return {
            "name": topic,
            "partitions": [
                {"partition_index": index, "committed_offset": value, "committed_metadata": metadata}
                for index in partitions or (0,)
            ],
        }

    def fetch(label: str) -> None:
        asked = [{"group_id": group, "topics": [{"name": talk.topic(), "partition_indexes": [0, 1]}]}]
        for stable in (False, True):
            talk.ask(f"{label}, stable {stable}", "offset_fetch", 8, groups=asked, require_stable=stable)

    commit("without the shard", offset(1))
    for committed in (True, False):
        add()
        commit("offsets", offset(3, 0, 1))
        fetch("pending")
        answer = talk.quietly("end_txn", 5 if version >= 5 else 3, **ending(name, own, committed=committed))
        assert answer["error_code"] == "none", answer
        settled(talk, "ended", name)
        fetch("ended")
        if version >= 5:
            commit("late", offset(9))
            own = (answer["producer_id"], answer["producer_epoch"])
    add()
    commit("unknown topic", offset(5), offset(5, topic=talk.topic("-none")))
    commit("unknown partition", offset(6, 0, 7))
    commit("nothing that exists", offset(6, 7))
    commit("too much metadata", offset(7, metadata="x" * 5000))
    commit("an older epoch", offset(8), who=(own[0], own[1] - 1))
    commit("another id", offset(8), who=(own[0] + 1_000_000, own[1]))
    commit("no group", offset(8), group_id="")
    commit("unknown name", offset(8), whose=talk.topic("-new"), who=(own[0] + 1_000_000, 0))
    if version >= 3:
        commit("an unknown member", offset(8), member_id="nobody", generation_id=1)
        commit("a generation of nobody", offset(8), generation_id=3)
    fetch("in the end")


@case([0])
def describe_transactions(talk: Talk, _version: int) -> None:
    """What is there, what is not."""
    talk.create(partitions=2)
    name, own = begin(talk)
    settled(talk, "empty", name)
    talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk, 0, 1)))
    settled(talk, "ongoing", name)
    talk.ask("unknown", "describe_transactions", 0, transactional_ids=(talk.topic("-new"), ""))
    talk.ask("none", "describe_transactions", 0, transactional_ids=())


@case(range(3))
def list_transactions(talk: Talk, version: int) -> None:
    """By state, by producer, by time, by pattern."""
    talk.create()
    names = {}
    for suffix in ("-a", "-b"):
        name, own = begin(talk, suffix)
        names[suffix] = (name, own)
    name, own = names["-b"]
    talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk)))
    mine = {producer[0]: suffix for suffix, (_, producer) in names.items()}

    def listed(label: str, **filters: Any) -> None:
        fields = {"state_filters": (), "producer_id_filters": tuple(mine), "duration_filter": -1, **filters}
        answer = talk.ask(label, "list_transactions", version, **fields)
        if isinstance(answer, dict):
            answer["transaction_states"].sort(key=lambda each: each["transactional_id"])

    listed("both")
    listed("one", producer_id_filters=(own[0],))
    listed("ongoing", state_filters=("Ongoing",))
    listed("empty or complete", state_filters=("Empty", "CompleteCommit"))
    listed("no such state", state_filters=("Nonsense", "Empty", "ongoing"))
    if version >= 1:
        listed("long since", duration_filter=3_600_000)
        listed("of any time", duration_filter=0)
    if version >= 2:
        listed("pattern of one", transactional_id_pattern=f"{talk.topic()}-[b-z]")
        listed("not the whole", transactional_id_pattern=talk.topic())
        listed("no pattern", transactional_id_pattern="")
        listed("broken", transactional_id_pattern="(")
