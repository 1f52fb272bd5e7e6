"""A directory that `ottla kafka-storage format` made is opened by Ottla and by Apache Kafka, as that cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.admin import Admin, NewTopic, required
from tests.conftest import TEST_SETTINGS
from tests.kafka.broker import KafkaProcess
from tests.processes import OttlaProcess, Process, write_properties
from tests.tools.play import ours

CLUSTER_ID = "b3R0bGEtZm9ybWF0dGVkLQ"


class DynamicQuorum(KafkaProcess):
    """Apache Kafka that finds its quorum in the directory (KIP-853)."""

    def properties(self) -> dict[str, str]:
        properties = super().properties()
        voters = properties.pop("controller.quorum.voters")
        return {**properties, "controller.quorum.bootstrap.servers": voters.partition("@")[2]}


def formatted(process: KafkaProcess, *flags: str) -> None:
    """Format the directory the process will open, by the file it will read."""
    config = process.folder / "server.properties"
    write_properties(config, process.properties())
    ran = ours("kafka-storage", ["format", "-t", CLUSTER_ID, "-c", str(config), *flags], b"")
    assert ran.code == 0, ran.err


def serves(process: Process) -> None:
    """The broker comes up as the cluster that was asked for, and a topic can be made."""
    process.start()
    try:
        with Admin(process.bootstrap) as admin:
            assert admin.describe_cluster().cluster_id == CLUSTER_ID
            required(admin.create_topics([NewTopic("made", partitions=1)])["made"])
    finally:
        process.stop()


@pytest.mark.kafka
def test_a_quorum_of_one_for_apache_kafka_then_ottla(tmp_path: Path) -> None:
    """--standalone: the first snapshot names the node as voter; Ottla opens what Kafka has made of it."""
    process = DynamicQuorum(tmp_path, TEST_SETTINGS)
    formatted(process, "--standalone")
    serves(process)
    other = OttlaProcess(tmp_path, TEST_SETTINGS)
    other.start()
    try:
        with Admin(other.bootstrap) as admin:
            assert admin.describe_cluster().cluster_id == CLUSTER_ID
            assert [topic.name for topic in admin.list_topics()] == ["made"]
    finally:
        other.stop()


@pytest.mark.long
@pytest.mark.kafka
def test_with_the_voters_in_the_settings(tmp_path: Path) -> None:
    """A static quorum, as before Kafka 4: meta.properties is all there is."""
    process = KafkaProcess(tmp_path, TEST_SETTINGS)
    formatted(process)
    serves(process)


@pytest.mark.ottla
def test_ottla_opens_it_first(tmp_path: Path) -> None:
    """The id of the cluster is the one that was given, with and without the first snapshot."""
    for name, flags in (("static", ()), ("dynamic", ("--standalone",))):
        process = (
            DynamicQuorum(tmp_path / name, TEST_SETTINGS) if flags else KafkaProcess(tmp_path / name, TEST_SETTINGS)
        )
        formatted(process, *flags)
        serves(OttlaProcess(tmp_path / name, TEST_SETTINGS))
