"""Transactions where something else happens to their partitions, producers or groups meanwhile."""

from __future__ import annotations

import time
from typing import Any

from tests.wire.batches import TRANSACTIONAL, Batch, Record
from tests.wire.cases.committed_reads import end_of
from tests.wire.cases.producers import describe
from tests.wire.cases.transactions import (
    Producer,
    addition,
    begin,
    ending,
    here,
    initiation,
    produce,
    read,
    settled,
    sorted_results,
)
from tests.wire.client import Plain
from tests.wire.differential import WAIT_S, Talk, case, gone


def batch(producer: Producer, sequence: int = 0, attributes: int = TRANSACTIONAL) -> bytes:
    return Batch(
        [Record(b"v%d" % sequence)],
        attributes=attributes,
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=sequence,
    ).encode()


def send(
    talk: Talk, label: str, version: int, name: str | None, parts: dict[tuple[str, int], bytes], acks: int = -1
) -> Any:
    """One request with a batch for each of the partitions (suffix of the topic, index)."""
    topics: dict[str, Plain] = {}
    for (suffix, index), records in parts.items():
        topic = topics.setdefault(suffix, {"name": talk.topic(suffix), "topic_id": None, "partition_data": []})
        topic["partition_data"].append({"index": index, "records": records})
    if version >= 13:
        for topic in topics.values():
            topic["topic_id"] = talk.wait_for_metadata(topic["name"], lambda _topic: True)["topic_id"]
    fields = {"transactional_id": name, "acks": acks, "timeout": 10_000, "topic_data": list(topics.values())}
    answer = talk.quietly("produce", version, **fields)
    answer["responses"].sort(key=lambda each: str(each.get("name")))
    talk.note(label, answer)
    return answer


def stable_end(talk: Talk, label: str, *partitions: int) -> None:
    """How far readers of committed records get."""
    for partition in partitions:
        for isolation in (0, 1):
            talk.note(f"{label}: {partition}, isolation {isolation}", end_of(talk, isolation, partition)["offset"])


@case([3, 11, 12, 13])
def produce_of_two_producers(talk: Talk, version: int) -> None:
    """One request speaks for one producer: whose transaction is asked for would else let others in by the way."""
    talk.create(partitions=3)
    name, own = begin(talk)
    other_name, other = begin(talk, "-other")
    nobody = (own[0] + 1_000_000, 0)
    for who, whose in ((own, name), (other, other_name)):
        talk.quietly("add_partitions_to_txn", 3, **addition(3, whose, who, here(talk, 0, 1)))
    for label, second in (("another", other), ("nobody", nobody), ("of an older epoch", (own[0], own[1] - 1))):
        parts = {("", 0): batch(own), ("", 1): batch(second)}
        send(talk, f"with {label}", version, name, parts)
        send(talk, f"{label} first", version, name, dict(reversed(parts.items())))
    send(talk, "idempotent beside it", version, name, {("", 0): batch(own), ("", 1): batch(nobody, attributes=0)})
    send(talk, "plain beside it", version, name, {("", 0): batch(own, 1), ("", 1): Batch().encode()})
    send(talk, "in a transaction of its own", version, name, {("", 0): batch(own, 2), ("", 1): batch(other)})
    send(talk, "only another's", version, name, {("", 2): batch(other)})
    if version < 13:
        parts = {("", 0): batch(own, 2), ("-none", 0): batch(other)}
        send(talk, "where nothing is", version, name, parts)
    for whose, who in ((name, own), (other_name, other)):
        talk.ask(f"{whose} ends", "end_txn", 3, **ending(whose, who, committed=True))
        settled(talk, f"{whose} has ended", whose)
    stable_end(talk, "in the end", 0, 1, 2)
    describe(talk, "in the end", {"name": talk.topic(), "partition_indexes": [0, 1, 2]})


@case([11, 12])
def produce_in_a_transaction_without_a_producer(talk: Talk, version: int) -> None:
    """A transactional batch that names no producer."""
    talk.create()
    name, own = begin(talk)
    for attributes in (TRANSACTIONAL, TRANSACTIONAL | 0x20):
        for who in ((-1, -1), (-1, 0), (own[0], -1), (-5, 0)):
            produce(talk, f"{attributes} of {who[0] < 0}, {who[1]}", version, name, who, attributes=attributes)
    produce(talk, "without a sequence", version, name, own, -1)
    stable_end(talk, "in the end", 0)


@case([11, 12])
def produce_in_a_transaction_with_other_acks(talk: Talk, version: int) -> None:
    """acks=1 is answered; acks=0 is not, and what is refused closes the connection."""
    talk.create()
    name, own = begin(talk)
    talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk)))
    send(talk, "one", version, name, {("", 0): batch(own)}, acks=1)
    send(talk, "one again", version, name, {("", 0): batch(own)}, acks=1)
    send(talk, "out of order", version, name, {("", 0): batch(own, 7)}, acks=1)
    send(talk, "no such acks", version, name, {("", 0): batch(own, 1)}, acks=2)
    talk.ask("commit", "end_txn", 3, **ending(name, own, committed=True))
    settled(talk, "committed", name)
    read(talk, "committed")


@case([3, 5])
def end_txn_of_a_topic_that_is_gone(talk: Talk, version: int) -> None:
    """Deleted, deleted and made again; the other partition gets its marker, the transaction ends."""
    for again in (False, True):
        suffix = "-again" if again else "-gone"
        talk.create(suffix)
        if not again:
            talk.create()
        name, own = begin(talk, f"{suffix}-id")
        topic = {"name": talk.topic(suffix), "partitions": (0,)}
        talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, topic, here(talk)))
        send(talk, f"sent {again}", 11, name, {(suffix, 0): batch(own), ("", 0): batch(own)})
        talk.quietly("delete_topics", 5, topic_names=[talk.topic(suffix)], timeout=10_000)
        talk.wait_for_metadata(talk.topic(suffix), gone)
        if again:
            talk.create(suffix)
        talk.ask(f"end {again}", "end_txn", version, **ending(name, own, committed=True))
        settled(talk, f"ended {again}", name)
        stable_end(talk, f"ended {again}", 0)
        if again:
            place = {"name": talk.topic(suffix), "partitions": [{"partition_index": 0, "timestamp": -1}]}
            answer = talk.quietly("list_offsets", 5, topics=[place], replica_id=-1, isolation_level=1)
            talk.note("of the new topic", answer)
        while talk.quietly("init_producer_id", 5, **initiation(name))["error_code"] != "none":
            pass


@case([0, 2])
def delete_records_of_open_transactions(talk: Talk, version: int) -> None:
    """Up to, inside and behind a transaction that is open; it goes on, and ends, and the next begins."""
    talk.create()
    name, own = begin(talk)
    for sequence in range(3):
        talk.produce(talk.topic(), Batch())
        talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk)))
        send(talk, f"sent {sequence}", 11, name, {("", 0): batch(own, sequence)})
    for offset in (1, 2, 3, 6, -1):
        place = {"name": talk.topic(), "partitions": [{"partition_index": 0, "offset": offset}]}
        talk.ask(f"deleted to {offset}", "delete_records", version, topics=[place], timeout=10_000)
        stable_end(talk, f"deleted to {offset}", 0)
    describe(talk, "deleted", {"name": talk.topic(), "partition_indexes": [0]})
    talk.produce(talk.topic(), Batch())
    stable_end(talk, "one more", 0)
    send(talk, "goes on", 11, name, {("", 0): batch(own, 3)})
    talk.ask("abort", "end_txn", 3, **ending(name, own, committed=False))
    settled(talk, "aborted", name)
    stable_end(talk, "aborted", 0)


@case([3, 5])
def end_txn_of_clients_that_change(talk: Talk, version: int) -> None:
    """One id, in the hands of a client of before KIP-890 and of one after it, in turn, with and without a new start."""
    talk.create(partitions=2)
    name, own = begin(talk)
    newer = version >= 5
    sequences = 0
    for turn in range(6):
        adds = (turn % 2 == 0) == newer
        if not adds:
            fields = addition(3, name, own, here(talk))
            talk.note(f"{turn} added", sorted_results(talk.quietly("add_partitions_to_txn", 3, **fields)))
        produce(talk, f"{turn} sent", 12 if adds else 11, name, own, sequences)
        answer = talk.ask(f"{turn} ended", "end_txn", 5 if adds else 3, **ending(name, own, committed=turn != 2))
        settled(talk, f"{turn} settled", name)
        sequences += 1
        if adds and answer["error_code"] == "none":
            own, sequences = (answer["producer_id"], answer["producer_epoch"]), 0
        if turn == 3:
            answer = talk.ask("new start", "init_producer_id", 5, **initiation(name))
            own, sequences = (answer["producer_id"], answer["producer_epoch"]), 0
    read(talk, "in the end")


@case([3, 5])
def txn_offset_commit_of_groups_that_go(talk: Talk, version: int) -> None:
    """The group, or the offset, is deleted while the transaction is open; it commits."""
    talk.create(partitions=2)
    group = talk.topic("-group")
    talk.coordinate(group)
    name, own = begin(talk)

    def commit(label: str, value: int, *partitions: int) -> None:
        if version < 5:
            fields = {"transactional_id": name, "producer_id": own[0], "producer_epoch": own[1]}
            talk.quietly("add_offsets_to_txn", 3, group_id=group, **fields)
        offsets = [
            {"partition_index": index, "committed_offset": value, "committed_metadata": "m"} for index in partitions
        ]
        given = {"transactional_id": name, "producer_id": own[0], "producer_epoch": own[1], "group_id": group}
        given |= {"generation_id": -1, "member_id": "", "group_instance_id": None}
        answer = talk.quietly(
            "txn_offset_commit", version, topics=[{"name": talk.topic(), "partitions": offsets}], **given
        )
        talk.note(label, sorted_results(answer))

    def plainly(value: int) -> None:
        place = [{"partition_index": 0, "committed_offset": value, "committed_metadata": "p"}]
        fields = {"group_id": group, "generation_id_or_member_epoch": -1, "member_id": "", "group_instance_id": None}
        talk.ask(f"plainly {value}", "offset_commit", 8, topics=[{"name": talk.topic(), "partitions": place}], **fields)

    def fetch(label: str) -> None:
        asked = [{"group_id": group, "topics": [{"name": talk.topic(), "partition_indexes": [0, 1]}]}]
        for stable in (False, True):
            talk.ask(f"{label}, stable {stable}", "offset_fetch", 8, groups=asked, require_stable=stable)

    def end(label: str, *, committed: bool) -> None:
        nonlocal own
        deadline = time.monotonic() + WAIT_S
        newer = version >= 5
        answer = talk.ask(label, "end_txn", 5 if newer else 3, **ending(name, own, committed=committed))
        if newer:
            own = (answer["producer_id"], answer["producer_epoch"])
        settled(talk, f"{label}: settled", name)
        while "unstable" in repr(_fetched(talk, group)):
            assert time.monotonic() < deadline
        fetch(label)

    commit("pending", 3, 0, 1)
    talk.ask("the group goes", "delete_groups", 2, groups_names=[group])
    fetch("the group is gone")
    end("committed without the group", committed=True)
    plainly(4)
    commit("pending again", 5, 0, 1)
    place = {"name": talk.topic(), "partitions": [{"partition_index": 0}]}
    talk.ask("the offset goes", "offset_delete", 0, group_id=group, topics=[place])
    fetch("the offset is gone")
    end("committed without the offset", committed=True)
    commit("pending behind", 6, 0, 1)
    plainly(7)
    fetch("a plain one above")
    end("committed below the plain one", committed=True)
    commit("pending once more", 8, 0, 1)
    talk.ask("the group goes again", "delete_groups", 2, groups_names=[group])
    plainly(9)
    end("aborted", committed=False)


def _fetched(talk: Talk, group: str) -> Plain:
    asked = [{"group_id": group, "topics": [{"name": talk.topic(), "partition_indexes": [0, 1]}]}]
    return talk.quietly("offset_fetch", 8, groups=asked, require_stable=True)
