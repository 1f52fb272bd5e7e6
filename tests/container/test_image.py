"""The image: put together step by step from the Dockerfile in a clean root directory, then run as an engine runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ottla.cli.kafka.connection import WAIT_VARIABLE
from tests.container import image as images
from tests.container.image import DOCKERFILE, Image
from tests.processes import answers, free_port
from tests.test_house import ROOT

# What an engine waits between SIGTERM and SIGKILL.
PATIENCE_S = 10
ADDED_BYTES_MAX = 120 << 20


def test_the_dockerfile_names_what_exists() -> None:
    """Its files are in the repository, it ends as a user who is not root, and health is asked of our own command."""
    build, image = images.stages(DOCKERFILE.read_text())
    assert build[0].text.startswith("rust:" + str(cargo_version()) + "-slim-")
    for step in image:
        if step.instruction == "COPY" and not step.text.startswith("--from"):
            *sources, _ = step.words()
            assert [source for source in sources if not list(ROOT.glob(source))] == []
    last = {step.instruction: step.text for step in image}
    assert int(last["USER"].split(":")[0]) > 0
    assert '"container", "health"' in last["HEALTHCHECK"]
    assert last["EXPOSE"] == "9092"
    assert f"{WAIT_VARIABLE}=60" in [step.text for step in image if step.instruction == "ENV"], "Kafka's own patience"
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().split()
    needed = {
        "docker",
        "python",
        "rust",
        "Cargo.toml",
        "Cargo.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "NOTICE",
    }
    assert not needed & set(ignored)
    assert all((ROOT / name).exists() for name in needed)


def cargo_version() -> str:
    """The Rust version the workspace asks for."""
    found = re.search(r'rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text())
    assert found is not None
    return found[1]


def test_our_compose_file_keeps_its_data() -> None:
    """The volume is mounted where the image's broker writes without being told."""
    service = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["kafka"]
    assert service["volumes"] == ["data:/var/lib/kafka/data"]
    assert (DOCKERFILE.parent / service["build"]["context"]).resolve() == ROOT


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Image]:
    if reason := images.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    built, added_bytes = images.put_together(folder, wheel)
    print(f"the image adds {added_bytes / 2**20:.0f} MiB to its Debian")
    assert added_bytes <= ADDED_BYTES_MAX
    yield built
    images.run("rm", "-rf", "--one-file-system", str(folder))


def first_process(container: subprocess.Popen[bytes]) -> int:
    """The process that is number 1 inside, by its number outside."""
    (child,) = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    return int(child)


def wait_until_up(container: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + 60
    while not (answers("127.0.0.1", port, 1) and "Kafka Server started" in output.read_text()):
        assert container.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()


def end(container: subprocess.Popen[bytes]) -> None:
    """Kill what is left. The kernel ends no child with its parent once the child has changed its user, as these do;
    with its process 1 the whole process table of a container goes.
    """
    if container.poll() is None:
        os.kill(first_process(container), signal.SIGKILL)
        container.wait()


def stop(container: subprocess.Popen[bytes]) -> int:
    os.kill(first_process(container), signal.SIGTERM)
    return container.wait(PATIENCE_S)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_image_serves_as_a_user_who_is_not_root(image: Image, tmp_path: Path) -> None:
    """A message goes in and out, health is well, SIGTERM to process 1 stops it cleanly within an engine's patience,
    and the volume has the data for the next container, which finds it where another image had mounted it too.
    """
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 1000, 0)
    for number, place in enumerate(["/var/lib/kafka/data", "/bitnami/kafka/data"]):
        port, output = free_port(), tmp_path / f"output-{number}"
        variables = {"KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}", "OTTLA_BIND_ADDRESS": "127.0.0.1"}
        variables |= {"KAFKA_HEAP_OPTS": "-Xmx1G", "KAFKA_CREATE_TOPICS": "made:2:1"}
        container = image.start(variables, {volume: place}, output)
        try:
            wait_until_up(container, port, output)
            status = Path(f"/proc/{first_process(container)}/status").read_text()
            assert "\nUid:\t1000\t1000\t1000\t1000\n" in status
            assert re.search(r"\nNSpid:\t\d+\t1\n", status), "signals and children are the broker's own affair"
            assert subprocess.run(image.command(*image.health), check=False).returncode == 0
            if number == 0:
                producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{port}")
                producer.send("greetings", b"hello from a container").get(30)
                producer.close()
            consumer = KafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", auto_offset_reset="earliest")
            consumer.assign([TopicPartition("greetings", 0)])
            assert next(consumer).value == b"hello from a container"
            assert len(consumer.partitions_for_topic("made")) == 2
            listed = images.run(*image.command(*image.entrypoint, "topic", "list", "-b", f"127.0.0.1:{port}"))
            assert {"greetings", "made"} <= set(listed.split())
            read = ["consume", "greetings", "--from-beginning", "-n", "1", "-b", f"127.0.0.1:{port}"]
            assert images.run(*image.command(*image.entrypoint, *read)) == "hello from a container\n"
            consumer.close()
            assert stop(container) == 0
        finally:
            end(container)
        assert (volume / ".kafka_cleanshutdown").exists()


# What Testcontainers copies into a container and runs there: for apache/kafka, and for cp-kafka.
START_SCRIPTS = {
    "apache": "/etc/kafka/docker/run",
    "confluent": "sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure\n"
    ". /etc/confluent/docker/bash-config\n/etc/confluent/docker/configure\n/etc/confluent/docker/launch",
    "bitnami": "/opt/bitnami/scripts/kafka/entrypoint.sh /opt/bitnami/scripts/kafka/run.sh",
}


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", sorted(START_SCRIPTS))
def test_start_scripts_of_the_known_images_start_ours(image: Image, kind: str, tmp_path: Path) -> None:
    """They export the address that is only known once the container runs, and call the image's own scripts."""
    volume, output, port = tmp_path / "volume", tmp_path / "output", free_port()
    volume.mkdir()
    os.chown(volume, 1000, 0)
    script = f"export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:{port}\n{START_SCRIPTS[kind]}"
    variables = {"OTTLA_BIND_ADDRESS": "127.0.0.1", "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw"}
    container = image.start(variables, {volume: "/var/lib/kafka/data"}, output, "sh", "-c", script)
    try:
        wait_until_up(container, port, output)
        assert "cluster.id=4L6g3nShT-eMCtK--X86sw" in (volume / "meta.properties").read_text()
        assert " is not found" not in output.read_text()
    finally:
        end(container)
    assert not answers("127.0.0.1", port, 1), "the broker is gone with its container"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "words, said",
    [
        (["id", "-u"], "1000\n"),
        (["sh", "-c", "nc -h 2>&1 | head -1"], "OpenBSD netcat"),
        (
            [
                "sh",
                "-c",
                "touch x /etc/kafka/x /bitnami/kafka/data/x /tmp/kraft-combined-logs/x && echo ok",
            ],
            "ok\n",
        ),
        (["--version"], "ottla "),
        (["cub", "zk-ready", "zookeeper:2181", "30"], ""),
        (["ottla", "settings", "num.partitions"], "num.partitions"),
        (["cat", "/opt/kafka/config/server.properties"], "listeners=PLAINTEXT://:9092,CONTROLLER://:9093"),
        (["container", "show", "KAFKA_NUM_PARTITIONS=4"], "num.partitions=4\n"),
        (
            ["sh", "-c", "/etc/confluent/docker/configure && cat /etc/kafka/kafka.properties"],
            "log.dirs=/var/lib/kafka/data\n",
        ),
    ],
)
def test_other_commands_in_the_image(image: Image, words: list[str], said: str) -> None:
    """A shell as in the known images, and ottla's own commands."""
    assert said in images.run(*image.command(*image.entrypoint, *words))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_any_user_of_group_0_can_run_it(image: Image, tmp_path: Path) -> None:
    """Platforms that choose the user themselves leave the group."""
    words = [*image.entrypoint, "sh", "-c", "touch /var/lib/kafka/data/any /etc/kafka/any && id -u"]
    assert images.run(*image.command(*words, user="123456:0")) == "123456\n"
    done = subprocess.run(
        image.command(*image.entrypoint, user="123456:123456"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "/var/lib/kafka/data: Permission denied. The broker runs as user 123456, group 123456" in done.stderr


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("place", ["/opt/kafka/bin", "/opt/bitnami/kafka/bin", "/usr/bin"])
@pytest.mark.parametrize("name", ["kafka-topics", "kafka-topics.sh", "kafka-console-consumer.sh"])
def test_kafkas_commands_are_where_the_known_images_have_them(image: Image, place: str, name: str) -> None:
    """By path as scripts call them, and by name."""
    assert images.run(*image.command(f"{place}/{name}", "--version"))
    assert images.run(*image.command(*image.entrypoint, name, "--version"))
