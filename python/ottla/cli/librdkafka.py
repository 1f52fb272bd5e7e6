"""The door to confluent-kafka (librdkafka), which produces, consumes and is a member of groups.

It is an extra, since a broker needs no client: who only runs `ottla serve` gets neither its size nor its platforms.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from ottla.errors import OttlaError

if TYPE_CHECKING:
    from collections.abc import Iterable

INSTALL = "pip install 'ottla[cli]'"
_CLOSE_STEP_S = 0.1


class ClientMissing(OttlaError):
    """confluent-kafka is not installed."""


def load() -> Any:
    """Import confluent-kafka."""
    try:
        import confluent_kafka
    except ImportError as error:
        raise ClientMissing(
            f"this command sends and reads through confluent-kafka, which is not installed: {INSTALL}"
        ) from error
    return confluent_kafka


def client_config(server: str, overrides: Iterable[tuple[str, str]], **own: object) -> dict[str, Any]:
    """Give a configuration: ours, then what -X says. librdkafka's log lines are shown when -X debug=... asks."""
    given = dict(overrides)
    config: dict[str, Any] = {
        "bootstrap.servers": server,
        "client.id": "ottla",
        **{name.replace("_", "."): value for name, value in own.items()},
        **given,
    }
    for text in config.values():
        if isinstance(text, str):
            # The library ends the process where text does not become UTF-8; here `main` says what is wrong.
            text.encode()
    if "debug" not in given:
        quiet = logging.getLogger("ottla.librdkafka")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        config["logger"] = quiet
    return config


def refused_setting(error: Exception) -> str:
    """Say what librdkafka says of a configuration it does not take."""
    inner = error.args[0] if error.args else error
    said = inner.str() if hasattr(inner, "str") else str(inner)
    return f"-X: {said}"


def close_within(consumer: Any, timeout_s: float) -> bool:
    """Let a consumer commit what it has stored and leave its group; False if nobody answers that in time.

    In a thread of its own: librdkafka waits for a silent broker for minutes, and meanwhile Python sees no Ctrl-C.
    """
    closing = threading.Thread(target=consumer.close, name="ottla-close", daemon=True)
    closing.start()
    until = time.monotonic() + timeout_s
    while closing.is_alive() and time.monotonic() < until:
        closing.join(_CLOSE_STEP_S)
    return not closing.is_alive()
