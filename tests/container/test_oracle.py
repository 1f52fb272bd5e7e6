"""Apache Kafka's own classes as the last word on variables and listeners: its image's own, and KafkaConfig."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ottla.cli.container import names
from ottla.cli.container.environment import plan
from ottla.config import Given, load
from ottla.config.listeners import Endpoint
from ottla.errors import ConfigError
from tests.container.compose import services
from tests.container.test_shapes import SHAPES
from tests.kafka import jars

pytestmark = pytest.mark.kafka

# What Kafka's class would make settings of, and we know to be none (or another) by the other images' scripts.
OURS_ALONE = frozenset(
    {
        *(names.FOR_THE_JVM | names.FOR_SECURITY | names.OF_AN_IMAGE | names.HOST_AND_PORT),
        *(*names.CLUSTER_ID_VARIABLES, *names.LOG_LEVEL_VARIABLES, *names.ALIASES),
        *(names.CREATE_TOPICS_VARIABLE, "KAFKA_EMPTY", "KAFKA_REST_HOST_NAME", "KAFKA_REST_LISTENERS"),
        "KAFKA_REST_BOOTSTRAP_SERVERS",
    }
)
MORE_VARIABLES = {
    "KAFKA_ABC_DEF": "1",
    "KAFKA_ABC__DEF": "2",
    "KAFKA_ABC___DEF": "3",
    "KAFKA_ABC__DEF___GHI_JKL": "4",
    "KAFKA_LISTENER_NAME_SASL__SSL_PLAIN_SASL_JAAS_CONFIG": "a=b c",
    "KAFKA_SSL_KEYSTORE_PASSWORD": "x",
}

MAP = "listener.security.protocol.map"
AB = "CONTROLLER:PLAINTEXT,A:PLAINTEXT,B:PLAINTEXT"
CONTROLLER = "CONTROLLER://:9093"
LISTENERS = [
    {"listeners": f"PLAINTEXT://:9092,{CONTROLLER}"},
    {"listeners": f"PLAINTEXT://h:9092,{CONTROLLER}"},
    {"listeners": f"plaintext://:9092 , {CONTROLLER.lower()}"},
    {"listeners": f"PLAINTEXT://:9092,{CONTROLLER}", "advertised.listeners": "PLAINTEXT://:9092"},
    {"listeners": f"PLAINTEXT://:9092,{CONTROLLER}", "advertised.listeners": " PLAINTEXT://my_host:19092 "},
    {"listeners": f"PLAINTEXT://:9092,{CONTROLLER}", "advertised.listeners": "PLAINTEXT://a:1,CONTROLLER://a:9093"},
    {"listeners": f"A://:1,B://:2,{CONTROLLER}", "advertised.listeners": "B://b:4,A://a:3", MAP: AB},
    {"listeners": f"A://:1,B://:2,{CONTROLLER}", "advertised.listeners": "B://b:4,A://a:3", MAP: AB.lower()},
    {"listeners": f"A://:1,B://[::1]:2,{CONTROLLER}", MAP: f"{AB},A:PLAINTEXT"},
    # Refused by both.
    {"listeners": f"PLAINTEXT://:9092,{CONTROLLER}", "advertised.listeners": "PLAINTEXT://0.0.0.0:9092"},
    {"listeners": f"PLAINTEXT://:9092,{CONTROLLER}", "advertised.listeners": "A://h:9092", MAP: AB},
    {"listeners": f"PLAINTEXT://:9092,{CONTROLLER}", "advertised.listeners": "PLAINTEXT://a:1,PLAINTEXT://b:2"},
    {"listeners": f"A://:9092,{CONTROLLER}"},
    {"listeners": f"A://:1,B://:1,{CONTROLLER}", MAP: AB},
    {"listeners": f"A://:1,A://:2,{CONTROLLER}", MAP: AB},
    {"listeners": f"A://:1,{CONTROLLER}", MAP: "CONTROLLER:PLAINTEXT,A:PLAIN"},
    {"listeners": f"PLAINTEXT://:9092,{CONTROLLER}", "controller.quorum.voters": "2@h:1"},
]


def question(kind: str, pairs: Mapping[str, str]) -> str:
    return "\t".join([kind, *(f"{name}={value}" for name, value in pairs.items())])


@pytest.fixture(scope="module")
def environments() -> list[dict[str, str]]:
    """The broker of every shape, without what is bitnami/kafka's alone."""
    files = sorted(SHAPES.glob("*.yaml"))
    brokers = [service.environment for file in files for service in services(file, {}).values()]
    plain = [{name: value for name, value in each.items() if not name.startswith("KAFKA_CFG_")} for each in brokers]
    found = [MORE_VARIABLES, *plain]
    return [environment for environment in found if any(name.startswith("KAFKA_") for name in environment)]


@pytest.fixture(scope="module")
def answers(environments: list[dict[str, str]]) -> list[list[str]]:
    """Kafka's answers, of one JVM: to the environments, then to the listeners."""
    asked = [question("env", environment) for environment in environments]
    asked += [
        question("listeners", {"inter.broker.listener.name": "A", **each} if MAP in each else each)
        for each in LISTENERS
    ]
    done = subprocess.run(
        jars.java(str(Path(__file__).with_name("ContainerOracle.java"))),
        input="\n".join(asked) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = [line.split("\t")[1:] for line in done.stdout.splitlines() if line.startswith("answer\t")]
    assert len(found) == len(asked), done.stderr
    return found


def test_variables_are_the_settings_kafkas_image_makes_of_them(
    environments: list[dict[str, str]], answers: list[list[str]]
) -> None:
    """Name by name and value by value."""
    for environment, answer in zip(environments, answers, strict=False):
        theirs = {line.split("=", 1)[0]: line.split("=", 1)[1] for line in answer if line}
        for variable, value in environment.items():
            if variable.startswith("KAFKA_") and variable not in OURS_ALONE:
                name = names.setting_name(variable)
                assert name is not None
                assert theirs.get(name) == value, variable
                if value:
                    assert (name, value) in {(entry.name, entry.text) for entry in plan(environment).given}


def test_listeners_are_accepted_and_refused_as_by_kafka(
    environments: list[dict[str, str]], answers: list[list[str]]
) -> None:
    """What is advertised for each listener; an empty host stays to be filled in with the machine's name."""
    wrong = []
    for given, answer in zip(LISTENERS, answers[len(environments) :], strict=True):
        try:
            config = load([Given(name, text, "test") for name, text in given.items()])
        except ConfigError:
            ours = ["refused"]
        else:
            told = config.advertised or config.listeners
            ours = ["listeners", *(words(endpoint) for endpoint in told)]
        if ours != answer:
            wrong.append((given, ours, answer))
    assert wrong == []
    assert ["refused"] in answers
    assert any(answer[0] == "listeners" for answer in answers[len(environments) :])


def words(endpoint: Endpoint) -> str:
    return f"{endpoint.name} {endpoint.host or 'null'} {endpoint.port}"
