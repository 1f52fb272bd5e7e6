"""`ottla serve` as a person runs it: a process, its words, its exit codes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError

from ottla.broker import Broker
from tests.unit.broker.failing_fsync import NOT_POSSIBLE

COMMAND = [sys.executable, "-m", "ottla", "serve"]


@contextmanager
def serving(*arguments: str, command: Sequence[str] = COMMAND) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A running broker, its banner and its port."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([*command, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    banner = ""
    try:
        while "stops it cleanly" not in banner:
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            banner += line
        found = re.search(r"clients use\s+127\.0\.0\.1:(\d+)", banner)
        assert found is not None, banner
        yield process, banner, int(found[1])
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_with_zero(tmp_path: Path, number: int) -> None:
    """The banner fits on one screen and says where it listens, where data lives, how to begin."""
    with serving("--data-dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0") as (process, banner, port):
        assert len(banner.splitlines()) <= 24
        assert max(len(line) for line in banner.splitlines()) <= 140
        for word in ("listens on", str(tmp_path / "d"), f"127.0.0.1:{port}", "KafkaProducer", "fsync"):
            assert word in banner
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in err
    assert (tmp_path / "d" / ".kafka_cleanshutdown").exists()


def test_a_connection_that_hangs_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    """A client that sits there is closed."""
    with (
        serving("--data-dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0") as (process, _, port),
        socket.create_connection(("127.0.0.1", port)) as idle,
    ):
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
        idle.settimeout(10)
        # A reset if it was not even accepted yet.
        with suppress(ConnectionResetError):
            assert idle.recv(1) == b""


def test_a_directory_in_use_names_its_holder(tmp_path: Path) -> None:
    """One sentence with the process that has it, exit code 1."""
    arguments = ["--data-dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0"]
    with serving(*arguments) as (process, _, _):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert str(process.pid) in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """One sentence with the address, exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [*COMMAND, "--data-dir", str(tmp_path / "d"), "--listen", listen],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert listen in done.stderr
    assert "Traceback" not in done.stderr


def test_sources_of_settings_count_in_order(tmp_path: Path) -> None:
    """File, then --set, then the options; what has no effect is said with its line."""
    file = tmp_path / "server.properties"
    file.write_text(f"log.dirs={tmp_path / 'd'}\nlisteners=PLAINTEXT://127.0.0.1:1\nnum.io.threads=8\nnum.partitions=2")
    process = subprocess.Popen(
        [*COMMAND, "--config", str(file), "--listen", "127.0.0.1:0", "--set", "ottla.durability=os"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    banner = ""
    while "stops it cleanly" not in banner:
        line = process.stdout.readline()
        assert line
        banner += line
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "os: as the system writes it" in banner
    assert str(tmp_path / "d") in banner
    assert f"num.io.threads (line 3 of {file}) has no effect: Ottla sizes its own threads" in err


@pytest.mark.parametrize("command", ["serve", "kafka-server-start"])
def test_a_metadata_log_that_fails_ends_it_with_one(tmp_path: Path, command: str) -> None:
    """As Kafka's process ends then, so that a supervisor starts another: one line with the reason, no traceback."""
    data, file = tmp_path / "d", tmp_path / "server.properties"
    file.write_text(f"log.dirs={data}\nlisteners=PLAINTEXT://127.0.0.1:0\n")
    program = [sys.executable, "-m", "tests.unit.cli.serve_on_a_dying_disk", command]
    arguments = ["--config", str(file)] if command == "serve" else [str(file)]
    with serving(*arguments, command=program) as (process, _, port):
        admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}")
        admin.create_topics([NewTopic("before", 1, 1)])
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout is not None
        if "dead\n" not in process.stdout:
            assert process.wait(30) == NOT_POSSIBLE
            pytest.skip("this kernel lets no process filter its own calls")
        # Answered, or cut off when the process was quicker.
        with pytest.raises(KafkaError):
            admin.create_topics([NewTopic("after", 1, 1)])
        _, err = process.communicate(timeout=60)
        admin.close()
    assert process.returncode == 1
    assert "Traceback" not in err
    name = "ottla" if command == "serve" else command
    assert (
        f"\n{name}: the broker has ended because it could change nothing any more: the metadata log is offline" in err
    )
    with Broker(data) as broker:
        assert (broker.status().clean_start, broker.status().failure) == (False, None)
        assert "before" in broker._now().controller.image.topics


KEEPING = """
import gc
from ottla.cli.serve import collect_garbage_seldom
collect_garbage_seldom()
kept = [[number] for number in range(1_000_000)]
del kept[:]
for _ in range(1_000_000):
    pair = [None]
    pair[0] = pair
print([generation["collections"] > before["collections"] for generation, before in zip(gc.get_stats(), BEFORE)])
print(len(gc.get_objects()) < 500_000)
"""


def test_what_is_kept_is_not_walked_over_again_and_again() -> None:
    """A million things that stay cost no full collection; cycles nobody holds are found all the same."""
    program = KEEPING.replace("import gc", "import gc\nBEFORE = gc.get_stats()", 1)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["[True, True, False]", "True"]
