"""Environment variables to settings, without a process: the tables of what each image does with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ottla.cli.container import directories, health, names
from ottla.cli.container.environment import WantedTopic, assignments, plan, with_files
from ottla.config import Given, load
from ottla.errors import ConfigError
from tests.container.compose import pair

LISTENERS = "PLAINTEXT://:9092"
LOCALHOST = "PLAINTEXT://localhost:9092"


def settings(variables: Mapping[str, str], file: str = "") -> dict[str, str]:
    """What a broker is given, the last of two counting."""
    entries = [Given(*pair(line), "file") for line in file.splitlines()]
    return {entry.name: entry.text for entry in plan(variables, entries).given}


def problems(variables: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        plan(variables)
    return caught.value.problems


@pytest.mark.parametrize(
    "variable, name",
    [
        ("KAFKA_NUM_PARTITIONS", "num.partitions"),
        ("KAFKA_CFG_NUM_PARTITIONS", "num.partitions"),
        ("KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE", "confluent.support.metrics.enable"),
        ("KAFKA_ABC__DEF", "abc_def"),
        ("KAFKA_ABC___DEF", "abc-def"),
        ("KAFKA_ABC__DEF___GHI_JKL", "abc_def-ghi.jkl"),
        ("KAFKA_ABC____DEF", "abc-.def"),
        (
            "KAFKA_LISTENER_NAME_SASL__PLAINTEXT_PLAIN_SASL_JAAS_CONFIG",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config",
        ),
        ("KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM", "ssl.endpoint.identification.algorithm"),
        ("KAFKA_KAFKA_METRICS_REPORTERS", "kafka.metrics.reporters"),
        ("KAFKA_MAX_MESSAGE_BYTES", "message.max.bytes"),
        ("OTTLA_DURABILITY", "ottla.durability"),
        ("KAFKA_OTTLA_DURABILITY", "ottla.durability"),
        ("KAFKA_", None),
        ("PATH", None),
    ],
)
def test_a_variable_names_a_setting(variable: str, name: str | None) -> None:
    """`_`, `__` and `___` are a dot, an underscore and a dash; KAFKA_CFG_ and OTTLA_ are prefixes too."""
    assert names.setting_name(variable) == name


@pytest.mark.parametrize(
    "variables, listeners, advertised",
    [
        # Nothing: apache/kafka's default.
        ({}, LISTENERS, LOCALHOST),
        ({"KAFKA_NUM_PARTITIONS": "3"}, LISTENERS, LOCALHOST),
        # What is advertised gives the listeners, as in apache/kafka and cp-kafka.
        ({"KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://k:9092"}, "PLAINTEXT://0.0.0.0:9092", "PLAINTEXT://k:9092"),
        (
            {"KAFKA_ADVERTISED_LISTENERS": "IN://k:19092,OUT://localhost:9092,SIX://[fe80::1]:9094"},
            "IN://0.0.0.0:19092,OUT://0.0.0.0:9092,SIX://0.0.0.0:9094",
            "IN://k:19092,OUT://localhost:9092,SIX://[fe80::1]:9094",
        ),
        # Both: as written.
        (
            {"KAFKA_LISTENERS": "PLAINTEXT://:29092", "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://k:9092"},
            "PLAINTEXT://:29092",
            "PLAINTEXT://k:9092",
        ),
        # Listeners alone: the broker tells the machine's name.
        ({"KAFKA_LISTENERS": "PLAINTEXT://:29092"}, "PLAINTEXT://:29092", None),
        # bitnami/kafka derives nothing, and tells the machine's name.
        ({"KAFKA_CFG_NODE_ID": "0"}, LISTENERS, None),
        ({"KAFKA_CFG_ADVERTISED_LISTENERS": "PLAINTEXT://127.0.0.1:9093"}, LISTENERS, "PLAINTEXT://127.0.0.1:9093"),
        ({"KAFKA_CFG_ADVERTISED_LISTENERS": "A://k:1,B://k:2"}, "A://0.0.0.0:1,B://0.0.0.0:2", "A://k:1,B://k:2"),
        # wurstmeister/kafka's host names.
        ({"KAFKA_ADVERTISED_HOST_NAME": "h"}, LISTENERS, "PLAINTEXT://h:9092"),
        (
            {
                "KAFKA_ADVERTISED_HOST_NAME": "h",
                "KAFKA_ADVERTISED_PORT": "1",
                "KAFKA_PORT": "2",
                "KAFKA_HOST_NAME": "i",
            },
            "PLAINTEXT://i:2",
            "PLAINTEXT://h:1",
        ),
        ({"KAFKA_ADVERTISED_HOST_NAME": "h", "KAFKA_LISTENERS": "PLAINTEXT://:5"}, "PLAINTEXT://:5", None),
        # Blank is not set: `${NAME}` of a compose file.
        ({"KAFKA_LISTENERS": "", "KAFKA_ADVERTISED_LISTENERS": "  "}, LISTENERS, LOCALHOST),
        # One address for all that would be opened on every one.
        (
            {"KAFKA_LISTENERS": "A://:1,B://0.0.0.0:2,C://h:3", "OTTLA_BIND_ADDRESS": "127.0.0.1"},
            "A://127.0.0.1:1,B://127.0.0.1:2,C://h:3",
            None,
        ),
        ({"OTTLA_BIND_ADDRESS": "::1"}, "PLAINTEXT://[::1]:9092", LOCALHOST),
    ],
)
def test_listeners_are_filled_in_as_the_images_do(
    variables: dict[str, str], listeners: str, advertised: str | None
) -> None:
    """What is listened on and what clients are told, for each way to say half of it."""
    found = settings(variables)
    assert found["listeners"] == listeners
    assert found.get("advertised.listeners") == advertised


def test_a_variable_counts_over_a_mounted_file() -> None:
    """A file without listeners has Kafka's default, not the container's."""
    file = "num.partitions=2\nlog.retention.hours=1"
    found = settings({"KAFKA_NUM_PARTITIONS": "5"}, file)
    assert found == {"num.partitions": "5", "log.retention.hours": "1", "listeners": LISTENERS}
    listening = "listeners=PLAINTEXT://:7\nadvertised.listeners=PLAINTEXT://file:7"
    assert settings({}, listening)["advertised.listeners"] == "PLAINTEXT://file:7"
    assert settings({}, "advertised.listeners=PLAINTEXT://file:7")["listeners"] == LISTENERS


@pytest.mark.parametrize(
    "variables, value",
    [
        ({}, None),
        ({"CLUSTER_ID": "a"}, "a"),
        ({"KAFKA_KRAFT_CLUSTER_ID": "b"}, "b"),
        ({"KAFKA_CLUSTER_ID": "c"}, "c"),
        ({"CLUSTER_ID": "d", "KAFKA_KRAFT_CLUSTER_ID": "d"}, "d"),
    ],
)
def test_every_images_cluster_id_is_understood(variables: dict[str, str], value: str | None) -> None:
    """CLUSTER_ID is strict, bitnami's two yield to a directory that has one."""
    found = plan(variables).cluster_id
    assert (found and found.value) == value
    if found is not None:
        assert found.yields == ("CLUSTER_ID" not in variables)
    assert not {"cluster.id", "kraft.cluster.id"} & settings(variables).keys()


@pytest.mark.parametrize(
    "variables, note",
    [
        (
            {"KAFKA_HEAP_OPTS": "-Xmx1G", "KAFKA_OPTS": "-D", "JMX_PORT": "1"},
            "JMX_PORT, KAFKA_HEAP_OPTS, KAFKA_OPTS: no effect",
        ),
        ({"KAFKA_CLIENT_USERS": "u"}, "KAFKA_CLIENT_USERS: no effect, no listener speaks TLS or SASL"),
        (
            {"KAFKA_REST_LISTENERS": "x", "KAFKA_REST_HOST_NAME": "y"},
            "KAFKA_REST_HOST_NAME, KAFKA_REST_LISTENERS: no effect",
        ),
        ({"KAFKA_PORT": "1", "KAFKA_LISTENERS": "PLAINTEXT://:2"}, "KAFKA_PORT: no effect"),
    ],
)
def test_what_is_no_setting_is_said_in_one_line(variables: dict[str, str], note: str) -> None:
    """Each family of variables without effect has its reason, and none of them becomes a setting."""
    found = plan(variables)
    assert [line for line in found.notes if line.startswith(note)]
    assert {entry.name for entry in found.given} <= {"listeners", "advertised.listeners"}


@pytest.mark.parametrize(
    "variables",
    [
        # A Kubernetes service named "kafka", and one named "kafka-ui".
        {"KAFKA_PORT": "tcp://10.0.0.1:9092", "KAFKA_SERVICE_HOST": "10.0.0.1", "KAFKA_SERVICE_PORT": "9092"},
        {"KAFKA_PORT_9092_TCP": "tcp://10.0.0.1:9092", "KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1"},
        {"KAFKA_UI_PORT": "tcp://10.0.0.2:80", "KAFKA_UI_SERVICE_PORT_HTTP": "80", "KAFKA_UI_PORT_80_TCP_PROTO": "tcp"},
        {"KAFKA_HOME": "/opt/kafka", "KAFKA_VERSION": "2.8.1", "KAFKA_ENABLE_KRAFT": "yes"},
        {"OTTLA_BOOTSTRAP_SERVER": "kafka:9092"},
        {"OTTLA_TOOLS_WAIT_S": "60"},
        {"PATH": "/bin", "ALLOW_PLAINTEXT_LISTENER": "yes", "CONFLUENT_METRICS_ENABLE": "false"},
    ],
)
def test_what_others_put_into_a_container_is_left_alone(variables: dict[str, str]) -> None:
    """Services, images and scripts have variables of their own."""
    assert settings(variables) == {"listeners": LISTENERS, "advertised.listeners": LOCALHOST}


@pytest.mark.parametrize(
    "variables, level",
    [
        ({}, "info"),
        ({"KAFKA_LOG4J_ROOT_LOGLEVEL": "WARN"}, "warning"),
        ({"KAFKA_LOG4J_ROOT_LOGLEVEL": "trace"}, "debug"),
        ({"OTTLA_LOG_LEVEL": "error", "KAFKA_LOG4J_ROOT_LOGLEVEL": "DEBUG"}, "error"),
        ({"OTTLA_LOG_LEVEL": "info", "KAFKA_LOG4J_ROOT_LOGLEVEL": "DEBUG"}, "info"),
    ],
)
def test_log4js_levels_are_ours(variables: dict[str, str], level: str) -> None:
    """The root logger's level, by log4j's names; our own variable counts over it."""
    assert plan(variables).log_level == level


@pytest.mark.parametrize(
    "variables, topics",
    [
        ({"KAFKA_CREATE_TOPICS": "a:3:1,b:1:1:compact"}, [("a", 3, 1, None), ("b", 1, 1, "compact")]),
        ({"KAFKA_CREATE_TOPICS": " a:1:1 ,\n b:2:1,"}, [("a", 1, 1, None), ("b", 2, 1, None)]),
        (
            {"KAFKA_CREATE_TOPICS": "a:1:1;b", "KAFKA_CREATE_TOPICS_SEPARATOR": ";"},
            [("a", 1, 1, None), ("b", -1, -1, None)],
        ),
    ],
)
def test_topics_to_create(variables: dict[str, str], topics: list[tuple[str, int, int, str | None]]) -> None:
    """name:partitions:replicas:cleanup.policy; what is left out is the broker's default."""
    assert plan(variables).topics == [WantedTopic(*topic) for topic in topics]


@pytest.mark.parametrize(
    "variables, said",
    [
        (
            {"KAFKA_NUM_PARTITIONS": "1", "KAFKA_CFG_NUM_PARTITIONS": "2"},
            "KAFKA_CFG_NUM_PARTITIONS=2 and KAFKA_NUM_PARTITIONS=1 set num.partitions differently; keep one",
        ),
        ({"CLUSTER_ID": "a", "KAFKA_CLUSTER_ID": "b"}, "CLUSTER_ID=a and KAFKA_CLUSTER_ID=b name the same thing"),
        ({"KAFKA_CREATE_TOPICS": "a:0:1"}, "KAFKA_CREATE_TOPICS: a:0:1 is not name:partitions:replicas"),
        ({"KAFKA_CREATE_TOPICS": "a:1:1:compact:x"}, "a:1:1:compact:x is not name:partitions:replicas"),
        ({"OTTLA_LOG_LEVEL": "loud"}, "OTTLA_LOG_LEVEL=loud: allowed are ALL, TRACE, DEBUG"),
        ({"HOSTNAME_COMMAND": "hostname -i"}, "HOSTNAME_COMMAND: commands are not run here"),
    ],
)
def test_what_contradicts_itself_is_refused(variables: dict[str, str], said: str) -> None:
    """One sentence each, and all of them at once."""
    assert said in problems(variables)[0]
    assert len(problems({**variables, "KAFKA_LOG4J_ROOT_LOGLEVEL": "x"})) == 2


def test_a_wrong_value_is_named_by_its_variable() -> None:
    """The sentence shows what a person wrote and where."""
    with pytest.raises(ConfigError) as caught:
        load(plan({"KAFKA_NUM_PARTITIONS": "0"}).given)
    assert str(caught.value).startswith("num.partitions=0 (KAFKA_NUM_PARTITIONS): value must be at least 1")


def test_a_value_may_come_from_a_file(tmp_path: Path) -> None:
    """bitnami/kafka's _FILE variables, for secrets of an engine; a setting that ends so is not one of them."""
    (tmp_path / "id").write_text("from-file\n")
    given = {"KAFKA_KRAFT_CLUSTER_ID_FILE": "id", "KAFKA_CFG_NUM_PARTITIONS_FILE": "id", "KAFKA_SOME_FILE": "id"}
    found = with_files(given, lambda path: (tmp_path / path).read_text())
    assert found == {
        "KAFKA_KRAFT_CLUSTER_ID": "from-file",
        "KAFKA_CFG_NUM_PARTITIONS": "from-file",
        "KAFKA_SOME_FILE": "id",
    }
    with pytest.raises(ConfigError, match="KAFKA_CLUSTER_ID_FILE=gone: No such file"):
        with_files({"KAFKA_CLUSTER_ID_FILE": "gone"}, lambda path: (tmp_path / path).read_text())


def test_arguments_are_variables() -> None:
    """As the run scripts of the images take them."""
    assert assignments(["KAFKA_NODE_ID=2", "A=b=c"]) == {"KAFKA_NODE_ID": "2", "A": "b=c"}
    with pytest.raises(ConfigError, match="serve: write VARIABLE=value; 1A=2: write"):
        assignments(["serve", "1A=2"])


@pytest.mark.parametrize(
    "mounts, place",
    [
        ([], "/var/lib/kafka/data"),
        (["/", "/proc", "/var/lib/kafka/data"], "/var/lib/kafka/data"),
        (["/bitnami", "/var/lib/kafka/data"], "/bitnami/kafka/data"),
        (["/bitnami/kafka"], "/bitnami/kafka/data"),
        (["/bitnami/kafka/data"], "/bitnami/kafka/data"),
        (["/tmp/kraft-combined-logs"], "/tmp/kraft-combined-logs"),
        (["/tmp/kafka-logs"], "/tmp/kafka-logs"),
        (["/kafka"], "/kafka/kafka-logs"),
    ],
)
def test_data_goes_where_a_volume_is_mounted(mounts: list[str], place: str) -> None:
    """Each image's own place, when no variable names one."""
    table = "".join(f"36 35 98:0 /mnt1 {mount} rw,noatime master:1 - ext3 /dev/root rw\n" for mount in mounts)
    assert directories.data_dir(directories.mount_points(table)) == place


def test_mount_points_with_blanks() -> None:
    """The kernel writes a blank as an octal escape."""
    assert directories.mount_points("1 2 0:1 / /my\\040data rw - tmpfs x rw\nbroken") == {"/my data"}


@pytest.mark.parametrize(
    "environment, existing, file",
    [
        ({}, [], None),
        ({}, ["/mnt/shared/config/server.properties"], "/mnt/shared/config/server.properties"),
        ({}, ["/bitnami/kafka/config/server.properties"], "/bitnami/kafka/config/server.properties"),
        (
            {"KAFKA_MOUNTED_CONF_DIR": "/c"},
            ["/c/server.properties", "/mnt/shared/config/server.properties"],
            "/c/server.properties",
        ),
    ],
)
def test_a_mounted_configuration_is_found(environment: dict[str, str], existing: list[str], file: str | None) -> None:
    """In the places of apache/kafka and bitnami/kafka."""
    assert directories.config_file(environment, lambda path: path in existing) == file


@pytest.mark.parametrize(
    "bound, address",
    [
        (("A", "0.0.0.0", 1), ("127.0.0.1", 1)),
        (("A", "::", 2), ("::1", 2)),
        (("A", "10.0.0.1", 3), ("10.0.0.1", 3)),
    ],
)
def test_a_container_reaches_itself(bound: tuple[str, str, int], address: tuple[str, int]) -> None:
    """An address that means every address is asked on loopback."""
    assert health.address_of([bound]) == address
