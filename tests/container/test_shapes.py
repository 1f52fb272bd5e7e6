"""Compose files of the kinds people have, run as they are: the entrypoint as a program, asked by a client.

The files in `shapes` are ours, after those that the images' own pages and many repositories show. Each service is
started with its own environment; only the addresses become free ports on loopback, and data goes to a scratch folder.
Seen by a raw connection: what each listener tells its clients, the cluster id, what a topic gets that asks for nothing.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.container.compose import Service, services
from tests.container.program import COMMAND, ContainerProcess, container_environment, endpoints, on_loopback
from tests.wire.client import Connection

SHAPES = Path(__file__).with_name("shapes")
OURS = Path(__file__).parents[2] / "docker" / "compose.yaml"
pytestmark = pytest.mark.ottla


@dataclass
class Expected:
    """What a shape stands for."""

    service: str = "kafka"
    node_id: int = 1
    cluster_id: str | None = None
    partitions: int = 1
    # Settings of a topic that sets none.
    topic: dict[str, str] = field(default_factory=dict)
    # Listener -> what its clients are told, where that is not what the file says.
    told: dict[str, tuple[str, int]] = field(default_factory=dict)
    # Topics that exist after the start, with their partitions.
    topics: dict[str, int] = field(default_factory=dict)
    # Their cleanup.policy, where it is not delete.
    policies: dict[str, str] = field(default_factory=dict)
    # Parts of lines of the log.
    said: tuple[str, ...] = ()


EXPECTED = {
    "ours": Expected(partitions=3),
    "apache-single-node": Expected("broker", cluster_id="4L6g3nShT-eMCtK--X86sw"),
    "apache-file-input": Expected(
        cluster_id="5L6g3nShT-eMCtK--X86sw",
        partitions=5,
        topic={"retention.ms": "3600000"},
        said=("server.properties; variables count over them",),
    ),
    "apache-tuned": Expected(
        partitions=6,
        topic={
            "retention.ms": "86400000",
            "max.message.bytes": "5242880",
            "compression.type": "lz4",
            "cleanup.policy": "compact,delete",
        },
        said=(" DEBUG ", "Kafka Server started: [KafkaServer id=1] started"),
    ),
    "bitnami-kraft": Expected(node_id=0, said=("KAFKA_HEAP_OPTS: no effect, Ottla does not run on a JVM",)),
    "bitnami-cluster-id": Expected(
        cluster_id="abcdefghijklmnopqrstuv",
        told={"PLAINTEXT": (socket.gethostname(), 9092)},
        said=("KAFKA_CLIENT_PASSWORDS, KAFKA_CLIENT_USERS: no effect", "max.request.size (KAFKA_CFG_MAX_REQUEST_SIZE)"),
    ),
    "bitnami-zookeeper": Expected(partitions=2, said=("no ZooKeeper is needed",)),
    "confluent-zookeeper": Expected(
        "broker",
        said=(
            "zookeeper.connect (KAFKA_ZOOKEEPER_CONNECT) has no effect: Ottla keeps its metadata itself",
            "KAFKA_JMX_HOSTNAME, KAFKA_JMX_PORT: no effect",
            "(KAFKA_CONFLUENT_LICENSE_TOPIC_REPLICATION_FACTOR) has no effect: it belongs to Confluent's own server",
        ),
    ),
    "confluent-kraft": Expected("broker", cluster_id="MkU3OEVBNTcwNTJENDM2Qk"),
    "confluent-local": Expected("broker", said=("there is no REST proxy in this image",)),
    "confluent-three-addresses": Expected("kafka1", said=("lets everybody in while there is none",)),
    "wurstmeister-inside-outside": Expected(),
    "wurstmeister-topics": Expected(topics={"orders": 3, "accounts": 1}, policies={"accounts": "compact"}),
    "testcontainers": Expected(cluster_id="4L6g3nShT-eMCtK--X86sw", said=("Transitioning from RECOVERY to RUNNING",)),
}


def service_of(shape: str, name: str, shell: dict[str, str] | None = None) -> Service:
    file = OURS if shape == "ours" else SHAPES / f"{shape}.yaml"
    return services(file, shell or {})[name]


@contextmanager
def container(shape: str, folder: Path) -> Iterator[tuple[ContainerProcess, dict[str, str], dict[str, int]]]:
    """The running service of a shape, the variables it was given and the port of each listener."""
    variables, ports = on_loopback(service_of(shape, EXPECTED[shape].service).environment)
    if not ports:
        # The mounted file of this shape has the listeners.
        ports = mounted_file(folder, variables)
    variables["KAFKA_LOG_DIRS"] = str(folder / "data")
    first = next(port for name, port in ports.items() if name != "CONTROLLER")
    process = ContainerProcess(folder, variables, first)
    try:
        process.start()
        yield process, variables, ports
    finally:
        process.kill()


def mounted_file(folder: Path, variables: dict[str, str]) -> dict[str, int]:
    """A folder as it would be mounted on /mnt/shared/config; returns the ports of its listeners."""
    listeners = {"KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093"}
    changed, ports = on_loopback(listeners)
    (folder / "config").mkdir()
    (folder / "config" / "server.properties").write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
        f"listeners={changed['KAFKA_LISTENERS']}\nadvertised.listeners=PLAINTEXT://mounted:9092\n"
        "num.partitions=2\nlog.retention.hours=1\n"
    )
    variables["KAFKA_MOUNTED_CONF_DIR"] = str(folder / "config")
    return ports


def advertised_by(shape: str, variables: dict[str, str]) -> dict[str, tuple[str, int]]:
    """What clients of each listener are to be told, read from the variables as they were given."""
    for name in ("KAFKA_ADVERTISED_LISTENERS", "KAFKA_CFG_ADVERTISED_LISTENERS"):
        if name in variables:
            return endpoints(variables[name])
    if "KAFKA_ADVERTISED_HOST_NAME" in variables:
        return {"PLAINTEXT": (variables["KAFKA_ADVERTISED_HOST_NAME"], int(variables["KAFKA_PORT"]))}
    return {"PLAINTEXT": ("mounted", 9092)}


@pytest.mark.parametrize("shape", sorted(EXPECTED))
def test_a_compose_file_runs_unchanged(shape: str, tmp_path: Path) -> None:
    """Each listener's clients get its own address back; cluster, defaults and log are what the file asks for."""
    expected = EXPECTED[shape]
    with container(shape, tmp_path) as (process, variables, ports):
        told = advertised_by(shape, variables) | expected.told
        assert told.keys() == ports.keys() - {"CONTROLLER"}
        for name, address in told.items():
            with Connection("127.0.0.1", ports[name]) as connection:
                answer = connection.ask("metadata", 12, topics=[], allow_auto_topic_creation=False)
            (broker,) = answer["brokers"]
            assert (broker["node_id"], broker["host"], broker["port"]) == (expected.node_id, *address), name
            assert expected.cluster_id in (None, answer["cluster_id"])
        if "CONTROLLER" in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", ports["CONTROLLER"]))

        with Connection("127.0.0.1", process.port) as connection:
            partitions, configs = topic_that_asks_for_nothing(connection)
            assert partitions == expected.partitions
            assert {name: configs[name] for name in expected.topic} == expected.topic
            if expected.topics:
                answer = connection.ask("metadata", 12, topics=None, allow_auto_topic_creation=False)
                found = {topic["name"]: len(topic["partitions"]) for topic in answer["topics"]}
                assert found == {**expected.topics, "nothing": partitions}
                resources = [
                    {"resource_type": 2, "resource_name": name, "configuration_keys": ["cleanup.policy"]}
                    for name in found
                ]
                answer = connection.ask("describe_configs", 4, resources=resources)
                policies = {each["resource_name"]: each["configs"][0]["value"] for each in answer["results"]}
                assert policies == dict.fromkeys(found, "delete") | expected.policies

        assert process.ask("health").returncode == 0
        output = process.output()
        assert [part for part in expected.said if part not in output] == []
        assert process.stop() == 0
    assert (tmp_path / "data" / ".kafka_cleanshutdown").exists()


def topic_that_asks_for_nothing(connection: Connection) -> tuple[int, dict[str, str]]:
    """Its number of partitions and its settings."""
    topics = [{"name": "nothing", "num_partitions": -1, "replication_factor": -1}]
    answer = connection.ask("create_topics", 7, topics=topics, timeout=10_000)
    (topic,) = answer["topics"]
    assert topic["error_code"] == "none", topic
    return topic["num_partitions"], {config["name"]: config["value"] for config in topic["configs"]}


@pytest.mark.parametrize(
    "shape, service, said",
    [
        ("refused-tls", "kafka", "SSL://0.0.0.0:9093 speaks SSL, which is not served in this version"),
        ("refused-three-nodes", "kafka-1", "this version runs a single node, so the only voter may be 1@host:port"),
        ("refused-quorum-servers", "kafka-1", "this version runs a single node, which is its own controller"),
        ("refused-three-nodes", "kafka-2", "this version runs a single node, so the only voter may be 2@host:port"),
    ],
)
def test_what_is_not_served_does_not_start(shape: str, service: str, said: str, tmp_path: Path) -> None:
    """Exit code 2 and a sentence, instead of a broker without what protects it."""
    variables = {
        **service_of(shape, service).environment,
        "OTTLA_BIND_ADDRESS": "",
        "KAFKA_LOG_DIRS": str(tmp_path / "d"),
    }
    done = subprocess.run(
        [*COMMAND, "run"],
        env=container_environment(tmp_path, variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "d").exists()


def test_every_shape_is_run_or_refused() -> None:
    """A file that no test reads proves nothing."""
    tested = {
        *(EXPECTED.keys() - {"ours"}),
        "refused-tls",
        "refused-three-nodes",
        "refused-quorum-servers",
        "apache-defaults",
    }
    assert {file.stem for file in SHAPES.glob("*.yaml")} == tested


def test_the_image_alone_listens_where_everybody_expects_it(tmp_path: Path) -> None:
    """`docker run -p 9092:9092` without a variable: shown instead of run, since it is the real port."""
    assert service_of("apache-defaults", "kafka").environment == {}
    done = subprocess.run(
        [*COMMAND, "show"],
        env=container_environment(tmp_path, {"OTTLA_BIND_ADDRESS": ""}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = set(done.stdout.splitlines())
    assert {"listeners=PLAINTEXT://:9092", "advertised.listeners=PLAINTEXT://localhost:9092"} <= lines
    assert "log.dirs=/var/lib/kafka/data" in lines


def test_a_shells_variables_fill_a_compose_file() -> None:
    """`${NAME:-default}` is the shell's value or the default."""
    name = "KAFKA_ADVERTISED_LISTENERS"
    assert "EXTERNAL://127.0.0.1:9092" in service_of("confluent-three-addresses", "kafka1").environment[name]
    shell = {"DOCKER_HOST_IP": "10.1.2.3"}
    assert "EXTERNAL://10.1.2.3:9092" in service_of("confluent-three-addresses", "kafka1", shell).environment[name]
