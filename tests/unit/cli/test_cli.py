"""The command line before a broker runs: what it understands, and how it refuses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import ottla
from ottla.cli.main import COMMON_SETTINGS, main
from ottla.config import BROKER_SETTINGS


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, also as `python -m ottla`."""
    assert run(capsys, "--version") == (0, f"ottla {ottla.__version__}\n", "")
    done = subprocess.run([sys.executable, "-m", "ottla", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"ottla {ottla.__version__}\n")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """`ottla serve --help` is enough to start."""
    code, out, _ = run(capsys, "serve", "--help")
    assert code == 0
    for option in ("--data-dir", "--listen", "--advertise", "--config", "--set", "--log-level"):
        assert option in out
    for name in COMMON_SETTINGS:
        assert f"{name}={BROKER_SETTINGS[name].text(BROKER_SETTINGS[name].default)}" in out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["serve", "--nope"], "No such option"),
        (["nope"], "No such command"),
        (["serve"], "say where the data lives: --data-dir DIR, or log.dirs"),
        (["serve", "--data-dir", "d", "--set", "num.partitions"], "--set num.partitions: write NAME=VALUE"),
        (["serve", "--data-dir", "d", "--listen", "9092"], "listen: '9092' is not HOST:PORT with a port of 0 to 65535"),
        (["serve", "--data-dir", "d", "--advertise", "h:x"], "advertise: 'h:x' is not HOST:PORT"),
        (["serve", "--data-dir", "d", "--advertise", "0.0.0.0:1"], "names no host clients can connect to"),
        (["serve", "--data-dir", "d", "--config", "missing.properties"], "missing.properties: No such file"),
        (["serve", "--data-dir", "a,b"], "has no comma in its name"),
        (
            ["serve", "--data-dir", "d", "--set", "num.partitions=0"],
            "num.partitions=0 (--set): value must be at least 1 (allowed: 1 to 2147483647)",
        ),
        (["serve", "--data-dir", "d", "--set", "listeners=SSL://:1"], "speaks SSL, which is not served"),
        (["serve", "--data-dir", "d", "--log-level", "loud"], "'loud' is not one of"),
    ],
)
def test_what_is_asked_in_the_wrong_way_ends_with_two(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """A sentence on stderr, no traceback, nothing made on the disk."""
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_every_problem_of_a_file_is_said_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One line for each, with name, value, place and range."""
    file = tmp_path / "server.properties"
    file.write_text("num.partitions=0\n# fine\nlog.segment.bytes=5\nprocess.roles=controller\n")
    code, _, err = run(capsys, "serve", "--data-dir", str(tmp_path / "d"), "--config", str(file))
    assert code == 2
    assert [line.split(" ")[1].split("=")[0] for line in err.splitlines()] == ["num.partitions", "log.segment.bytes"]
    assert f"line 3 of {file}" in err


@pytest.mark.parametrize(
    "host, said",
    [
        ("127.0.0.1", "another process listens there, a broker that is running already perhaps: stop it, or choose"),
        # Kept for documentation: no machine has it.
        ("192.0.2.1", "choose"),
    ],
)
def test_an_address_that_cannot_be_had(tmp_path: Path, host: str, said: str) -> None:
    """One line says which address, what is wrong with it and what to do; who listened there still does."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"{host}:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "ottla", "serve", "--data-dir", str(tmp_path / "d"), "--listen", address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        socket.create_connection(taken.getsockname()).close()
    (line,) = [line for line in done.stderr.splitlines() if "cannot listen" in line]
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on {address}: " in line
    assert line.endswith(f"; {said} another address with --listen HOST:PORT (or `listeners` in the configuration)")
    assert "Traceback" not in done.stderr


def test_a_directory_that_cannot_be_had(tmp_path: Path) -> None:
    """One line says which, who has it or what is wrong with it, and what to do; its owner goes on."""
    taken, file = tmp_path / "taken", tmp_path / "file"
    file.write_text("mine")
    with ottla.Broker(data_dir=taken) as broker:
        for folder, said in ((taken, f"in use by another owner (pid={os.getpid()}, "), (file, "cannot create ")):
            command = [sys.executable, "-m", "ottla", "serve", "--data-dir", str(folder), "--listen", "127.0.0.1:0"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            (line,) = [line for line in done.stderr.splitlines() if line.startswith("ottla: ")]
            assert (done.returncode, done.stdout) == (1, "")
            assert str(folder) in line
            assert said in line
            assert "choose another directory with --data-dir DIR (or `log.dirs` in the configuration)" in line
        host, port = broker.bootstrap_servers.split(":")
        socket.create_connection((host, int(port))).close()
    assert file.read_text() == "mine"


def test_settings_lists_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """All of it, or what matches; the same facts as JSON."""
    code, out, _ = run(capsys, "settings")
    assert code == 0
    for setting in BROKER_SETTINGS.values():
        assert setting.hidden or f"{setting.name}\n" in out
    code, out, _ = run(capsys, "settings", "--topic", "--json", "retention", "ms")
    assert [entry["name"] for entry in json.loads(out)] == ["delete.retention.ms", "local.retention.ms", "retention.ms"]
    assert json.loads(out)[2]["synonyms"] == ["log.retention.ms", "log.retention.minutes", "log.retention.hours"]


def test_settings_explains_a_name_without_effect(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody looks for a thread setting of Kafka's."""
    code, _, err = run(capsys, "settings", "num.io.threads")
    assert code == 2
    assert "accepted without effect: Ottla sizes its own threads" in err
    assert "no setting has such a name" in run(capsys, "settings", "nope")[2]


def test_import_ottla_is_light() -> None:
    """Neither the broker nor the command line is imported before somebody asks for it."""
    code = "import sys, ottla; print(sorted(m for m in sys.modules if m.startswith(('ottla.', 'click', 'asyncio'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert "Broker" in dir(ottla)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = ottla.nope


def test_a_broker_loads_no_event_loop() -> None:
    """It has one thing to wait for, and asyncio with its TLS would be a fifth of its start and of its memory."""
    heavy = ("asyncio", "concurrent", "ssl", "uvloop", "subprocess", "multiprocessing", "rich", "confluent_kafka")
    code = (
        "import sys, ottla, ottla.cli.serve\nwith ottla.Broker():\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
