"""What only a process shows: what a start loads, pipes that close, signals, an extra that is missing."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ottla.admin import Admin, NewTopic
from tests.conftest import MakeBroker
from tests.processes import Process
from tests.test_house import ROOT

OTTLA = [sys.executable, "-m", "ottla"]
# What a command about topics has no use for. Each costs a good part of the 0.2 s that a start may take.
HEAVY = (
    "asyncio",
    "rich",
    "confluent_kafka",
    "ottla.broker",
    "ottla.config",
    "ottla.controller",
    "ottla.protocol",
)


def environment(process: Process) -> dict[str, str]:
    return {**os.environ, "OTTLA_BOOTSTRAP_SERVER": process.bootstrap}


def test_a_command_loads_only_what_it_needs(broker: Process) -> None:
    """Starts stay quick because the broker, librdkafka and rich stay out; measured on an idle machine: 0.12 s."""
    code = (
        "import sys\nfrom ottla.cli.main import main\nassert main(['topic', 'list', 'no-such-topic']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment(broker)
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_has_had_enough_ends_it_quietly(broker: Process, unique: str) -> None:
    """`ottla consume | head -1`: exit code 0, no traceback."""
    with Admin(broker.bootstrap) as admin:
        admin.create_topics([NewTopic(unique, 1, 1)])
    lines = b"".join(b"%d\n" % number for number in range(50_000))
    subprocess.run([*OTTLA, "produce", unique], input=lines, check=True, capture_output=True, env=environment(broker))
    with subprocess.Popen(
        [*OTTLA, "consume", unique, "--from-beginning"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(broker),
    ) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        assert reader.stdout.readline() == b"0\n"
        reader.stdout.close()
        said = reader.stderr.read()
        assert reader.wait(timeout=60) == 0, said
        assert b"Traceback" not in said
        assert b"BrokenPipe" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_consumer_that_is_stopped_has_committed_what_it_printed(
    broker: Process, unique: str, number: signal.Signals
) -> None:
    """Ctrl-C and `docker stop` end it with 0; the group goes on behind the last line printed."""
    with Admin(broker.bootstrap) as admin:
        admin.create_topics([NewTopic(unique, 1, 1)])
        subprocess.run(
            [*OTTLA, "produce", unique], input=b"a\nb\nc\n", check=True, capture_output=True, env=environment(broker)
        )
        with subprocess.Popen(
            [*OTTLA, "consume", unique, "--group", unique, "--from-beginning"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(broker),
        ) as reader:
            assert reader.stdout is not None
            assert [reader.stdout.readline() for _ in range(3)] == [b"a\n", b"b\n", b"c\n"]
            reader.send_signal(number)
            _, said = reader.communicate(timeout=60)
        assert (reader.returncode, said) == (0, b"3 records\n")
        assert [
            each.offset for each in admin.list_group_offsets(unique).values() if not isinstance(each, Exception)
        ] == [3]


def test_a_broker_that_falls_silent_does_not_hold_the_end(make_broker: MakeBroker, unique: str) -> None:
    """After --timeout it is said that what was printed may not be committed; librdkafka would wait on for minutes."""
    process = make_broker()
    subprocess.run([*OTTLA, "produce", unique], input=b"a\n", check=True, capture_output=True, env=environment(process))
    with subprocess.Popen(
        [*OTTLA, "consume", unique, "--group", unique, "--from-beginning", "--timeout", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(process),
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"a\n"
        os.kill(process.pid, signal.SIGSTOP)
        try:
            reader.send_signal(signal.SIGINT)
            _, said = reader.communicate(timeout=30)
        finally:
            os.kill(process.pid, signal.SIGCONT)
            reader.kill()
    assert said.decode().splitlines() == [
        "1 record",
        f"ottla: the broker did not answer within 2 s: what was printed last may not be committed for {unique}",
    ]
    assert reader.returncode == 1


def test_a_broker_that_dies_under_a_reader_is_said(make_broker: MakeBroker, unique: str) -> None:
    """It may come back, so the command goes on; but who waits for records knows why none come."""
    process = make_broker()
    with Admin(process.bootstrap) as admin:
        admin.create_topics([NewTopic(unique, 1, 1)])
    with subprocess.Popen(
        [*OTTLA, "consume", unique, "--from-beginning"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(process),
    ) as reader:
        assert reader.stderr is not None
        assert reader.stdout is not None
        subprocess.run(
            [*OTTLA, "produce", unique], input=b"a\n", check=True, capture_output=True, env=environment(process)
        )
        assert reader.stdout.readline() == b"a\n"
        process.kill()
        try:
            assert select.select([reader.stderr], [], [], 30)[0], "nothing was said"
            said = f"ottla: no broker answers ({process.bootstrap}); still trying\n"
            assert reader.stderr.readline().decode() == said
            reader.send_signal(signal.SIGINT)
            assert reader.wait(timeout=30) == 0
        finally:
            reader.kill()


def test_a_topic_that_is_deleted_under_a_reader_ends_it(broker: Process, unique: str) -> None:
    """Nothing will ever come; waiting on would tell nobody."""
    refresh = ["-X", "topic.metadata.refresh.interval.ms=200", "-X", "topic.metadata.propagation.max.ms=200"]
    with Admin(broker.bootstrap) as admin:
        admin.create_topics([NewTopic(unique, 1, 1)])
        subprocess.run(
            [*OTTLA, "produce", unique], input=b"a\n", check=True, capture_output=True, env=environment(broker)
        )
        with subprocess.Popen(
            [*OTTLA, "consume", unique, "--from-beginning", *refresh],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(broker),
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"a\n"
            admin.delete_topics([unique])
            try:
                _, said = reader.communicate(timeout=30)
            finally:
                reader.kill()
    assert (reader.returncode, said) == (1, f"ottla: topic {unique} was deleted while it was read\n".encode())


def test_a_file_that_fails_on_the_way_does_not_take_along_what_was_read(broker: Process, unique: str) -> None:
    """Records read before it are written and accounted for; then the file is named."""
    # Can be opened by its owner, and not be read at 0.
    failing = "/proc/self/mem"
    with Admin(broker.bootstrap) as admin:
        admin.create_topics([NewTopic(unique, 1, 1)])
    done = subprocess.run(
        [*OTTLA, "produce", unique, "-", failing],
        input=b"a\nb\n",
        capture_output=True,
        check=False,
        env=environment(broker),
    )
    assert done.stderr.decode().splitlines() == [
        f"2 records written to {unique}: partition 0 at 0 to 1",
        f"ottla: '{failing}' cannot be read: input/output error",
    ]
    assert done.returncode == 1


def test_the_extra_that_is_missing_is_named(tmp_path: Path) -> None:
    """Without confluent-kafka produce and consume say what to install; the rest works."""
    (tmp_path / "confluent_kafka.py").write_text("raise ImportError('not here')\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    for command in (["produce", "t"], ["consume", "t"]):
        done = subprocess.run(
            [*OTTLA, *command],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "ottla: this command sends and reads through confluent-kafka, which is not installed: "
            "pip install 'ottla[cli]'\n"
        )


def test_json_is_one_document_on_stdout(broker: Process, unique: str) -> None:
    """What is for people stays on stderr, so that `| jq` works."""
    done = subprocess.run(
        [*OTTLA, "topic", "create", unique, "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(broker),
    )
    assert json.loads(done.stdout)[0]["created"] is True
    assert done.stderr == ""


def test_the_lines_of_the_readme_run_as_printed(broker: Process, unique: str) -> None:
    """A newcomer who copies the block creates a topic, sends two records and sees them come out of a group."""
    block = re.search(r"```\n(ottla topic create .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    lines = block[1].replace("orders", unique).replace("kitchen", unique)
    script = f"set -e\nottla() {{ '{sys.executable}' -m ottla \"$@\"; }}\n{lines}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment(broker))
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == f"created {unique} with 3 partitions"
    assert sorted(said[1:3]) == ["coffee", "tea"]
    assert said[3].startswith(f"{unique}   ")


# A signal of the process may be given to any of its threads; and one that comes just before a wait begins interrupts
# nothing either. Main is taken to wait once it has not run for many looks in a row.
SIGNALLED_ELSEWHERE = """
import signal, sys, threading
from ottla.broker import Broker
from ottla.cli.serve import set_up_logging, until_stopped

def switches():
    with open(f"/proc/self/task/{threading.main_thread().native_id}/status") as status:
        return [line for line in status if line.startswith("voluntary")]

def signal_here():
    before, looks = switches(), 0
    while looks < 1000:
        now = switches()
        before, looks = now, looks + 1 if now == before else 0
    print("waits", flush=True)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

def started(_broker):
    threading.Thread(target=signal_here, daemon=True).start()

set_up_logging("info")
until_stopped(Broker(sys.argv[1], listen="127.0.0.1:0"), started)
print("stopped")
"""


def test_a_signal_that_interrupts_no_wait_is_heard(tmp_path: Path) -> None:
    """SIGTERM that another thread is given, or that comes right after the start, stops the broker all the same."""
    command = [sys.executable, "-c", SIGNALLED_ELSEWHERE, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-2:] == ["waits", "stopped"]
