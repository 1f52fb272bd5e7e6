"""From --bootstrap-server and --command-config to a client.

A file of client settings may hold anything that Kafka's clients know. Of what an admin client could do with it,
time-outs and the client id count here; settings that ask for an encrypted or authenticated connection are refused,
since a tool that quietly connected without them would be worse than none.

Where Kafka's tools try a port that refuses for a minute, these say so at once. Compose files have a service that makes
topics as soon as the broker is up, and lean on that minute; so the image asks for it, with WAIT_VARIABLE.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ottla.errors import InvalidInput, OttlaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ottla.admin import Admin
    from ottla.cli.kafka.options import Options

# Kafka's tools wait 60 seconds, also for a port where nobody listens; a person is told sooner.
TIMEOUT_MS = 30_000
CONNECT_TIMEOUT_MS = 5_000
_TIMEOUTS = ("default.api.timeout.ms", "request.timeout.ms")
WAIT_VARIABLE = "OTTLA_TOOLS_WAIT_S"
WAIT_S_MAX = 3600
_WAIT_PAUSE_S = 0.25


class NoFile(Exception):
    """A file of settings cannot be read; the text is its name, as Java's exception says."""


def properties_of(path: str) -> dict[str, str]:
    """Read a file of settings; a later line counts over an earlier one."""
    from ottla.config import properties

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise NoFile(path) from error
    try:
        return {entry.name: entry.value for entry in properties.parse(properties.decode(content))}
    except properties.PropertiesError as error:
        raise InvalidInput(f"{path}, line {error.line}: {error.reason}") from error


def command_config(options: Options) -> dict[str, str]:
    """Read the file of --command-config, if there is one."""
    return properties_of(options.value("command-config")) if options.has("command-config") else {}


def admin(server: str | None, settings: Mapping[str, str], *, client_id: str, timeout_ms: int | None = None) -> Admin:
    """Give a client; raises `InvalidInput` with a sentence about what cannot be used."""
    from ottla.admin import Admin

    protocol = settings.get("security.protocol", "PLAINTEXT").strip().upper()
    if protocol != "PLAINTEXT":
        raise InvalidInput(f"security.protocol={protocol}: these tools connect with PLAINTEXT only")
    waiting_ms = timeout_ms
    for name in _TIMEOUTS:
        if waiting_ms is None and name in settings:
            if not settings[name].strip().isdigit() or int(settings[name]) < 1:
                raise InvalidInput(f"Invalid value {settings[name]} for configuration {name}: Not a number of type INT")
            waiting_ms = int(settings[name])
    waiting_ms = TIMEOUT_MS if waiting_ms is None else max(1, waiting_ms)
    checked = checked_servers(settings.get("bootstrap.servers", "") if server is None else server)
    client = Admin(
        checked,
        timeout_ms=waiting_ms,
        connect_timeout_ms=min(CONNECT_TIMEOUT_MS, waiting_ms),
        client_id=settings.get("client.id", client_id),
    )
    if wait_s := _wait_s():
        _wait_while_refused(client, wait_s)
    return client


def _wait_s() -> int:
    text = os.environ.get(WAIT_VARIABLE, "").strip()
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > len(str(WAIT_S_MAX)) or int(text) > WAIT_S_MAX:
        raise InvalidInput(f"{WAIT_VARIABLE}={text}: write a whole number of seconds from 0 to {WAIT_S_MAX}")
    return int(text)


def _wait_while_refused(client: Admin, wait_s: float) -> None:
    """Come back once a broker answers, or when waiting helps no more: then the tool's own request says what is wrong.

    As in Kafka's tools a name that does not resolve is not waited for.
    """
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        try:
            client.describe_cluster()
        except OttlaError as error:
            if not _refused(error):
                return
            time.sleep(_WAIT_PAUSE_S)
        else:
            return


def _refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__
    return False


def checked_servers(text: str) -> str:
    """Check HOST:PORT,HOST:PORT in the words of Kafka's client."""
    from ottla.admin import parse_bootstrap

    words = [word for word in (word.strip() for word in text.split(",")) if word]
    if not words:
        raise InvalidInput("You must set either bootstrap.servers or bootstrap.controllers")
    for word in words:
        try:
            parse_bootstrap(word)
        except InvalidInput as error:
            port = word.rpartition(":")[2]
            what = "port" if ":" in word and port.isdigit() else "url"
            raise InvalidInput(f"Invalid {what} in bootstrap.servers: {word}") from error
    return ",".join(words)
