"""The table of answers to transactional requests (`tests/coordinator/transaction_table`), played on a socket.

Apache Kafka answers every line of it. The states between decision and markers are held open there by a trick: a marker
of a coordinator epoch far ahead, after which the partition refuses the coordinator's own, and Kafka gives up (Ottla
does not, and completes).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.coordinator.transaction_table import STATES, TABLE, TIMEOUT_MS, Outcome, play
from tests.processes import Process
from tests.wire.client import Connection, Plain
from tests.wire.differential import Talk

WAIT_S = 20
VERSIONS = {"v1": 4, "v2": 5}
AHEAD = 1000


class WireDriver:
    """A broker."""

    def __init__(self, talk: Talk) -> None:
        self.connection: Connection = talk.connection
        talk.create()
        self.topic = talk.name
        self.held: set[str] = set()

    def init(self, name: str, producer: tuple[int, int]) -> Outcome:
        answer = self.connection.ask(
            "init_producer_id",
            5,
            transactional_id=name,
            transaction_timeout=TIMEOUT_MS,
            producer_id=producer[0],
            producer_epoch=producer[1],
        )
        return Outcome(answer["error_code"], (answer["producer_id"], answer["producer_epoch"]))

    def add(self, name: str, producer: tuple[int, int], version: str) -> Outcome:
        if version == "v2":
            return self._add_as_broker(name, producer, verify_only=False)
        answer = self.connection.ask(
            "add_partitions_to_txn",
            3,
            v3_and_below_transactional_id=name,
            v3_and_below_producer_id=producer[0],
            v3_and_below_producer_epoch=producer[1],
            v3_and_below_topics=[{"name": self.topic, "partitions": (0,)}],
        )
        return _only_partition(answer["results_by_topic_v3_and_below"])

    def verify(self, name: str, producer: tuple[int, int]) -> Outcome:
        return self._add_as_broker(name, producer, verify_only=True)

    def _add_as_broker(self, name: str, producer: tuple[int, int], *, verify_only: bool) -> Outcome:
        transaction = {
            "transactional_id": name,
            "producer_id": producer[0],
            "producer_epoch": producer[1],
            "verify_only": verify_only,
            "topics": [{"name": self.topic, "partitions": (0,)}],
        }
        answer = self.connection.ask("add_partitions_to_txn", 5, transactions=[transaction])
        return _only_partition(answer["results_by_transaction"][0]["topic_results"])

    def end(self, name: str, producer: tuple[int, int], version: str, *, commits: bool) -> Outcome:
        answer = self.connection.ask(
            "end_txn",
            VERSIONS[version],
            transactional_id=name,
            producer_id=producer[0],
            producer_epoch=producer[1],
            committed=commits,
        )
        told = (answer["producer_id"], answer["producer_epoch"]) if version == "v2" else None
        return Outcome(answer["error_code"], told)

    def hold_markers(self, name: str, producer: tuple[int, int]) -> None:
        marker = {
            "producer_id": producer[0],
            "producer_epoch": producer[1],
            "transaction_result": True,
            "topics": [{"name": self.topic, "partition_indexes": (0,)}],
            "coordinator_epoch": AHEAD,
        }
        answer = self.connection.ask("write_txn_markers", 1, markers=[marker])
        assert answer["markers"][0]["topics"][0]["partitions"][0]["error_code"] == "none", answer
        self.held.add(name)

    def state(self, name: str) -> tuple[str, int, int] | None:
        deadline = time.monotonic() + WAIT_S
        while True:
            answer = self.connection.ask("describe_transactions", 0, transactional_ids=(name,))
            found: Plain = answer["transaction_states"][0]
            if found["error_code"] == "transactional_id_not_found":
                return None
            state = found["transaction_state"]
            if name in self.held or not state.startswith("Prepare"):
                return state, found["producer_id"], found["producer_epoch"]
            assert time.monotonic() < deadline, found


def _only_partition(topics: list[Plain]) -> Outcome:
    return Outcome(topics[0]["results_by_partition"][0]["partition_error_code"])


def talking(broker: Process, name: str) -> Iterator[Talk]:
    talk = Talk(broker, name)
    talk.coordinate_transactions(name)
    yield talk
    talk.close()


@pytest.mark.kafka
def test_kafka_answers_as_the_table_says(reference: Process, unique: str) -> None:
    """Every line, also those between decision and markers."""
    for talk in talking(reference, unique):
        assert play(WireDriver(talk), unique) == TABLE.read_text()


def test_the_broker_answers_as_the_table_says(broker: Process, unique: str) -> None:
    """Every line but those that only Kafka can be held in."""
    reachable = tuple(state for state in STATES if not state.startswith("Prepare"))
    expected = "".join(line for line in TABLE.read_text().splitlines(keepends=True) if not line.startswith("Prepare"))
    for talk in talking(broker, unique):
        assert play(WireDriver(talk), unique, reachable) == expected
