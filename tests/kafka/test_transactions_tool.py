"""`kafka-transactions`: Kafka's own tool says the same of Ottla as of Apache Kafka, and ours the same as Kafka's."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import TEST_SETTINGS, MakeBroker
from tests.kafka.broker import KafkaProcess
from tests.kafka.tool_runner import Said
from tests.kafka.tools import Tools
from tests.processes import Process
from tests.wire.cases.transactions import addition, begin, here, produce
from tests.wire.differential import Talk

Run = Callable[..., Said]
# Clock readings, ids that brokers invent, and how long something has been going on.
CLOCK = re.compile(r"\b1\d{12}\b")


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    """One JVM."""
    made = Tools()
    yield made
    made.close()


def java(tools: Tools, broker: Process) -> Run:
    return lambda *arguments: tools.run("transactions", "--bootstrap-server", broker.bootstrap, *arguments)


def ours(broker: Process) -> Run:
    def run(*arguments: str) -> Said:
        command = [sys.executable, "-m", "ottla", "kafka-transactions", "--bootstrap-server", broker.bootstrap]
        said = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return Said(said.returncode, said.stdout, said.stderr)

    return run


def questions(topic: str, name: str) -> list[tuple[str, ...]]:
    """What is asked while a transaction is open; nothing of it changes anything."""
    partition = ("--topic", topic, "--partition", "0")
    return [
        ("list", "--transactional-id-pattern", f"{name}.*"),
        ("list", "--transactional-id-pattern", "no such id"),
        ("list", "--duration-filter", "3600000", "--transactional-id-pattern", name),
        ("describe", "--transactional-id", name),
        ("describe", "--transactional-id", f"{name}-none"),
        ("describe-producers", *partition),
        ("find-hanging", "--topic", topic),
        ("find-hanging",),
        ("find-hanging", "--broker-id", "1", "--partition", "0"),
        ("abort", *partition),
        ("abort", *partition, "--start-offset", "77"),
        ("abort", *partition, "--producer-id", "7"),
        ("abort", *partition, "--producer-id", "7", "--producer-epoch", "0"),
    ]


def settled(said: Said, talk: Talk, producer_id: int) -> Said:
    """Without what cannot be the same twice."""

    def text(lines: str) -> str:
        lines = lines.replace(talk.broker.bootstrap, "BROKER")
        rows = []
        places: list[int] = []
        for line in lines.splitlines():
            cells = [cell.strip() for cell in line.split("\t")]
            cells = ["CLOCK" if CLOCK.fullmatch(cell) else cell for cell in cells]
            if "ProducerId" in cells:
                places = [place for place, cell in enumerate(cells) if cell == "ProducerId"]
            cells = [
                "ID" if cell == str(producer_id) or (place in places and cell.isdigit()) else cell
                for place, cell in enumerate(cells)
            ]
            # How long a transaction has been open stands behind when it began.
            if len(cells) > 7 and cells[6] == "CLOCK":
                cells[7] = "SOME" if cells[7].isdigit() else cells[7]
            rows.append("\t".join(cells))
        # Kafka's tool keeps what it was answered in hash maps.
        return "\n".join(rows[:1] + sorted(rows[1:]))

    return Said(said.code, text(said.out), text(said.err))


def open_transaction(broker: Process, unique: str) -> tuple[Talk, int]:
    """One that began an instant ago."""
    talk = Talk(broker, unique)
    talk.create()
    name, producer = begin(talk)
    talk.quietly("add_partitions_to_txn", 3, **addition(3, name, producer, here(talk)))
    assert produce(talk, "open", 9, name, producer) == "none"
    return talk, producer[0]


@pytest.mark.kafka
def test_kafkas_tool_says_the_same_of_both_brokers(
    tools: Tools, broker: Process, reference: Process, unique: str
) -> None:
    """Asked, then used: the transaction is aborted in its partition, and its producer is fenced."""
    told = []
    for process in (broker, reference):
        talk, producer_id = open_transaction(process, unique)
        run = java(tools, process)
        partition = ("--topic", unique, "--partition", "0")
        commands = [
            *questions(unique, unique),
            ("abort", *partition, "--start-offset", "0"),
            ("describe-producers", *partition),
            ("forceTerminateTransaction", "--transactionalId", unique),
            ("describe", "--transactional-id", unique),
        ]
        told.append([(words, settled(run(*words), talk, producer_id)) for words in commands])
        talk.close()
    assert told[0] == told[1]


@pytest.mark.kafka
def test_our_tool_says_what_kafkas_says(tools: Tools, broker: Process, unique: str) -> None:
    """Of the same broker, word for word; and does the same."""
    talk, producer_id = open_transaction(broker, unique)
    for words in questions(unique, unique):
        mine = settled(ours(broker)(*words), talk, producer_id)
        theirs = settled(java(tools, broker)(*words), talk, producer_id)
        assert (words, mine) == (words, theirs)
    partition = ("--topic", unique, "--partition", "0")
    assert ours(broker)("abort", *partition, "--start-offset", "0") == Said(0, "", "")
    assert "None" in java(tools, broker)("describe-producers", *partition).out
    assert ours(broker)("forceTerminateTransaction", "--transactionalId", unique) == Said(0, "", "")
    assert "Empty" in java(tools, broker)("describe", "--transactional-id", unique).out
    talk.close()


def hanging_transaction(broker: Process, unique: str) -> tuple[Talk, int]:
    """One that a client of before KIP-890 has begun in a partition, and its coordinator knows nothing of."""
    talk = Talk(broker, unique)
    talk.create()
    name, producer = begin(talk)
    assert produce(talk, "hangs", 9, name, producer) == "none"
    return talk, producer[0]


def stable_end(talk: Talk) -> int:
    asked = [{"name": talk.topic(), "partitions": [{"partition_index": 0, "timestamp": -1}]}]
    answer = talk.quietly("list_offsets", 5, topics=asked, replica_id=-1, isolation_level=1)
    return int(answer["topics"][0]["partitions"][0]["offset"])


@pytest.mark.kafka
def test_a_transaction_that_hangs_is_found_and_aborted(
    tools: Tools, make_broker: MakeBroker, tmp_path: Path, unique: str
) -> None:
    """By Kafka's tool and by ours; then readers of committed records get on. It can be there if nobody verifies."""
    settings = {**TEST_SETTINGS, "transaction.partition.verification.enable": "false"}
    reference = KafkaProcess(tmp_path / "reference", settings)
    partition = ("--topic", unique, "--partition", "0")
    told = []
    try:
        reference.start()
        for process in (make_broker(settings), reference):
            talk, producer_id = hanging_transaction(process, unique)
            assert stable_end(talk) == 0
            run = java(tools, process)
            find: list[tuple[str, ...]] = [("find-hanging", "--topic", unique), ("find-hanging", "--broker-id", "1")]
            asked = [*find, ("describe-producers", *partition)]
            before = [settled(run(*words), talk, producer_id) for words in asked]
            if process is not reference:
                assert [settled(ours(process)(*words), talk, producer_id) for words in asked] == before
            assert unique in before[0].out
            after = [
                settled(run(*words), talk, producer_id)
                for words in (("abort", *partition, "--start-offset", "0"), *find, asked[-1])
            ]
            assert stable_end(talk) == 2
            talk.close()
            told.append([*before, *after])
    finally:
        reference.kill()
    assert told[0] == told[1]
