"""`ottla container run`: what the image runs when it is given no other command."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ottla.cli.container import directories, health, names
from ottla.cli.container.environment import Plan, assignments, plan, with_files
from ottla.config import Given
from ottla.config.sources import read_config_file
from ottla.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from ottla.broker import Broker

log = logging.getLogger("ottla.container")


def run(words: Sequence[str], overrides: Sequence[str], environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM. `words` are VARIABLE=value, `overrides` NAME=VALUE as kafka-server-start takes them."""
    # The first process of a container has no default for signals: without this one, a stop right after the start
    # would wait for the engine's patience to end.
    signal.signal(signal.SIGTERM, _leave)
    wanted = read(words, overrides, environment)
    from ottla.broker import Broker
    from ottla.cli.serve import set_up_logging, until_stopped

    directory = None
    if wanted.value("log.dirs") is None and wanted.value("log.dir") is None:
        directory = directories.data_dir(directories.here())
    broker = Broker(directory, config=wanted.given, cluster_id=_cluster_id(wanted, directory))
    problems = [problem for problem in map(directories.problem_of, broker.config.data_dirs) if problem]
    if problems:
        raise ConfigError(problems)
    set_up_logging(wanted.log_level)
    for note in wanted.notes:
        log.info("%s", note)

    def started(broker: Broker) -> None:
        status = broker.status()
        health.write(status.listeners)
        if wanted.topics:
            from ottla.cli.container.topics import create

            create(wanted.topics, health.address_of(status.listeners))
        # Words that Kafka logs at this moment: test libraries (Testcontainers) and compose files wait for them.
        log.info(
            "Kafka Server started: [KafkaServer id=%d] started, Transitioning from RECOVERY to RUNNING", status.node_id
        )

    until_stopped(broker, started)


def read(words: Sequence[str], overrides: Sequence[str], environment: Mapping[str, str]) -> Plan:
    """Put together what the environment, the arguments and a mounted server.properties say."""
    variables = with_files({**environment, **assignments(words)}, lambda path: Path(path).read_text(encoding="utf-8"))
    file = directories.config_file(variables)
    found = plan(variables, read_config_file(file) if file else ())
    if file is not None:
        found.notes.insert(0, f"settings are read from {file}; variables count over them")
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError([f"--override {text}: write NAME=VALUE"])
        found.given.append(Given(name.strip(), value.strip(), "--override"))
    return found


def show(words: Sequence[str], overrides: Sequence[str], environment: Mapping[str, str]) -> None:
    """Print the settings `run` would use, each with where it is from; checks them as a start would."""
    from ottla.config import load

    wanted = read(words, overrides, environment)
    if wanted.value("log.dirs") is None and wanted.value("log.dir") is None:
        place = directories.data_dir(directories.here())
        wanted.given.append(Given("log.dirs", place, "default of the container"))
    for warning in (*wanted.notes, *load(wanted.given).warnings):
        print(f"# {warning}")
    if wanted.cluster_id is not None:
        print(f"# cluster id {wanted.cluster_id.value} ({wanted.cluster_id.variable})")
    for topic in wanted.topics:
        print(f"# topic {topic.name} ({names.CREATE_TOPICS_VARIABLE})")
    # Of two entries the last one counts.
    for entry in {entry.name: entry for entry in wanted.given}.values():
        print(f"# {entry.origin}\n{entry.name}={entry.text}")


def _cluster_id(wanted: Plan, directory: str | None) -> str | None:
    """Give the id to ask for; none where an existing directory's own counts."""
    if wanted.cluster_id is None:
        return None
    if wanted.cluster_id.yields:
        places = [directory] if directory else (wanted.value("log.dirs") or wanted.value("log.dir") or "").split(",")
        existing = [place for place in places if Path(place.strip(), "meta.properties").exists()]
        if existing:
            wanted.notes.append(
                f"{wanted.cluster_id.variable} counts for new data only: {existing[0]} has its cluster already"
            )
            return None
    return wanted.cluster_id.value


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.stderr.flush()
    os._exit(0)
