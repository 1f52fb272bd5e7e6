"""What is refused until it is whole: transactions, in the three places where a client can begin one.

Error 53, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, is fatal in the Java client and in librdkafka: a program stops at once
and says why, where a retriable error would let it wait for ever.
"""

from __future__ import annotations

import pytest

from tests.processes import Process
from tests.wire import batches
from tests.wire.batches import Batch
from tests.wire.client import Connection
from tests.wire.differential import Talk
from tests.wire.requests import EVERY_VERSION

pytestmark = pytest.mark.ottla
REFUSED = "transactional_id_authorization_failed"


def versions(api: str) -> list[int]:
    return [version for name, version in EVERY_VERSION if name == api]


@pytest.mark.parametrize("version", [version for version in versions("find_coordinator") if version >= 1])
def test_transaction_coordinators_are_not_found(broker: Process, version: int) -> None:
    """FindCoordinator of kind 1, alone and in a list."""
    with Connection(broker.host, broker.port) as connection:
        answer = connection.ask("find_coordinator", version, key="t", key_type=1, coordinator_keys=["t", "u"])
    found = answer["coordinators"] if version >= 4 else [answer]
    assert [(each["error_code"], each["node_id"]) for each in found] == [(REFUSED, -1)] * len(found)


@pytest.mark.parametrize("version", versions("init_producer_id"))
def test_transactional_producers_get_no_id(broker: Process, version: int) -> None:
    """InitProducerId with a transactional id."""
    with Connection(broker.host, broker.port) as connection:
        answer = connection.ask("init_producer_id", version, transactional_id="t", transaction_timeout=1000)
    assert (answer["error_code"], answer["producer_id"], answer["producer_epoch"]) == (REFUSED, -1, -1)


@pytest.mark.parametrize("version", versions("produce"))
def test_transactional_batches_are_not_taken(broker: Process, unique: str, version: int) -> None:
    """A batch with the transactional bit, in a request with a transactional id; nothing of it is in the log."""
    talk = Talk(broker, unique)
    topic_id = talk.create()
    batch = Batch(attributes=batches.TRANSACTIONAL, producer_id=7, producer_epoch=0, base_sequence=0).encode()
    data = [{"name": unique, "topic_id": topic_id, "partition_data": [{"index": 0, "records": batch}]}]
    answer = talk.quietly("produce", version, transactional_id="t", acks=-1, timeout=1000, topic_data=data)
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == REFUSED
    asked = [{"name": unique, "partitions": [{"partition_index": 0, "timestamp": -1}]}]
    found = talk.quietly("list_offsets", 5, replica_id=-1, topics=asked)
    assert found["topics"][0]["partitions"][0]["offset"] == 0
    talk.close()


def test_transactions_are_not_advertised(broker: Process) -> None:
    """ApiVersions shows none of their APIs and finalizes no `transaction.version`, so that clients do not even try."""
    with Connection(broker.host, broker.port) as connection:
        answer = connection.ask("api_versions", 4, client_software_name="wire", client_software_version="1")
    assert not {24, 25, 26, 28} & {row["api_key"] for row in answer["api_keys"]}
    assert "transaction.version" not in {feature["name"] for feature in answer["finalized_features"]}
