"""`kafka-storage`: ids of clusters, and data directories made ready for a node.

Kafka: kafka.tools.StorageTool. `format` writes meta.properties into each data directory, and with --standalone the
snapshot in which Apache Kafka finds itself as the only voter; both `ottla serve` and Apache Kafka open the result.
(`ottla serve` needs no formatting: an empty directory gets an id of its own.)
"""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ottla.cli.kafka import words
from ottla.cli.kafka.arguments import Arguments
from ottla.cli.kafka.connection import NoFile, properties_of
from ottla.cli.kafka.options import integer
from ottla.cli.kafka.usage import complain, say
from ottla.errors import OttlaError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

META = "meta.properties"
METADATA_VERSION = "4.3-IV0"
LOG_DIR_DEFAULT = "/tmp/kafka-logs"  # noqa: S108 - Kafka's default
# Ids that would be read as something else: all zeros, and the one that marks the metadata topic.
RESERVED = frozenset({bytes(16), bytes(15) + b"\1"})


class Refused(Exception):
    """The tool's own refusal: one sentence."""


class BadConfig(Exception):
    """A file of settings that cannot be used; `kind` is the exception Kafka's tool would print."""

    def __init__(self, sentence: str, kind: str = words.CONFIG_EXCEPTION) -> None:
        super().__init__(sentence)
        self.kind = kind


class Node(NamedTuple):
    """What the file of settings says of the node."""

    node_id: int
    # The one with the metadata log stands first.
    directories: list[str]
    is_controller: bool
    # No process.roles: a file for `ottla serve`, of which no quorum is asked.
    bare: bool
    voters: str
    bootstrap: str
    # Name, host and port of the controller's listener.
    controller: tuple[str, str, int] | None


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    parser = Arguments("kafka-storage", "Ids of clusters, and data directories made ready for a node.")
    info = parser.command("info", "Show what the data directories say of themselves.")
    formatting = parser.command("format", "Make data directories ready for a node.")
    parser.command("random-uuid", "Print an id for a cluster.")
    for command in (info, formatting):
        command.add_argument("--config", "-c", required=True, help="The server.properties of the node.")
    formatting.add_argument("--cluster-id", "-t", required=True, help="The id of the cluster.")
    formatting.add_argument("--ignore-formatted", "-g", action="store_true", help="Skip directories that are ready.")
    formatting.add_argument("--release-version", "-r", help=f"{METADATA_VERSION}: there is no other.")
    formatting.add_argument("--feature", "-f", action="append", help="Refused: features are those of the version.")
    formatting.add_argument("--add-scram", "-S", action="append", help="Refused: there are no SCRAM credentials.")
    quorum = formatting.add_mutually_exclusive_group()
    quorum.add_argument("--standalone", "-s", action="store_true", help="The node is the only voter of its quorum.")
    quorum.add_argument("--no-initial-controllers", "-N", action="store_true", help="The node joins a quorum later.")
    quorum.add_argument("--initial-controllers", "-I", help="Refused: a quorum of several nodes.")
    told = parser.parse(arguments)
    try:
        if told.command == "random-uuid":
            say(random_uuid())
            return 0
        node = _node(properties_of(told.config))
        return _info(node) if told.command == "info" else _format(told, node)
    except Refused as error:
        complain(str(error))
    except NoFile as error:
        complain(f'Exception in thread "main" java.nio.file.NoSuchFileException: {error}')
    except BadConfig as error:
        complain(f'Exception in thread "main" {error.kind}: {error}')
    except OttlaError as error:
        complain(f'Exception in thread "main" {words.exception(error)}')
    except OSError as error:
        complain(f"Error while writing {error.filename}: {error.strerror}")
    return 1


def random_uuid() -> str:
    """Give a random id; one that begins with a dash would be taken for a flag."""
    while True:
        content = os.urandom(16)
        text = base64.urlsafe_b64encode(content).decode().rstrip("=")
        if content not in RESERVED and not text.startswith("-"):
            return text


def _node(settings: dict[str, str]) -> Node:
    text = settings.get("node.id", settings.get("broker.id", "1")).strip()
    try:
        node_id = integer(text)
    except ValueError as error:
        raise BadConfig(f"Invalid value {text} for configuration broker.id: Not a number of type INT") from error
    roles = [role.strip() for role in settings.get("process.roles", "broker,controller").split(",")]
    strange = [role for role in roles if role not in ("broker", "controller")]
    if strange:
        raise BadConfig(
            f"Invalid value {','.join(roles)} for configuration process.roles: Unknown role '{strange[0]}'; "
            "broker and controller are the two there are"
        )
    data = settings.get("log.dirs") or settings.get("log.dir") or LOG_DIR_DEFAULT
    directories = [word.strip() for word in data.split(",") if word.strip()]
    if not directories:
        raise BadConfig("log.dirs names no directory")
    metadata = settings.get("metadata.log.dir") or directories[0]
    others = sorted({directory for directory in directories if directory != metadata})
    return Node(
        node_id=node_id,
        directories=[metadata, *others],
        is_controller="controller" in roles,
        bare="process.roles" not in settings,
        voters=settings.get("controller.quorum.voters", "").strip(),
        bootstrap=settings.get("controller.quorum.bootstrap.servers", "").strip(),
        controller=_controller_listener(settings),
    )


def _controller_listener(settings: dict[str, str]) -> tuple[str, str, int] | None:
    name = settings.get("controller.listener.names", "").partition(",")[0].strip()
    for setting in ("advertised.listeners", "listeners"):
        for word in settings.get(setting, "").split(","):
            listener, _, address = word.strip().partition("://")
            host, _, port = address.rpartition(":")
            if listener == name and name and port.isdigit():
                return name, host.strip("[]") or "localhost", int(port)
    return None


# format


def _format(told: Namespace, node: Node) -> int:
    if told.add_scram:
        raise Refused("--add-scram: SCRAM credentials are not part of this version of Ottla")
    if told.feature:
        raise Refused(f"--feature: the features are those of {METADATA_VERSION}")
    if told.release_version not in (None, METADATA_VERSION, METADATA_VERSION.partition("-")[0]):
        raise Refused(
            f"Unknown metadata.version '{told.release_version}'. Supported metadata.version are: {METADATA_VERSION}"
        )
    if told.initial_controllers:
        raise Refused("--initial-controllers: a node is its own quorum, --standalone says so")
    named = node.bare or node.voters or node.bootstrap or told.standalone or told.no_initial_controllers
    if node.is_controller and not named:
        raise Refused(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: "
            "--standalone, --initial-controllers, or --no-initial-controllers."
        )
    if told.standalone:
        _check_standalone(node)
    cluster_id = told.cluster_id.strip()
    if not cluster_id or any(character.isspace() for character in cluster_id):
        raise Refused(f"--cluster-id '{told.cluster_id}' is no id: `kafka-storage random-uuid` makes one")
    waiting = _waiting(told, node, cluster_id)
    for directory in waiting:
        _make_ready(directory, node, cluster_id, standalone=told.standalone)
    if not waiting:
        say("All of the log directories are already formatted.")
    return 0


def _check_standalone(node: Node) -> None:
    if not node.is_controller:
        raise Refused("You can only use --standalone on a controller.")
    if node.voters:
        raise Refused(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or "
            "--standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify "
            "controller.quorum.bootstrap.servers instead."
        )
    if node.controller is None and not node.bare:
        raise Refused("--standalone: the listener named in controller.listener.names is not in listeners")


def _waiting(told: Namespace, node: Node, cluster_id: str) -> list[str]:
    """Give the directories without meta.properties; the others must be of this cluster and node."""
    waiting = []
    for directory in node.directories:
        path = Path(directory, META)
        if not path.exists():
            waiting.append(directory)
            continue
        if not told.ignore_formatted:
            meta = properties_of(str(path))
            if meta.get("cluster.id", cluster_id) == cluster_id and meta.get("node.id", "") in ("", str(node.node_id)):
                raise Refused(
                    f"Log directory {directory} is already formatted. Use --ignore-formatted to ignore this directory "
                    "and format the others."
                )
        _must_match(path, "cluster.id", cluster_id)
        _must_match(path, "node.id", str(node.node_id))
    return waiting


def _must_match(path: Path, name: str, wanted: str) -> None:
    stored = properties_of(str(path)).get(name, wanted)
    if stored != wanted:
        raise BadConfig(
            f"Invalid {name} in: {path}. Expected {wanted}, but read {stored}", "java.lang.RuntimeException"
        )


def _make_ready(directory: str, node: Node, cluster_id: str, *, standalone: bool) -> None:
    is_metadata = directory == node.directories[0]
    what = ("dynamic metadata voter" if standalone else "metadata") if is_metadata else "data"
    say(f"Formatting {what} directory {directory} with metadata.version {METADATA_VERSION}.")
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    directory_id = random_uuid()
    if is_metadata and standalone and node.controller is not None:
        from ottla.cli.kafka import first_snapshot

        content = first_snapshot.snapshot(
            node.node_id, base64.urlsafe_b64decode(directory_id + "=="), *node.controller, int(time.time() * 1000)
        )
        folder = place / first_snapshot.FOLDER
        folder.mkdir(exist_ok=True)
        _write(folder / first_snapshot.FILE, content)
    # Last: a directory that has it is ready.
    text = f"#\ncluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={node.node_id}\nversion=1\n"
    _write(place / META, text.encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and onto the disk."""
    partial = path.with_name(f"{path.name}.tmp")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


# info


def _info(node: Node) -> int:
    problems: list[str] = []
    found: list[str] = []
    metas: list[dict[str, str]] = []
    for directory in sorted(node.directories):
        path = Path(directory, META)
        if not Path(directory).is_dir():
            problems.append(f"{directory} {'is not a directory' if Path(directory).exists() else 'does not exist'}")
            continue
        found.append(directory)
        if not path.exists():
            problems.append(f"{directory} is not formatted.")
            continue
        meta = properties_of(str(path))
        if metas and metas[0].get("cluster.id") != meta.get("cluster.id"):
            problems.append("Mismatched cluster IDs between storage directories.")
        elif metas and metas[0].get("node.id") != meta.get("node.id"):
            problems.append("Mismatched node IDs between storage directories.")
        metas.append(meta)
    if found:
        say("Found log directory:" if len(found) == 1 else "Found log directories:")
        say(*(f"  {directory}" for directory in found), "")
    if metas:
        pairs = ", ".join(f"{name}={value}" for name, value in sorted(metas[0].items()))
        say(f"Found metadata: {{{pairs}}}", "")
    if problems:
        say("Found problem:" if len(problems) == 1 else "Found problems:")
        say(*(f"  {problem}" for problem in problems), "")
    return 1 if problems else 0
