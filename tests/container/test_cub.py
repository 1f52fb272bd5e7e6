"""cp-kafka's `cub`, which compose files call before they make topics."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import ottla
from ottla.cli.main import main
from tests.processes import Process, free_port
from tests.test_house import ROOT


def cub(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The script, where Kafka's commands are found by name."""
    assert main(["install-tools", str(folder)]) == 0
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(ottla.__file__).parents[1]),
    }
    command = ["sh", str(ROOT / "docker" / "cub.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


@pytest.mark.parametrize("where", ["in front", "behind"])
def test_a_broker_that_is_up(broker: Process, tmp_path: Path, where: str) -> None:
    """One of one: it ends at once and says nothing; options stand before the numbers or after them."""
    words = ("-b", broker.bootstrap, "1", "30") if where == "in front" else ("1", "30", "-b", broker.bootstrap)
    done = cub(tmp_path, "kafka-ready", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_too_few_brokers_and_none(broker: Process, tmp_path: Path) -> None:
    """Exit code 1, and why."""
    done = cub(tmp_path, "kafka-ready", "-b", broker.bootstrap, "3", "30")
    assert (done.returncode, done.stderr) == (1, "cub: 1 of 3 brokers are up; a node of Ottla is its own cluster\n")
    done = cub(tmp_path, "kafka-ready", "-b", f"127.0.0.1:{free_port()}", "1", "0")
    assert done.returncode == 1
    assert "connection refused" in done.stderr


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "write cub kafka-ready -b HOST:PORT BROKERS SECONDS"),
        (["kafka-ready", "1", "30"], "write cub kafka-ready -b HOST:PORT BROKERS SECONDS"),
        (["kafka-ready", "-b", "a:1", "1"], "write cub kafka-ready -b HOST:PORT BROKERS SECONDS"),
        (["kafka-ready", "-b"], "-b needs a value"),
        (["kafka-ready", "-b", "a:1", "one", "30"], "one is no number of brokers or seconds"),
        (["kafka-ready", "-z", "zookeeper:2181", "1", "30"], "brokers are not found by ZooKeeper, write -b HOST:PORT"),
        (["kafka-ready", "-b", "a:1", "-s", "SSL", "1", "30"], "only PLAINTEXT is spoken"),
        (["sr-ready", "registry", "8081", "30"], "sr-ready is not part of this image"),
    ],
)
def test_what_it_does_not_understand(words: list[str], said: str, tmp_path: Path) -> None:
    """One line, exit code 1."""
    done = cub(tmp_path, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_zookeeper_is_not_waited_for(tmp_path: Path) -> None:
    """None is needed."""
    assert cub(tmp_path, "zk-ready", "zookeeper:2181", "30").returncode == 0
