"""Ottla: an event log that speaks Kafka.

    with ottla.Broker() as broker:
        ...  # any Kafka client, at broker.bootstrap_servers

    with ottla.Log("orders") as log:
        log.append(b"...")  # on the disk when it returns

Names are imported when they are first used, so that `import ottla` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla.broker import Broker, BrokerStatus
    from ottla.embed.log import Columns, Follow, Log, LogStatus, Record, Records
    from ottla.errors import (
        Closed,
        ConfigError,
        DirectoryInUse,
        Forked,
        NewerFormat,
        NoRoom,
        OffsetOutOfRange,
        OttlaError,
        Overtaken,
        ReadOnly,
        RecordTooLarge,
        StorageError,
        UnfitValue,
    )

__version__ = "0.1.0"

__all__ = [
    "Broker",
    "BrokerStatus",
    "Closed",
    "Columns",
    "ConfigError",
    "DirectoryInUse",
    "Follow",
    "Forked",
    "Log",
    "LogStatus",
    "NewerFormat",
    "NoRoom",
    "OffsetOutOfRange",
    "OttlaError",
    "Overtaken",
    "ReadOnly",
    "Record",
    "RecordTooLarge",
    "Records",
    "StorageError",
    "UnfitValue",
    "__version__",
]

_HOME = {
    "Broker": "ottla.broker",
    "BrokerStatus": "ottla.broker",
    "Closed": "ottla.errors",
    "Columns": "ottla.embed.log",
    "ConfigError": "ottla.errors",
    "DirectoryInUse": "ottla.errors",
    "Follow": "ottla.embed.log",
    "Forked": "ottla.errors",
    "Log": "ottla.embed.log",
    "LogStatus": "ottla.embed.log",
    "NewerFormat": "ottla.errors",
    "NoRoom": "ottla.errors",
    "OffsetOutOfRange": "ottla.errors",
    "OttlaError": "ottla.errors",
    "Overtaken": "ottla.errors",
    "ReadOnly": "ottla.errors",
    "Record": "ottla.embed.log",
    "RecordTooLarge": "ottla.errors",
    "Records": "ottla.embed.log",
    "StorageError": "ottla.errors",
    "UnfitValue": "ottla.errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ottla' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
