"""Epochs of a producer end at 32767: what happens there, with both brokers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.processes import Process
from tests.wire.cases.transactions import Producer, addition, begin, ending, here, initiation, produce, read, settled
from tests.wire.client import Plain, decode_response, framed, request_bytes
from tests.wire.differential import Talk, differences, settle

# The last one that a producer is given.
LAST = 2**15 - 2
WINDOW = 500


def used_up(talk: Talk, suffix: str, epoch: int = LAST) -> tuple[str, Producer]:
    """A transactional id whose producer has started until it had that epoch."""
    name, own = begin(talk, suffix)
    start = framed(request_bytes("init_producer_id", 5, 1, "wire", initiation(name)))
    answer: Plain = {}
    for at in range(0, epoch, WINDOW):
        count = min(WINDOW, epoch - at)
        talk.connection.send(start * count)
        for _ in range(count):
            answer = decode_response("init_producer_id", 5, talk.connection.receive())[1]
            assert answer["error_code"] == "none", answer
    assert (answer["producer_id"], answer["producer_epoch"]) == (own[0], epoch)
    return name, (own[0], epoch)


def told(answer: Plain) -> Producer:
    return answer["producer_id"], answer["producer_epoch"]


def start(talk: Talk, label: str, name: str, had: Producer = (-1, -1)) -> Producer:
    """InitProducerId until what was open is gone; each refusal but the repeated ones is kept."""
    answer = talk.ask(label, "init_producer_id", 5, **initiation(name, had))
    while answer["error_code"] == "concurrent_transactions":
        answer = talk.quietly("init_producer_id", 5, **initiation(name, had))
    talk.note(f"{label}, in the end", answer)
    return told(answer)


def starts(talk: Talk) -> None:
    """The next start has another producer id; who had the last epoch and asks again gets the same."""
    name, own = used_up(talk, "-starts")
    again = start(talk, "goes on with the last epoch", name, own)
    start(talk, "goes on, asked again", name, own)
    start(talk, "an epoch before", name, (own[0], own[1] - 1))
    start(talk, "a new start", name)
    start(talk, "goes on after that", name, own)
    start(talk, "goes on with what it was given", name, again)


def ends(talk: Talk) -> None:
    """EndTxn of KIP-890 at the last two epochs: the second answers another producer id, which writes at once."""
    talk.create()
    name, own = used_up(talk, "-ends", LAST - 1)
    for turn in range(3):
        produce(talk, f"{turn} sent", 12, name, own)
        before = own
        answer = talk.ask(f"{turn} ended", "end_txn", 5, **ending(name, own, committed=turn != 1))
        own = told(answer)
        settled(talk, f"{turn} settled", name)
        talk.ask(f"{turn} ended again", "end_txn", 5, **ending(name, before, committed=turn != 1))
        talk.ask(f"{turn} the other end", "end_txn", 5, **ending(name, before, committed=turn == 1))
        produce(talk, f"{turn} late", 12, name, before, 1)
    read(talk, "in the end")


def fences(talk: Talk) -> None:
    """A start while a transaction of the last epoch is open, by clients of before and after KIP-890."""
    talk.create()
    name, own = used_up(talk, "-fences")
    produce(talk, "sent", 12, name, own)
    next_own = start(talk, "a start fences", name)
    produce(talk, "the fenced one", 12, name, own, 1)
    talk.ask("the fenced one ends", "end_txn", 5, **ending(name, own, committed=True))
    talk.ask("it ends as before KIP-890", "end_txn", 3, **ending(name, own, committed=True))
    produce(talk, "sent by the next", 12, name, next_own)
    talk.ask("commit", "end_txn", 5, **ending(name, next_own, committed=True))
    settled(talk, "settled", name)
    read(talk, "in the end")


def older_clients(talk: Talk) -> None:
    """Before KIP-890 a transaction keeps its epoch, also the last; going on after an error takes another id."""
    talk.create()
    name, own = used_up(talk, "-older")
    for turn in range(2):
        talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk)))
        produce(talk, f"{turn} sent", 11, name, own, turn)
        talk.ask(f"{turn} ended", "end_txn", 3, **ending(name, own, committed=turn == 0))
        settled(talk, f"{turn} settled", name)
    talk.quietly("add_partitions_to_txn", 3, **addition(3, name, own, here(talk)))
    produce(talk, "open", 11, name, own, 2)
    start(talk, "goes on with one open", name, own)
    read(talk, "in the end")


@pytest.mark.long
@pytest.mark.kafka
@pytest.mark.parametrize("conversation", [starts, ends, fences, older_clients], ids=lambda each: each.__name__)
def test_the_last_epochs(conversation: Any, broker: Process, reference: Process, unique: str) -> None:
    """Every answer is Kafka's."""
    transcripts = []
    for process in (broker, reference):
        talk = Talk(process, unique)
        try:
            talk.coordinate_transactions(unique)
            conversation(talk)
        finally:
            talk.close()
        transcripts.append(settle(talk.transcript))
    found: list[str] = []
    for (label, ours), (_, theirs) in zip(*transcripts, strict=True):
        found += [f"{label}{line}" for line in differences(ours, theirs)]
    assert not found, "\n".join(found)
