"""Ottla: an event log that speaks Kafka.

    with ottla.Broker() as broker:
        ...  # any Kafka client, at broker.bootstrap_servers

Names are imported when they are first used, so that `import ottla` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.broker import Broker, BrokerStatus
    from ottla.errors import ConfigError, DirectoryInUse, NewerFormat, OttlaError, StorageError

__version__ = "0.1.0"

__all__ = [
    "Broker",
    "BrokerStatus",
    "ConfigError",
    "DirectoryInUse",
    "NewerFormat",
    "OttlaError",
    "StorageError",
    "__version__",
]

_HOME = {
    "Broker": "ottla.broker",
    "BrokerStatus": "ottla.broker",
    "ConfigError": "ottla.errors",
    "DirectoryInUse": "ottla.errors",
    "NewerFormat": "ottla.errors",
    "OttlaError": "ottla.errors",
    "StorageError": "ottla.errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ottla' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
