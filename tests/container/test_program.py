"""The entrypoint as a program: arguments, existing data, directories it may not write to, health, and the scripts."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from ottla.cli.container import directories, health
from tests.container.program import COMMAND, ContainerProcess, container_environment
from tests.processes import free_port
from tests.test_house import ROOT

DOCKER = ROOT / "docker"


def variables_on(port: int, folder: Path, **more: str) -> dict[str, str]:
    advertised = f"PLAINTEXT://127.0.0.1:{port}"
    return {"KAFKA_ADVERTISED_LISTENERS": advertised, "KAFKA_LOG_DIRS": str(folder / "data"), **more}


def run(folder: Path, variables: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """A run that is expected to end by itself."""
    return subprocess.run(
        [*COMMAND, *words],
        env=container_environment(folder, variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_existing_directory_keeps_its_cluster(tmp_path: Path) -> None:
    """CLUSTER_ID of another cluster is refused, as by apache/kafka and cp-kafka; bitnami/kafka's variable yields."""
    port = free_port()
    first = ContainerProcess(tmp_path / "1", variables_on(port, tmp_path, CLUSTER_ID="one"), port)
    first.start()
    assert first.stop() == 0
    assert "cluster.id=one" in (tmp_path / "data" / "meta.properties").read_text()

    done = run(tmp_path, variables_on(port, tmp_path, CLUSTER_ID="two"), "run")
    assert done.returncode == 1
    assert "belongs to cluster one, not to cluster two" in done.stderr
    assert "Traceback" not in done.stderr

    third = ContainerProcess(tmp_path / "3", variables_on(port, tmp_path, KAFKA_KRAFT_CLUSTER_ID="two"), port)
    try:
        third.start()
        assert "KAFKA_KRAFT_CLUSTER_ID counts for new data only" in third.output()
        assert "of cluster one" in third.output()
    finally:
        third.kill()


def test_a_stop_before_the_broker_is_there_is_heard(tmp_path: Path) -> None:
    """The first process of a container has no default for SIGTERM; while settings are read nothing is to be saved."""
    told = "import os, signal; run.read = lambda *_: os.kill(os.getpid(), signal.SIGTERM)"
    program = f"from ottla.cli.container import run; {told}; run.run([], [], {{}})"
    done = subprocess.run(
        [sys.executable, "-c", program], env=container_environment(tmp_path, {}), check=False, timeout=60
    )
    assert done.returncode == 0


def test_a_topic_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    """KAFKA_CREATE_TOPICS is tried once and logged; a topic that exists is left as it is."""
    port = free_port()
    wanted = {"KAFKA_CREATE_TOPICS": "orders:2:1:compact,wide:1:3,bad name:1:1"}
    for folder in ("1", "2"):
        process = ContainerProcess(tmp_path / folder, variables_on(port, tmp_path, **wanted), port)
        try:
            process.start()
            output = process.output()
            assert ("topic orders is created" in output) == (folder == "1")
            assert "topic wide of KAFKA_CREATE_TOPICS: " in output
            assert "topic bad name of KAFKA_CREATE_TOPICS: " in output
            assert output.count(" ERROR ") == 2
            assert process.stop() == 0
        finally:
            process.kill()


def test_arguments_count_over_the_environment(tmp_path: Path) -> None:
    """VARIABLE=value as the images' run scripts take it; --override as kafka-server-start does, over everything."""
    given = {"KAFKA_NUM_PARTITIONS": "2", "KAFKA_LOG_RETENTION_HOURS": "1", "OTTLA_BIND_ADDRESS": ""}
    words = ["KAFKA_NUM_PARTITIONS=3", "KAFKA_MESSAGE_MAX_BYTES=9", "--override", "message.max.bytes=10"]
    done = run(tmp_path, given, "show", *words)
    lines = done.stdout.splitlines()
    settings = {"num.partitions=3", "log.retention.hours=1", "message.max.bytes=10"}
    assert settings <= set(lines)
    assert lines[lines.index("message.max.bytes=10") - 1] == "# --override"
    assert "message.max.bytes=9" not in lines


@pytest.mark.parametrize(
    "variables, words, said",
    [
        ({"KAFKA_NUM_PARTITIONS": "many"}, [], "num.partitions=many (KAFKA_NUM_PARTITIONS): not a number of type INT"),
        ({}, ["kafka"], "kafka: write VARIABLE=value"),
        ({}, ["--override", "x"], "--override x: write NAME=VALUE"),
        ({}, ["--nope"], "No such option"),
        ({"KAFKA_PROCESS_ROLES": "controller"}, [], "a controller without a broker is not served in this version"),
        ({"KAFKA_CLUSTER_ID_FILE": "/nowhere/id"}, [], "KAFKA_CLUSTER_ID_FILE=/nowhere/id: No such file or directory"),
    ],
)
def test_what_is_wrong_ends_with_two(variables: dict[str, str], words: list[str], said: str, tmp_path: Path) -> None:
    """A sentence, no traceback, nothing made on the disk."""
    done = run(tmp_path, {**variables, "KAFKA_LOG_DIRS": str(tmp_path / "d")}, "run", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "d").exists()


def test_a_directory_that_cannot_be_written_says_whose_it_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume of somebody else's is the commonest trouble of a container that is not root."""
    (tmp_path / "file").touch()
    assert "Not a directory. The broker runs as user" in str(directories.problem_of(str(tmp_path / "file" / "data")))
    assert directories.problem_of(str(tmp_path / "data")) is None
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"Permission denied. The broker runs as user {os.getuid()}" in str(directories.problem_of(str(tmp_path)))


def test_health_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker yet, nobody there, somebody else there: exit code 1 and a sentence."""
    done = run(tmp_path, {}, "health")
    assert done.returncode == 1
    assert "no broker has started" in done.stderr

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    nobody = free_port()
    health.write([("A", "", nobody)])
    assert f"the broker at 127.0.0.1:{nobody} does not answer" in str(health.check())

    with socket.create_server(("127.0.0.1", 0)) as other:
        health.write([("A", "0.0.0.0", other.getsockname()[1])])

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 no\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert "does not answer as a broker does" in str(health.check())
        thread.join()


def test_the_health_file_is_not_written_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's link in the scratch folder is replaced, what it points to stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "precious").write_text("mine")
    health.file().symlink_to(tmp_path / "precious")
    health.write([("A", "", 1)])
    assert (tmp_path / "precious").read_text() == "mine"
    assert health.file().read_text() == "127.0.0.1 1\n"


@pytest.mark.parametrize(
    "words, ran",
    [
        ([], "ottla container run"),
        (["KAFKA_NODE_ID=2", "CLUSTER_ID=x y"], "ottla container run KAFKA_NODE_ID=2 CLUSTER_ID=x y"),
        (["--override", "a=b"], "ottla container run --override a=b"),
        (["echo", "hello there"], "hello there"),
        (["sh", "-c", "echo $0 $1", "a", "b=c"], "a b=c"),
        (["topic", "list"], "ottla topic list"),
        (["--help"], "ottla --help"),
        (["SCRIPTS/run.sh"], "ottla container run"),
    ],
)
def test_the_first_process_of_a_container(words: list[str], ran: str, tmp_path: Path) -> None:
    """The broker without a command, a command if there is one, else a command of ottla's."""
    home = tmp_path / "ottla"
    (home / "bin").mkdir(parents=True)
    (home / "docker").mkdir()
    (home / "bin" / "ottla").write_text('#!/bin/sh\necho ottla "$@"\n')
    for script in ("entrypoint.sh", "run.sh"):
        (home / "docker" / script).write_text((DOCKER / script).read_text().replace("/opt/ottla", str(home)))
    for file in home.rglob("*"):
        file.chmod(0o755)
    words = [word.replace("SCRIPTS", str(home / "docker")) for word in words]
    done = subprocess.run(
        [home / "docker" / "entrypoint.sh", *words], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.stdout, done.stderr) == (ran + "\n", "")


def test_scripts_may_be_executed() -> None:
    """Their mode goes into the image."""
    for script in DOCKER.glob("*.sh"):
        assert script.stat().st_mode & stat.S_IXUSR, script
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
