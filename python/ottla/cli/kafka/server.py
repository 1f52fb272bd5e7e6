"""`kafka-server-start` and `kafka-server-stop`: a broker by a server.properties, as bin/kafka-server-start.sh runs one.

What the file leaves out is Kafka's default: port 9092 on every address, data in /tmp/kafka-logs.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ottla.cli.kafka import KAFKA_VERSION
from ottla.cli.kafka.usage import complain, say
from ottla.errors import ConfigError, OttlaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.config import Given

USAGE = "USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*"
STOP_USAGE = "USAGE: kafka-server-stop [--process-role=value] [--node-id=value]"
LISTENERS_DEFAULT = "PLAINTEXT://:9092"
LOG_DIR_DEFAULT = "/tmp/kafka-logs"  # noqa: S108 - Kafka's default
ROLES_DEFAULT = "broker,controller"
DAEMON_LOG = "kafkaServer.out"


def start(arguments: Sequence[str]) -> int:
    """Run a broker until it is told to stop, or leave it running with -daemon."""
    words = list(arguments)
    if not words or words[0] in ("--help", "-h"):
        say(USAGE)
        return 1
    if "--version" in words:
        say(KAFKA_VERSION)
        return 0
    daemon = words[0] == "-daemon"
    if daemon:
        del words[0]
    try:
        given = _given(words)
        if daemon:
            return _start_daemon(given, words)
        return _run(given)
    except ConfigError as error:
        complain(*(f"kafka-server-start: {problem}" for problem in error.problems))
    except (OttlaError, OSError) as error:
        complain(f"kafka-server-start: {error}")
    return 1


def _given(words: list[str]) -> list[Given]:
    """Read the file and the overrides; what neither says is Kafka's default."""
    from ottla.config import Given
    from ottla.config.sources import read_config_file

    path, overrides = None, []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--override" or word.startswith("--override="):
            text = word.partition("=")[2] if "=" in word else (rest.pop(0) if rest else "")
            name, equals, value = text.partition("=")
            if not equals or not name.strip():
                raise ConfigError([f"--override {text}: write property=value"])
            overrides.append(Given(name.strip(), value.strip(), "--override"))
        elif word.startswith("-"):
            raise ConfigError([f"{word} is not a recognized option. {USAGE}"])
        elif path is None:
            path = word
        else:
            raise ConfigError([f"Found non argument parameters: {word}. {USAGE}"])
    if path is None:
        raise ConfigError([f"name the file of settings. {USAGE}"])
    given = [*read_config_file(path), *overrides]
    names = {entry.name for entry in given}
    if not names & {"log.dirs", "log.dir"}:
        given.append(Given("log.dirs", LOG_DIR_DEFAULT, "Kafka's default"))
    if "listeners" not in names:
        given.append(Given("listeners", LISTENERS_DEFAULT, "Kafka's default"))
    return given


def _run(given: list[Given]) -> int:
    from ottla.broker import Broker
    from ottla.cli.kafka import started
    from ottla.cli.serve import set_up_logging, until_stopped

    broker = Broker(config=given)
    set_up_logging("info")
    texts = {entry.name: entry.text for entry in given}
    note = started.write(
        broker.config.data_dirs,
        node_id=str(broker.config.node_id),
        roles=texts.get("process.roles", ROLES_DEFAULT).replace(" ", ""),
    )
    try:
        until_stopped(broker)
    finally:
        note.unlink(missing_ok=True)
    return 0


def _start_daemon(given: list[Given], words: list[str]) -> int:
    """Check the settings here, where somebody reads what is wrong; then start it on its own."""
    import subprocess

    from ottla.config import load

    load(given)
    folder = Path(os.environ.get("LOG_DIR", "logs"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / DAEMON_LOG).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ottla", "kafka-server-start", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # It outlives this process: nobody waits for it.
    process.returncode = 0
    return 0


def stop(arguments: Sequence[str]) -> int:
    """Tell brokers that `start` runs for this user to stop; it is not waited for."""
    from ottla.cli.kafka import started

    wanted: dict[str, str] = {}
    for word in arguments:
        if word == "--version":
            say(KAFKA_VERSION)
            return 0
        name, equals, value = word.partition("=")
        if name not in ("--process-role", "--node-id") or not equals:
            complain(f"kafka-server-stop: {word} is not a recognized option. {STOP_USAGE}")
            return 1
        wanted[name] = value
    if len(wanted) == 2:
        say("When both node-id and process-role are provided, the value for node-id will take precedence")
        del wanted["--process-role"]
    try:
        found = list(started.running())
    except OSError as error:
        complain(f"kafka-server-stop: {error}")
        return 1
    if "--node-id" in wanted:
        found = [note for note in found if note.node_id == wanted["--node-id"]]
    elif "--process-role" in wanted:
        found = [note for note in found if note.roles == wanted["--process-role"].replace(" ", "")]
    if not found:
        say("No kafka server to stop")
        return 1
    for note in found:
        os.kill(note.pid, signal.SIGTERM)
    return 0
